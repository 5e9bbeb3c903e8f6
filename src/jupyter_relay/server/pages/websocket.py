"""The websocket of one browser tab: a subscriber of the kernel."""

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
from jupyter_relay.log import Flood
from jupyter_relay.server.http.http_errors import PlainHTTPError
from jupyter_relay.server.pages.page_policy import PagePolicy
from jupyter_relay.server.pages.tab_writer import TabWriter
from jupyter_relay.wire.message import Frame, Message, quoted
from jupyter_relay.wire.subprotocol import Subprotocol

_BATCH: Final = 768 * 1024
"""The bytes of memory of the messages that go down in one write, if so many wait; one message may
be more. Of short messages a quarter of that is in their frames; one of 1 MB goes by itself."""


class GatewayWebSocketConnection(BaseKernelWebsocketConnection):
    """Joins a tab to the kernel that its manager holds.

    What the tab speaks is agreed upon with the tab alone: v1 if it offers that, else legacy.

    A page whose kernel is gone from the gateway, or could not be started there, keeps its websocket
    for half a minute, and what it asks is answered with the reason. JupyterLab finds out by its
    lists, which it gets every 10 s, and lets go of kernel and session together. It must not be told
    sooner: a cell that is run on a kernel that Lab knows to be dead, in a session that it takes to
    be alive, never ends there (4.6, read and seen).

    One that is still there after that is told by the end of its websocket, and a new one is
    refused. JupyterLab then asks for the kernel's model, and shows the reason that it finds there;
    after a status ``dead`` it would not ask.

    Options of Jupyter Server's own class that are heeded here may also be set under its name,
    ``ZMQChannelsWebsocketConnection``.
    """

    _policy: PagePolicy = PagePolicy()
    _subscription: Subscription | None = None
    _pump: asyncio.Task[None] | None = None
    _writer: TabWriter | None = None
    _skipped: Flood | None = None
    _end: asyncio.TimerHandle | None = None

    @classmethod
    def section_names(cls) -> list[str]:
        """Return the names under which its options may be set."""
        *bases, own = super().section_names()
        return [*bases, "ZMQChannelsWebsocketConnection", own]

    async def prepare(self) -> None:
        """Answer 404 where the kernel is lost, and the page has heard everything of it."""
        remote = self._remote
        if remote.life in VANISHED and not remote.audience.has_missed(self.session_id):
            raise PlainHTTPError(404, remote.model.reason)

    async def connect(self) -> None:
        """Subscribe to the kernel. The gateway need not be reached for that."""
        # Many small messages would wait for the browser's acknowledgements otherwise.
        self.websocket_handler.set_nodelay(True)
        self._policy = self._servers_policy()
        self._writer = TabWriter(self.websocket_handler)
        self._skipped = Flood(
            lambda why: self.log.warning("Kernel %s: %s", self.kernel_id, why),
        )
        remote = self._remote
        self._subscription = remote.subscribe(self.session_id, unread=self._writer.close)
        self._pump = asyncio.create_task(self._pass_down(remote, self._subscription, self._writer))

    def disconnect(self) -> None:
        """Leave the kernel: what comes is kept for this tab, should it come back, unless the
        server's ``buffer_offline_messages`` is off."""
        if self._subscription is not None:
            self._subscription.leave(keep=self.multi_kernel_manager.buffer_offline_messages)
        if self._writer is not None:
            self._writer.close()
        if self._pump is not None:
            self._pump.cancel()
        if self._skipped is not None:
            self._skipped.end()
        if self._end is not None:
            self._end.cancel()

    def handle_incoming_message(self, incoming_msg: str | bytes) -> None:
        """Pass a frame of the tab up; one that is no message, or one of a type that the server does
        not allow to pages, is skipped."""
        if self._subscription is None:
            return
        text = isinstance(incoming_msg, str)
        data = incoming_msg.encode() if isinstance(incoming_msg, str) else incoming_msg
        try:
            message = self._subprotocol.decode(Frame(data, text))
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

    def _skip(self, why: str) -> None:
        if self._skipped is not None:
            self._skipped.add(why)

    @property
    def _remote(self) -> RemoteKernel:
        remote: RemoteKernel = self.kernel_manager.running
        return remote

    def _servers_policy(self) -> PagePolicy:
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

    async def _pass_down(
        self, remote: RemoteKernel, subscription: Subscription, writer: TabWriter
    ) -> None:
        try:
            while True:
                messages = await subscription.receive_batch(_BATCH)
                if remote.life not in VANISHED:
                    await writer.write(list(self._encoded(messages)))
                    continue
                said = [message for message in messages if message.execution_state != "dead"]
                await writer.write(list(self._encoded(said)))
                self._end_soon()
        except SubscriptionEnded:
            pass
        except WebSocketClosedError:
            return  # The tab went away in this instant; its handler says so to `disconnect`.
        # What the page would say from now on, nobody would hear.
        self.websocket_handler.close()

    def _end_soon(self) -> None:
        if self._end is None:
            loop = asyncio.get_running_loop()
            seconds = self.kernel_manager.farewell_seconds
            self._end = loop.call_later(seconds, self.websocket_handler.close)

    def _encoded(self, messages: Iterable[Message]) -> Iterator[tuple[Message, Frame]]:
        subprotocol, policy = self._subprotocol, self._policy
        shows_all = policy.shows_all  # a call for each message costs 50 ns
        for message in messages:
            try:
                shown = message if shows_all else policy.shown(message)
                yield message, subprotocol.encode(shown)
            except (UnsendableMessage, MalformedFrame) as error:
                self._skip(f"a message was skipped: {error}")
