"""Print the reference page of the settings, made from the table of options."""

from __future__ import annotations

from collections.abc import Iterator

from jupyter_relay.settings.kinds import Value
from jupyter_relay.settings.options import OPTIONS, Group, Option

HEAD = """\
# Settings

All are options of `GatewayClient`. This page is generated from their table, `settings/options.py`,
by `make settings-page`.

An option can be given in three ways, here with `linger` as an example. If it is given in several,
the first in this list counts:

1.  on the command line: `--GatewayClient.linger=60`; for `url` there is `--gateway-url=…` too;
2.  in a configuration file of the server, or of an application on it such as JupyterLab:
    `c.GatewayClient.linger = 60`;
3.  in the environment: `JUPYTER_GATEWAY_LINGER=60`.

nbclient, papermill and scripts read the environment, and the configuration of whatever makes the
kernel manager, if it has one.

*   **A wrong value** stops the start of the server with one line. The line names the option and
    what it takes. It does not repeat the value, which may be secret. A program gets a
    `ConfigurationError` with the same sentence.
*   **An unknown option** is one line in the log, with the option that may be meant. So is an
    unknown variable that begins with `JUPYTER_GATEWAY_`.
*   **An empty value** counts as not given, except for a text. The text `None` counts as not given,
    too, except for `auth_scheme`, where it is a choice.
*   **Secrets** (`auth_token`, `http_pwd`, `headers`, and a user, password or token in a URL) are
    in no line of our log. Give them in the environment: all users of a machine can see a command
    line, and with `--debug` Jupyter itself logs the whole configuration.
*   **Two variables** are read by Jupyter Server as it is imported, before any extension:
    `KERNEL_LAUNCH_TIMEOUT` and `JUPYTER_GATEWAY_MAX_REQUEST_RETRIES`. If one is not a whole
    number, the server ends with Python's own error, not with a line of ours.
"""

FOOT = """
## Differences from the built-in client

Each option of Jupyter Server's own `GatewayClient` is here with the same name, variable and
default, except these:

| option | what differs | why |
|---|---|---|
| `accept_cookies` | on by default | kernels behind a load balancer work without a setting |
| `gateway_retry_max` | none by default, not 5 | no cell is lost to an outage, however long |
| `allowed_envs` | counts if `env_whitelist` is given as well | the deprecated name gives way |
| `event_logger` | is no option | events go to the server's own event logger |
"""


def page() -> str:
    """Return the whole page."""
    return HEAD + "".join(line for group in Group for line in section(group)) + FOOT


def section(group: Group) -> Iterator[str]:
    """Yield the lines of a group's options."""
    yield f"\n## {group.value}\n\n"
    yield "| option | variable | takes | default | meaning |\n|---|---|---|---|---|\n"
    for option in OPTIONS:
        if option.group is group:
            yield row(option)


def row(option: Option) -> str:
    """Return the line of one option."""
    variable = f"`{option.variable}`" if option.variable else "–"
    cells = (
        f"`{option.name}`", variable, option.kind.value, shown(option.default), option.help
    )  # fmt: skip
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n"


def shown(default: Value) -> str:
    """Return a default as a user would write it."""
    if default is None:
        return "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


if __name__ == "__main__":
    print(page(), end="")
