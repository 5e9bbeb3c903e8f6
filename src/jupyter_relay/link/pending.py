"""Pending requests: those without a reply, or without the idle status that ends their output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from jupyter_relay.wire.message import Channel, Message, Part

_REQUEST_SUFFIX = "_request"
"""How the ``msg_type`` of every request ends."""

MAX_REQUESTS = 10_000
"""How many requests may be pending, so that a kernel that never answers does not fill our memory.
JupyterLab has at most some dozens."""

_MAX_BYTES = 64 * 2**20
"""How many bytes of memory they may take; ordinary ones take some 2 kB each."""

_SCANNED_PER_REQUEST = 16
"""At the bound: how many pending requests may be looked through for each request that is added."""

_OVERHEAD_BYTES = 1024
"""The bytes of memory that a request takes beside its header."""

LaneName: TypeAlias = tuple[Channel, str | None]
"""The key of a lane: its channel, and on the shell its subshell."""


@dataclass(slots=True)
class Request:
    """One pending request.

    ``msg_id``, ``msg_type``, ``channel`` and ``subshell_id`` are those of the message.
    ``subscriber`` is who sent it: the reply is for that one alone.
    ``header`` is the bytes of its header, which becomes the parent_header of all answers.
    ``order`` numbers the requests of a link as they come, from 1.
    ``sent`` is set when a socket takes it, ``seen`` when any message with it as parent came.
    ``replied`` is set with its reply, and ``ended`` with its idle status; both also when it is
    answered in the kernel's place.
    ``began`` and ``answered`` are the message numbers of its first status that is not idle, and of
    its reply; None if that has not come or has no number.
    ``doubted_size`` is the size of its frame in bytes if that may have been larger than the gateway
    takes, else 0.
    None of these is ever reset.
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
    def from_message(cls, message: Message, subscriber: str) -> Request | None:
        """Return the request that a message is; None for a message without a reply (a comm message,
        an input), and for a request without an id.

        Raises `MalformedFrame` if its header cannot be read.
        """
        head = message.head
        if not head.msg_type.endswith(_REQUEST_SUFFIX) or message.channel is Channel.STDIN:
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
    def is_finished(self) -> bool:
        """True if both its reply and its idle status came."""
        return self.replied and self.ended

    @property
    def is_cell(self) -> bool:
        """True for the execution of code: people see its output in a place of its own."""
        return self.msg_type == "execute_request"

    @property
    def memory(self) -> int:
        """The bytes of memory that it takes: its header, and the fields read from that."""
        return pending_size(self.header)

    @property
    def reply_type(self) -> str:
        """The ``msg_type`` of its reply."""
        return self.msg_type.removesuffix(_REQUEST_SUFFIX) + "_reply"

    @property
    def lane(self) -> LaneName:
        """Its lane: requests of one lane are answered first-in first-out. Each subshell is one."""
        return (self.channel, self.subshell_id)


def pending_size(header: Part) -> int:
    """Return the bytes of memory that a request with this header takes while it is pending.

    The header counts twice: the fields read from it, such as its id, may be nearly all of it.
    """
    return 2 * len(header) + _OVERHEAD_BYTES


@dataclass(slots=True)
class _Lane:
    """One lane with pending requests.

    ``count`` is how many are pending. ``last_replied`` and ``last_ended`` are the order of the
    request that got its reply, and its idle status, last; 0 if none has.
    """

    count: int = 0
    last_replied: int = 0
    last_ended: int = 0


