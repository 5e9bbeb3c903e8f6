"""The mailbox of one reader: bounded messages, and a wait for the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from jupyter_relay.link.backlog import Backlog, Dropped
from jupyter_relay.wire.message import Message


class Mailbox:
    """Keeps messages in a `Backlog` of at most ``max_bytes`` until a reader takes them.

    ``describe`` makes the notice of what the backlog had to drop, which is then read before what
    follows it; without ``describe`` that goes unnoticed. While ``on_message`` is set, each message
    is given to it in place of being kept; that call must not block.
    """

    __slots__ = ("_backlog", "_describe", "_room", "_waiters", "on_message")

    def __init__(
        self, *, max_bytes: int, describe: Callable[[Dropped], Message] | None = None
    ) -> None:
        self._backlog = Backlog(max_bytes=max_bytes)
        self._describe = describe
        self._waiters: list[asyncio.Future[None]] = []
        """One for each call of `changed` that still waits."""
        self._room: asyncio.Event | None = None
        """Set by a reader that caught up; made by the first call of `has_room`."""
        self.on_message: Callable[[Message], None] | None = None

    def __len__(self) -> int:
        """Return how many messages are kept."""
        return len(self._backlog)

    @property
    def size(self) -> int:
        """The bytes kept."""
        return self._backlog.held_bytes

    @property
    def over_half_full(self) -> bool:
        """True if messages may soon have to be dropped."""
        return self._backlog.over_half_full

    def append(self, message: Message) -> None:
        """Give a message to ``on_message``, or keep it and wake the readers."""
        if self.on_message is not None:
            self.on_message(message)
            return
        self._backlog.append(message)
        if self._waiters:
            self.wake()

    def push_back(self, message: Message) -> None:
        """Keep a message that was taken and not used, before all others."""
        self._backlog.push_back(message)

    def pop(self) -> Message | None:
        """Remove and return the next message, or the notice of what was dropped before it; None if
        there is neither."""
        if self._describe is not None and (dropped := self._backlog.pop_dropped()) is not None:
            return self._describe(dropped)
        message = self._backlog.pop()
        if self._room is not None:
            self._note_room(self._room)
        return message

    def pop_many(self, max_bytes: int) -> list[Message]:
        """Remove and return the next messages: one at least, if there is any, and no more once they
        have this size."""
        messages = self._backlog.pop_many(max_bytes)
        if self._room is not None:
            self._note_room(self._room)
        return messages

    def clear(self) -> None:
        """Forget all messages, and what was dropped."""
        while self._backlog.pop() is not None:
            pass
        self._backlog.pop_dropped()

    async def changed(self) -> None:
        """Wait until a message comes, or `wake` is called."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiters:  # it was cancelled
                self._waiters.remove(waiter)

    def wake(self) -> None:
        """End every `changed` that waits."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def has_room(self, seconds: float) -> None:
        """Wait until a reader has left it at most half full, but no longer than ``seconds``."""
        if self._room is None:
            self._room = asyncio.Event()
        self._room.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._room.wait()

    def _note_room(self, room: asyncio.Event) -> None:
        if not self._backlog.over_half_full:
            room.set()
