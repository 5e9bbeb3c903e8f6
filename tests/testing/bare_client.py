"""The least client of a kernel gateway: aiohttp and the wire codecs, no retries, no state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import uuid4

import aiohttp

from jupyter_relay.testing import FakeGateway, FakeKernel
from jupyter_relay.wire.json import Json
from jupyter_relay.wire.message import EMPTY, Channel, Frame, Message, Part, compose
from jupyter_relay.wire.subprotocol import OFFERED, Subprotocol

DEADLINE = 60.0
"""After how many seconds a test gives up to wait; long, since a machine may be busy."""


class BareSocket:
    """A websocket to a kernel."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse, session_id: str) -> None:
        self.websocket = websocket
        self.subprotocol = Subprotocol.answered(websocket.protocol)
        self.session_id = session_id

    async def send(
        self,
        msg_type: str,
        content: Mapping[str, Json] | None = None,
        *,
        channel: Channel = Channel.SHELL,
        parent_header: Part = EMPTY,
    ) -> str:
        """Send a request and return its id.

        No other request has it, also of a later socket of the same session: what the first one
        asked may be answered on the second.
        """
        msg_id = uuid4().hex
        message = compose(
            channel,
            msg_type,
            content or {},
            msg_id=msg_id,
            session=self.session_id,
            date=datetime.now(UTC),
            parent_header=parent_header,
        )
        frame = self.subprotocol.encode(message)
        if frame.text:
            await self.websocket.send_str(frame.data.decode())
        else:
            await self.websocket.send_bytes(frame.data)
        return msg_id

    async def execute(self, code: str) -> str:
        """Send an ``execute_request``."""
        return await self.send("execute_request", {"code": code, "silent": False})

    async def receive(self) -> Message:
        """Return the next message. Raises `ConnectionError` where there is none any more."""
        arrived = await self.websocket.receive(timeout=DEADLINE)
        if arrived.type is aiohttp.WSMsgType.BINARY:
            return self.subprotocol.decode(Frame(arrived.data))
        if arrived.type is aiohttp.WSMsgType.TEXT:
            return self.subprotocol.decode(Frame(arrived.data.encode(), text=True))
        raise ConnectionError(f"ended: {arrived.type.name} {arrived.data}")

    async def receive_many(self, count: int) -> list[str]:
        """Return the types of the next messages."""
        return [(await self.receive()).head.msg_type for _ in range(count)]


class BareClient:
    """REST and websockets of one gateway."""

    def __init__(self, http: aiohttp.ClientSession, gateway: FakeGateway) -> None:
        self.http = http
        self.gateway = gateway

    async def call(
        self,
        method: str,
        path: str,
        *,
        json: Json = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Json]:
        """Make a request; return its status, and its body if that is JSON."""
        given = {"Authorization": f"token {self.gateway.token}"} if headers is None else headers
        url = self.gateway.url + path
        async with self.http.request(method, url, json=json, headers=given) as response:
            is_json = response.content_type == "application/json"
            return response.status, await response.json() if is_json else None

    @asynccontextmanager
    async def socket(
        self, kernel: FakeKernel, session_id: str = "me", *, legacy: bool = False
    ) -> AsyncIterator[BareSocket]:
        """Open a websocket to a kernel."""
        query = {"session_id": session_id, "token": self.gateway.token}
        async with (
            asyncio.timeout(DEADLINE),
            self.http.ws_connect(
                f"{self.gateway.url}/api/kernels/{kernel.id}/channels",
                params=query,
                protocols=() if legacy else OFFERED,
                max_msg_size=0,
            ) as websocket,
        ):
            yield BareSocket(websocket, session_id)
