"""The messages that one subscriber has not taken yet, because it is slow or detached.

A detached subscriber is one that reads infinitely slowly, so one structure serves both. It is
bounded in bytes. When it is full, the oldest ``stream`` output is dropped first, since a reply, an
error or a picture is worth more than a line of a log. Dropped messages are counted.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from jupyter_relay.wire.message import IOPUB, Message, Part


@dataclass(frozen=True, slots=True)
class Dropped:
    """Dropped messages: their number, ``count``, and the ``parent_header`` of the last one."""

    count: int
    parent_header: Part


class Backlog:
    """Messages for one subscriber, in order, of at most ``max_bytes`` together.

    One message that is larger than the bound by itself is kept in addition: it is in memory
    already, and the messages before and after it shall not displace it.
    """

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._messages: deque[Message] = deque()
        """The messages that were not taken, in order."""

        self._bytes = 0
        """The sum of their sizes."""

        self._oversized: Message | None = None
        """The largest of those that are larger than the bound, which does not count; None if there
        is none. It changes when it is taken, and when a larger one comes."""

        self._dropped: Dropped | None = None
        """What was dropped since `pop_dropped` was called last; None if nothing was."""

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def held_bytes(self) -> int:
        """The bytes held."""
        return self._bytes

    @property
    def over_half_full(self) -> bool:
        """True if it is more than half full, so that the kernel should be throttled."""
        return 2 * self._bytes > self._max_bytes

    def append(self, message: Message) -> None:
        """Add a message, and drop older ones if there is no room."""
        self._messages.append(message)
        self._bytes += message.size
        if self._bytes > self._max_bytes:
            self._check_size(message)
            if self._counted > self._max_bytes:
                self._shrink()

    def push_back(self, message: Message) -> None:
        """Put back a message that was taken, before all others."""
        self._messages.appendleft(message)
        self._bytes += message.size
        self._check_size(message)

    def pop(self) -> Message | None:
        """Remove and return the oldest message, or None."""
        return next(iter(self.pop_many(0)), None)

    def pop_many(self, max_bytes: int) -> list[Message]:
        """Remove and return the oldest messages until they have this size together; at least one,
        if there is one."""
        taken = []
        size = 0
        while self._messages:
            message = self._messages.popleft()
            taken.append(message)
            size += message.size
            if size >= max_bytes:
                break
        self._bytes -= size
        if self._oversized is not None and any(message is self._oversized for message in taken):
            self._oversized = None
            for other in self._messages:
                self._check_size(other)
        return taken

    def pop_dropped(self) -> Dropped | None:
        """Return what was dropped since the last call, or None."""
        dropped, self._dropped = self._dropped, None
        return dropped

    @property
    def _counted(self) -> int:
        """The bytes that count for the bound."""
        return self._bytes - (self._oversized.size if self._oversized is not None else 0)

    def _check_size(self, message: Message) -> None:
        """Record a message if it is the largest of those above the bound."""
        oversized = self._oversized.size if self._oversized is not None else 0
        if message.size > self._max_bytes and message.size >= oversized:
            self._oversized = message

    def _shrink(self) -> None:
        """Halve the backlog, so that a full one is not searched again with each message."""
        goal = self._max_bytes // 2
        newest = self._messages.pop()
        spared = None if self._oversized is newest else self._oversized
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
    return message.channel is IOPUB and message.head.msg_type == "stream"


def _is_iopub(message: Message) -> bool:
    return message.channel is IOPUB and message.head.msg_type != "status"


def _is_any(_: Message) -> bool:
    return True
