"""Write the state diagram and the events into docs/link.md, made from the table of a link."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jupyter_relay.link.table import TABLE, Event, State

PAGE = Path(__file__).resolve().parents[1] / "docs" / "link.md"

BEGIN = "<!-- Made from link/table.py by `make link-diagram`: begin -->\n"
END = "<!-- Made from link/table.py by `make link-diagram`: end -->\n"

ENDED = (State.GONE, State.CLOSED)
ALIVE = [state for state in State if state not in ENDED]


def shared(event: Event) -> State | None:
    """Return the state to which an event leads from every state but the last two, if it is one."""
    targets = {TABLE[state].get(event) for state in ALIVE}
    return targets.pop() if len(targets) == 1 else None


def arrows(states: list[State], *, without: set[Event]) -> Iterator[str]:
    """Every change between two states, with the events that cause it."""
    for state in states:
        for target in State:
            causes = [
                event.name.lower()
                for event, leads_to in TABLE[state].items()
                if leads_to is target is not state and event not in without
            ]
            if causes:
                yield f"{state.value} --> {target.value}: {', '.join(causes)}"


def diagram() -> str:
    """Return the diagram, in Mermaid's language, without the events that change nothing."""
    ends = {event: target for event in Event if (target := shared(event)) is not None}
    lines = ["stateDiagram-v2", "    [*] --> alive", "    state alive {", "        [*] --> idle"]
    lines += [f"        {arrow}" for arrow in arrows(ALIVE, without=set(ends))]
    lines += ["    }"]
    lines += [
        f"    alive --> {target.value}: {event.name.lower()}" for event, target in ends.items()
    ]
    lines += [f"    {arrow}" for arrow in arrows(list(ENDED), without=set())]
    return "\n".join(["```mermaid", *lines, "```", ""])


def events() -> str:
    """Return a table of the events."""
    rows = [f"| {event.name.lower()} | {event.value} |" for event in Event]
    return "\n".join(["| event | when |", "|---|---|", *rows, ""])


def with_diagram(page: str) -> str:
    """Return the page with the diagram and the events as they are made now."""
    head, _, rest = page.partition(BEGIN)
    _, _, foot = rest.partition(END)
    return f"{head}{BEGIN}\n{diagram()}\n{events()}\n{END}{foot}"


if __name__ == "__main__":
    PAGE.write_text(with_diagram(PAGE.read_text()))
