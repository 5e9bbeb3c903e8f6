"""Finds out what an outage has cost: which requests lost their answers, and how much output.

An outage leaves a *gap*: the requests that were pending, and the highest number of output before
it. After that a *barrier* is sent on each lane with such requests. ``docs/link.md`` has the theory,
and "Which cells may have lost output" in it is what this file computes.

Longer than others, since a gap and its barriers have no meaning apart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from jupyter_relay.link.numbering import Numbering
from jupyter_relay.link.pending import LaneName, Request
from jupyter_relay.wire.message import CONTROL, IOPUB, SHELL, Channel, Message

_MAX_BARRIERS = 32
"""How many barriers may be pending. Each outage adds some, and a kernel at work answers none. The
oldest are forgotten first, since their answers may be lost."""

_MAX_PASSED = 4 * _MAX_BARRIERS
"""How many barriers are remembered that have passed: an idle status may follow the reply that ended
one."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What a request lost in outages of ``seconds`` together: up to ``count`` messages. None if
    they cannot be counted, or are counted in another cell."""

    count: int | None
    seconds: float


class Missed(NamedTuple):
    """A ``request``, and what was lost of its output, ``loss``; None if nothing."""

    request: Request
    loss: Loss | None


class Passed(NamedTuple):
    """A barrier has its answer.

    ``unfinished`` are the requests before it, in its lane, that lack a part of their answers.
    ``seconds`` is how long the link was down. ``whole`` is True if no number is missing since the
    outage began: then a request of which nothing was seen never reached the kernel.
    """

    unfinished: list[Missed]
    seconds: float
    whole: bool


@dataclass(slots=True)
class _Lane:
    """One lane in a gap: how far the losses of its cells are counted.

    ``floor`` is the number up to which all belong to cells that have ended, None if the kernel's
    numbers are unknown; ``order`` is that of the last of these cells. Both only rise.
    ``lost_idles`` counts lost idle statuses above the floor. Reset when they are subtracted.
    ``already_reported`` is True if a loss without numbers was reported. Reset at each drop.
    ``queue`` are its requests behind the last one whose idle status came, the first one first;
    ``passed_to`` is the order of that last one; ``late`` are those before it whose reply came only
    after its idle status. All three are filled anew after a drop.
    """

    floor: int | None
    order: int = 0
    lost_idles: int = 0
    already_reported: bool = False
    queue: deque[Request] = field(default_factory=deque)
    passed_to: int = 0
    late: list[Request] = field(default_factory=list)


@dataclass(slots=True)
class _Gap:
    """An outage, or several in a row, whose losses are not known yet.

    ``floors`` are those of iopub and of control when it began (`Numbering.floor`); None for another
    process. ``members`` are the requests that were pending at the last drop, by id. ``seconds`` is
    how long the link was down, in all its outages. ``counted_to`` is the number up to which all
    holes are reported, in one cell or another. ``is_queued`` is True if each lane has its queue of
    members; reset at each drop. ``lanes`` are made when they are needed.
    """

    floors: dict[Channel, int | None]
    members: dict[str, Request] = field(default_factory=dict)
    seconds: float = 0.0
    counted_to: int = -1
    is_queued: bool = False
    lanes: dict[LaneName, _Lane] = field(default_factory=dict)

    def lane(self, request: Request) -> _Lane:
        """Return the lane of a request."""
        lane = self.lanes.get(request.lane)
        if lane is None:
            lane = self.lanes[request.lane] = _Lane(self.floors[IOPUB])
        return lane

    def fill_queues(self) -> None:
        """Fill the queue of each lane with its members."""
        self.is_queued = True
        for lane in self.lanes.values():
            lane.queue.clear()
            lane.late.clear()
            lane.passed_to = 0
        for request in self.members.values():
            self.lane(request).queue.append(request)


@dataclass(slots=True)
class _Barrier:
    """A pending barrier. On the shell it needs its idle status as well, since output has an order
    of its own on iopub. Some kernels send no status messages for requests on control.

    ``before`` are the requests that were pending in any lane when it was made, and ``behind`` those
    of its own ``lane``. ``proves_loss`` is True if what is pending behind its answer has lost its
    own. ``sent`` is set when a socket takes it, ``old`` when that socket ends. ``replied`` and
    ``idle`` are set by its answer, and ``number`` is the highest number of that, None without.
    """

    lane: LaneName
    before: list[Request]
    behind: list[Request]
    proves_loss: bool = True
    sent: bool = False
    old: bool = False
    replied: bool = False
    idle: bool = False
    number: int | None = None

    @property
    def is_question(self) -> bool:
        """True if `Recovery.ask_on_control` made it."""
        return self.lane[0] is CONTROL and not self.proves_loss

    @property
    def has_passed(self) -> bool:
        """True if its answer is complete."""
        return self.replied and (self.idle or self.lane[0] is not SHELL)

    def record(self, number: int | None) -> None:
        """Record the number of a part of its answer."""
        if number is not None:
            self.number = max(number, self.number or 0)


class Recovery:
    """The gap of the last outage, and the barriers that will close it.

    ``numbering`` has the kernel's message numbers.
    """

    __slots__ = ("_barriers", "_gap", "_passed", "numbering")

    def __init__(self, numbering: Numbering) -> None:
        self.numbering = numbering
        self._gap: _Gap | None = None
        """The gap; None if nothing is left to find out."""

        self._barriers: dict[str, _Barrier] = {}
        """The pending barriers by message id, in the order they were made."""

        self._passed: dict[str, None] = {}
        """The ids of the last barriers that have passed. Never reset."""

    def __len__(self) -> int:
        """The number of pending barriers."""
        return len(self._barriers)

    def begin_gap(self, sent: Iterable[Request]) -> None:
        """The link dropped, or its socket is closed, while these requests were sent and pending.

        A barrier that a socket has taken stays: its answer proves the same on the next socket, and
        a link that drops again and again would never get another one through a busy kernel.
        """
        members = {request.msg_id: request for request in sent}
        if not members:
            self.clear()
            return
        if self._gap is None:
            floors = {channel: self.numbering.floor(channel) for channel in (IOPUB, CONTROL)}
            self._gap = _Gap(floors)
        self._gap.members = members
        self._gap.is_queued = False
        for lane in self._gap.lanes.values():
            lane.already_reported = False
        self._barriers = {
            msg_id: barrier
            for msg_id, barrier in self._barriers.items()
            if barrier.sent and barrier.proves_loss
        }
        for barrier in self._barriers.values():
            barrier.old = True

    def reopen(
        self,
        sent: Iterable[Request],
        seconds: float,
        barrier: Callable[[Channel, str | None], Message],
    ) -> list[Message]:
        """The link is open again after so many seconds. Returns the barriers to send first,
        composed by ``barrier``: one for each lane with sent and pending requests."""
        self.numbering.reopened()
        if self._gap is not None:
            self._gap.seconds += seconds
        before = list(sent)
        lanes: dict[LaneName, list[Request]] = {}
        for request in before:
            if request.subshell_id is not None:
                # A restarted kernel has no such subshell, and only a barrier on the shell itself
                # shows that.
                lanes.setdefault((SHELL, None), [])
            lanes.setdefault(request.lane, []).append(request)
        messages = []
        for lane, behind in lanes.items():
            message = barrier(*lane)
            self._barriers[message.head.msg_id] = _Barrier(lane, before, behind)
            messages.append(message)
        while len(self._barriers) > max(_MAX_BARRIERS, len(messages)):
            del self._barriers[next(iter(self._barriers))]
        return messages

    def probe(
        self, sent: Iterable[Request], barrier: Callable[[Channel, str | None], Message]
    ) -> list[Message]:
        """The kernel owes answers to these requests and is silent. Returns a barrier for the shell;
        none if one is pending already.

        Its answer shows whether the process is the same, and which idle status is lost. It proves
        no loss of replies, since there was no outage, and not every kernel answers it in turn.
        """
        if any(not earlier.old and not earlier.is_question for earlier in self._barriers.values()):
            return []
        lane = (SHELL, None)
        message = barrier(*lane)
        before = list(sent)
        self._barriers[message.head.msg_id] = _Barrier(lane, before, before, proves_loss=False)
        return [message]

    def ask_on_control(
        self, sent: Iterable[Request], barrier: Callable[[Channel, str | None], Message]
    ) -> list[Message]:
        """The kernel is silent, and at work on one of these requests. Returns a question for
        control, which it may answer meanwhile; none if one is pending already.

        Its answer shows that the socket is not deaf, and which process answers, and nothing else.
        """
        lane = (CONTROL, None)
        if any(b.lane == lane and not b.old for b in self._barriers.values()):
            return []
        message = barrier(*lane)
        self._barriers[message.head.msg_id] = _Barrier(lane, [*sent], [], proves_loss=False)
        return [message]

    def mark_sent(self, msg_id: str) -> None:
        """A socket has taken the message with this id; nothing happens unless it is a barrier."""
        barrier = self._barriers.get(msg_id)
        if barrier is not None:
            barrier.sent = True

    def has_barrier(self, msg_id: str) -> bool:
        """True if this is the id of a pending barrier."""
        return msg_id in self._barriers

    def had_barrier(self, msg_id: str) -> bool:
        """True if this is the id of a barrier that has passed."""
        return msg_id in self._passed

    def requests_before(self, msg_id: str) -> list[Request]:
        """Return the requests that were sent and pending when this barrier was made."""
        return self._barriers[msg_id].before

    def barrier_replied(self, msg_id: str, number: int | None) -> Passed | None:
        """The reply to a barrier came; return what is known if its answer is complete."""
        self._barriers[msg_id].replied = True
        return self._check_passed(msg_id, number)

    def barrier_ended(self, msg_id: str, number: int | None) -> Passed | None:
        """The idle status of a barrier came; return what is known if its answer is complete."""
        self._barriers[msg_id].idle = True
        return self._check_passed(msg_id, number)

    def request_ended(self, request: Request, number: int | None) -> list[Missed]:
        """The idle status of a request came. Returns what was lost of its output, and of those
        before it in its lane that have their reply, and whose idle status is therefore lost."""
        gap = self._gap
        if gap is None or request.ended or gap.members.get(request.msg_id) is not request:
            return []
        lane = gap.lane(request)
        if lane.floor is None or number is None:
            known, lane.already_reported = lane.already_reported, True
            return [] if known else [Missed(request, Loss(None, gap.seconds))]
        earlier = self._take_earlier(gap, lane, request)
        missed = self._without_idle(gap, [r for r in earlier if r.answered is not None], request)
        awaited = int(not request.replied)
        if request.began is None:
            awaited += sum(r.seen and not r.replied and r.order > lane.order for r in earlier)
        missed.append(Missed(request, self._account(gap, request, number, spare=awaited)))
        return missed

    def request_replied(self, request: Request) -> None:
        """The reply to a request came."""
        gap = self._gap
        if gap is not None and gap.members.get(request.msg_id) is request:
            lane = gap.lane(request)
            if request.order <= lane.passed_to and not request.ended:
                lane.late.append(request)

    def forget_numbers(self) -> None:
        """Another process answers: the barriers stay, and the numbers so far mean nothing."""
        if self._gap is not None:
            self._gap.floors = dict.fromkeys(self._gap.floors)
            self._gap.lanes.clear()
            self._gap.is_queued = False

    def clear(self) -> None:
        """Nothing is pending: forget the gap and the barriers."""
        self._gap = None
        self._barriers.clear()

    def _check_passed(self, msg_id: str, number: int | None) -> Passed | None:
        barrier = self._barriers[msg_id]
        barrier.record(number)
        if not barrier.has_passed:
            return None
        self._remove_passed(msg_id)
        unfinished = [request for request in barrier.behind if not request.is_finished]
        gap = self._gap
        if gap is None or not barrier.proves_loss:
            half_done = [request for request in unfinished if request.replied]
            losses = [Missed(request, self._between(request)) for request in half_done]
            return Passed(losses, 0.0, whole=False)
        passed = Passed(
            self._missed(gap, barrier, unfinished), gap.seconds, self._is_whole(gap, barrier)
        )
        if not self._barriers:
            self._gap = None
        return passed

    def _remove_passed(self, msg_id: str) -> None:
        """Remove a barrier that has passed, and those before it in its lane, whose answers are
        lost."""
        lane = self._barriers[msg_id].lane
        ids = list(self._barriers)
        for earlier in ids[: ids.index(msg_id) + 1]:
            if self._barriers[earlier].lane == lane:
                del self._barriers[earlier]
                self._passed[earlier] = None
        while len(self._passed) > _MAX_PASSED:
            del self._passed[next(iter(self._passed))]

    def _is_whole(self, gap: _Gap, barrier: _Barrier) -> bool:
        channel = barrier.lane[0]
        floor = gap.floors[CONTROL if channel is CONTROL else IOPUB]
        if floor is None or barrier.number is None:
            return False
        return self.numbering.count_missing(floor, barrier.number) == 0

    def _missed(self, gap: _Gap, barrier: _Barrier, unfinished: list[Request]) -> list[Missed]:
        """Return what was lost of requests that will not get their reply, their idle status, or
        both."""
        end = barrier.number
        if end is not None and barrier.lane[0] is CONTROL:
            # What it has overtaken on iopub is still to come.
            end = min(end, self.numbering.output or 0)
        silent = [request for request in unfinished if not request.ended]
        if not silent:
            return [Missed(request, None) for request in unfinished]
        counted = end is not None and gap.lane(silent[0]).floor is not None
        losses: dict[str, Loss | None] = {}
        if counted:
            replied = [r for r in silent if r.answered is not None]
            last = replied[-1] if replied and replied[-1] is silent[-1] else None
            for missed in self._without_idle(gap, [r for r in replied if r is not last], last):
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

    def _without_idle(
        self, gap: _Gap, requests: list[Request], behind: Request | None
    ) -> list[Missed]:
        """Return what was lost of requests of one lane that have their replies, and whose idle
        statuses are lost. ``behind`` is the next one of their lane, if it has begun.
        """
        missed = []
        for request, follower in zip(requests, [*requests[1:], behind], strict=False):
            lane = gap.lane(request)
            if follower is not None and follower.began is not None:
                loss = self._account(gap, request, follower.began, spare=1)
            else:
                loss = self._account(gap, request, request.answered, spare=0)
                lane.lost_idles += 1
            missed.append(Missed(request, loss))
        return missed

    def _account(self, gap: _Gap, request: Request, end: int | None, *, spare: int) -> Loss | None:
        """Return what was lost of a request whose output ends before this number. ``spare`` of the
        holes before it are not output."""
        lane = gap.lane(request)
        if lane.floor is None or end is None:
            return Loss(None, gap.seconds)
        first = lane.floor
        if request.began is not None:
            first = request.began
        else:
            spare += lane.lost_idles
        lane.lost_idles = 0
        lane.order = max(lane.order, request.order)
        lane.floor = max(lane.floor, end)
        lost = self.numbering.count_missing(first, end) - spare
        if lost <= 0 and not _lacks_an_end(request, end):
            return None
        counted_elsewhere = self.numbering.count_missing(first, gap.counted_to) > 0
        gap.counted_to = max(gap.counted_to, end)
        return Loss(None if counted_elsewhere or lost <= 0 else lost, gap.seconds)

    def _between(self, request: Request) -> Loss | None:
        """Return what was lost of a request whose idle status was lost without an outage."""
        if request.began is None or request.answered is None:
            return Loss(None, 0.0)
        lost = self.numbering.count_missing(request.began, request.answered)
        return Loss(lost, 0.0) if lost else None

    @staticmethod
    def _take_earlier(gap: _Gap, lane: _Lane, request: Request) -> list[Request]:
        """Return the requests before this one in its lane whose output has not ended, without those
        that were returned before, unless they got their reply since.

        Each request costs a step or two in all, however many are pending.
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
    """True if a cell has run, and has lost its ``busy``, or its reply is behind the output that
    came.

    Then some of its output may be lost although no hole shows it. Its holes were counted in a later
    cell, since its reply came late; or they are behind the number up to which holes are counted.
    """
    if not request.is_cell or not request.seen:
        return False
    return request.began is None or end < (request.answered or 0)


def _without_reply(requests: list[Request]) -> list[Request]:
    """Return the last requests of these that have no reply."""
    tail: list[Request] = []
    for request in reversed(requests):
        if request.replied:
            break
        tail.append(request)
    return tail[::-1]