class Pending:
    """The pending requests of one link, in the order they came: at most ``max_requests``, which
    take at most ``max_bytes`` of memory.

    Before `add_request`, call `make_room`, and answer the requests that it gives up.
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

    def __init__(self, *, max_requests: int = MAX_REQUESTS, max_bytes: int = _MAX_BYTES) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._requests: dict[str, Request] = {}
        """The pending requests by id, in the order they came."""

        self._bytes = 0
        """The sum of their sizes."""

        self._unanswered = 0
        """How many of them have no reply yet."""

        self._added = 0
        """How many requests were added in all; the order of the last one. Never reset."""

        self._lanes: dict[LaneName, _Lane] = {}
        """The lanes with pending requests. A lane is removed with its last request, since its name
        comes from a page and may be long."""

        self._replies_to_wait = 0
        """How many replies have to come before `make_room` looks through the requests again. Set
        by `make_room`, counted down by replies."""

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[Request]:
        return iter(tuple(self._requests.values()))

    @property
    def memory(self) -> int:
        """The bytes of memory that they take."""
        return self._bytes

    @property
    def awaits_reply(self) -> bool:
        """True if any request has no reply yet."""
        return self._unanswered > 0

    @property
    def sent(self) -> list[Request]:
        """Those that a socket has taken."""
        return [request for request in self._requests.values() if request.sent]

    @property
    def owed(self) -> list[Request]:
        """Those that a socket has taken and the kernel has not replied to."""
        return [r for r in self._requests.values() if r.sent and not r.replied]

    @property
    def cell(self) -> Request | None:
        """The oldest cell without a reply: the one that runs, or will run next."""
        return next((r for r in self._requests.values() if r.is_cell and not r.replied), None)

    @property
    def last_sent_order(self) -> int:
        """The order of the last one that a socket has taken; 0 if there is none."""
        return next((r.order for r in reversed(self._requests.values()) if r.sent), 0)

    def make_room(self, size: int = 0) -> list[Request] | None:
        """Return the requests to give up so that another can be added; None if there is no room.

        ``size`` is the `pending_size` of the new one. One that is larger than the bound by itself
        may be added if it is alone.

        Only requests that the kernel has skipped are given up: those without a reply though a later
        one of their lane has its reply, and those without an idle status likewise. If they are not
        enough, those that lack their idle status alone follow, since some kernels write none on
        control. What the kernel may still answer is kept, and the new request is refused instead.

        This looks through all requests, so it gives up more than one at once (of those that lack
        their idle alone only if there are many, as with a kernel that writes none). If it finds
        few, some replies have to come before it looks again.
        """
        too_many = len(self._requests) - self._max_requests + 1
        excess = self._bytes + size - self._max_bytes
        if (too_many <= 0 and excess <= 0) or not self._requests:
            return []
        if self._replies_to_wait:
            return None
        many = len(self._requests) // _SCANNED_PER_REQUEST
        given_up: dict[str, Request] = {}
        replied = len(self._requests) - self._unanswered
        without_idle = many if replied >= many else 0
        for may_go, at_once in ((self._was_skipped, many), (_lacks_idle, without_idle)):
            for request in filter(may_go, self._requests.values()):
                if len(given_up) >= max(too_many, at_once) and excess <= 0:
                    break
                if request.msg_id not in given_up:
                    given_up[request.msg_id] = request
                    excess -= request.memory
        if len(given_up) >= too_many and excess <= 0:
            self._replies_to_wait = max(0, many - len(given_up))
            return [*given_up.values()]
        self._replies_to_wait = max(1, many)
        return None

    def add_request(self, request: Request) -> None:
        """Add a request; a pending one with the same id is replaced."""
        self._added += 1
        request.order = self._added
        earlier = self._requests.get(request.msg_id)
        if earlier is not None:
            self.remove(earlier)
        self._bytes += request.memory
        self._unanswered += 1
        self._lanes.setdefault(request.lane, _Lane()).count += 1
        self._requests[request.msg_id] = request

    def find(self, msg_id: str) -> Request | None:
        """Return the pending request with this id, or None."""
        return self._requests.get(msg_id)

    def remove(self, request: Request) -> None:
        """Remove a request, answered or failed; nothing happens if it is not pending."""
        removed = self._requests.pop(request.msg_id, None)
        if removed is None:
            return
        self._bytes -= removed.memory
        self._unanswered -= not removed.replied
        lane = self._lanes[removed.lane]
        lane.count -= 1
        if not lane.count:
            del self._lanes[removed.lane]

    def __contains__(self, request: Request) -> bool:
        return self._requests.get(request.msg_id) is request

    def mark_seen(self, msg_id: str) -> Request | None:
        """Record that a message with this parent came; return the request, None if not pending."""
        request = self._requests.get(msg_id)
        if request is not None:
            request.seen = True
        return request

    def mark_replied(self, request: Request) -> None:
        """Record the reply to a request; it is removed if its idle status came before."""
        self._unanswered -= not request.replied
        request.seen = request.replied = True
        if self._replies_to_wait:
            self._replies_to_wait -= 1
        self._lanes[request.lane].last_replied = request.order
        if request.ended:
            self.remove(request)

    def mark_ended(self, request: Request) -> None:
        """Record the idle status of a request; it is removed if its reply came before."""
        request.ended = True
        self._lanes[request.lane].last_ended = request.order
        if request.replied:
            self.remove(request)

    def _was_skipped(self, request: Request) -> bool:
        lane = self._lanes[request.lane]
        return request.order < (lane.last_ended if request.replied else lane.last_replied)


def _lacks_idle(request: Request) -> bool:
    return request.replied
