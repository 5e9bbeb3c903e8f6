"""One websocket of a fake gateway, seen from the gateway, and what can go wrong with it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from aiohttp import WSCloseCode, WSMsgType, web

from jupyter_relay.errors import WireError
from jupyter_relay.testing.changes import Changes
from jupyter_relay.wire.message import Frame, Message
from jupyter_relay.wire.subprotocol import Subprotocol


@dataclass(frozen=True, slots=True)
class _Ping:
    payload: bytes


@dataclass(frozen=True, slots=True)
class _Close:
    code: int | None
    reason: bytes


@dataclass(frozen=True, slots=True)
class _Drop:
    pass


_Unsent: TypeAlias = Frame | _Ping | _Close | _Drop


def abort(transport: asyncio.BaseTransport | None) -> None:
    """Reset a TCP connection: the peer sees RST, and what was not yet sent is lost."""
    if not isinstance(transport, asyncio.Transport):
        return
    # One of TLS that has ended cannot be asked for its socket any more.
    raw = None if transport.is_closing() else transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class FakeSocket:
    """A websocket between a client and a fake kernel.

    ``session_id`` is the client's, from the query. ``received`` holds the messages read from the
    client; ``refused`` counts its frames that were not messages, ``swallowed`` those let into the
    void, ``pongs`` its answers to our pings, and ``sent`` the frames written to it. Sending never
    waits: frames queue up as they do in a real gateway.
    """

    def __init__(
        self,
        websocket: web.WebSocketResponse,
        request: web.Request,
        *,
        deliver: Callable[[FakeSocket, Message], None],
        ended: Callable[[FakeSocket], None],
        changes: Changes,
    ) -> None:
        self.session_id = request.query.get("session_id", "")
        self.subprotocol = Subprotocol.answered(websocket.ws_protocol)
        self.received: list[Message] = []
        self.refused = 0
        self.swallowed = 0
        self.sent = 0
        self.pongs = 0
        self.closed = False
        self.close_code: int | None = None
        self._websocket = websocket
        self._request = request
        self._deliver = deliver
        self._ended = ended
        self._changes = changes
        self._unsent: deque[_Unsent] = deque()
        self._wake_sender = asyncio.Event()
        self._reading = asyncio.Event()
        self._reading.set()
        self._sending = asyncio.Event()
        self._sending.set()
        self._swallowing = False
        self._closing = False
        self._sends_left: int | None = None
        self._losses_left = 0
        self._receives_left: int | None = None

    def send(self, message: Message) -> None:
        """Send a message in this socket's subprotocol."""
        self.send_raw(self.subprotocol.encode(message))

    def send_raw(self, frame: Frame) -> None:
        """Send any frame, be it a message or not."""
        if self._sends_left is None:
            self._enqueue(frame)
            return
        if self._sends_left > 0:
            self._sends_left -= 1
            self._enqueue(frame)
        else:
            self._losses_left -= 1
        self._drop_if_due()

    def ping(self, payload: bytes = b"", *, times: int = 1) -> None:
        """Send pings."""
        for _ in range(times):
            self._enqueue(_Ping(payload))

    def close(self, code: int | None = WSCloseCode.OK, reason: bytes = b"") -> None:
        """Close once all that waits has been sent. Without a code the client sees 1005."""
        self._enqueue(_Close(code, reason))
        self._ended(self)

    def drop(self) -> None:
        """Reset the TCP connection now; what is not `flushed` is lost."""
        abort(self._request.transport)
        self._end()

    def hang_up(self) -> None:
        """End the TCP connection (FIN) without a closing handshake."""
        if self._request.transport is not None:
            self._request.transport.close()
        self._end()

    def drop_after_sending(self, frames: int, *, losing: int = 0) -> None:
        """Reset the connection once the client has been sent so many more frames.

        So many after them as ``losing`` says are sent in vain, as if in flight when the line was
        cut. For all later ones the socket is no longer there, and the gateway may buffer them.
        """
        self._sends_left = frames
        self._losses_left = losing
        self._drop_if_due()

    def drop_after_receiving(self, messages: int) -> None:
        """Reset the connection once so many more messages have come from the client.

        The last of them still reaches the kernel; the answers find no socket.
        """
        self._receives_left = messages

    def swallow(self) -> None:
        """Read what the client sends from now on, and let none of it reach the kernel."""
        self._swallowing = True

    def stall(self, *, reading: bool = True, sending: bool = True) -> None:
        """Stop reading (which also stops pongs), sending, or both, on an open connection."""
        if reading:
            self._reading.clear()
        if sending:
            self._sending.clear()

    def resume(self) -> None:
        """Undo `stall` and `swallow`."""
        self._swallowing = False
        self._reading.set()
        self._sending.set()

    async def flushed(self) -> None:
        """Return when all that was sent is with the operating system, or the socket is closed."""
        await self._changes.wait_for(lambda: self.closed or not self._unsent)

    async def serve(self) -> None:
        """Move frames until either side ends the socket."""
        sender = asyncio.create_task(self._send_all(), name="fake socket sender")
        try:
            await self._receive_all()
            if self._closing:
                await asyncio.wait((sender,))
        finally:
            self.close_code = self._websocket.close_code
            self._end()
            sender.cancel()
            await asyncio.wait((sender,))

    def _end(self) -> None:
        if not self.closed:
            self.closed = True
            self._unsent.clear()
            self._reading.set()
            self._ended(self)
            self._changes.notify()

    def _drop_if_due(self) -> None:
        if self._sends_left == 0 and self._losses_left <= 0:
            self._ended(self)
            self._enqueue(_Drop())

    def _enqueue(self, unsent: _Unsent) -> None:
        if not self.closed:
            self._unsent.append(unsent)
            self._wake_sender.set()

    async def _receive_all(self) -> None:
        while True:
            await self._reading.wait()
            arrived = await self._websocket.receive()
            await self._reading.wait()
            match arrived.type:
                case WSMsgType.PING:
                    await self._websocket.pong(arrived.data)
                case WSMsgType.PONG:
                    self.pongs += 1
                case WSMsgType.TEXT:
                    self._accept(Frame(arrived.data.encode(), text=True))
                case WSMsgType.BINARY:
                    self._accept(Frame(arrived.data))
                case _:
                    return
            self._changes.notify()

    def _accept(self, frame: Frame) -> None:
        if self.closed:
            return
        if self._swallowing:
            self.swallowed += 1
            return
        try:
            message = self.subprotocol.decode(frame)
            message.head  # noqa: B018  # read here, where a bad one can be refused
        except WireError:
            self.refused += 1
            return
        self.received.append(message)
        if self._receives_left is not None:
            self._receives_left -= 1
            if self._receives_left <= 0:
                self.drop()
        self._deliver(self, message)

    async def _send_all(self) -> None:
        try:
            while True:
                while not self._unsent:
                    self._wake_sender.clear()
                    await self._wake_sender.wait()
                await self._sending.wait()
                if self._unsent:
                    await self._send_one(self._unsent[0])
                    # Only now, so that an empty queue means that all has been written.
                    if self._unsent:
                        self._unsent.popleft()
                    self._changes.notify()
        except ConnectionError:
            self._end()

    async def _send_one(self, unsent: _Unsent) -> None:
        match unsent:
            case Frame(data, text):
                opcode = WSMsgType.TEXT if text else WSMsgType.BINARY
                await self._websocket.send_frame(data, opcode)
                self.sent += 1
            case _Drop():
                self.drop()
            case _Ping(payload):
                await self._websocket.ping(payload)
            case _Close(None, _):
                # aiohttp always gives a code.
                await self._websocket.send_frame(b"", WSMsgType.CLOSE)
            case _Close(int(code), reason):
                self._closing = True
                await self._websocket.close(code=code, message=reason)
                self._end()
