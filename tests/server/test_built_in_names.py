"""What extensions and subclasses read from a server's managers by the names of Jupyter Server's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import NonCallableMock

import pytest
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.websocket import KernelWebsocketHandler
from nbclient import NotebookClient
from tornado import web
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from traitlets.config import Config

from jupyter_relay import managers
from jupyter_relay.managers import GatewayKernelManager, GatewayKernelSpecManager
from jupyter_relay.server.classes import OURS
from jupyter_relay.server.pages.websocket import GatewayWebSocketConnection
from jupyter_relay.testing import Answer, FakeGateway
from jupyter_relay.testing.servers import RunningServer, kernel_gateway
from jupyter_relay.wire.subprotocol import OFFERED
from tests.support.notebooks import notebook, printed
from tests.support.server import TestServer, server_on
from tests.support.tab import Tab

NAMED = (
    "--ServerApp.kernel_manager_class=jupyter_relay.managers.GatewayMappingKernelManager",
    "--ServerApp.kernel_spec_manager_class=jupyter_relay.managers.GatewayKernelSpecManager",
    "--ServerApp.session_manager_class=jupyter_relay.managers.GatewaySessionManager",
    "--MappingKernelManager.kernel_manager_class=jupyter_relay.managers.GatewayKernelManager",
)


class _Connection(GatewayWebSocketConnection):
    """The connection class of a user."""


class _Mapping(managers.GatewayMappingKernelManager):
    """A user's manager of all kernels, which notes what it starts."""

    async def start_kernel(self, **kwargs: object) -> str:  # type: ignore[override]  # as the base
        """Start a kernel, and note where."""
        kernel_id = await super().start_kernel(**kwargs)  # type: ignore[arg-type]  # passed on
        self.noted = f"{self.kernels_url}/{kernel_id}"
        return kernel_id


async def started(server: TestServer) -> GatewayKernelManager:
    """The manager of a kernel that was started."""
    kernel = server.kernels.get_kernel(await server.start_kernel())
    assert isinstance(kernel, GatewayKernelManager)
    return kernel


