"""The schedule of waits."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_relay.backoff import Backoff
from jupyter_relay.rest.response import retry_after

BACKOFF = Backoff(base=0.5, cap=20.0)


def test_waits_double_up_to_the_cap() -> None:
    waits = [BACKOFF.delay(attempt, 1.0) for attempt in range(8)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0]


@given(st.integers(0, 10**9), st.floats(0, 1))
def test_any_try_waits_between_nothing_and_the_cap(attempt: int, chance: float) -> None:
    assert 0 <= BACKOFF.delay(attempt, chance) <= 20.0


@given(st.integers(0, 50), st.floats(0, 1))
def test_jitter_is_full(attempt: int, chance: float) -> None:
    assert BACKOFF.delay(attempt, chance) == BACKOFF.delay(attempt, 1.0) * chance


def test_a_base_of_nothing_does_not_wait() -> None:
    assert Backoff(base=0.0, cap=0.0).delay(7, 1.0) == 0.0


NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Mon, 04 May 2026 03:03:01 GMT", 60.0),
        ("Monday, 04-May-26 03:03:01 GMT", 60.0),
        ("Mon, 04 May 2026 03:03:01 -0000", 60.0),
        ("Mon, 04 May 2026 01:00:00 GMT", 0.0),
        (None, None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("٣", None),
    ],
)
def test_a_retry_after_is_read(text: str | None, seconds: float | None) -> None:
    assert retry_after(text, NOW) == seconds
