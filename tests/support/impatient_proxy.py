"""A reverse proxy that does not wait: what takes longer than its limit is answered with 504."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from jupyter_relay.testing.changes import Changes

_HOP = {"host", "connection", "upgrade", "transfer-encoding", "content-length"}


@dataclass
class ImpatientProxy:
    """Where it is, and what it has answered: ``answers`` holds status, method and path of each."""

    target: str
    token: str
    limit: float
    http: aiohttp.ClientSession
    url: str = ""
    answers: list[str] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Answer a request, and remember how."""
        response = await self._pass_on(request)
        self.answers.append(f"{response.status} {request.method} {request.path}")
        self.changes.notify()
        return response

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        """Pass a request on, and its answer back, as nginx does with ``proxy_read_timeout``."""
        kept = {k: v for k, v in request.headers.items() if k.lower() not in _HOP}
        try:
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await self._relay(request, kept)
            async with (
                asyncio.timeout(self.limit),
                self.http.request(
                    request.method,
                    self.target + request.path_qs,
                    headers=kept,
                    data=await request.read(),
                ) as answer,
            ):
                return web.Response(
                    status=answer.status,
                    body=await answer.read(),
                    content_type=answer.content_type,
                )
        except TimeoutError:
            return web.Response(status=504, text="<h1>Time-out</h1>", content_type="text/html")

    async def _relay(self, request: web.Request, headers: dict[str, str]) -> web.StreamResponse:
        headers = {k: v for k, v in headers.items() if not k.lower().startswith("sec-websocket")}
        offered = request.headers.get("Sec-WebSocket-Protocol", "")
        try:
            async with asyncio.timeout(self.limit):
                upstream = await self.http.ws_connect(
                    self.target + request.path_qs,
                    headers=headers,
                    protocols=tuple(filter(None, offered.split(", "))),
                    max_msg_size=0,
                )
        except aiohttp.WSServerHandshakeError as error:
            return web.Response(status=error.status)
        async with upstream:
            chosen = (upstream.protocol,) if upstream.protocol else ()
            downstream = web.WebSocketResponse(protocols=chosen, max_msg_size=0)
            await downstream.prepare(request)
            ways = [
                asyncio.create_task(_pass_on(upstream, downstream)),
                asyncio.create_task(_pass_on(downstream, upstream)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.wait(ways)
                await downstream.close()
        return downstream


@asynccontextmanager
async def impatient_proxy(
    target: str, token: str, *, limit: float
) -> AsyncIterator[ImpatientProxy]:
    """Run one in front of the server at ``target``; ``limit`` is in seconds."""
    async with aiohttp.ClientSession(auto_decompress=False) as http:
        proxy = ImpatientProxy(target, token, limit, http)
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{path:.*}", proxy.take)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            proxy.url = f"http://127.0.0.1:{site.port}"
            yield proxy
        finally:
            await runner.cleanup()


async def _pass_on(
    source: aiohttp.ClientWebSocketResponse[bool] | web.WebSocketResponse,
    sink: aiohttp.ClientWebSocketResponse[bool] | web.WebSocketResponse,
) -> None:
    async for message in source:
        if message.type is aiohttp.WSMsgType.BINARY:
            await sink.send_bytes(message.data)
        elif message.type is aiohttp.WSMsgType.TEXT:
            await sink.send_str(message.data)
