"""A Jupyter Server with our extension, run in the test's own process and event loop."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from unittest import mock

import aiohttp
from jupyter_server.serverapp import ServerApp
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

import jupyter_relay.server.classes  # noqa: F401  # it reads files, which no event loop may
from jupyter_relay.kernels.kernel import RemoteKernel
from jupyter_relay.server.gateway_config import GatewayConfig
from jupyter_relay.server.kernel import GatewayKernelManager
from jupyter_relay.server.kernels import GatewayMappingKernelManager
from jupyter_relay.wire.subprotocol import OFFERED
from tests.support.tab import Tab

TOKEN = "servers-own"


class Address(Protocol):
    """A gateway, fake or real: where it is, and what it wants to be shown."""

    @property
    def url(self) -> str: ...

    @property
    def token(self) -> str: ...


class Answer(NamedTuple):
    """What the REST API answered; ``json`` is None where it is no JSON."""

    status: int
    json: Any
    body: bytes
    headers: Mapping[str, str]


class _App(ServerApp):
    def init_signal(self) -> None:
        """Leave the signals to the test run."""


class TestServer:
    """A running server, its parts, and a client of it."""

    __test__ = False

    def __init__(self, app: ServerApp, url: str, http: aiohttp.ClientSession) -> None:
        self.app = app
        self.url = url
        self.http = http

    @property
    def kernels(self) -> GatewayMappingKernelManager:
        """Its kernel manager."""
        manager = self.app.kernel_manager
        assert isinstance(manager, GatewayMappingKernelManager)
        return manager

    async def call(self, method: str, path: str, json: object = None) -> Answer:
        """Make a request to its REST API."""
        async with self.http.request(method, self.url + path, json=json) as response:
            body = await response.read()
            is_json = response.content_type == "application/json"
            model = await response.json() if is_json and body else None
            return Answer(response.status, model, body, response.headers)

    async def start_kernel(self, **model: object) -> str:
        """Start a kernel and return its id."""
        answer = await self.call("POST", "/api/kernels", model)
        assert answer.status == 201, answer
        kernel_id: str = answer.json["id"]
        return kernel_id

    @asynccontextmanager
    async def tab(
        self, kernel_id: str, session_id: str = "tab", *, legacy: bool = False
    ) -> AsyncIterator[Tab]:
        """Open the websocket of a kernel as a browser does; v1 is offered unless ``legacy``."""
        async with self.http.ws_connect(
            f"{self.url}/api/kernels/{kernel_id}/channels",
            params={"session_id": session_id},
            protocols=() if legacy else OFFERED,
            max_msg_size=0,
        ) as websocket:
            yield Tab(websocket, session_id)


def remote_of(server: TestServer, kernel_id: str) -> RemoteKernel:
    """The kernel on the gateway that a server shows under an id."""
    manager = server.kernels.get_kernel(kernel_id)
    assert isinstance(manager, GatewayKernelManager)
    return manager.running


@asynccontextmanager
async def server_on(
    gateway: Address | None, directory: Path, *, argv: tuple[str, ...] = (), base_url: str = "/"
) -> AsyncIterator[TestServer]:
    """Run a server whose kernels are on ``gateway``; with None it has no gateway configured."""
    given = []
    if gateway is not None:
        given = [f"--GatewayClient.url={gateway.url}"]
        if gateway.token:  # else it is to come from elsewhere
            given.append(f"--GatewayClient.auth_token={gateway.token}")
    for name in ("root", "runtime", "data"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    with mock.patch.dict("os.environ", {"JUPYTER_NO_CONFIG": "1"}):
        app = _App(
            ip="127.0.0.1",
            open_browser=False,
            allow_root=True,
            base_url=base_url,
            root_dir=str(directory / "root"),
            runtime_dir=str(directory / "runtime"),
            data_dir=str(directory / "data"),
            jpserver_extensions={"jupyter_relay": True},
        )
        app.log.propagate = True
        app.initialize(
            [f"--IdentityProvider.token={TOKEN}", *given, *argv],
            find_extensions=False,
            new_httpserver=False,
        )
        app.log.propagate = True  # the server has just taken that back
    sockets = bind_sockets(0, "127.0.0.1")
    app._http_server = HTTPServer(app.web_app)
    app.http_server.add_sockets(sockets)
    url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}{app.base_url.rstrip('/')}"
    try:
        async with aiohttp.ClientSession(headers={"Authorization": f"token {TOKEN}"}) as http:
            yield TestServer(app, url, http)
    finally:
        await app._cleanup()
        await app.http_server.close_all_connections()
        GatewayConfig.clear_instance()
        gc.collect()  # the sessions' database is closed by it
