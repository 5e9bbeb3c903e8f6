"""What a reopened link has to find out: which requests lost their answers, how much was lost.

An outage leaves a *gap*: requests that were under way, and the highest number seen before it.
After the reopen a *barrier* goes up each lane that has such requests; the theory stands above
`Link`, in ``link.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from jupyter_relay.core.numbering import Numbering
from jupyter_relay.core.pending import Request
from jupyter_relay.wire.message import Channel, Message


@dataclass(frozen=True, slots=True)
class Loss:
    """What an outage of so many seconds cost: up to so many messages, None if nobody can know."""

    count: int | None
    seconds: float


class Passed(NamedTuple):
    """All that went before a barrier is in: the requests that it followed, and what was lost.

    ``whole`` says that nothing at all was lost since the outage began, as far as can be counted:
    what has left no trace then never reached the kernel.
    """

    behind: list[Request]
    loss: Loss
    whole: bool


@dataclass(slots=True)
class _Gap:
    """An outage, or several in a row, whose losses are not known yet.

    ``cells`` were under way when it began. ``whole`` is as in `Passed`; ``told`` says that a loss
    that cannot be counted is announced.
    """

    floor: int | None
    cells: list[Request]
    seconds: float = 0.0
    whole: bool = True
    told: bool = False


@dataclass(slots=True)
class _Barrier:
    """A barrier under way. Output has an order of its own on iopub, so the shell's needs its idle
    status too; control requests, in some kernels, have no status messages at all. ``settles`` is
    whether all that is still under way behind it has lost its answer."""

    behind: list[Request]
    needs_idle: bool
    settles: bool = True
    replied: bool = False
    idle: bool = False

    @property
    def passed(self) -> bool:
        return self.replied and (self.idle or not self.needs_idle)


class Recovery:
    """Keeps the gap of the last outage, and the barriers that will close it."""

    def __init__(self, numbering: Numbering) -> None:
        self._numbering = numbering
        self._gap: _Gap | None = None
        self._barriers: dict[str, _Barrier] = {}

    def drop(self, under_way: Iterable[Request]) -> None:
        """The link dropped with these requests sent and not over."""
        gap = self._gap or _Gap(self._numbering.high, [])
        gap.cells = list(under_way)
        self._gap = gap if gap.cells else None
        self._barriers.clear()

    def reopen(
        self,
        under_way: Iterable[Request],
        seconds: float,
        barrier: Callable[[Channel, str | None], Message],
    ) -> list[Message]:
        """The link is open again after so many seconds; return the barriers to send first."""
        if self._gap is not None:
            self._gap.seconds += seconds
        lanes: dict[tuple[Channel, str | None], list[Request]] = {}
        for request in under_way:
            if request.subshell_id is not None:
                # A kernel that was restarted has no such subshell, and only the shell's own barrier
                # finds that out.
                lanes.setdefault((Channel.SHELL, None), [])
            lanes.setdefault(request.lane, []).append(request)
        messages = []
        for (channel, subshell_id), behind in lanes.items():
            message = barrier(channel, subshell_id)
            self._barriers[message.head.msg_id] = _Barrier(
                behind, needs_idle=channel is Channel.SHELL
            )
            messages.append(message)
        return messages

    def ask(
        self, under_way: Iterable[Request], barrier: Callable[[Channel, str | None], Message]
    ) -> list[Message]:
        """A kernel that owes these something is silent; return what finds out what became of it.

        Whether it is the same process, and which idle will not come. Of replies it proves nothing,
        since there was no outage, and not every kernel answers this in its turn.
        """
        if self._barriers:
            return []
        message = barrier(Channel.SHELL, None)
        self._barriers[message.head.msg_id] = _Barrier(
            list(under_way), needs_idle=True, settles=False
        )
        return [message]

    def owns(self, msg_id: str) -> bool:
        """Whether this is a barrier under way."""
        return msg_id in self._barriers

    @property
    def before(self) -> list[Request]:
        """The requests that were under way before the barriers."""
        if self._gap is not None:
            return self._gap.cells
        return [request for barrier in self._barriers.values() for request in barrier.behind]

    def reply(self, msg_id: str, number: int | None) -> Passed | None:
        """The reply to a barrier is in; return what is known if that was all of it."""
        barrier = self._barriers[msg_id]
        barrier.replied = True
        return self._pass(msg_id, barrier, number)

    def idle(self, msg_id: str, number: int | None) -> Passed | None:
        """The idle status of a barrier is in; return what is known if that was all of it."""
        barrier = self._barriers[msg_id]
        barrier.idle = True
        return self._pass(msg_id, barrier, number)

    def cell_idle(self, request: Request, number: int | None) -> Loss | None:
        """The output of a request ends; return what was lost of it, None if nothing."""
        gap = self._gap
        if gap is None or request not in gap.cells:
            return None
        lost = self._missing(gap, number)
        if lost is None:
            told, gap.told = gap.told, True
            return None if told else Loss(None, gap.seconds)
        # Its own reply is numbered before its idle, and may yet come on its own channel.
        lost = max(0, lost - (not request.replied))
        gap.floor = number
        self._numbering.settle()
        return Loss(lost, gap.seconds) if lost else None

    def recount(self) -> None:
        """Another process answers: the barriers stand, and the numbers from before mean nothing."""
        if self._gap is not None:
            self._gap.floor = None

    def forget(self) -> None:
        """There is nothing left to find out: nothing is under way any more."""
        self._gap = None
        self._barriers.clear()

    def _pass(self, msg_id: str, barrier: _Barrier, number: int | None) -> Passed | None:
        if not barrier.passed:
            return None
        del self._barriers[msg_id]
        gap = self._gap
        if not barrier.settles:
            half_done = [request for request in barrier.behind if request.replied]
            cells = any(request.msg_type == "execute_request" for request in half_done)
            return Passed(half_done, Loss(None if cells else 0, 0.0), whole=False)
        if gap is None:
            return Passed(barrier.behind, Loss(0, 0.0), whole=False)
        loss = Loss(self._missing(gap, number), gap.seconds)
        if not self._barriers:
            self._gap = None
        if not self._barriers or not all(r.replied and r.ended for r in barrier.behind):
            # Else the cell that has to be told is in another lane, and still runs.
            self._numbering.settle()
        return Passed(barrier.behind, loss, gap.whole)

    def _missing(self, gap: _Gap, number: int | None) -> int | None:
        """How many messages of the outage are missing, and not settled yet."""
        if gap.floor is None or number is None:
            gap.whole = False
            return None
        lost = self._numbering.missing(gap.floor, number)
        gap.whole = gap.whole and lost == 0
        return lost
