"""One subscriber of a kernel: a page, a client, a program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from jupyter_relay.errors import KernelNotRunning
from jupyter_relay.kernels.mailbox import Mailbox
from jupyter_relay.link.backlog import Dropped
from jupyter_relay.wire.message import Message


class SubscriptionEnded(Exception):  # it is how each ends
    """Nothing more will come: the subscriber left, another came under its id, or the kernel was
    closed here."""


class Subscribable(Protocol):
    """What is subscribed to: the link of a kernel. `Upstream` is one."""

    def attach(self, subscriber_id: str) -> None:
        """Called when a subscriber has come."""

    def detach(self, subscriber_id: str) -> None:
        """Called when a subscriber has left; it may come back."""

    def send(self, subscriber_id: str, message: Message) -> None:
        """Send a message of this subscriber to the kernel."""

    def describe(self, dropped: Dropped) -> Message:
        """Return the notice of messages that a slow or absent subscriber has not received."""


class Subscribers(Protocol):
    """Who else is subscribed; `Audience` is one."""

    def remove_subscriber(self, subscription: Subscription, *, keep: bool) -> None:
        """Forget a subscription; with ``keep``, go on filling its mailbox for its successor."""


class Subscription:
    """What one subscriber receives of a kernel, and how it sends to it.

    Made by `RemoteKernel.subscribe`. Messages are read with ``async for``, or with `receive` and
    its variants; a subscriber that has given ``on_message`` is called with them instead. As an
    ``async with`` block, it leaves for good at the block's end.

    ``id`` is the subscriber's client session id: one that leaves and subscribes again under the
    same id receives what it has missed. ``on_end`` is called when nothing more will come.
    ``unread`` is called when it leaves, and returns the messages that it received last and could
    not use.
    """

    def __init__(
        self,
        subscriber_id: str,
        mailbox: Mailbox,
        *,
        to: Subscribable,
        among: Subscribers,
        on_end: Callable[[], None] | None = None,
        unread: Callable[[], Sequence[Message]] | None = None,
    ) -> None:
        self.id = subscriber_id
        self.ended = False
        self._mailbox = mailbox
        """The one that messages come into; an empty one after the hand-over to a successor."""
        self._to = to
        self._among = among
        self._on_end = on_end
        self._unread = unread

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave(keep=False)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Message:
        try:
            return await self.receive()
        except SubscriptionEnded:
            raise StopAsyncIteration from None

    def send(self, message: Message) -> None:
        """Send a message to the kernel; one that cannot be sent at once waits, or is answered with
        an error.

        Raises `KernelNotRunning` once the subscription has ended, and `MalformedFrame` if the
        message's header cannot be read.
        """
        if self.ended:
            raise KernelNotRunning("The connection to the kernel has ended.")
        self._to.send(self.id, message)

    async def receive(self) -> Message:
        """Wait for the next message. Raises `SubscriptionEnded`."""
        while (message := self._mailbox.pop()) is None:
            if self.ended:
                raise SubscriptionEnded
            await self._mailbox.changed()
        return message

    async def receive_batch(self, max_bytes: int) -> list[Message]:
        """Wait for the next message; return it, and what is here behind it up to this size.

        Raises `SubscriptionEnded`.
        """
        first = await self.receive()
        if first.size >= max_bytes:
            return [first]
        return [first, *self._mailbox.pop_many(max_bytes - first.size)]

    def receive_nowait(self) -> Message | None:
        """Return the next message if it is here, or the notice of what was dropped before it."""
        return self._mailbox.pop()

    def leave(self, *, keep: bool = True) -> None:
        """End the subscription. What comes later is kept for a successor under the same id, unless
        ``keep`` is false."""
        if not self.ended:
            self._among.remove_subscriber(self, keep=keep)
            self._hand_over()

    # For the audience.

    def supersede(self) -> None:
        """End the subscription, since another one has come under the same id and takes over the
        mailbox."""
        self._hand_over()

    def finish(self) -> None:
        """Report that nothing more will come."""
        self.ended = True
        self._mailbox.wake()
        if self._on_end is not None:
            self._on_end()

    def _hand_over(self) -> None:
        """Put back what was received and not used, and receive nothing more."""
        mailbox, self._mailbox = self._mailbox, Mailbox(max_bytes=0)
        for message in reversed(self._unread() if self._unread is not None else ()):
            mailbox.push_back(message)
        mailbox.wake()
        self.finish()
