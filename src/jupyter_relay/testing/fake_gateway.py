"""A gateway for tests: a real HTTP server on loopback whose kernels are scripts.

::

    async with FakeGateway() as gateway:
        kernel = gateway.start_kernel()
        gateway.fault("GET", "/api/kernels/*/channels", Answer(503), times=2)
        ...                                        # connect to gateway.url with gateway.token
        await gateway.wait_for(lambda: kernel.received_on(Channel.SHELL))
        gateway.sockets[-1].drop()

What it does by default is what Kernel Gateway 3.0.1 does, with listing allowed; other gateways are
had by its attributes, which may be changed at any time.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import TracebackType
from typing import Literal, Self, TypeVar
from urllib.parse import unquote
from uuid import uuid4

import msgspec
from aiohttp import web

from jupyter_relay.testing.audience import Audience
from jupyter_relay.testing.changes import Changes
from jupyter_relay.testing.fake_api import Request, RestApi, no_such_kernel
from jupyter_relay.testing.fake_kernel import FakeKernel
from jupyter_relay.testing.fake_socket import FakeSocket, abort
from jupyter_relay.testing.faults import (
    Answer,
    Change,
    Delay,
    Fault,
    FaultRule,
    Hold,
    Reset,
    Silence,
)
from jupyter_relay.testing.kernel_scripts import Handler, print_code
from jupyter_relay.wire.json import Json
from jupyter_relay.wire.subprotocol import OFFERED

T = TypeVar("T")

MAX_FRAME_BYTES = 10 * 1024 * 1024
"""The largest frame that real gateways take in."""


class FakeGateway:
    """A gateway whose kernels, timing and faults are in a test's hands.

    ``requests``, ``abandoned`` (those whose client hung up first), ``kernels`` by id, ``sockets``
    (every websocket that was ever opened; see ``open_sockets``) are there to be looked at.
    ``clock_ahead`` is by how much its clock is wrong: the ``Date`` of its answers, and the
    ``last_activity`` of its kernels.
    """

    def __init__(
        self,
        *,
        token: str = "secret",  # noqa: S107
        base_path: str = "",
        list_kernels: bool = True,
        subprotocols: tuple[str, ...] = OFFERED,
        buffers: bool = True,
        kernel_ids: Literal["body", "env", "ignored", "attached"] = "body",
        unauthorized: int = 401,
        nudges: bool = False,
        ping_interval: float | None = None,
        kernelspecs: tuple[str, ...] = ("python3",),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Describe a gateway.

        ``subprotocols`` are those it speaks: ``()`` for legacy only. ``buffers`` says whether it
        keeps messages for an absent session id. ``kernel_ids`` is where it looks for a kernel id
        chosen by the client; with ``"attached"`` it takes one in the body for that of a kernel it
        has, as a Jupyter Server does whose kernels are on a gateway. ``unauthorized`` is its status
        for a bad token. With ``nudges`` a handshake brings a foreign busy and idle.
        ``ping_interval`` is in seconds, None for no pings. An empty ``token`` opens the gateway to
        all. With ``tls``, the context of a server, it speaks https and wss.
        """
        self.token = token
        self.base_path = base_path.rstrip("/")
        self.list_kernels = list_kernels
        self.subprotocols = subprotocols
        self.buffers = buffers
        self.kernel_ids = kernel_ids
        self.unauthorized = unauthorized
        self.nudges = nudges
        self.ping_interval = ping_interval
        self.kernelspecs = list(kernelspecs)
        self.clock_ahead = timedelta(0)
        self._tls = tls
        self.on_execute: Handler = print_code
        self.requests: list[Request] = []
        self.abandoned: list[Request] = []
        self.kernels: dict[str, FakeKernel] = {}
        self.sockets: list[FakeSocket] = []
        self._api = RestApi(self)
        self._faults: list[FaultRule] = []
        self._changes = Changes()
        self._tasks: set[asyncio.Task[web.StreamResponse]] = set()
        self._transports: set[asyncio.Transport] = set()
        self._ended_kernels: list[FakeKernel] = []
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=4 * MAX_FRAME_BYTES)
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.5
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        self._port = site.port
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for transport in self._transports:
            abort(transport)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for kernel in (*self.kernels.values(), *self._ended_kernels):
            await kernel.aclose()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1."""
        return self._port

    @property
    def url(self) -> str:
        """Where it is, base path included."""
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self._port}{self.base_path}"

    @property
    def open_sockets(self) -> list[FakeSocket]:
        """The websockets that are open now."""
        return [socket for socket in self.sockets if not socket.closed]

    def requests_to(self, method: str, path: str) -> list[Request]:
        """Return the requests seen so far that match, as in `fault`."""
        rule = FaultRule(method, path, Silence(), None)
        return [request for request in self.requests if rule.meets(request.method, request.path)]

    async def wait_for(self, condition: Callable[[], T], timeout: float = 10.0) -> T:
        """Return what ``condition`` says as soon as that is true.

        The condition is looked at whenever the gateway, a socket or a kernel has seen something.
        Raises `TimeoutError` after ``timeout`` seconds.
        """
        return await self._changes.wait_for(condition, timeout)

    async def wait_for_socket(self, number: int = 1, timeout: float = 10.0) -> FakeSocket:
        """Return the ``number``-th websocket ever opened, counted from 1, once there is one."""
        await self.wait_for(lambda: len(self.sockets) >= number, timeout)
        return self.sockets[number - 1]

    def fault(self, method: str, path: str, fault: Fault, *, times: int | None = None) -> FaultRule:
        """Let a fault befall the requests that match, all or the next ``times`` of them.

        ``method`` may be ``*``; a ``*`` in ``path`` stands for anything but a slash. The fault
        that was given first wins.
        """
        rule = FaultRule(method, path, fault, times)
        self._faults.append(rule)
        return rule

    def drop_sockets(self) -> None:
        """Reset all open websockets."""
        for socket in self.open_sockets:
            socket.drop()

    def start_kernel(
        self,
        name: str = "python3",
        *,
        kernel_id: str | None = None,
        env: Mapping[str, Json] | None = None,
    ) -> FakeKernel:
        """Start a kernel, as ``POST /api/kernels`` does."""
        kernel = FakeKernel(
            kernel_id=kernel_id or str(uuid4()),
            name=name,
            env=env or {},
            audience=Audience(buffers=self.buffers),
            changes=self._changes,
            on_execute=self.on_execute,
        )
        self.kernels[kernel.id] = kernel
        self._changes.notify()
        return kernel

    def lose_kernel(self, kernel_id: str, *, close: int | None = None) -> None:
        """End a kernel, as culling does: 404 from now on.

        Its websockets stay open and silent, or are closed with the code ``close``.
        """
        kernel = self.kernels.pop(kernel_id)
        kernel.kill()
        self._ended_kernels.append(kernel)
        if close is not None:
            for socket in kernel.audience.sockets:
                socket.close(close)
        self._changes.notify()

    async def _take(self, request: web.Request) -> web.StreamResponse:
        """Carry out a request to the end even if the client hangs up, as real gateways do."""
        if isinstance(request.transport, asyncio.Transport):
            self._transports.add(request.transport)
        seen = await self._record(request)
        task = asyncio.create_task(self._carry_out(request, seen), name=f"fake {seen.path}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self.abandoned.append(seen)
            self._changes.notify()
            raise

    async def _record(self, request: web.Request) -> Request:
        seen = Request(
            method=request.method,
            path=request.path.removeprefix(self.base_path),
            query=dict(request.query),
            headers=request.headers,
            body=await request.read(),
        )
        self.requests.append(seen)
        self._changes.notify()
        return seen

    async def _carry_out(self, request: web.Request, seen: Request) -> web.StreamResponse:
        fault = self._next_fault(seen)
        match fault:
            case Answer(status, body, content_type, headers):
                return web.Response(
                    status=status,
                    body=body,
                    headers={"Content-Type": content_type, **headers},
                )
            case Hold(released):
                await released.wait()
            case Delay(seconds):
                await asyncio.sleep(seconds)
            case Silence():
                await asyncio.Event().wait()
            case Reset(after=False):
                return self._reset(request)
        response = await self._answer(request, seen)
        if not response.prepared:
            date = datetime.now(UTC) + self.clock_ahead
            response.headers["Date"] = format_datetime(date, usegmt=True)
        match fault:
            case Reset():
                return self._reset(request)
            case Change(edit) if isinstance(response, web.Response):
                edited = edit(msgspec.json.decode(response.text or "null"))
                return web.Response(
                    status=response.status,
                    body=msgspec.json.encode(edited),
                    content_type="application/json",
                    headers={"Date": response.headers["Date"]},
                )
        return response

    async def _answer(self, request: web.Request, seen: Request) -> web.StreamResponse:
        refusal = self._api.refusal(seen)
        if refusal is not None:
            return refusal
        path = request.rel_url.raw_path.removeprefix(self.base_path)
        match [unquote(segment) for segment in path.strip("/").split("/")]:
            case ["api", "kernels", kernel_id, "channels"]:
                return await self._open_socket(request, kernel_id)
            case segments:
                return self._api.respond(seen, segments)

    async def _open_socket(self, request: web.Request, kernel_id: str) -> web.StreamResponse:
        kernel = self.kernels.get(kernel_id)
        if kernel is None:
            return no_such_kernel(kernel_id)
        websocket = web.WebSocketResponse(
            protocols=self.subprotocols,
            heartbeat=self.ping_interval,
            autoping=False,
            compress=False,
            max_msg_size=MAX_FRAME_BYTES,
            timeout=1.0,
            writer_limit=0,
        )
        try:
            await websocket.prepare(request)
        except ConnectionResetError:  # the client gave up while its handshake was held
            return web.Response()
        socket = FakeSocket(
            websocket,
            request,
            deliver=kernel.deliver,
            ended=kernel.audience.leave,
            changes=self._changes,
        )
        self.sockets.append(socket)
        kernel.audience.join(socket)
        if self.nudges:
            kernel.nudge()
        self._changes.notify()
        await socket.serve()
        return websocket

    def _next_fault(self, seen: Request) -> Fault | None:
        for rule in self._faults:
            if rule.meets(seen.method, seen.path):
                rule.hits += 1
                return rule.fault
        return None

    def _reset(self, request: web.Request) -> web.Response:
        abort(request.transport)
        return web.Response()
