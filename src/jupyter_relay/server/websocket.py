"""The websocket of one browser tab: a subscriber of the kernel."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Final

from jupyter_server.services.kernels.connection.base import BaseKernelWebsocketConnection
from tornado.websocket import WebSocketClosedError

from jupyter_relay.errors import KernelNotRunning, MalformedFrame, UnsendableMessage
from jupyter_relay.gateway.kernel import RemoteKernel
from jupyter_relay.gateway.subscription import Subscription, SubscriptionEnded
from jupyter_relay.server.tab_writer import TabWriter
from jupyter_relay.wire.message import Frame, Message
from jupyter_relay.wire.subprotocol import Subprotocol

_BATCH: Final = 256 * 1024
"""The bytes that go down in one write, if so many wait; one message may be more."""


class GatewayWebSocketConnection(BaseKernelWebsocketConnection):
    """Joins a tab to the kernel that its manager holds.

    What the tab speaks is agreed upon with the tab alone: v1 if it offers that, else legacy.
    """

    _subscription: Subscription | None = None
    _pump: asyncio.Task[None] | None = None
    _writer: TabWriter | None = None

    async def connect(self) -> None:
        """Subscribe to the kernel. The gateway need not be reached for that."""
        remote: RemoteKernel = self.kernel_manager.running
        # Many small messages would wait for the browser's acknowledgements otherwise.
        self.websocket_handler.set_nodelay(True)
        self._writer = TabWriter(self.websocket_handler)
        self._subscription = remote.subscribe(self.session_id, unread=self._writer.close)
        self._pump = asyncio.create_task(self._pass_down(self._subscription, self._writer))

    def disconnect(self) -> None:
        """Leave the kernel: what comes is kept for this tab, should it come back."""
        if self._subscription is not None:
            self._subscription.leave()
        if self._writer is not None:
            self._writer.close()
        if self._pump is not None:
            self._pump.cancel()

    def handle_incoming_message(self, incoming_msg: str | bytes) -> None:
        """Pass a frame of the tab up; one that is no message is skipped."""
        if self._subscription is None:
            return
        text = isinstance(incoming_msg, str)
        data = incoming_msg.encode() if isinstance(incoming_msg, str) else incoming_msg
        try:
            message = self._subprotocol.decode(Frame(data, text))
            self._subscription.send(message)
        except (MalformedFrame, KernelNotRunning) as error:
            self.log.warning(
                "Kernel %s: a frame from a page was skipped: %s", self.kernel_id, error
            )

    @property
    def _subprotocol(self) -> Subprotocol:
        return Subprotocol.answered(self.websocket_handler.selected_subprotocol)

    async def _pass_down(self, subscription: Subscription, writer: TabWriter) -> None:
        try:
            while True:
                messages = await subscription.receive_batch(_BATCH)
                await writer.write(list(self._encoded(messages)))
        except SubscriptionEnded:
            # What the page would say from now on, nobody would hear.
            self.websocket_handler.close()
        except WebSocketClosedError:
            # The tab went away in this instant; its handler says so to `disconnect`.
            pass

    def _encoded(self, messages: Iterable[Message]) -> Iterator[tuple[Message, Frame]]:
        subprotocol = self._subprotocol
        for message in messages:
            try:
                yield message, subprotocol.encode(message)
            except (UnsendableMessage, MalformedFrame) as error:
                self.log.warning("Kernel %s: a message was skipped: %s", self.kernel_id, error)
