"""Which messages of a kernel have not come.

ipykernel numbers its messages, ``<session>_<pid>_<n>``, with one counter for all channels (seen on
ipykernel 7.4; the format is jupyter_client's ``Session.msg_id``). Channels overtake one another,
so a number that is missing now may still come; it is lost when a message that the kernel sent
later, on the same channel or behind a barrier, is in.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from jupyter_relay.wire.message import Channel

_MOST_HOLES = 4096
"""How many holes are kept, each of any width; the oldest go first."""

_MOST_WIDTH = 10_000_000
"""A leap that is no loss of output: such ids, time stamps for one, do not count messages."""

_MOST_DIGITS = 18

_IOPUB: Final = Channel.IOPUB
"""Asked for with every message that passes; see ``link.py``."""


class Numbering:
    """The numbers seen of one kernel process, and the holes between them.

    ``high`` is the highest on any channel and ``output`` the highest on iopub: a reply overtakes
    the output before it, and what it has overtaken may yet be lost. A kernel that does not number
    its messages leaves this empty: both stay None.
    """

    def __init__(self) -> None:
        self._series: str | None = None
        self._next: str | None = None
        """The id that comes next if nothing is missing: that of nearly every message."""

        self._leaps: str | None = None
        self._holes: list[tuple[int, int]] = []
        """The first number of each hole and that behind its last, in order."""

        self._control: int | None = None
        self.high: int | None = None
        self.output: int | None = None

    def see(self, msg_id: str, channel: Channel, *, leads: bool) -> int | None:
        """Note a message of a channel; return its number, None if it is not one of the kernel's
        series.

        Only a message that ``leads``, a reply by which the kernel is known, can begin a series: the
        gateway and forked children of the kernel send messages too, with counters of their own.
        """
        if msg_id == self._next and self.high is not None:
            number = self._reach(self.high + 1)
            if channel is _IOPUB:
                self.output = number
                return number
        else:
            read = self._read(msg_id, leads=leads)
            if read is None:
                return None
            number = read
            if channel is _IOPUB:
                self.output = number if self.output is None else max(number, self.output)
        if channel is Channel.CONTROL:
            self._control = number
        return number

    def floor(self, channel: Channel) -> int | None:
        """Return a number below which nothing that a request of this channel brings can be lost
        from now on; None if the kernel's numbers are not known.

        On the shell that is the highest of iopub, since a kernel begins there with ``busy``. On
        control many kernels have no status messages, so that replies count alone.
        """
        if channel is Channel.CONTROL and self.output is not None:
            return -1 if self._control is None else min(self.output, self._control)
        return self.output

    def _read(self, msg_id: str, *, leads: bool) -> int | None:
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

    def settle(self, before: int) -> None:
        """Forgive the holes below a number: they were replies to other clients, or are announced.

        What a reply has overtaken lies above, and may yet come or be lost.
        """
        self._holes = [(max(first, before), stop) for first, stop in self._holes if stop > before]

    def forget(self) -> None:
        """Begin anew, for another process of the kernel."""
        self._series = None
        self._next = None
        self._holes.clear()
        self._control = None
        self.high = None
        self.output = None

    def _reach(self, number: int) -> int:
        self.high = number
        self._next = f"{self._series}_{number + 1}"
        return number
