"""The websocket of one browser tab: a subscriber of the kernel."""

from __future__ import annotations

import asyncio

from jupyter_server.services.kernels.connection.base import BaseKernelWebsocketConnection
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from jupyter_relay.errors import KernelNotRunning, MalformedFrame, UnsendableMessage
from jupyter_relay.gateway.kernel import RemoteKernel
from jupyter_relay.gateway.subscription import Subscription, SubscriptionEnded
from jupyter_relay.server.receipts import Receipts
from jupyter_relay.wire.message import Frame, Message
from jupyter_relay.wire.subprotocol import Subprotocol


class GatewayWebSocketConnection(BaseKernelWebsocketConnection):
    """Joins a tab to the kernel that its manager holds.

    What the tab speaks is agreed upon with the tab alone: v1 if it offers that, else legacy.
    """

    _subscription: Subscription | None = None
    _pump: asyncio.Task[None] | None = None
    _receipts: Receipts | None = None

    async def connect(self) -> None:
        """Subscribe to the kernel. The gateway need not be reached for that."""
        remote: RemoteKernel = self.kernel_manager.running
        # Many small messages would wait for the browser's acknowledgements otherwise.
        self.websocket_handler.set_nodelay(True)
        connection = self.websocket_handler.ws_connection
        self._receipts = Receipts(connection.stream if connection is not None else None)
        self._subscription = remote.subscribe(self.session_id, unread=self._receipts.close)
        self._pump = asyncio.create_task(self._pass_down(self._subscription, self._receipts))

    def disconnect(self) -> None:
        """Leave the kernel: what comes is kept for this tab, should it come back."""
        if self._subscription is not None:
            self._subscription.leave()
        if self._receipts is not None:
            self._receipts.close()
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

    async def _pass_down(self, subscription: Subscription, receipts: Receipts) -> None:
        subprotocol = self._subprotocol
        try:
            while True:
                message = await subscription.receive()
                try:
                    frame = subprotocol.encode(message)
                except (UnsendableMessage, MalformedFrame) as error:
                    self.log.warning("Kernel %s: a message was skipped: %s", self.kernel_id, error)
                else:
                    await self._write(message, frame, receipts)
        except SubscriptionEnded:
            # What the page would say from now on, nobody would hear.
            self.websocket_handler.close()
        except WebSocketClosedError:
            # The tab went away in this instant; its handler says so to `disconnect`.
            pass

    async def _write(self, message: Message, frame: Frame, receipts: Receipts) -> None:
        handler = self.websocket_handler
        try:
            written = handler.write_message(frame.data, binary=not frame.text)
        except WebSocketClosedError:
            receipts.refused(message)
            raise
        receipts.wrote(message)
        if _is_congested(handler):
            # Its error is the reader's too, who may end before this is awaited.
            written.add_done_callback(_retrieve)
            await written


def _is_congested(handler: WebSocketHandler) -> bool:
    """Whether the tab's socket has not taken all that was written to it."""
    connection = handler.ws_connection
    stream = connection.stream if connection is not None else None
    return stream is None or stream.writing()


def _retrieve(written: asyncio.Future[None]) -> None:
    if not written.cancelled():
        written.exception()
