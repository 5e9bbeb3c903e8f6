"""Which messages of a kernel have not come.

ipykernel numbers its messages, ``<session>_<pid>_<n>``, with one counter for all channels (seen on
ipykernel 7.4; the format is jupyter_client's ``Session.msg_id``). Channels overtake one another,
so a number that is missing now may still come; it is lost when a message that the kernel sent
later, on the same channel or behind a barrier, is in.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final

from jupyter_relay.wire.message import Channel

_MOST_HOLES = 4096
"""How many holes are kept, each of any width; the oldest go first."""

_MOST_EXCUSED = 256
"""How many numbers are remembered that are for others."""

REPEATED: Final = -1
"""What `Numbering.see` returns for a message that an earlier socket has brought."""

EARLIER: Final = -2
"""What it returns for one whose number is lower than those remembered, or has come on this very
socket: two threads of a kernel may have taken one number."""

_MOST_WIDTH = 10_000_000
"""A leap that is no loss of output: such ids, time stamps for one, do not count messages."""

_MOST_DIGITS = 18

_IOPUB: Final = Channel.IOPUB
"""This and the next are asked for with every message that passes; see ``link.py``."""

_CONTROL: Final = Channel.CONTROL


class Numbering:
    """The numbers seen of one kernel process, and the holes between them.

    ``high`` is the highest on any channel and ``output`` the highest on iopub: a reply overtakes
    the output before it, and what it has overtaken may yet be lost. A kernel that does not number
    its messages leaves this empty: both stay None.
    """

    __slots__ = (
        "_control",
        "_excused",
        "_holes",
        "_known_from",
        "_leaps",
        "_next",
        "_replayed_to",
        "_series",
        "high",
        "output",
    )

    def __init__(self) -> None:
        self._series: str | None = None
        self._next: str | None = None
        """The id that comes next if nothing is missing: that of nearly every message."""

        self._leaps: str | None = None
        self._holes: list[tuple[int, int]] = []
        """The first number of each hole and that behind its last, in order."""

        self._known_from = 0
        self._replayed_to = -1
        """The highest number when the socket was opened: a gateway replays nothing above it."""

        self._excused: dict[int, None] = {}
        self._control: int | None = None
        self.high: int | None = None
        self.output: int | None = None

    def see(self, msg_id: str, channel: Channel, *, leads: bool) -> int | None:
        """Note a message of a channel; return its number, None if it is not one of the kernel's
        series, and `REPEATED` or `EARLIER` if it has come before, or may have.

        Only a message that ``leads``, a reply by which the kernel is known, can begin a series: the
        gateway and forked children of the kernel send messages too, with counters of their own.
        """
        if msg_id == self._next and self.high is not None:
            number = self.high + 1
        else:
            read = self._read(msg_id, leads=leads)
            if read is None or read < 0:
                return read
            number = read
        if self.high is None or number > self.high:
            self.high = number
            self._next = f"{self._series}_{number + 1}"
        if channel is _IOPUB:
            if self.output is None or number > self.output:
                self.output = number
        elif channel is _CONTROL:
            self._control = number
        return number

    def reopened(self) -> None:
        """Note that another socket is open, on which the gateway may replay what has come."""
        self._replayed_to = -1 if self.high is None else self.high

    def floor(self, channel: Channel) -> int | None:
        """Return a number below which nothing that a request of this channel brings can be lost
        from now on; None if the kernel's numbers are not known.

        On the shell that is the highest of iopub, since a kernel begins there with ``busy``. On
        control many kernels have no status messages, so that replies count alone.
        """
        if channel is _CONTROL and self.output is not None:
            return -1 if self._control is None else min(self.output, self._control)
        return self.output

    def _read(self, msg_id: str, *, leads: bool) -> int | None:
        """Read the number of an id that is not the next one, and note what is missing before it;
        return what `see` does."""
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
            self._known_from = number
            return number
        if number > self.high + _MOST_WIDTH:
            self.forget()
            self._leaps = series
            return None
        if number <= self.high:
            if number < self._known_from:
                return EARLIER
            if self._fill(number) or number in self._excused:
                return number
            return REPEATED if number <= self._replayed_to else EARLIER
        if number > self.high + 1:
            self._holes.append((self.high + 1, number))
            if len(self._holes) > _MOST_HOLES:
                self._known_from = self._holes.pop(0)[1]
        return number

    def missing(self, after: int, before: int) -> int:
        """How many numbers between these two have not come."""
        at = max(0, bisect_right(self._holes, after, key=lambda hole: hole[0]) - 1)
        end = bisect_left(self._holes, before, key=lambda hole: hole[0])
        return sum(
            max(0, min(stop, before) - max(first, after + 1)) for first, stop in self._holes[at:end]
        )

    def excuse(self, number: int) -> None:
        """A number is not missing: it is known to be for somebody else."""
        if self._fill(number):
            self._excused[number] = None
            if len(self._excused) > _MOST_EXCUSED:
                del self._excused[next(iter(self._excused))]

    def _fill(self, number: int) -> bool:
        """Take a number out of the hole that it lies in; return whether there was one."""
        at = bisect_right(self._holes, number, key=lambda hole: hole[0]) - 1
        if at < 0 or number >= self._holes[at][1]:
            return False
        first, stop = self._holes[at]
        rest = [(first, number), (number + 1, stop)]
        self._holes[at : at + 1] = [hole for hole in rest if hole[0] < hole[1]]
        return True

    def forget(self) -> None:
        """Begin anew, for another process of the kernel."""
        self._series = None
        self._next = None
        self._holes.clear()
        self._excused.clear()
        self._control = None
        self._replayed_to = -1
        self.high = None
        self.output = None
