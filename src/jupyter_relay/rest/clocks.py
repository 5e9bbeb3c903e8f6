"""The difference of a gateway's clock and ours, by the ``Date`` of its answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from math import inf
from typing import Final

_RESOLUTION: Final = 1.0
"""The seconds by which a ``Date`` is coarse: it has no fractions (RFC 9110, 5.6.7)."""

_MAX_APART_SECONDS: Final = 30 * 24 * 3600.0
"""The seconds beyond which a ``Date`` is nonsense: a clock may be set to the wrong day or month."""


class ClockDifference:
    """Estimates how many seconds a gateway's clock is behind ours.

    Each answer bounds it from both sides: its ``Date`` was written at some moment between the
    request and the answer, and stands for the whole second after it. The range that all answers
    allow is
    the estimate, so that it becomes better with each. Where 0 is possible it is 0: clocks that
    agree as far as can be told change no date. An answer that agrees with none before it, after a
    clock was set, begins anew.
    """

    def __init__(self) -> None:
        self._least, self._most = -inf, inf

    @property
    def behind(self) -> timedelta:
        """How far the gateway's clock is behind ours; negative if it is ahead."""
        if self._least <= 0.0 <= self._most:
            return timedelta(0)
        return timedelta(seconds=(self._least + self._most) / 2)

    def to_our_clock(self, date: datetime) -> datetime:
        """Return by our clock what a gateway has dated by its own."""
        behind = self.behind
        try:
            return date + behind if behind else date
        except OverflowError:  # at one end of the calendar
            return date

    def note_date(self, date: str | None, *, asked: float, answered: float) -> None:
        """Take the ``Date`` of an answer; one that is missing, cannot be read, or is more than 30
        days from our own clock says nothing.

        ``asked`` and ``answered`` are when the request went out and the answer came, by our clock,
        in seconds since 1970.
        """
        written = _seconds(date)
        if written is None or answered < asked or abs(answered - written) > _MAX_APART_SECONDS:
            return
        least, most = asked - written - _RESOLUTION, answered - written
        self._least, self._most = max(self._least, least), min(self._most, most)
        if self._least > self._most:
            self._least, self._most = least, most


def _seconds(date: str | None) -> float | None:
    """Read an HTTP date, as seconds since 1970."""
    if date is None:
        return None
    try:
        read = parsedate_to_datetime(date)
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
