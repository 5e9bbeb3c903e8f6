"""What a run has shown: as a table for people, and as JSON for machines."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Final

from bench.runner import Result

_SUBJECTS: Final = ("relay", "peer", "limit", "pipe", "zmq", "gateway")
_HEADINGS: Final = ("work", "unit", *_SUBJECTS, "× peer", "× limit", "to reach", "reached")
_PACKAGES: Final = (
    "aiohttp",
    "ipykernel",
    "jupyter_client",
    "jupyter_kernel_gateway",
    "jupyter_server",
    "msgspec",
    "nbclient",
    "pyzmq",
    "tornado",
)


def text(results: Sequence[Result]) -> str:
    """Return a table for a terminal."""
    lines = [list(_HEADINGS), *(_cells(result) for result in results)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def markdown(results: Sequence[Result]) -> str:
    """Return a table for a page."""
    lines = [_HEADINGS, ["---"] * len(_HEADINGS), *(_cells(result) for result in results)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def as_json(results: Iterable[Result], command: Sequence[str]) -> str:
    """Return everything: where, when and how it was run, and every repetition."""
    return json.dumps(
        {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": list(command),
            "python": platform.python_version(),
            "system": platform.platform(),
            "cpus": os.cpu_count(),
            "load": os.getloadavg(),
            "versions": {name: version(name) for name in _PACKAGES},
            "rows": [_as_dict(result) for result in results],
        },
        indent=1,
        ensure_ascii=False,
    )


def _as_dict(result: Result) -> dict[str, object]:
    row = result.row
    return {
        "name": row.name,
        "title": row.title,
        "unit": row.unit,
        "medians": {subject: result.median(subject) for subject in result.samples},
        "ratios": {subject: result.ratio(subject) for subject in result.samples},
        "goals": [
            {"value": goal.value, "times": goal.times, "bound": result.bound(goal)}
            for goal in row.goals
        ],
        "reached": result.reached,
        "repetitions": result.samples,
    }


def _cells(result: Result) -> list[str]:
    row = result.row
    goals = [
        f"{row.better.value} {_number(goal.value)}" + (f" × {goal.times}" if goal.times else "")
        for goal in row.goals
    ]
    reached = {True: "yes", False: "no", None: "–"}[result.reached]
    return [
        row.title,
        row.unit,
        *(_number(result.median(subject)) for subject in _SUBJECTS),
        _number(result.ratio("peer")),
        _number(result.ratio("limit")),
        ", ".join(goals) or "–",
        reached,
    ]


def _number(value: float | None) -> str:
    """Write a figure with three digits that count."""
    if value is None:
        return "–"
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.2g}"
