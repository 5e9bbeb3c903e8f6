"""Print the page on compatibility; its tables are made from `server/inherited_options.py`."""

from __future__ import annotations

from collections.abc import Iterator

from jupyter_relay.server.inherited_options import INHERITED, REPLACED

HEAD = """\
# Options of Jupyter's own classes, and other extensions

This page is generated from `server/inherited_options.py` by `make compatibility-page`.

## Options of Jupyter's own classes

With a gateway configured, classes of ours take the place of some of Jupyter's. Their options keep
their names: `c.MappingKernelManager.cull_idle_timeout` still works. If an option is set and has no
effect on a gateway's kernels, one line in the log says so at the start.
"""


FOOT = """
## Other extensions

Jupyter Relay sets four classes of a server: its kernel manager, kernelspec manager, session manager
and websocket connection. All four are set, or none. Jupyter Server's own gateway classes in a
configuration count as not set. If any other class is set that does not derive from ours, all stay
as they are set, and one line in the log says so.

| extension | with Jupyter Relay |
|---|---|
| jupyter-resource-usage | shows the figures of the kernel's own process on the gateway |
| jupyter-server-documents | runs cells on the server; its websocket class is not used |
| jupyter-server-nbmodel | runs cells on the server |
| jupyter-collaboration | works |
| kernels-mixer | sets all four classes to its own, so ours are not used |

`tests/neighbours` runs a cell with each of them, with our extension and without it.
"""


def page() -> str:
    """Return the whole page."""
    tables = "".join(line for owner in REPLACED for line in section(owner.__name__))
    return HEAD + tables + FOOT


def section(owner: str) -> Iterator[str]:
    """Yield the lines of one class's options."""
    yield f"\n### {owner}\n\n| option | effective | what it does, or why it has no effect |\n"
    yield "|---|---|---|\n"
    for option in sorted(INHERITED, key=lambda option: option.name):
        if option.owner == owner:
            yield f"| `{option.name}` | {'yes' if option.heeded else 'no'} | {option.effect} |\n"


if __name__ == "__main__":
    print(page(), end="")
