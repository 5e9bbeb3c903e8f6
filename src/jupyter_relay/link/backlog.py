"""What one subscriber has not taken yet, because it is slow, or away.

A detached subscriber is one that reads infinitely slowly, so one structure serves both: bounded in
bytes, and when it is full the oldest ``stream`` output goes first, since a reply, an error or a
picture is worth more than a line of a log. What goes is counted.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from jupyter_relay.wire.message import Channel, Message, Part


@dataclass(frozen=True, slots=True)
class Dropped:
    """What a backlog had to let go: how many messages, and the parent of the last of them."""

    count: int
    parent_header: Part


class Backlog:
    """Messages for one subscriber, in order, at most ``max_bytes`` of them.

    One message that is larger than the bound by itself is kept beside them: it is here already,
    and what comes before and after it is not to cost it.
    """

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._giant: Message | None = None
        self._dropped: Dropped | None = None

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def size(self) -> int:
        """The bytes held."""
        return self._bytes

    @property
    def crowded(self) -> bool:
        """Whether it is more than half full, so that its subscriber had better catch up."""
        return 2 * self._bytes > self._max_bytes

    def put(self, message: Message) -> None:
        """Add a message, letting go of older ones if need be."""
        self._messages.append(message)
        self._bytes += message.size
        if self._bytes > self._max_bytes:
            self._measure(message)
            if self._counted > self._max_bytes:
                self._shrink()

    def put_first(self, message: Message) -> None:
        """Put back a message that was taken, before all others."""
        self._messages.appendleft(message)
        self._bytes += message.size
        self._measure(message)

    def take(self) -> Message | None:
        """Remove and return the oldest message, or None."""
        return next(iter(self.take_many(0)), None)

    def take_many(self, max_bytes: int) -> list[Message]:
        """Remove and return the oldest messages, one at least if there is any; no more once they
        have this size."""
        taken = []
        size = 0
        while self._messages:
            message = self._messages.popleft()
            taken.append(message)
            size += message.size
            if size >= max_bytes:
                break
        self._bytes -= size
        if self._giant is not None and any(message is self._giant for message in taken):
            self._giant = None
            for other in self._messages:
                self._measure(other)
        return taken

    def take_dropped(self) -> Dropped | None:
        """Return what was dropped since this was last asked, or None."""
        dropped, self._dropped = self._dropped, None
        return dropped

    @property
    def _counted(self) -> int:
        """The bytes that the bound is for."""
        return self._bytes - (self._giant.size if self._giant is not None else 0)

    def _measure(self, message: Message) -> None:
        """Note the largest of those that are larger than the bound."""
        giant = self._giant.size if self._giant is not None else 0
        if message.size > self._max_bytes and message.size >= giant:
            self._giant = message

    def _shrink(self) -> None:
        """Halve what is held, so that a full backlog is not searched again at each message."""
        goal = self._max_bytes // 2
        newest = self._messages.pop()
        spared = None if self._giant is newest else self._giant
        for droppable in (_is_stream, _is_iopub, _is_any):
            kept: deque[Message] = deque()
            for message in self._messages:
                if self._counted > goal and message is not spared and droppable(message):
                    self._drop(message)
                else:
                    kept.append(message)
            self._messages = kept
            if self._counted <= self._max_bytes:
                break
        self._messages.append(newest)

    def _drop(self, message: Message) -> None:
        self._bytes -= message.size
        count = self._dropped.count if self._dropped else 0
        # A copy, since a view would keep the whole frame alive.
        self._dropped = Dropped(count + 1, bytes(message.parent_header))


def _is_stream(message: Message) -> bool:
    return message.channel is Channel.IOPUB and message.head.msg_type == "stream"


def _is_iopub(message: Message) -> bool:
    return message.channel is Channel.IOPUB and message.head.msg_type != "status"


def _is_any(_: Message) -> bool:
    return True
