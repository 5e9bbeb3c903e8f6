"""A proxy that lets nobody through to a gateway without a token of its own, which may expire."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web

from jupyter_relay.testing.changes import Changes
from jupyter_relay.testing.servers import RunningServer


class Gatekeeper:
    """Stands before a gateway, as a cloud's or a company's login does.

    ``valid`` are the tokens that it accepts, as ``Bearer``; ``refused`` counts what it has not let
    through, ``sockets`` the websockets that it ever has.
    """

    def __init__(self, gateway: RunningServer) -> None:
        self.valid: set[str] = set()
        self.refused = 0
        self.sockets = 0
        self.changes = Changes()
        self._gateway = gateway
        self._open: dict[web.WebSocketResponse, aiohttp.ClientWebSocketResponse[bool]] = {}
        self._http: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(headers=self._gateway.headers)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._port = site.port
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._runner is not None
        assert self._http is not None
        await self._runner.cleanup()
        await self._http.close()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._port}"

    async def expire(self, *, but: str = "") -> None:
        """End all tokens but one, and the websockets of so far: what was said until then arrives,
        and the gateway knows that nobody is there before we do."""
        self.valid.intersection_update({but})
        for near, far in tuple(self._open.items()):
            await far.close()
            await near.close(code=1008, message=b"token expired")

    async def _take(self, request: web.Request) -> web.StreamResponse:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or token not in self.valid:
            self.refused += 1
            self.changes.notify()
            return web.json_response({"reason": "Unauthorized", "message": ""}, status=401)
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._pass_socket(request)
        assert self._http is not None
        url = self._gateway.url + request.rel_url.raw_path_qs
        body = await request.read()
        async with self._http.request(request.method, url, data=body or None) as answer:
            return web.Response(
                status=answer.status,
                body=await answer.read(),
                content_type=answer.content_type,
            )

    async def _pass_socket(self, request: web.Request) -> web.StreamResponse:
        offered = [p.strip() for p in request.headers["Sec-WebSocket-Protocol"].split(",")]
        assert self._http is not None
        url = self._gateway.url + request.rel_url.raw_path_qs
        async with self._http.ws_connect(url, protocols=offered, max_msg_size=0) as far:
            near = web.WebSocketResponse(protocols=offered, max_msg_size=0)
            await near.prepare(request)
            self._open[near] = far
            self.sockets += 1
            self.changes.notify()
            pumps = [asyncio.create_task(_pump(*ends)) for ends in ((near, far), (far, near))]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                del self._open[near]
                await near.close()
                await far.close()
                for pump in pumps:
                    pump.cancel()
                await asyncio.wait(pumps)
        return near


_Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse[bool]


async def _pump(source: _Socket, sink: _Socket) -> None:
    async for message in source:
        if sink.closed:
            return
        if message.type is aiohttp.WSMsgType.BINARY:
            await sink.send_bytes(message.data)
        else:
            await sink.send_str(message.data)
