"""Which messages of a kernel have not come.

ipykernel numbers its messages, ``<session>_<pid>_<n>``, with one counter for all channels (seen on
ipykernel 7.4; the format is jupyter_client's ``Session.msg_id``). Channels overtake one another,
so a number that is missing now may still come; it is lost when a message that the kernel sent
later, on the same channel or behind a barrier, is in.
"""

from __future__ import annotations

from bisect import bisect_right

_MOST_HOLES = 4096
"""How many holes are kept, each of any width; the oldest go first."""

_MOST_WIDTH = 10_000_000
"""A leap that is no loss of output: such ids, time stamps for one, do not count messages."""

_MOST_DIGITS = 18


class Numbering:
    """The numbers seen of one kernel process, and the holes between them.

    A kernel that does not number its messages leaves this empty: `high` stays None.
    """

    def __init__(self) -> None:
        self._series: str | None = None
        self._next: str | None = None
        """The id that comes next if nothing is missing: that of nearly every message."""

        self._leaps: str | None = None
        self._holes: list[tuple[int, int]] = []
        """The first number of each hole and that behind its last, in order."""

        self.high: int | None = None

    def see(self, msg_id: str, *, leads: bool) -> int | None:
        """Note a message; return its number, None if it is not one of the kernel's series.

        Only a message that ``leads``, a reply by which the kernel is known, can begin a series: the
        gateway and forked children of the kernel send messages too, with counters of their own.
        """
        if msg_id == self._next and self.high is not None:
            return self._reach(self.high + 1)
        series, _, digits = msg_id.rpartition("_")
        if not series or not (digits.isascii() and digits.isdigit()):
            return None
        if len(digits) > _MOST_DIGITS or series == self._leaps:
            return None
        number = int(digits)
        if series != self._series:
            if not leads:
                return None
            self.forget()
            self._series = series
        if self.high is None:
            return self._reach(number)
        if number > self.high + _MOST_WIDTH:
            self.forget()
            self._leaps = series
            return None
        if number <= self.high:
            self.excuse(number)
            return number
        if number > self.high + 1:
            self._holes.append((self.high + 1, number))
            del self._holes[:-_MOST_HOLES]
        return self._reach(number)

    def missing(self, after: int, before: int) -> int:
        """How many numbers between these two have not come."""
        return sum(max(0, min(stop, before) - max(first, after + 1)) for first, stop in self._holes)

    def excuse(self, number: int) -> None:
        """A number is not missing: it came after all, or is known to be for somebody else."""
        at = bisect_right(self._holes, number, key=lambda hole: hole[0]) - 1
        if at < 0 or number >= self._holes[at][1]:
            return
        first, stop = self._holes[at]
        rest = [(first, number), (number + 1, stop)]
        self._holes[at : at + 1] = [hole for hole in rest if hole[0] < hole[1]]

    def settle(self) -> None:
        """Forgive the holes there are: they were replies to other clients, or are announced."""
        self._holes.clear()

    def forget(self) -> None:
        """Begin anew, for another process of the kernel."""
        self._series = None
        self._next = None
        self._holes.clear()
        self.high = None

    def _reach(self, number: int) -> int:
        self.high = number
        self._next = f"{self._series}_{number + 1}"
        return number
