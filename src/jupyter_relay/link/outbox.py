"""Messages on their way up: the queue that holds them, and the size that the gateway takes.

Every message for the kernel passes through the outbox and leaves it when a socket takes it. So what
the outbox still holds when a link drops was not sent, and may be sent later. What has left it may
have reached the kernel, and is never sent again.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from jupyter_relay.link.actions import Action, Happening, Report
from jupyter_relay.link.answers import Answers
from jupyter_relay.link.pending import Request
from jupyter_relay.wire.message import Message, quoted

_FLOWING_FACTOR = 16
"""How many times the bounds may be exceeded while a socket takes messages."""

USUAL_LIMIT: Final = 10 * 2**20
"""The bytes of a message that gateways take: Tornado's default. Larger ones are remembered."""

_UNLIMITED: Final = 2**63
"""A size that no message has."""

_MAX_LARGE: Final = 64
"""How many messages above the usual limit are remembered of a socket: more than are under way."""


class Outbox:
    """Messages in the order they came, at most ``max_messages`` of ``max_bytes`` together."""

    __slots__ = ("_bytes", "_max_bytes", "_max_messages", "_messages")

    def __init__(self, *, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._messages: deque[Message] | None = None
        """None until the first message, and after `clear`: an empty deque takes 760 bytes, and many
        kernels are never asked anything."""

        self._bytes = 0
        """The sum of the sizes of the messages."""

    def __len__(self) -> int:
        return len(self._messages or ())

    @property
    def held_bytes(self) -> int:
        """The bytes held."""
        return self._bytes

    def append(self, message: Message, *, flowing: bool) -> bool:
        """Hold a message. Returns False, and holds nothing, at the bound.

        The bound is for an outage. While messages are ``flowing`` out, `_FLOWING_FACTOR` times as
        many may pass at once, as the pictures of a widget do. A message that is larger than the
        bound by itself is held if it is alone: the bound is for what piles up.
        """
        times = _FLOWING_FACTOR if flowing else 1
        if self._messages and (
            len(self._messages) >= times * self._max_messages
            or self._bytes + message.size > times * self._max_bytes
        ):
            return False
        self._get_queue().append(message)
        self._bytes += message.size
        return True

    def describe_full(self, gateway: str, down_seconds: float) -> str:
        """Return why `append` has refused a message, as a sentence."""
        down = f", which has been down for {down_seconds:.0f} s" if down_seconds else ""
        return (
            f"{len(self)} messages ({self._bytes} bytes) already wait for the connection to "
            f"{gateway}{down}; this one was not sent."
        )

    def append_first(self, message: Message) -> None:
        """Hold a message of the link's own before all others, regardless of the bound."""
        self._get_queue().appendleft(message)
        self._bytes += message.size

    def pop(self) -> Message | None:
        """Remove and return the first message, or None."""
        if not self._messages:
            return None
        message = self._messages.popleft()
        self._bytes -= message.size
        return message

    def remove_larger(self, size: int) -> list[Message]:
        """Remove and return the messages whose frames have so many bytes, or more."""
        messages = self._messages or ()
        removed = [message for message in messages if message.frame_size >= size]
        if removed:
            self._messages = deque(m for m in messages if m.frame_size < size)
            self._bytes -= sum(message.size for message in removed)
        return removed

    def clear(self) -> None:
        """Remove all messages."""
        self._messages = None
        self._bytes = 0

    def _get_queue(self) -> deque[Message]:
        if self._messages is None:
            self._messages = deque()
        return self._messages


class _Sent(NamedTuple):
    """A message that the socket took: its ``size``, its ``msg_type``, and its ``request`` if it is
    one.

    ``order`` is that of its request, or of the last request that the socket took before it.
    """

    size: int
    msg_type: str = ""
    request: Request | None = None
    order: int = 0

    @property
    def was_received(self) -> bool:
        """True if some answer to it came."""
        return self.request is not None and self.request.seen


_NOTHING_SENT: Final = _Sent(0)


class SizeLimit:
    """The size of messages that the gateway takes, as far as it is known.

    A gateway does not say what it takes: it closes the socket when a message is too large. The
    limit is then learned from the largest message that the socket took. ``gateway`` is the
    gateway's name for people; ``max_bytes`` is the configured maximum, 0 for none. The parts of the
    link that it uses are ``outbox``, ``answers``, ``pending`` and ``notices``.
    """

    __slots__ = (
        "_answers",
        "_gateway",
        "_large",
        "_learned",
        "_max_bytes",
        "_notices",
        "_outbox",
        "_pending",
        "_suspected",
        "largest",
        "unchecked_bytes",
    )

    def __init__(
        self,
        *,
        gateway: str,
        max_bytes: int,
        outbox: Outbox,
        answers: Answers,
    ) -> None:
        self._gateway = gateway
        self._max_bytes = max_bytes
        self._outbox = outbox
        self._answers = answers
        self._pending = answers.pending
        self._notices = answers.notices
        self.largest = _NOTHING_SENT
        """The largest message that the current socket took. Reset when a socket opens."""

        self._large: tuple[_Sent, ...] = ()
        """The messages above `USUAL_LIMIT` that the current socket took and nothing came of, in
        order. Reset when a socket opens."""

        self._learned: int | None = None
        """The frame size that the gateway has refused; None if unknown, and again after an outage
        in which it did not open a socket at first: it may have been set up anew."""

        self._suspected: int | None = None
        """The frame size with which a socket was cut in the middle of a message. A second cut makes
        it `_learned`. Reset with that."""

        self.unchecked_bytes = max_bytes or _UNLIMITED
        """Messages up to this size (`Message.size`) need no `refusal`: the lower of both limits."""

    def refusal(self, message: Message) -> str:
        """Return why this message is too large to be sent; an empty text if it is not."""
        size = message.frame_size
        if self._learned is not None and size >= self._learned:
            return self._too_large(size)
        if 0 < self._max_bytes < size:
            return self._too_large(size, than=f"max_message_bytes ({self._max_bytes:,})")
        return ""

    def refuse(self, message: Message, request: Request | None, text: str) -> list[Action]:
        """Answer a message that is not sent with ``text``."""
        if request is None:
            return self._report_lost(message.head.msg_type, text)
        return self._answers.fail(request, text)

    def record(self, size: int, msg_type: str, request: Request | None) -> None:
        """Record a message that the socket takes, since it may turn out to be too large."""
        order = self._pending.last_sent_order if request is None else request.order
        sent = _Sent(size, msg_type, request, order)
        if size > self.largest.size:
            self.largest = sent
        if size > USUAL_LIMIT:
            large = [earlier for earlier in self._large if not earlier.was_received]
            self._large = (*large[1 - _MAX_LARGE :], sent)

    def socket_opened(self, *, after_failed_tries: bool) -> None:
        """A new socket has taken nothing yet; after failed tries the limit is unknown again."""
        self.largest, self._large = _NOTHING_SENT, ()
        if after_failed_tries:
            self._learned = self._suspected = None
            self.unchecked_bytes = self._max_bytes or _UNLIMITED

    def socket_refused_size(self) -> list[Action]:
        """The gateway closed the socket because a message was too large; learn the limit.

        It read nothing behind the first message that was too large. That was the largest one that
        the socket took, or one before it. So neither the largest nor what went behind it reached
        the kernel.
        """
        largest = self.largest
        if largest.size == 0 or largest.was_received:
            return []
        text = self._too_large(largest.size)
        actions = self._finish_large(largest.msg_type, largest.request, text, largest.size)
        unread = "It never reached the kernel."
        behind = self._large[self._large.index(largest) + 1 :] if largest in self._large else ()
        for sent in behind:
            if sent.request is None:
                text = f"{self._probably_too_large(sent.size)} {unread}"
                actions += self._report_lost(sent.msg_type, text)
        sizes = {sent.request.msg_id: sent.size for sent in behind if sent.request is not None}
        for request in self._pending.sent:
            if request.order > largest.order and not request.seen:
                size = sizes.get(request.msg_id)
                text = (
                    f"{self._gateway} closed the connection, since a message before this one was "
                    "larger than it takes. This one never reached the kernel."
                    if size is None
                    else f"{self._probably_too_large(size)} {unread}"
                )
                actions += self._answers.finish([request], text)
        self._mark_doubted()
        return actions

    def socket_cut(self, unfinished: Message) -> list[Action]:
        """The socket was cut while this large message was written.

        The gateway's closing frame may have been lost, as behind a proxy. The first time may be
        chance; the second time the size is a limit.
        """
        size = unfinished.frame_size
        again = self._suspected is not None and size >= self._suspected
        self._suspected = size
        text = (
            f"The connection to {self._gateway} was cut while this message of "
            f"{size / 2**20:.1f} MiB was sent. It is probably larger than "
            f"{self._gateway} takes, which is 10 MiB unless it is set up otherwise."
        )
        request = self._pending.find(unfinished.head.msg_id)
        self._mark_doubted()
        if request is not None and request.seen:
            return []
        limit = size if again else None
        return self._finish_large(unfinished.head.msg_type, request, text, limit)

    def _mark_doubted(self) -> None:
        """Mark the other large requests: they may have been too large as well. Whether the kernel
        has received them shows behind the next barrier."""
        for sent in self._large:
            if sent.request is not None:
                sent.request.doubted_size = sent.size

    def _finish_large(
        self, msg_type: str, request: Request | None, text: str, limit: int | None
    ) -> list[Action]:
        """Answer the message that was too large, and what is held and beyond the new limit."""
        if request is None or request not in self._pending:
            actions = self._report_lost(msg_type, text)
        else:
            actions = self._answers.finish([request], text)
        if limit is None:
            return actions
        self._learned = limit
        self.unchecked_bytes = min(self.unchecked_bytes, limit - 1)
        for message in self._outbox.remove_larger(limit):
            held = self._pending.find(message.head.msg_id)
            if held is not None:
                self._pending.remove(held)
            actions += self.refuse(message, held, self._too_large(message.frame_size))
        return actions

    def _report_lost(self, msg_type: str, text: str) -> list[Action]:
        """Report the loss of a message without a reply, such as a widget's: in the log, and in the
        cell that runs."""
        text = f"A {quoted(msg_type)} was lost. {text}"
        return [Report(Happening.FAILED, text), *self._notices.in_cell(self._pending.cell, text)]

    def _probably_too_large(self, size: int) -> str:
        return (
            f"This message of {size / 2**20:.1f} MiB is probably larger than {self._gateway} "
            "takes, too."
        )

    def _too_large(self, size: int, than: str = "") -> str:
        than = than or f"{self._gateway} takes"
        return (
            f"This message of {size / 2**20:.1f} MiB is larger than {than}, and never reached the "
            "kernel."
        )