async def test_server_with_built_in_names_of_managers_runs_cells(
    fake_gateway: FakeGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with server_on(fake_gateway, tmp_path, argv=NAMED) as server:
        assert type(server.app.kernel_manager) is OURS["kernel_manager_class"]
        assert type(server.app.kernel_spec_manager) is OURS["kernel_spec_manager_class"]
        assert type(server.app.session_manager) is OURS["session_manager_class"]
        async with server.tab(await server.start_kernel()) as tab:
            assert await tab.run("here") == "here\n"
    assert "not used" not in caplog.text


async def test_subclass_with_built_in_attributes_reads_the_same_values(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    argv = (f"--ServerApp.kernel_manager_class={_Mapping.__module__}.{_Mapping.__name__}",)
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        kernel_id = await server.start_kernel()
        kernels = server.kernels
        assert isinstance(kernels, _Mapping)
        assert kernels.noted == f"{fake_gateway.url}/api/kernels/{kernel_id}"


async def test_kernel_is_the_model_that_the_server_shows(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel = await started(server)
    model = (await server.call("GET", f"/api/kernels/{kernel.kernel_id}")).json
    assert kernel.kernel == model
    assert kernel.has_kernel
    assert kernel.kernel_url == f"{kernel.kernels_url}/{kernel.kernel_id}"
    fake_gateway.kernels[model["id"]].execution_state = "busy"
    busy = await kernel.refresh_model()
    assert busy == kernel.kernel
    assert busy is not None
    assert (busy["execution_state"], kernel.execution_state) == ("busy", "busy")
    idle = await kernel.refresh_model(model)
    assert idle is not None
    assert (idle["execution_state"], kernel.execution_state) == (model["execution_state"],) * 2


async def test_kernel_is_none_once_it_is_gone_from_the_gateway(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel = await started(server)
    assert kernel.kernel_id is not None
    fake_gateway.lose_kernel(kernel.kernel_id)
    assert await kernel.refresh_model() is None
    assert (kernel.has_kernel, kernel.kernel) == (False, None)


async def test_refresh_model_raises_http_errors(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel = await started(server)
    fake_gateway.fault("GET", "/api/kernels/*", Answer(500))
    with pytest.raises(web.HTTPError, match="500"):
        await kernel.refresh_model()
    with pytest.raises(web.HTTPError, match="No kernel is running"):
        await GatewayKernelManager(parent=kernel.parent).refresh_model()


async def test_kernelspec_urls_are_those_of_the_gateway(
    fake_gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERNEL_USERNAME", "al/ice")
    async with server_on(fake_gateway, tmp_path) as server:
        specs = server.app.kernel_spec_manager
        assert isinstance(specs, GatewayKernelSpecManager)
        assert specs.base_endpoint == f"{fake_gateway.url}/api/kernelspecs?user=al%2Fice"
        assert specs.base_resource_endpoint == f"{fake_gateway.url}/kernelspecs"


async def test_kernelspec_urls_without_a_user_have_no_query(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    specs = server.app.kernel_spec_manager
    assert isinstance(specs, GatewayKernelSpecManager)
    assert specs.base_endpoint == f"{fake_gateway.url}/api/kernelspecs"


# A manager without a server.


async def test_manager_without_server_runs_notebook_and_leaves_no_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with kernel_gateway(directory=tmp_path) as gateway:
        use(monkeypatch, gateway)
        made = notebook("print(6 * 7)")
        client = NotebookClient(made, kernel_manager_class=GatewayKernelManager)
        await client.async_execute()
        assert printed(made) == "42\n"


async def test_manager_without_server_on_cleanup_resources_ends_its_kernel(
    fake_gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, fake_gateway)
    manager = GatewayKernelManager()
    await manager.start_kernel()
    assert len(fake_gateway.kernels) == 1
    await manager.cleanup_resources()
    assert not fake_gateway.kernels


def use(monkeypatch: pytest.MonkeyPatch, gateway: FakeGateway | RunningServer) -> None:
    """Name a gateway in the environment."""
    monkeypatch.setenv("JUPYTER_GATEWAY_URL", gateway.url)
    monkeypatch.setenv("JUPYTER_GATEWAY_AUTH_TOKEN", gateway.token)


# The websocket of a page.


class _Page(KernelWebsocketHandler):
    """A handler that is made by hand, and that asks the kernel's manager for the connection."""

    def __init__(self, app: web.Application, request: HTTPServerRequest, **kwargs: str) -> None:
        super().__init__(app, request, **kwargs)
        made.append(self)

    @classmethod
    def of(cls, server: TestServer) -> _Page:
        """Make one that no page has asked for."""
        connection = NonCallableMock()
        start_line = RequestStartLine("GET", "/", "HTTP/1.1")
        headers = HTTPHeaders({"Host": "localhost"})
        request = HTTPServerRequest(start_line=start_line, headers=headers, connection=connection)
        return cls(server.app.web_app, request)

    @property
    def kernel_websocket_connection_class(self) -> Callable[..., GatewayWebSocketConnection]:
        """What the handler makes a connection with."""
        return self.ask

    def ask(
        self, *, parent: GatewayKernelManager, websocket_handler: _Page, config: Config
    ) -> GatewayWebSocketConnection:
        """Ask the manager, as the proposal does."""
        return parent.create_websocket_connection(
            websocket_handler=websocket_handler, config=config
        )


made: list[_Page] = []


async def test_create_websocket_connection_joins_a_page_to_the_kernel(server: TestServer) -> None:
    kernel = await started(server)
    rules = [("/by-hand/(?P<kernel_id>.*)", _Page)]
    server.app.web_app.add_handlers(".*$", rules)  # type: ignore[no-untyped-call]  # tornado's
    url = f"{server.url}/by-hand/{kernel.kernel_id}"
    parameters = {"session_id": "tab"}
    async with server.http.ws_connect(url, params=parameters, protocols=OFFERED) as websocket:
        assert await Tab(websocket, "tab").run("here") == "here\n"
        assert kernel.running.connections == 1
        connection = made[-1].connection
    assert type(connection) is GatewayWebSocketConnection
    assert connection.kernel_manager is kernel


async def test_create_websocket_connection_without_a_configuration_has_the_managers(
    server: TestServer,
) -> None:
    kernel, page = await started(server), _Page.of(server)
    assert kernel.create_websocket_connection(page).config == kernel.config
    config = Config(GatewayWebSocketConnection={"kernel_ws_protocol": ""})
    assert kernel.create_websocket_connection(page, config).kernel_ws_protocol == ""


@pytest.mark.parametrize(
    ("configured", "made"),
    [
        (_Connection, _Connection),
        (ZMQChannelsWebsocketConnection, GatewayWebSocketConnection),
    ],
)
async def test_create_websocket_connection_uses_the_servers_class_if_it_is_derived_from_ours(
    server: TestServer, configured: type, made: type
) -> None:
    kernel, page = await started(server), _Page.of(server)
    page.settings["kernel_websocket_connection_class"] = configured
    assert type(kernel.create_websocket_connection(page)) is made


# Subclasses as programs have them.


class _Client(managers.GatewayKernelClient):
    """A user's client."""


class _Manager(managers.GatewayKernelManager):
    """A user's manager, which makes its clients as the built-in one does."""

    client_class = f"{__name__}._Client"
    client_factory = _Client

    def client(self, **kwargs: object) -> _Client:  # type: ignore[override]  # as the base
        """Make a client of the kernel."""
        given: dict[str, Any] = {
            **self.get_connection_info(session=True),
            "connection_file": self.connection_file,
            "parent": self,
            "kernel_id": self.kernel_id,
        }
        return self.client_factory(**given | kwargs)


async def test_subclass_making_clients_by_kernel_id_shares_kernel_websocket(
    fake_gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, fake_gateway)
    manager = _Manager()
    await manager.start_kernel()
    clients = [manager.client() for _ in range(2)]
    for client in clients:
        await client.start_channels()
        await client.wait_for_ready(timeout=10)
        assert await client.is_alive()
    assert len(fake_gateway.open_sockets) == 1
    for client in clients:
        await client.stop_channels()
    await manager.shutdown_kernel()
    assert not fake_gateway.kernels


async def test_dies_with_process_of_manager_is_true_only_without_server(
    server: TestServer,
) -> None:
    assert GatewayKernelManager().dies_with_process
    assert not (await started(server)).dies_with_process
