"""One listener of a kernel: a tab, a client, a stub."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from jupyter_relay.errors import KernelNotRunning
from jupyter_relay.link.backlog import Backlog, Dropped
from jupyter_relay.wire.message import Message


class SubscriptionEnded(Exception):  # it is how each ends
    """Nothing more will come: the listener left, another came in its place, or the kernel is
    let go of."""


class Subscription:
    """What one listener hears of a kernel, and how it speaks to it.

    ``id`` is its client session id: one who leaves and subscribes again with the same id hears
    what it has missed. It is either called back with each message, or asks with `receive`.
    ``on_end`` is called when nothing more will come; ``superseded`` then says that another one has
    come under the same id. ``unread`` is asked, when it
    leaves, for the messages that it was given last and could not use. `RemoteKernel.subscribe`
    makes these.
    """

    def __init__(
        self,
        subscriber_id: str,
        backlog: Backlog,
        *,
        on_message: Callable[[Message], None] | None,
        on_end: Callable[[], None] | None,
        unread: Callable[[], Sequence[Message]] | None,
        send: Callable[[str, Message], None],
        leave: Callable[[Subscription, bool], None],
        describe: Callable[[Dropped], Message],
    ) -> None:
        self.id = subscriber_id
        self.ended = False
        self.superseded = False
        self._backlog = backlog
        self._on_message = on_message
        self._on_end = on_end
        self._unread = unread
        self._send = send
        self._leave = leave
        self._describe = describe
        self._waiter: asyncio.Future[None] | None = None
        self._relief = asyncio.Event()

    def send(self, message: Message) -> None:
        """Speak to the kernel; what cannot be sent now waits, or is answered with an error.

        Raises `KernelNotRunning` once it has ended, and `MalformedFrame` if the message's header
        cannot be read.
        """
        if self.ended:
            raise KernelNotRunning("The connection to the kernel has ended.")
        self._send(self.id, message)

    async def receive(self) -> Message:
        """Wait for the next message. Raises `SubscriptionEnded`."""
        while (message := self.receive_nowait()) is None:
            if self.ended:
                raise SubscriptionEnded
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return message

    async def receive_batch(self, max_bytes: int) -> list[Message]:
        """Wait for the next message; return it, and what is here behind it up to this size.

        Raises `SubscriptionEnded`.
        """
        first = await self.receive()
        if first.size >= max_bytes:
            return [first]
        others = self._backlog.pop_many(max_bytes - first.size)
        self._relieve()
        return [first, *others]

    def receive_nowait(self) -> Message | None:
        """Return the next message if it is here; first, what had to be dropped before it."""
        dropped = self._backlog.pop_dropped()
        if dropped:
            return self._describe(dropped)
        message = self._backlog.pop()
        self._relieve()
        return message

    @property
    def crowded(self) -> bool:
        """Whether it falls behind so far that messages may soon have to be dropped."""
        return self._backlog.over_half_full

    async def catches_up(self, seconds: float) -> None:
        """Wait until it does not, but no longer than this."""
        self._relief.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._relief.wait()

    def leave(self, *, keep: bool = True) -> None:
        """Stop listening. What comes is kept for a while for one of the same id, unless ``keep`` is
        false."""
        if not self.ended:
            self._leave(self, keep)
            self._hand_over()

    # For the kernel that made it.

    def put(self, message: Message) -> None:
        """Let it hear a message."""
        if self._on_message is not None:
            self._on_message(message)
        else:
            self._backlog.append(message)
            self._wake()

    def catch_up(self) -> None:
        """Let one that is called back hear what was kept for it."""
        while self._on_message is not None and (message := self.receive_nowait()) is not None:
            self._on_message(message)

    def supersede(self) -> None:
        """Say that another one has come under the same id, and takes over the backlog."""
        self.superseded = True
        self._hand_over()

    def end(self) -> None:
        """Say that nothing more will come."""
        self.ended = True
        self._wake()
        if self._on_end is not None:
            self._on_end()

    def _relieve(self) -> None:
        """Let those go on who wait for it to catch up, if it has."""
        if not (self._backlog.over_half_full or self._relief.is_set()):
            self._relief.set()

    def _hand_over(self) -> None:
        """Put back what was given and could not be used, and take nothing more."""
        for message in reversed(self._unread() if self._unread is not None else ()):
            self._backlog.push_back(message)
        self._backlog = Backlog(max_bytes=0)
        self.end()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
