"""The message numbers of a kernel, and which of them are missing.

ipykernel numbers its messages, ``<session>_<pid>_<n>``, with one counter for all channels (seen on
ipykernel 7.4; the format is jupyter_client's ``Session.msg_id``). Channels overtake one another, so
a number that is missing now may still come. It is lost when a message came that the kernel sent
later, on the same channel or behind a barrier.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final

from jupyter_relay.wire.message import CONTROL, IOPUB, Channel

_MAX_HOLES = 4096
"""How many holes are remembered, each of any width; the oldest are forgotten first."""

_MAX_IGNORED = 256
"""How many ignored numbers are remembered; the oldest are forgotten first."""

REPEATED: Final = -1
"""What `Numbering.record` returns for a message that an earlier socket has brought."""

EARLIER: Final = -2
"""What it returns for a number below those remembered, and for one that came before on this socket:
two threads of a kernel may have used one number."""

_MAX_WIDTH = 10_000_000
"""A wider hole is not a loss of output: such ids, such as timestamps, do not count messages."""

_MAX_DIGITS = 18
"""The digits of the largest number that is read."""


class Numbering:
    """The numbers of the messages of one kernel process, and the holes between them.

    For a kernel that does not number its messages, all fields stay as they are made. `reset`, for
    another process, makes them so again.
    """

    __slots__ = (
        "_control",
        "_holes",
        "_ignored",
        "_known_from",
        "_next",
        "_replayed_to",
        "_series",
        "_unusable_series",
        "high",
        "output",
    )

    def __init__(self) -> None:
        self._series: str | None = None
        """What precedes the number in the ids of the kernel; None until a message shows it."""

        self._next: str | None = None
        """The id that comes next if nothing is missing: that of nearly every message."""

        self._unusable_series: str | None = None
        """The last series whose ids do not count messages. Not reset."""

        self._holes: list[tuple[int, int]] = []
        """The missing numbers, in order: the first of each hole, and the one behind its last."""

        self._known_from = 0
        """The lowest number that is known to have come or to be missing. Set with the first number,
        and when a hole is forgotten."""

        self._replayed_to = -1
        """The highest number when the socket opened: a gateway replays nothing above it."""

        self._ignored: dict[int, None] = {}
        """The numbers that are not missing, since they were for the gateway."""

        self._control: int | None = None
        """The highest number on control."""

        self.high: int | None = None
        """The highest number on any channel."""

        self.output: int | None = None
        """The highest number on iopub. A reply overtakes the output before it, so what has a lower
        number than ``high`` may still come, or be lost."""

    def record(self, msg_id: str, channel: Channel, *, identifies: bool) -> int | None:
        """Record a message of a channel and return its number; None if it is not of the kernel's
        series, and `REPEATED` or `EARLIER` if it came before, or may have.

        Only a message that ``identifies`` the kernel's process can begin a series: the gateway, and
        forked children of the kernel, send messages with counters of their own.
        """
        if msg_id == self._next and self.high is not None:
            number = self.high + 1
        else:
            read = self._read_id(msg_id, identifies=identifies)
            if read is None or read < 0:
                return read
            number = read
        if self.high is None or number > self.high:
            self.high = number
            self._next = f"{self._series}_{number + 1}"
        if channel is IOPUB:
            if self.output is None or number > self.output:
                self.output = number
        elif channel is CONTROL:
            self._control = number
        return number

    def reopened(self) -> None:
        """Another socket is open, on which the gateway may replay what has come."""
        self._replayed_to = -1 if self.high is None else self.high

    def floor(self, channel: Channel) -> int | None:
        """Return the number below which nothing can be lost from now on of what answers requests on
        this channel; None if the kernel's numbers are not known.

        For the shell that is the highest on iopub, where every answer begins with ``busy``. On
        control many kernels send no status messages, so only replies count.
        """
        if channel is CONTROL and self.output is not None:
            return -1 if self._control is None else min(self.output, self._control)
        return self.output

    def _read_id(self, msg_id: str, *, identifies: bool) -> int | None:
        """Read the number of an id that is not the next one, and record what is missing before it;
        return what `record` does."""
        series, _, digits = msg_id.rpartition("_")
        if not series or not (digits.isascii() and digits.isdigit()):
            return None
        if len(digits) > _MAX_DIGITS or series == self._unusable_series:
            return None
        number = int(digits)
        if series != self._series:
            if not identifies:
                return None
            self.reset()
            self._series = series
        if self.high is None:
            self._known_from = number
            return number
        if number > self.high + _MAX_WIDTH:
            self.reset()
            self._unusable_series = series
            return None
        if number <= self.high:
            if number < self._known_from:
                return EARLIER
            if self._remove_from_hole(number) or number in self._ignored:
                return number
            return REPEATED if number <= self._replayed_to else EARLIER
        if number > self.high + 1:
            self._holes.append((self.high + 1, number))
            if len(self._holes) > _MAX_HOLES:
                self._known_from = self._holes.pop(0)[1]
        return number

    def count_missing(self, after: int, before: int) -> int:
        """Return how many numbers between these two are missing."""
        at = max(0, bisect_right(self._holes, after, key=lambda hole: hole[0]) - 1)
        end = bisect_left(self._holes, before, key=lambda hole: hole[0])
        return sum(
            max(0, min(stop, before) - max(first, after + 1)) for first, stop in self._holes[at:end]
        )

    def ignore(self, number: int) -> None:
        """A number is not missing: its message was for the gateway."""
        if self._remove_from_hole(number):
            self._ignored[number] = None
            if len(self._ignored) > _MAX_IGNORED:
                del self._ignored[next(iter(self._ignored))]

    def ignore_only_missing(self, after: int, before: int) -> None:
        """If a single number is missing between these two, its message was for the gateway."""
        if self.count_missing(after, before) == 1:
            at = max(0, bisect_right(self._holes, after, key=lambda hole: hole[0]) - 1)
            while self._holes[at][1] <= after + 1:
                at += 1
            self.ignore(max(self._holes[at][0], after + 1))

    def _remove_from_hole(self, number: int) -> bool:
        """Remove a number from the hole it is in; return False if it is in none."""
        at = bisect_right(self._holes, number, key=lambda hole: hole[0]) - 1
        if at < 0 or number >= self._holes[at][1]:
            return False
        first, stop = self._holes[at]
        rest = [(first, number), (number + 1, stop)]
        self._holes[at : at + 1] = [hole for hole in rest if hole[0] < hole[1]]
        return True

    def reset(self) -> None:
        """Forget all numbers, for another process of the kernel."""
        self._series = None
        self._next = None
        self._holes.clear()
        self._ignored.clear()
        self._control = None
        self._replayed_to = -1
        self.high = None
        self.output = None
