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


def page() -> str:
    """Return the whole page."""
    return HEAD + "".join(line for owner in REPLACED for line in section(owner.__name__))


def section(owner: str) -> Iterator[str]:
    """Yield the lines of one class's options."""
    yield f"\n### {owner}\n\n| option | heeded | what it does, or why it does nothing |\n"
    yield "|---|---|---|\n"
    for option in sorted(INHERITED, key=lambda option: option.name):
        if option.owner == owner:
            yield f"| `{option.name}` | {'yes' if option.heeded else 'no'} | {option.effect} |\n"


if __name__ == "__main__":
    print(page(), end="")
