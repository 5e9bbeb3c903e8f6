"""What waits to go up: every message passes through here, and leaves it when a socket takes it.

So whatever the outbox still holds when a link drops has not been sent, and may be sent later;
whatever has left it may have reached the kernel, and is never sent again.
"""

from __future__ import annotations

from collections import deque

from jupyter_relay.wire.message import Message

_FLOWING = 16


class Outbox:
    """Messages in the order they came, bounded by count and by bytes."""

    __slots__ = ("_bytes", "_max_bytes", "_max_messages", "_messages")

    def __init__(self, *, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._messages: deque[Message] | None = None
        """None until the first message: an empty one takes 760 bytes, and many kernels are never
        asked anything."""

        self._bytes = 0

    def __len__(self) -> int:
        return len(self._messages or ())

    @property
    def size(self) -> int:
        """The bytes held."""
        return self._bytes

    def put(self, message: Message, *, flowing: bool) -> bool:
        """Hold a message; return False, and hold nothing, at the bound.

        The bound is for an outage. While messages are ``flowing`` out, more of them may pass at
        once, as the pictures of a widget do: `_FLOWING` times as many.
        A message that is larger than the bound by itself is held if it is alone: the bound is
        there for what piles up.
        """
        times = _FLOWING if flowing else 1
        if self._messages and (
            len(self._messages) >= times * self._max_messages
            or self._bytes + message.size > times * self._max_bytes
        ):
            return False
        self._queue().append(message)
        self._bytes += message.size
        return True

    def put_first(self, message: Message) -> None:
        """Hold a message of the link's own, which goes before all others."""
        self._queue().appendleft(message)
        self._bytes += message.size

    def take(self) -> Message | None:
        """Remove and return the message that goes next, or None."""
        if not self._messages:
            return None
        message = self._messages.popleft()
        self._bytes -= message.size
        return message

    def remove_larger(self, size: int) -> list[Message]:
        """Remove and return the messages that take a frame of so many bytes, or a larger one."""
        messages = self._messages or ()
        removed = [message for message in messages if message.frame_size >= size]
        if removed:
            self._messages = deque(m for m in messages if m.frame_size < size)
            self._bytes -= sum(message.size for message in removed)
        return removed

    def clear(self) -> None:
        """Drop all."""
        self._messages = None
        self._bytes = 0

    def _queue(self) -> deque[Message]:
        if self._messages is None:
            self._messages = deque()
        return self._messages
