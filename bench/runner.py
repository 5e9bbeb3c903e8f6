"""Runs works: their subjects in turn, one repetition each, so that all meet the same weather."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from bench.tab import BenchError

_MOST_SECONDS: Final = 120
"""How long one repetition may take: it hangs, then."""

_FEWEST: Final = 5
"""How many repetitions a median is of, at the least, in the short form too."""

Sample: TypeAlias = Mapping[str, float]
"""One repetition: what was measured, by the names of the rows it is for."""

Subject: TypeAlias = Callable[[], Awaitable[Sample]]
Subjects: TypeAlias = Mapping[str, Subject]


@dataclass(frozen=True)
class Scale:
    """How much is done: all, or the short form, which shows that everything runs."""

    short: bool = False

    def of(self, full: int, short: int) -> int:
        """Return an amount of work."""
        return short if self.short else full


class Better(Enum):
    """Which way is better; the value says how a bound is written."""

    LESS = "≤"
    MORE = "≥"


@dataclass(frozen=True)
class Goal:
    """What is to be reached: a value, or so many times what a subject has."""

    value: float
    times: str | None = None


@dataclass(frozen=True)
class Row:
    """One figure. ``ours`` is the subject that is to reach the goals."""

    name: str
    title: str
    unit: str
    better: Better = Better.LESS
    goals: tuple[Goal, ...] = ()
    ours: str = "relay"


@dataclass(frozen=True)
class Work:
    """Something that is done by several subjects, and the rows that are measured at it."""

    name: str
    rows: tuple[Row, ...]
    subjects: Callable[[Scale], AbstractAsyncContextManager[Subjects]]
    warm: bool = True
    """Whether each subject does it once before it counts; in the short form none does."""

    repetitions: int = _FEWEST
    """How often each subject does it, in the full form: more where repetitions differ much."""


@dataclass
class Result:
    """All repetitions of one row, by subject."""

    row: Row
    samples: dict[str, list[float]] = field(default_factory=dict)

    def median(self, subject: str) -> float | None:
        """Return the median of a subject; None if it does not do this work."""
        samples = self.samples.get(subject)
        return statistics.median(samples) if samples else None

    def ratio(self, subject: str) -> float | None:
        """Return how many times our figure is that of a subject."""
        ours, other = self.median(self.row.ours), self.median(subject)
        return ours / other if ours is not None and other else None

    def bound(self, goal: Goal) -> float | None:
        """Return what a goal amounts to in this run."""
        if goal.times is None:
            return goal.value
        other = self.median(goal.times)
        return None if other is None else other * goal.value

    @property
    def reached(self) -> bool | None:
        """Whether all goals are reached; None where there are none."""
        ours = self.median(self.row.ours)
        bounds = [self.bound(goal) for goal in self.row.goals]
        if ours is None or not bounds:
            return None
        if self.row.better is Better.LESS:
            return all(bound is not None and ours <= bound for bound in bounds)
        return all(bound is not None and ours >= bound for bound in bounds)


async def run(work: Work, scale: Scale) -> list[Result]:
    """Do a work; return one result for each row. Raises `BenchError`."""
    results = {row.name: Result(row) for row in work.rows}
    async with work.subjects(scale) as subjects:
        if work.warm and not scale.short:
            for name, subject in subjects.items():
                await _done(work, name, subject)
        for _ in range(scale.of(work.repetitions, _FEWEST)):
            for name, subject in subjects.items():
                gc.collect()
                for row, value in (await _done(work, name, subject)).items():
                    results[row].samples.setdefault(name, []).append(value)
    return list(results.values())


async def _done(work: Work, name: str, subject: Subject) -> Sample:
    try:
        async with asyncio.timeout(_MOST_SECONDS):
            return await subject()
    except TimeoutError:
        raise BenchError(f"{work.name}: the {name} did not end in {_MOST_SECONDS} s.") from None


class Clock:
    """Seconds, from the moment it is made."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """How many have passed."""
        return time.perf_counter() - self._started


async def times_within(seconds: float, act: Callable[[], Awaitable[object]]) -> list[float]:
    """Do something again and again for a while; return the seconds that each time took."""
    whole = Clock()
    taken = []
    while whole.seconds < seconds:
        clock = Clock()
        await act()
        taken.append(clock.seconds)
    return taken


async def median_of(times: int, act: Callable[[], Awaitable[object]]) -> float:
    """Return the median of the seconds that something takes."""
    taken = []
    for _ in range(times):
        clock = Clock()
        await act()
        taken.append(clock.seconds)
    return statistics.median(taken)
