"""How far a gateway's clock is behind ours, by the dates of its answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_relay.rest.clocks import ClockDifference

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def hear(clocks: ClockDifference, at: float, *, behind: float, took: float = 0.0) -> None:
    """Let a gateway with such a clock answer ``at`` seconds past noon of ours."""
    asked = NOON.timestamp() + at
    said = datetime.fromtimestamp(asked + took / 2 - behind, UTC)
    date = format_datetime(said.replace(microsecond=0), usegmt=True)
    clocks.note_date(date, asked=asked, answered=asked + took)


@pytest.mark.parametrize("behind", [3600.0, -3600.0, 7.25])
def test_dates_of_a_clock_that_is_set_wrong_are_read_by_ours(behind: float) -> None:
    clocks = ClockDifference()
    for at in range(20):
        hear(clocks, at * 1.37, behind=behind, took=0.02)
    assert abs(clocks.behind - timedelta(seconds=behind)) < timedelta(seconds=0.5)
    dated = NOON - timedelta(seconds=behind)
    assert abs(clocks.to_our_clock(dated) - NOON) < timedelta(seconds=0.5)


@given(
    st.floats(-1e6, 1e6),
    st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 60)), min_size=1, max_size=20),
)
def test_clock_estimate_is_within_what_every_answer_allows(
    behind: float, answers: list[tuple[float, float]]
) -> None:
    clocks = ClockDifference()
    for at, took in answers:
        hear(clocks, at, behind=behind, took=took)
    shortest = min(took for _, took in answers)
    assert abs(clocks.behind.total_seconds() - behind) <= 1.01 + shortest


@pytest.mark.parametrize("behind", [0.0, 0.4, -0.4])
def test_clocks_that_agree_as_far_as_can_be_told_change_no_date(behind: float) -> None:
    clocks = ClockDifference()
    assert clocks.to_our_clock(NOON) is NOON
    hear(clocks, 0.45, behind=behind, took=0.1)
    assert clocks.to_our_clock(NOON) is NOON


def test_clock_estimate_of_a_quick_answer_is_kept_after_a_slow_one() -> None:
    clocks = ClockDifference()
    hear(clocks, 0, behind=100.0, took=0.01)
    before = clocks.behind
    hear(clocks, 5, behind=100.0, took=50.0)
    assert clocks.behind == before


def test_clock_that_is_set_right_is_believed() -> None:
    clocks = ClockDifference()
    hear(clocks, 0, behind=3600.0)
    hear(clocks, 60, behind=0.0)
    assert clocks.to_our_clock(NOON) is NOON


@pytest.mark.parametrize("date", [None, "", "yesterday", "Sat, 99 Nov 2026 12:00:00 GMT"])
def test_clock_without_a_valid_date_has_no_estimate(date: str | None) -> None:
    clocks = ClockDifference()
    clocks.note_date(date, asked=NOON.timestamp(), answered=NOON.timestamp())
    assert clocks.to_our_clock(NOON) is NOON


def test_clock_ignores_a_date_of_another_month() -> None:
    clocks = ClockDifference()
    clocks.note_date(
        "Fri, 31 Dec 9999 23:59:59 GMT", asked=NOON.timestamp(), answered=NOON.timestamp()
    )
    assert clocks.to_our_clock(NOON) == NOON


def test_clock_leaves_a_date_at_the_end_of_the_calendar_as_it_is() -> None:
    clocks = ClockDifference()
    hear(clocks, 0.0, behind=3600.0)
    last = datetime.max.replace(tzinfo=UTC)
    assert clocks.to_our_clock(last) == last
