"""What a reopened link has to find out: which requests lost their answers, how much was lost.

An outage leaves a *gap*: requests that were under way, and the highest number of output before it.
After the reopen a *barrier* goes up each lane that has such requests; the theory stands above
`Link`, in ``link.py``.

Which cells may miss something
------------------------------
A lane runs one cell after the other, and iopub keeps its order. So what was lost of a cell is
numbered between the end of the cell before it, or its own ``busy``, and its own idle; and if that
idle was lost, its reply, or the ``busy`` of the cell behind it. Each cell is told of the holes in
that stretch. A hole that was counted in another cell, of a lane that ran at the same time, is not
counted again: then the cell is told without a count.

A reply that has not come, and an idle that is known to be lost, leave holes which are no output;
they are not counted. Without numbers each lane's first cell to end after an outage is told, and
each cell whose idle was lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from jupyter_relay.link.numbering import Numbering
from jupyter_relay.link.pending import LaneName, Request
from jupyter_relay.wire.message import Channel, Message

_MOST_BARRIERS = 32
"""How many barriers may be under way. Each outage adds some, and a kernel that is at work answers
none; of the oldest the answers may be lost."""

_MOST_PAST = 4 * _MOST_BARRIERS
"""How many questions of ours are remembered that are over: an idle may follow the reply that ended
one."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What an outage of so many seconds cost a cell: up to so many messages, None if that cannot be
    known or is counted in another cell."""

    count: int | None
    seconds: float


class Missed(NamedTuple):
    """A request, and what was lost of its output; None if nothing was."""

    request: Request
    loss: Loss | None


class Passed(NamedTuple):
    """All that went before a barrier is in: the requests before it that lack something, and for how
    many seconds the link was down.

    ``whole`` says that nothing at all was lost since the outage began, as far as can be counted:
    what has left no trace then never reached the kernel.
    """

    unfinished: list[Missed]
    seconds: float
    whole: bool


@dataclass(slots=True)
class _Lane:
    """One lane in a gap: how far its cells are accounted for.

    All numbers up to ``floor`` belong to cells that have ended; ``order`` is that of the last of
    them. ``idles`` are lost idle statuses above the floor. ``told`` says that a loss without
    numbers is announced.

    ``queue`` are its requests that went behind the last whose idle is in, the first one first.
    ``passed_to`` is the order of that last one, and ``late`` are those before it that got their
    reply only after its idle.
    """

    floor: int | None
    order: int = 0
    idles: int = 0
    told: bool = False
    queue: deque[Request] = field(default_factory=deque)
    passed_to: int = 0
    late: list[Request] = field(default_factory=list)


@dataclass(slots=True)
class _Gap:
    """An outage, or several in a row, whose losses are not known yet.

    ``floors`` are those of iopub and of control when it began (`Numbering.floor`). ``members`` were
    under way when the link dropped last. All holes up to ``announced`` are told of, in one cell or
    another. ``is_queued`` says that each lane has its queue of members.
    """

    floors: dict[Channel, int | None]
    members: dict[str, Request] = field(default_factory=dict)
    seconds: float = 0.0
    announced: int = -1
    is_queued: bool = False
    lanes: dict[LaneName, _Lane] = field(default_factory=dict)

    def lane(self, request: Request) -> _Lane:
        """Return the lane of a request."""
        lane = self.lanes.get(request.lane)
        if lane is None:
            lane = self.lanes[request.lane] = _Lane(self.floors[Channel.IOPUB])
        return lane

    def fill_queues(self) -> None:
        """Queue all members, each in its lane."""
        self.is_queued = True
        for lane in self.lanes.values():
            lane.queue.clear()
            lane.late.clear()
            lane.passed_to = 0
        for request in self.members.values():
            self.lane(request).queue.append(request)


@dataclass(slots=True)
class _Barrier:
    """A barrier under way. Output has an order of its own on iopub, so the shell's needs its idle
    status too; control requests, in some kernels, have no status messages at all.

    ``before`` was under way in any lane when it was written, ``behind`` in its own. ``settles`` is
    whether all that is still under way behind it has lost its answer. ``sent`` is set when a socket
    has taken it, ``old`` when that socket has ended.
    """

    lane: LaneName
    before: list[Request]
    behind: list[Request]
    settles: bool = True
    sent: bool = False
    old: bool = False
    replied: bool = False
    idle: bool = False
    number: int | None = None

    @property
    def beside(self) -> bool:
        """Whether it is one that `Recovery.ask_beside` wrote."""
        return self.lane[0] is Channel.CONTROL and not self.settles

    @property
    def passed(self) -> bool:
        return self.replied and (self.idle or self.lane[0] is not Channel.SHELL)

    def note(self, number: int | None) -> None:
        """Note the number of a part of its answer."""
        if number is not None:
            self.number = max(number, self.number or 0)


class Recovery:
    """Keeps the gap of the last outage, and the barriers that will close it."""

    __slots__ = ("_barriers", "_gap", "_numbering", "_past")

    def __init__(self, numbering: Numbering) -> None:
        self._numbering = numbering
        self._gap: _Gap | None = None
        self._barriers: dict[str, _Barrier] = {}
        self._past: dict[str, None] = {}

    def __len__(self) -> int:
        """How many barriers are under way."""
        return len(self._barriers)

    def drop(self, under_way: Iterable[Request]) -> None:
        """The link dropped with these requests sent and not over.

        A barrier that a socket has taken stays good: its answer proves the same on the next socket,
        and a link that drops again and again would never get another one through a busy kernel.
        """
        members = {request.msg_id: request for request in under_way}
        if not members:
            self.forget()
            return
        if self._gap is None:
            channels = (Channel.IOPUB, Channel.CONTROL)
            self._gap = _Gap({channel: self._numbering.floor(channel) for channel in channels})
        self._gap.members = members
        self._gap.is_queued = False
        for lane in self._gap.lanes.values():
            lane.told = False
        self._barriers = {
            msg_id: barrier
            for msg_id, barrier in self._barriers.items()
            if barrier.sent and barrier.settles
        }
        for barrier in self._barriers.values():
            barrier.old = True

    def reopen(
        self,
        under_way: Iterable[Request],
        seconds: float,
        barrier: Callable[[Channel, str | None], Message],
    ) -> list[Message]:
        """The link is open again after so many seconds; return the barriers to send first."""
        self._numbering.reopened()
        if self._gap is not None:
            self._gap.seconds += seconds
        before = list(under_way)
        lanes: dict[LaneName, list[Request]] = {}
        for request in before:
            if request.subshell_id is not None:
                # A kernel that was restarted has no such subshell, and only the shell's own barrier
                # finds that out.
                lanes.setdefault((Channel.SHELL, None), [])
            lanes.setdefault(request.lane, []).append(request)
        messages = []
        for lane, behind in lanes.items():
            message = barrier(*lane)
            self._barriers[message.head.msg_id] = _Barrier(lane, before, behind)
            messages.append(message)
        while len(self._barriers) > max(_MOST_BARRIERS, len(messages)):
            del self._barriers[next(iter(self._barriers))]
        return messages

    def ask(
        self, under_way: Iterable[Request], barrier: Callable[[Channel, str | None], Message]
    ) -> list[Message]:
        """A kernel that owes these something is silent; return what finds out what became of it.

        Whether it is the same process, and which idle will not come. Of replies it proves nothing,
        since there was no outage, and not every kernel answers this in its turn.
        """
        if any(not earlier.old and not earlier.beside for earlier in self._barriers.values()):
            return []
        message = barrier(Channel.SHELL, None)
        before = list(under_way)
        self._barriers[message.head.msg_id] = _Barrier(
            (Channel.SHELL, None), before, before, settles=False
        )
        return [message]

    def ask_beside(
        self, under_way: Iterable[Request], barrier: Callable[[Channel, str | None], Message]
    ) -> list[Message]:
        """A kernel is silent that was heard to begin with one of these; return what it can answer
        beside its work, on control; nothing if that is asked already.

        It settles nothing: an answer shows that the socket hears, and which process answers.
        """
        lane = (Channel.CONTROL, None)
        if any(b.lane == lane and not b.old for b in self._barriers.values()):
            return []
        message = barrier(*lane)
        self._barriers[message.head.msg_id] = _Barrier(lane, [*under_way], [], settles=False)
        return [message]

    def sent(self, msg_id: str) -> None:
        """A socket has taken this message; if it is a barrier, it may be answered."""
        barrier = self._barriers.get(msg_id)
        if barrier is not None:
            barrier.sent = True

    def owns(self, msg_id: str) -> bool:
        """Whether this is a barrier under way."""
        return msg_id in self._barriers

    def has_passed(self, msg_id: str) -> bool:
        """Whether this was a barrier, or a question of ours, that has its answer."""
        return msg_id in self._past

    def before(self, msg_id: str) -> list[Request]:
        """The requests that were under way when this barrier was written."""
        return self._barriers[msg_id].before

    def reply(self, msg_id: str, number: int | None) -> Passed | None:
        """The reply to a barrier is in; return what is known if that was all of it."""
        barrier = self._barriers[msg_id]
        barrier.replied = True
        return self._pass(barrier, number)

    def idle(self, msg_id: str, number: int | None) -> Passed | None:
        """The idle status of a barrier is in; return what is known if that was all of it."""
        barrier = self._barriers[msg_id]
        barrier.idle = True
        return self._pass(barrier, number)

    def ends(self, request: Request, number: int | None) -> list[Missed]:
        """The idle status of a request is in: return what was lost of its output, and of those
        before it in its lane that have their reply and whose idle is therefore lost."""
        gap = self._gap
        if gap is None or request.ended or gap.members.get(request.msg_id) is not request:
            return []
        lane = gap.lane(request)
        if lane.floor is None or number is None:
            told, lane.told = lane.told, True
            return [] if told else [Missed(request, Loss(None, gap.seconds))]
        earlier = self._take_earlier(gap, lane, request)
        missed = self._unidle(gap, [r for r in earlier if r.answered is not None], request)
        awaited = int(not request.replied)
        if request.began is None:
            awaited += sum(r.seen and not r.replied and r.order > lane.order for r in earlier)
        missed.append(Missed(request, self._account(gap, request, number, spare=awaited)))
        return missed

    def replied(self, request: Request) -> None:
        """The reply to a request is in."""
        gap = self._gap
        if gap is not None and gap.members.get(request.msg_id) is request:
            lane = gap.lane(request)
            if request.order <= lane.passed_to and not request.ended:
                lane.late.append(request)

    def recount(self) -> None:
        """Another process answers: the barriers stand, and the numbers from before mean nothing."""
        if self._gap is not None:
            self._gap.floors = dict.fromkeys(self._gap.floors)
            self._gap.lanes.clear()
            self._gap.is_queued = False

    def forget(self) -> None:
        """There is nothing left to find out: nothing is under way any more."""
        self._gap = None
        self._barriers.clear()

    def _pass(self, barrier: _Barrier, number: int | None) -> Passed | None:
        barrier.note(number)
        if not barrier.passed:
            return None
        self._finish(barrier)
        unfinished = [request for request in barrier.behind if not request.over]
        if not barrier.settles:
            half_done = [request for request in unfinished if request.replied]
            losses = [Missed(request, self._between(request)) for request in half_done]
            return Passed(losses, 0.0, whole=False)
        gap = self._gap
        if gap is None:
            return Passed([Missed(request, None) for request in unfinished], 0.0, whole=False)
        passed = Passed(
            self._missed(gap, barrier, unfinished), gap.seconds, self._is_whole(gap, barrier)
        )
        if not self._barriers:
            self._gap = None
        return passed

    def _finish(self, barrier: _Barrier) -> None:
        """Forget a barrier that has passed, and those before it in its lane: no answer to them can
        come."""
        for msg_id, other in list(self._barriers.items()):
            if other.lane == barrier.lane:
                del self._barriers[msg_id]
                self._past[msg_id] = None
            if other is barrier:
                break
        while len(self._past) > _MOST_PAST:
            del self._past[next(iter(self._past))]

    def _is_whole(self, gap: _Gap, barrier: _Barrier) -> bool:
        channel = barrier.lane[0]
        floor = gap.floors[Channel.CONTROL if channel is Channel.CONTROL else Channel.IOPUB]
        if floor is None or barrier.number is None:
            return False
        return self._numbering.missing(floor, barrier.number) == 0

    def _missed(self, gap: _Gap, barrier: _Barrier, unfinished: list[Request]) -> list[Missed]:
        """What was lost of requests that lack their reply, their idle or both, for good."""
        end = barrier.number
        if end is not None and barrier.lane[0] is Channel.CONTROL:
            # What it has overtaken on iopub is still to come.
            end = min(end, self._numbering.output or 0)
        silent = [request for request in unfinished if not request.ended]
        if not silent:
            return [Missed(request, None) for request in unfinished]
        counted = end is not None and gap.lane(silent[0]).floor is not None
        losses: dict[str, Loss | None] = {}
        if counted:
            replied = [r for r in silent if r.answered is not None]
            last = replied[-1] if replied and replied[-1] is silent[-1] else None
            for missed in self._unidle(gap, [r for r in replied if r is not last], last):
                losses[missed.request.msg_id] = missed.loss
            if last is not None:
                losses[last.msg_id] = self._account(gap, last, end, spare=1)
        tail = _without_reply(silent)
        if tail:
            first = next((request for request in tail if request.is_cell), tail[0])
            losses[first.msg_id] = self._account(gap, first, end, spare=0)
        for request in silent:
            if request.msg_id not in losses and request.replied:
                losses[request.msg_id] = Loss(None, gap.seconds)
        return [Missed(request, losses.get(request.msg_id)) for request in unfinished]

    def _unidle(self, gap: _Gap, requests: list[Request], behind: Request | None) -> list[Missed]:
        """What was lost of requests of one lane whose replies are in and whose idle is lost.

        ``behind`` is the next one of their lane, if it has begun.
        """
        missed = []
        for request, follower in zip(requests, [*requests[1:], behind], strict=False):
            lane = gap.lane(request)
            if follower is not None and follower.began is not None:
                loss = self._account(gap, request, follower.began, spare=1)
            else:
                loss = self._account(gap, request, request.answered, spare=0)
                lane.idles += 1
            missed.append(Missed(request, loss))
        return missed

    def _account(self, gap: _Gap, request: Request, end: int | None, *, spare: int) -> Loss | None:
        """What was lost of a request whose output ends before this number; ``spare`` holes of those
        before it are no output."""
        lane = gap.lane(request)
        if lane.floor is None or end is None:
            return Loss(None, gap.seconds)
        first = lane.floor
        if request.began is not None:
            first = request.began
        else:
            spare += lane.idles
        lane.idles = 0
        lane.order = max(lane.order, request.order)
        lane.floor = max(lane.floor, end)
        lost = self._numbering.missing(first, end) - spare
        if lost <= 0 and not _lacks_an_end(request, end):
            return None
        fresh = self._numbering.missing(max(first, gap.announced), end) - spare
        gap.announced = max(gap.announced, end)
        return Loss(fresh if fresh > 0 else None, gap.seconds)

    def _between(self, request: Request) -> Loss | None:
        """What was lost of a request without an outage, when its idle was."""
        if request.began is None or request.answered is None:
            return Loss(None, 0.0)
        lost = self._numbering.missing(request.began, request.answered)
        return Loss(lost, 0.0) if lost else None

    @staticmethod
    def _take_earlier(gap: _Gap, lane: _Lane, request: Request) -> list[Request]:
        """Return those that went before a request in its lane and whose output has not ended, as
        far as they were not returned before, or got their reply since.

        Each costs a step or two in all, however many are under way.
        """
        if not gap.is_queued:
            gap.fill_queues()
        queue = lane.queue
        late = sorted((r for r in lane.late if r.order < request.order), key=_order)
        lane.late = [r for r in lane.late if r.order > request.order]
        earlier = [other for other in late if not other.ended]
        while queue and queue[0].order <= request.order:
            other = queue.popleft()
            lane.passed_to = other.order
            if other is not request and not other.ended:
                earlier.append(other)
        return earlier


def _order(request: Request) -> int:
    return request.order


def _lacks_an_end(request: Request, end: int) -> bool:
    """Whether a cell that ran has lost its ``busy``, or its reply lies behind the output that came.

    Then some of its output may be lost, though no hole is left to show it: its holes were counted
    in a later cell, since its reply came late; or they lie behind the number up to which was
    counted.
    """
    if not request.is_cell or not request.seen:
        return False
    return request.began is None or end < (request.answered or 0)


def _without_reply(requests: list[Request]) -> list[Request]:
    """Return the last of these, as far as they have no reply."""
    tail: list[Request] = []
    for request in reversed(requests):
        if request.replied:
            break
        tail.append(request)
    return tail[::-1]
