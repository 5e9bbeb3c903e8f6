"""Who listens to one kernel: subscribers, and those that are away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from jupyter_relay.kernels.mailbox import Mailbox
from jupyter_relay.kernels.subscription import Subscribable, Subscription
from jupyter_relay.link.backlog import Dropped
from jupyter_relay.log import KernelLog
from jupyter_relay.wire.message import Message

MAX_ABSENT: Final = 8
"""How many absent subscribers of one kernel are remembered: a page that is reloaded comes back
under another id, and never under its old one."""

THROTTLE_SECONDS: Final = 0.02
"""For how long reading pauses when a subscriber falls behind. At the default bound of a backlog,
64 MiB, a kernel with a reader that has stopped still gives 50 MiB a second to the others."""


class Audience:
    """The subscribers of one kernel, present and absent, each with a mailbox of ``backlog_bytes``.

    Messages to all are for the absent, too: a page that reconnects receives what it has missed.
    """

    __slots__ = ("_backlog_bytes", "_log", "_mailboxes", "_subscribed_to", "_subscriptions")

    def __init__(self, subscribed_to: Subscribable, *, backlog_bytes: int, log: KernelLog) -> None:
        self._subscribed_to = subscribed_to
        self._backlog_bytes = backlog_bytes
        self._log = log
        self._mailboxes: dict[str, Mailbox] = {}
        """Of present and absent subscribers; the one that left first is the first absent one."""
        self._subscriptions: dict[str, Subscription] = {}
        """Of the present ones."""

    def __len__(self) -> int:
        """Return how many subscribers are present."""
        return len(self._subscriptions)

    def __bool__(self) -> bool:
        """True if a subscriber is present."""
        return bool(self._subscriptions)

    def add_subscriber(
        self,
        subscriber_id: str,
        *,
        on_message: Callable[[Message], None] | None,
        on_end: Callable[[], None] | None,
        unread: Callable[[], Sequence[Message]] | None,
    ) -> Subscription:
        """Add a subscriber, see `RemoteKernel.subscribe`; it takes the place of one with the same
        id, and its mailbox."""
        earlier = self._subscriptions.pop(subscriber_id, None)
        if earlier is not None:
            earlier.supersede()
        mailbox = self._mailboxes.pop(subscriber_id, None)
        if mailbox is None:
            mailbox = Mailbox(max_bytes=self._backlog_bytes, describe=self._subscribed_to.describe)
        mailbox.on_message = None
        subscription = Subscription(
            subscriber_id,
            mailbox,
            to=self._subscribed_to,
            among=self,
            on_end=on_end,
            unread=unread,
        )
        self._mailboxes[subscriber_id] = mailbox
        self._subscriptions[subscriber_id] = subscription
        if on_message is not None:
            while (message := mailbox.pop()) is not None:
                on_message(message)
            mailbox.on_message = on_message
        self._subscribed_to.attach(subscriber_id)
        return subscription

    def remove_subscriber(self, subscription: Subscription, *, keep: bool) -> None:
        """See `Subscribers.remove_subscriber`."""
        if self._subscriptions.get(subscription.id) is not subscription:
            return  # another has come in its place
        del self._subscriptions[subscription.id]
        mailbox = self._mailboxes.pop(subscription.id)
        mailbox.on_message = None
        if keep:
            self._mailboxes[subscription.id] = mailbox
        absent = [name for name in self._mailboxes if name not in self._subscriptions]
        for name in absent[:-MAX_ABSENT]:
            del self._mailboxes[name]
        self._subscribed_to.detach(subscription.id)

    def describe(self, dropped: Dropped) -> Message:
        """Return the notice of messages that a slow or absent subscriber has not received."""
        return self._subscribed_to.describe(dropped)

    def has_missed(self, subscriber_id: str) -> bool:
        """True if messages are kept for a subscriber with this id."""
        return bool(self._mailboxes.get(subscriber_id))

    def deliver(self, message: Message, to: str | None) -> None:
        """Hand a message to one subscriber, or to all if ``to`` is None. One that fails harms
        neither the others nor the link."""
        if to is None:
            mailboxes = tuple(self._mailboxes.values())
        elif (mailbox := self._mailboxes.get(to)) is not None:
            mailboxes = (mailbox,)
        else:
            return
        for mailbox in mailboxes:
            try:
                mailbox.append(message)
            except Exception:  # noqa: BLE001  # whatever a subscriber does
                self._log.exception("a subscriber failed.")

    async def throttle(self) -> None:
        """Wait for a moment if a subscriber falls behind, so that it can catch up: one that has
        stopped reading costs the others little, and one that reads on loses nothing to a burst."""
        for name in tuple(self._subscriptions):
            mailbox = self._mailboxes[name]
            if mailbox.over_half_full:
                await mailbox.has_room(THROTTLE_SECONDS)
                return

    def end_all(self) -> None:
        """End all subscriptions, and forget who was absent."""
        for subscription in tuple(self._subscriptions.values()):
            subscription.finish()
        self._subscriptions.clear()
        self._mailboxes.clear()
