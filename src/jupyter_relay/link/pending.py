"""Requests that are not over yet: without a reply, or without the idle that ends their output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from jupyter_relay.wire.message import Channel, Message, Part

_REQUEST = "_request"
MOST_REQUESTS = 10_000
"""How many requests may be under way: a kernel that never answers must not fill our memory.
JupyterLab has at most some dozens."""

MOST_BYTES = 64 * 2**20
"""How many bytes they may hold; ordinary ones hold some 2 kB each."""

_LOOKED_AT_FOR_ONE = 16
"""How many requests may be looked at, at the bound, for each that is taken."""

_COST = 1024
"""The bytes of memory that a request takes beside its header."""

LaneName: TypeAlias = tuple[Channel, str | None]
"""What a lane is known by: its channel, and on the shell its subshell."""


@dataclass(slots=True)
class Request:
    """One request under way.

    ``header`` is its header's bytes, the parent of whatever answers it. ``sent`` is set when a
    socket has taken it, ``seen`` when anything of it came back, ``replied`` with its reply and
    ``ended`` with its idle status; both are set when it is answered in the kernel's place, too.
    ``order`` counts the requests of a link as they came. ``began`` and ``answered`` are the numbers
    of the status with which the kernel began it, and of its reply, if they came and have one.
    ``doubted_size`` is that of its frame, in bytes, if it may have been larger than its gateway
    takes.
    """

    msg_id: str
    msg_type: str
    channel: Channel
    subshell_id: str | None
    subscriber: str
    header: Part
    sent: bool = False
    seen: bool = False
    replied: bool = False
    ended: bool = False
    order: int = 0
    began: int | None = None
    answered: int | None = None
    doubted_size: int = 0

    @classmethod
    def of(cls, message: Message, subscriber: str) -> Request | None:
        """Return the request that a message makes; None for one that no reply follows (a comm, an
        input), or that none could be told from (a request without an id).

        Raises `MalformedFrame` if its header cannot be read.
        """
        head = message.head
        if not head.msg_type.endswith(_REQUEST) or message.channel is Channel.STDIN:
            return None
        if not head.msg_id:
            return None
        return cls(
            msg_id=head.msg_id,
            msg_type=head.msg_type,
            channel=message.channel,
            subshell_id=head.subshell_id,
            subscriber=subscriber,
            # A copy, since a view would keep the whole frame alive.
            header=bytes(message.header),
        )

    @property
    def over(self) -> bool:
        """Whether its reply and its idle status are both in."""
        return self.replied and self.ended

    @property
    def is_cell(self) -> bool:
        """Whether people see its output in a place of its own."""
        return self.msg_type == "execute_request"

    @property
    def size(self) -> int:
        """The bytes of memory that it takes: its header, and what was read of that."""
        return size_under_way(self.header)

    @property
    def reply_type(self) -> str:
        """The ``msg_type`` of its reply."""
        return self.msg_type.removesuffix(_REQUEST) + "_reply"

    @property
    def lane(self) -> LaneName:
        """What answers first-in first-out: a channel, and on the shell each subshell by itself."""
        return (self.channel, self.subshell_id)


def size_under_way(header: Part) -> int:
    """Return the bytes of memory that a request with this header takes while it is under way.

    What is read of the header, such as its id, may be nearly all of it.
    """
    return 2 * len(header) + _COST


@dataclass(slots=True)
class _Lane:
    """How many requests of one lane are under way, and the order of the latest one that got its
    reply, and its idle."""

    under_way: int = 0
    last_replied: int = 0
    last_ended: int = 0


class Pending:
    """The requests under way, in the order they came.

    Who adds one asks `make_room` first, and answers those that have to be given up for it.
    """

    __slots__ = (
        "_added",
        "_bytes",
        "_lanes",
        "_max_bytes",
        "_max_requests",
        "_replies_to_wait",
        "_requests",
        "_unanswered",
    )

    def __init__(self, *, max_requests: int = MOST_REQUESTS, max_bytes: int = MOST_BYTES) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._bytes = 0
        self._requests: dict[str, Request] = {}
        self._added = 0
        self._unanswered = 0
        self._lanes: dict[LaneName, _Lane] = {}
        """Those that have requests under way. A lane is forgotten with its last request: its name
        is a page's, and may be long."""

        self._replies_to_wait = 0
        """How many replies have to come before it is looked again what can be given up."""

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[Request]:
        return iter(tuple(self._requests.values()))

    @property
    def size(self) -> int:
        """The bytes of memory that they take."""
        return self._bytes

    @property
    def awaits_reply(self) -> bool:
        """Whether any request is still without its reply."""
        return self._unanswered > 0

    @property
    def sent(self) -> list[Request]:
        """Those that a socket has taken."""
        return [request for request in self._requests.values() if request.sent]

    @property
    def last_sent(self) -> int:
        """The order of the last one that a socket has taken; 0 if there is none."""
        return next((r.order for r in reversed(self._requests.values()) if r.sent), 0)

    def make_room(self, size: int = 0) -> list[Request] | None:
        """Return what has to be given up so that one more can be added; None if that is not enough.
        ``size`` is what `size_under_way` says of it; one that is larger than the bound may be added
        alone.

        Only what the kernel has passed over is given up: one that misses its reply though a later
        one of its lane has got one, or its idle in the same way; else, since some kernels write no
        idle on control, one that misses its idle alone. What the kernel may still answer is kept,
        and the one more is refused in its place.

        All are looked at for that, so more are given up at once than there has to be room for: of
        those that miss their idle alone only where many do, which is a kernel that writes none.
        After a look that found few, some of the others have to get their replies before the next.
        """
        too_many = len(self._requests) - self._max_requests + 1
        excess = self._bytes + size - self._max_bytes
        if (too_many <= 0 and excess <= 0) or not self._requests:
            return []
        if self._replies_to_wait:
            return None
        many = len(self._requests) // _LOOKED_AT_FOR_ONE
        given_up: dict[str, Request] = {}
        replied = len(self._requests) - self._unanswered
        without_idle = many if replied >= many else 0
        for is_spare, at_once in (
            (self._is_passed_over, many),
            (_misses_its_idle, without_idle),
        ):
            for request in filter(is_spare, self._requests.values()):
                if len(given_up) >= max(too_many, at_once) and excess <= 0:
                    break
                if request.msg_id not in given_up:
                    given_up[request.msg_id] = request
                    excess -= request.size
        if len(given_up) >= too_many and excess <= 0:
            self._replies_to_wait = max(0, many - len(given_up))
            return [*given_up.values()]
        self._replies_to_wait = max(1, many)
        return None

    def add(self, message: Message, subscriber: str) -> Request | None:
        """Note a message on its way up; return its request, None as `Request.of` does.

        Raises `MalformedFrame` if its header cannot be read.
        """
        request = Request.of(message, subscriber)
        if request is not None:
            self._added += 1
            request.order = self._added
            earlier = self._requests.get(request.msg_id)
            if earlier is not None:
                self.remove(earlier)
            self._bytes += request.size
            self._unanswered += 1
            self._lanes.setdefault(request.lane, _Lane()).under_way += 1
            self._requests[request.msg_id] = request
        return request

    def get(self, msg_id: str) -> Request | None:
        """Return the request with this id, if it is under way."""
        return self._requests.get(msg_id)

    def remove(self, request: Request) -> None:
        """Forget a request, answered or failed."""
        removed = self._requests.pop(request.msg_id, None)
        if removed is None:
            return
        self._bytes -= removed.size
        self._unanswered -= not removed.replied
        lane = self._lanes[removed.lane]
        lane.under_way -= 1
        if not lane.under_way:
            del self._lanes[removed.lane]

    def __contains__(self, request: Request) -> bool:
        return self._requests.get(request.msg_id) is request

    def seen(self, msg_id: str) -> Request | None:
        """Note that something came of a request, and return it."""
        request = self._requests.get(msg_id)
        if request is not None:
            request.seen = True
        return request

    def replied(self, request: Request) -> None:
        """Note the reply to a request."""
        self._unanswered -= not request.replied
        request.seen = request.replied = True
        if self._replies_to_wait:
            self._replies_to_wait -= 1
        self._lanes[request.lane].last_replied = request.order
        if request.ended:
            self.remove(request)

    def ended(self, request: Request) -> None:
        """Note the idle status that ends a request's output."""
        request.ended = True
        self._lanes[request.lane].last_ended = request.order
        if request.replied:
            self.remove(request)

    def _is_passed_over(self, request: Request) -> bool:
        lane = self._lanes[request.lane]
        return request.order < (lane.last_ended if request.replied else lane.last_replied)


def _misses_its_idle(request: Request) -> bool:
    return request.replied
