"""The limit: a bare aiohttp client, straight on the gateway, that does the least that must be."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final
from uuid import uuid4

import aiohttp

from bench.messages import V1, Wire, execute_request
from bench.site import Endpoint
from bench.tab import BenchError

_MESSAGES: Final = {aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT}


class Bare:
    """A websocket of aiohttp. It acknowledges at once what it reads, as our own client does."""

    def __init__(
        self, websocket: aiohttp.ClientWebSocketResponse[bool], wire: Wire, *, parse: bool
    ) -> None:
        self.websocket = websocket
        self._wire = wire
        self._parse = parse
        self._session = uuid4().hex
        self._tcp: socket.socket = websocket.get_extra_info("socket")

    async def execute(self, code: str, frames_due: int) -> None:
        """Run a cell and wait until that many messages have come."""
        payload = execute_request(self._wire, code, self._session)
        await self.websocket.send_frame(payload, aiohttp.WSMsgType(self._wire.opcode))
        for _ in range(frames_due):
            self._acknowledge()
            message = await self.websocket.receive()
            if message.type not in _MESSAGES:
                raise BenchError(f"The gateway closed the websocket: {message}.")
            if self._parse:
                json.loads(message.data)

    async def settle(self, seconds: float) -> None:
        """Let what comes unasked come, and forget it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    await self.websocket.receive()

    def _acknowledge(self) -> None:
        # Once a read, not once a message.
        if not self.websocket._reader._buffer:  # noqa: SLF001  # aiohttp does not say otherwise
            self._tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


@asynccontextmanager
async def bare(
    endpoint: Endpoint, kernel_id: str, wire: Wire = Wire.V1, *, parse: bool = False
) -> AsyncIterator[Bare]:
    """Open a kernel's websocket; with ``parse`` each message is read as JSON."""
    async with endpoint.http.ws_connect(
        f"{endpoint.url}/api/kernels/{kernel_id}/channels",
        protocols=(V1,) if wire is Wire.V1 else (),
        max_msg_size=0,
        decode_text=False,
    ) as websocket:
        yield Bare(websocket, wire, parse=parse)
