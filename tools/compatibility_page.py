"""Print the page on compatibility; its tables are made from `server/inherited_options.py`."""

from __future__ import annotations

from collections.abc import Iterator

from jupyter_relay.server.inherited_options import INHERITED, REPLACED

HEAD = """\
# Beside Jupyter's own classes, and other extensions

The tables on this page are made from `server/inherited_options.py` by `make compatibility-page`.

## Options of Jupyter's own classes

With a gateway configured, classes of ours take the place of some of Jupyter's. Their options keep
their names: `c.MappingKernelManager.cull_idle_timeout` goes on to work. An option that is set and
has no effect on a gateway's kernels is a line in the log at the start.
"""


FOOT = """
## Other extensions

All four classes of ours are used, or none. Jupyter Server's own gateway classes in a configuration
count as not set. With any other class that is not made from ours, all stay as they are set; the log
says so in one line.

| extension | beside ours |
|---|---|
| jupyter-resource-usage | shows the figures of the kernel's own process on the gateway |
| jupyter-server-documents | runs cells on the server; its websocket class is not used |
| jupyter-server-nbmodel | runs cells on the server |
| jupyter-collaboration | works |
| kernels-mixer | sets all four classes to its own, so ours are not used |

`tests/neighbours` runs a cell beside each, with and without ours.
"""


def page() -> str:
    """Return the whole page."""
    tables = "".join(line for owner in REPLACED for line in section(owner.__name__))
    return HEAD + tables + FOOT


def section(owner: str) -> Iterator[str]:
    """Yield the lines of one class's options."""
    yield f"\n### {owner}\n\n| option | heeded | what it does, or why it does nothing |\n"
    yield "|---|---|---|\n"
    for option in sorted(INHERITED, key=lambda option: option.name):
        if option.owner == owner:
            yield f"| `{option.name}` | {'yes' if option.heeded else 'no'} | {option.effect} |\n"


if __name__ == "__main__":
    print(page(), end="")
