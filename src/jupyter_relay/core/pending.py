"""Requests that are not over yet: without a reply, or without the idle that ends their output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jupyter_relay.wire.message import Channel, Message, Part

_REQUEST = "_request"
_MOST = 10_000
"""A kernel that never answers some kind of request must not fill our memory; JupyterLab has at
most some dozens under way."""


@dataclass(slots=True)
class Request:
    """One request under way.

    ``header`` is its header's bytes, the parent of whatever answers it. ``sent`` is set when a
    socket has taken it, ``seen`` when anything of it came back, ``replied`` with its reply and
    ``ended`` with its idle status.
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

    @property
    def reply_type(self) -> str:
        """The ``msg_type`` of its reply."""
        return self.msg_type.removesuffix(_REQUEST) + "_reply"

    @property
    def lane(self) -> tuple[Channel, str | None]:
        """What answers first-in first-out: a channel, and on the shell each subshell by itself."""
        return (self.channel, self.subshell_id)


class Pending:
    """The requests under way, in the order they came."""

    def __init__(self, *, max_requests: int = _MOST) -> None:
        self._max_requests = max_requests
        self._requests: dict[str, Request] = {}

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[Request]:
        return iter(tuple(self._requests.values()))

    @property
    def awaits_reply(self) -> bool:
        """Whether any request is still without its reply."""
        return any(not request.replied for request in self._requests.values())

    @property
    def sent(self) -> list[Request]:
        """Those that a socket has taken."""
        return [request for request in self._requests.values() if request.sent]

    def add(self, message: Message, subscriber: str) -> Request | None:
        """Note a message on its way up; None for one that no reply follows (a comm, an input), or
        that none could be told from (a request without an id).

        Raises `MalformedFrame` if its header cannot be read.
        """
        head = message.head
        if not head.msg_type.endswith(_REQUEST) or message.channel is Channel.STDIN:
            return None
        if not head.msg_id:
            return None
        if len(self._requests) >= self._max_requests:
            replied = (key for key, request in self._requests.items() if request.replied)
            del self._requests[next(replied, next(iter(self._requests)))]
        request = Request(
            msg_id=head.msg_id,
            msg_type=head.msg_type,
            channel=message.channel,
            subshell_id=head.subshell_id,
            subscriber=subscriber,
            # A copy, since a view would keep the whole frame alive.
            header=bytes(message.header),
        )
        self._requests[head.msg_id] = request
        return request

    def get(self, msg_id: str) -> Request | None:
        """Return the request with this id, if it is under way."""
        return self._requests.get(msg_id)

    def remove(self, request: Request) -> None:
        """Forget a request, answered or failed."""
        self._requests.pop(request.msg_id, None)

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
        request.seen = request.replied = True
        if request.ended:
            self.remove(request)

    def ended(self, request: Request) -> None:
        """Note the idle status that ends a request's output."""
        request.ended = True
        if request.replied:
            self.remove(request)
