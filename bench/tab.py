"""The browser of the bench: a websocket that counts the messages it is sent, and does no more.

A page that reads slower than the server writes would be what is measured. This one looks at the
head of each frame only, so it reads some millions of them a second.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import ssl
from typing import Final
from urllib.parse import urlsplit

from bench import frames
from bench.messages import V1, Wire, execute_request

_BUFFER_BYTES: Final = 2**17


class BenchError(Exception):
    """The bench cannot go on; what was measured is no good."""


class Tab(asyncio.BufferedProtocol):
    """One page: `open` it, `execute` a cell, and await the messages that must come."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._session = secrets.token_hex(16)
        self._data = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._data)
        self._end = 0  # of what has come and is not counted yet
        self._skip = 0  # what is still to come of a payload
        self._received = 0
        self._wanted = 0
        self._waiter: asyncio.Future[None] | None = None
        self._opened: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport

    @classmethod
    async def open(
        cls,
        url: str,
        token: str,
        kernel_id: str,
        *,
        wire: Wire = Wire.V1,
        tls: ssl.SSLContext | None = None,
    ) -> Tab:
        """Open the websocket of a kernel. Raises `BenchError` if it is refused."""
        address = urlsplit(url)
        assert address.hostname is not None
        assert address.port is not None
        tab = cls(wire)
        await asyncio.get_running_loop().create_connection(
            lambda: tab, address.hostname, address.port, ssl=tls
        )
        lines = [
            f"GET /api/kernels/{kernel_id}/channels?session_id={tab._session} HTTP/1.1",
            f"Host: {address.netloc}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {base64.b64encode(secrets.token_bytes(16)).decode()}",
            "Sec-WebSocket-Version: 13",
            f"Authorization: token {token}",
        ]
        if wire is Wire.V1:
            lines.append(f"Sec-WebSocket-Protocol: {V1}")
        tab._transport.write("\r\n".join([*lines, "", ""]).encode())
        answer = await tab._opened
        if b" 101 " not in answer.partition(b"\r\n")[0]:
            raise BenchError(f"A websocket was refused: {answer[:200]!r}")
        if wire is Wire.V1 and V1.encode() not in answer:
            tab.wire = Wire.LEGACY  # the server did not take the offer
        return tab

    async def execute(self, code: str, frames_due: int) -> None:
        """Run a cell and wait until that many messages have come."""
        self.send(code)
        await self.received(frames_due)

    def send(self, code: str) -> None:
        """Run a cell; nothing is waited for."""
        payload = execute_request(self.wire, code, self._session)
        self._transport.write(frames.head(self.wire.opcode, len(payload), masked=True) + payload)

    async def received(self, wanted: int) -> None:
        """Wait until that many messages have come since this last returned.

        Raises `BenchError` if the websocket closes before, or if more have come.
        """
        await self.at_least(wanted)
        self._received -= wanted
        if self._received:
            raise BenchError(f"{self._received} messages came that nobody asked for.")

    async def at_least(self, wanted: int) -> None:
        """Wait until that many messages have come, for one that is not done yet.

        Raises `BenchError` if the websocket closes before.
        """
        self._wanted = wanted
        if self._received < wanted:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    async def settle(self, seconds: float) -> None:
        """Let what comes unasked come, and forget it."""
        await asyncio.sleep(seconds)
        self._received = 0

    def stall(self) -> None:
        """Read no more."""
        self._transport.pause_reading()

    async def close(self) -> None:
        """Close it without ceremony, as a page that is left."""
        self._transport.abort()
        await self._closed

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed.set_result(None)
        if not self._opened.done():
            self._opened.set_exception(BenchError("A server closed the connection."))
        if self._waiter is not None and not self._waiter.done():
            missing = self._wanted - self._received
            self._waiter.set_exception(BenchError(f"{missing} messages did not come."))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        self._end += nbytes
        begin = 0
        if not self._opened.done():
            end = self._data.find(b"\r\n\r\n", 0, self._end)
            if end < 0:
                return
            self._opened.set_result(bytes(self._data[:end]))
            begin = end + 4
        self._count(begin)
        if self._waiter is not None and self._received >= self._wanted and not self._skip:
            if not self._waiter.done():  # who waited may have been cancelled
                self._waiter.set_result(None)
            self._waiter = None

    def _count(self, at: int) -> None:
        """Count the messages whose heads are here, and step over their payloads."""
        data, end = self._data, self._end
        at += self._skip
        while at + 2 <= end:
            payload, size = at + 2, data[at + 1]
            if size == 126:
                payload, size = at + 4, data[at + 2] << 8 | data[at + 3]
            elif size == 127:
                payload, size = at + 10, int.from_bytes(data[at + 2 : at + 10], "big")
            if payload > end:
                break
            opcode = data[at] & 0x0F
            if opcode < frames.CLOSE:
                self._received += 1
            elif opcode == frames.PING:
                if payload + size > end:
                    break
                self._pong(bytes(data[payload : payload + size]))
            at = payload + size
        self._skip = max(0, at - end)
        rest = data[at:end]  # a part of a head, or of a ping
        self._end = len(rest)
        data[: self._end] = rest

    def _pong(self, payload: bytes) -> None:
        """Answer a ping: a page that does not is dropped after a while."""
        self._transport.write(frames.head(frames.PONG, len(payload), masked=True) + payload)
