"""Print the page on compatibility; its tables are made from `server/inherited_options.py` and
`built_in_classes.py`."""

from __future__ import annotations

from collections.abc import Iterator

from built_in_classes import DIFFERENCES, READ

from jupyter_relay.server.inherited_options import INHERITED, REPLACED

HEAD = """\
# Options of Jupyter's own classes, and other extensions

This page is generated from `server/inherited_options.py` and `tools/built_in_classes.py` by
`make compatibility-page`.

## Options of Jupyter's own classes

With a gateway configured, classes of ours take the place of some of Jupyter's. Their options keep
their names: `c.MappingKernelManager.cull_idle_timeout` still works. If an option is set and has no
effect on a gateway's kernels, one line in the log says so at the start.
"""


CLASSES = """
## Classes of Jupyter Server's own gateway client

`jupyter_relay.managers` has the seven classes of `jupyter_server.gateway.managers` under their
names. A configuration or a subclass changes one word:

```python
c.ServerApp.kernel_manager_class = "jupyter_relay.managers.GatewayMappingKernelManager"
```

The paths of the modules, such as `jupyter_relay.server.kernels.GatewayMappingKernelManager`, work
as well. A `GatewayKernelManager` without a server, as nbclient makes one, deletes the kernel that
it has started, at the program's end at the latest. A client needs no `start_channels` of its own to
send a token, headers or cookies with its websocket: they are sent.

What programs read from the classes:

| name | what it is |
|---|---|
"""

DIFFERENT = """
The tests that Jupyter Server 2.21.1 has for its own client are the measure. For each behaviour that
they test, `tests/server/test_like_built_in.py` has a test of ours. This is what they look at beside
that, and why it does not apply:

| test of Jupyter Server | what does not apply | why |
|---|---|---|
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
    read = "".join(f"| {name} | {what} |\n" for name, what in READ.items())
    different = "".join(f"| `{row.test}` | {row.what} | {row.why} |\n" for row in DIFFERENCES)
    return HEAD + tables + CLASSES + read + DIFFERENT + different + FOOT


def section(owner: str) -> Iterator[str]:
    """Yield the lines of one class's options."""
    yield f"\n### {owner}\n\n| option | effective | what it does, or why it has no effect |\n"
    yield "|---|---|---|\n"
    for option in sorted(INHERITED, key=lambda option: option.name):
        if option.owner == owner:
            yield f"| `{option.name}` | {'yes' if option.heeded else 'no'} | {option.effect} |\n"


if __name__ == "__main__":
    print(page(), end="")
