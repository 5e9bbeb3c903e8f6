"""The websocket of one page: a subscriber of the kernel."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Final

from jupyter_server.services.kernels.connection.base import BaseKernelWebsocketConnection
from tornado.websocket import WebSocketClosedError

from jupyter_relay.errors import KernelNotRunning, MalformedFrame, UnsendableMessage
from jupyter_relay.kernels.kernel import RemoteKernel
from jupyter_relay.kernels.subscription import Subscription, SubscriptionEnded
from jupyter_relay.link.life import VANISHED
from jupyter_relay.log import ThrottledLog
from jupyter_relay.server.http.http_errors import PlainHTTPError
from jupyter_relay.server.pages.page_policy import PagePolicy
from jupyter_relay.server.pages.page_writer import PageWriter
from jupyter_relay.wire.message import Frame, Message, quoted
from jupyter_relay.wire.subprotocol import Subprotocol

_BATCH_BYTES: Final = 768 * 1024
"""How many bytes of memory the messages of one write take, if so many wait. A single message may
take more. Of short messages a quarter of that is in their frames; one of 1 MB is sent by itself."""

_ENVELOPE_BYTES: Final = 64 * 1024
"""By how many bytes the frame of a page may be longer than the parts of its message."""


class GatewayWebSocketConnection(BaseKernelWebsocketConnection):
    """Connects a page to the kernel that its manager holds.

    The subprotocol is agreed upon with the page alone: v1 if the page offers it, else legacy.

    A page whose kernel is gone from the gateway, or could not be started there, keeps its websocket
    for half a minute. Its requests are answered with the reason. JupyterLab notices by its lists of
    kernels and sessions, which it gets every 10 s, and releases both together. A status ``dead``
    must not come sooner: a cell that is run on a kernel that JupyterLab knows to be dead, in a
    session that it takes to be alive, never ends there (4.6, read and seen).

    After that half minute the websocket is closed, and a new one is refused. JupyterLab then asks
    for the kernel's model, and shows the reason in it; after a status ``dead`` it would not ask.

    Options of Jupyter Server's own class that have an effect here may also be set under its name,
    ``ZMQChannelsWebsocketConnection``.
    """

    _policy: PagePolicy = PagePolicy()
    _subscription: Subscription | None = None
    _sending: asyncio.Task[None] | None = None
    _writer: PageWriter | None = None
    _skipped: ThrottledLog | None = None
    _closing: asyncio.TimerHandle | None = None

    @classmethod
    def section_names(cls) -> list[str]:
        """Return the names under which its options may be set."""
        *bases, own = super().section_names()
        return [*bases, "ZMQChannelsWebsocketConnection", own]

    async def prepare(self) -> None:
        """Raise a 404 if the kernel is gone, and nothing is kept for the page."""
        remote = self._remote
        if remote.life in VANISHED and not remote.audience.has_missed(self.session_id):
            raise PlainHTTPError(404, remote.model.reason)

    async def connect(self) -> None:
        """Subscribe to the kernel, which needs no connection to the gateway."""
        # Many small messages would wait for the browser's acknowledgements otherwise.
        self.websocket_handler.set_nodelay(True)
        self._policy = self._policy_of_server()
        self._writer = PageWriter(self.websocket_handler)
        remote = self._remote
        self._skipped = ThrottledLog(remote.log.warning)
        self._subscription = remote.subscribe(self.session_id, unread=self._writer.close)
        self._sending = asyncio.create_task(
            self._send_to_page(remote, self._subscription, self._writer)
        )

    def disconnect(self) -> None:
        """Unsubscribe. What the kernel sends is kept for the page's return, unless the server's
        ``buffer_offline_messages`` is off."""
        if self._subscription is not None:
            self._subscription.leave(keep=self.multi_kernel_manager.buffer_offline_messages)
        if self._writer is not None:
            self._writer.close()
        if self._sending is not None:
            self._sending.cancel()
        if self._skipped is not None:
            self._skipped.write_count()
        if self._closing is not None:
            self._closing.cancel()

    def handle_incoming_message(self, incoming_msg: str | bytes) -> None:
        """Send a message of the page to the kernel. A frame that is no message, and a message of a
        type that the server does not allow, are skipped."""
        if self._subscription is None:
            return
        text = isinstance(incoming_msg, str)
        data = incoming_msg.encode() if isinstance(incoming_msg, str) else incoming_msg
        try:
            message = self._decode(Frame(data, text))
            if self._policy.allows(message):
                self._subscription.send(message)
            else:
                msg_type = quoted(message.head.msg_type)
                self._skip(
                    f"a message from a page was skipped: its type {msg_type!r} is not among the "
                    "allowed_message_types."
                )
        except (MalformedFrame, KernelNotRunning) as error:
            self._skip(f"a frame from a page was skipped: {error}")

    def _decode(self, frame: Frame) -> Message:
        """Read a frame; only the head of one that is refused for its size. Raises
        `MalformedFrame`."""
        limit = self._remote.gateway.settings.link.max_message_bytes
        if 0 < limit < len(frame.data) - _ENVELOPE_BYTES:
            return self._subprotocol.decode_head(frame)
        return self._subprotocol.decode(frame)

    def _skip(self, why: str) -> None:
        if self._skipped is not None:
            self._skipped.write(why)

    @property
    def _remote(self) -> RemoteKernel:
        remote: RemoteKernel = self.kernel_manager.running
        return remote

    def _policy_of_server(self) -> PagePolicy:
        kernels = self.multi_kernel_manager
        return PagePolicy(
            allowed_types=frozenset(kernels.allowed_message_types),
            hidden_traceback=(
                None if kernels.allow_tracebacks else kernels.traceback_replacement_message
            ),
        )

    @property
    def _subprotocol(self) -> Subprotocol:
        return Subprotocol.answered(self.websocket_handler.selected_subprotocol)

    async def _send_to_page(
        self, remote: RemoteKernel, subscription: Subscription, writer: PageWriter
    ) -> None:
        try:
            while True:
                messages = await subscription.receive_batch(_BATCH_BYTES)
                if remote.life not in VANISHED:
                    await writer.write(list(self._encoded(messages)))
                    continue
                shown = [message for message in messages if message.execution_state != "dead"]
                await writer.write(list(self._encoded(shown)))
                self._close_later()
        except SubscriptionEnded:
            pass
        except WebSocketClosedError:
            return  # the page went away in this instant; its handler calls `disconnect`
        # Nothing that the page sent from here on would reach the kernel.
        self.websocket_handler.close()

    def _close_later(self) -> None:
        if self._closing is None:
            loop = asyncio.get_running_loop()
            seconds = self.multi_kernel_manager.farewell_seconds
            self._closing = loop.call_later(seconds, self.websocket_handler.close)

    def _encoded(self, messages: Iterable[Message]) -> Iterator[tuple[Message, Frame]]:
        subprotocol, policy = self._subprotocol, self._policy
        shows_all = policy.shows_all  # a call for each message costs 50 ns
        for message in messages:
            try:
                shown = message if shows_all else policy.shown(message)
                yield message, subprotocol.encode(shown)
            except (UnsendableMessage, MalformedFrame) as error:
                self._skip(f"a message was skipped: {error}")
