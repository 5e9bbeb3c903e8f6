"""The schedule of waits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jupyter_relay.backoff import Backoff

BACKOFF = Backoff(base=0.5, cap=20.0)


def test_waits_double_up_to_the_cap() -> None:
    waits = [BACKOFF.delay(attempt, 1.0) for attempt in range(8)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0]


@given(st.integers(0, 10**9), st.floats(0, 1))
def test_backoff_waits_between_nothing_and_the_cap(attempt: int, chance: float) -> None:
    assert 0 <= BACKOFF.delay(attempt, chance) <= 20.0


@given(st.integers(0, 50), st.floats(0, 1))
def test_jitter_is_full(attempt: int, chance: float) -> None:
    assert BACKOFF.delay(attempt, chance) == BACKOFF.delay(attempt, 1.0) * chance


def test_backoff_with_a_base_of_zero_does_not_wait() -> None:
    assert Backoff(base=0.0, cap=0.0).delay(7, 1.0) == 0.0
