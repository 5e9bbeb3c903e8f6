"""Which classes a server uses: all four of ours, or all as they are set."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import aiohttp
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_server.gateway.connections import (
    GatewayWebSocketConnection as BuiltInWebSocketConnection,
)
from jupyter_server.gateway.gateway_client import GatewayClient as BuiltInGatewayClient
from jupyter_server.gateway.managers import (
    GatewayKernelSpecManager as BuiltInKernelSpecManager,
)
from jupyter_server.gateway.managers import (
    GatewayMappingKernelManager as BuiltInMappingKernelManager,
)
from jupyter_server.gateway.managers import (
    GatewaySessionManager as BuiltInSessionManager,
)
from jupyter_server.serverapp import ServerApp
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.kernelmanager import (
    AsyncMappingKernelManager,
)
from jupyter_server.services.sessions.sessionmanager import SessionManager

from jupyter_relay.server.classes import OURS, Classes, choose, replaced_line
from jupyter_relay.server.gateway_config import GatewayConfig
from jupyter_relay.server.sessions import GatewaySessionManager
from jupyter_relay.testing import FakeGateway
from jupyter_relay.testing.servers import jupyter_lab
from tests.support.server import TestServer, server_on

BUILT_IN: Classes = dict(
    zip(
        OURS,
        (
            BuiltInMappingKernelManager,
            BuiltInKernelSpecManager,
            BuiltInSessionManager,
            BuiltInWebSocketConnection,
        ),
        strict=True,
    )
)
LOCAL: Classes = dict(
    zip(
        OURS,
        (
            AsyncMappingKernelManager,
            KernelSpecManager,
            SessionManager,
            ZMQChannelsWebsocketConnection,
        ),
        strict=True,
    )
)
SUBSETS = [subset for size in range(5) for subset in combinations(OURS, size)]


def derived(kind: type, module: str = "mine.kernels") -> type:
    """Make a class of a user or an extension."""
    return type("Mine", (kind,), {"__module__": module})


def called(subset: tuple[str, ...]) -> str:
    return "+".join(subset) or "none"


# The choice, over every combination.


@pytest.mark.parametrize("subset", SUBSETS, ids=called)
def test_built_in_gateway_classes_become_ours_all_four(subset: tuple[str, ...]) -> None:
    choice = choose({name: BUILT_IN[name] for name in subset}, ())
    assert choice.ours
    assert choice.to_set == OURS
    assert bool(choice.line) is bool(subset)
    for name in subset:
        assert f"ServerApp.{name}" in choice.line


@pytest.mark.parametrize("subset", SUBSETS, ids=called)
def test_classes_derived_from_ours_stay(subset: tuple[str, ...]) -> None:
    choice = choose({name: derived(OURS[name]) for name in subset}, ())
    assert (choice.ours, choice.line) == (True, "")
    assert choice.to_set == {name: OURS[name] for name in OURS if name not in subset}


@pytest.mark.parametrize("of", [LOCAL, BUILT_IN], ids=["local", "built-in"])
@pytest.mark.parametrize("subset", SUBSETS[1:], ids=called)
def test_classes_with_one_foreign_class_use_none_of_ours(
    subset: tuple[str, ...], of: Classes
) -> None:
    foreign = {name: derived(of[name]) for name in subset}
    for others in ({}, OURS, BUILT_IN):
        choice = choose({**others, **foreign}, ())
        assert (choice.ours, choice.to_set) == (False, {})
        for name in subset:
            assert f"ServerApp.{name} = mine.kernels.Mine" in choice.line


def test_session_manager_set_by_extension_is_derived_from_ours_too() -> None:
    theirs = derived(SessionManager, "docs.sessions")
    choice = choose({"session_manager_class": theirs}, {"docs"})
    assert (choice.ours, choice.line) == (True, "")
    joined = choice.to_set["session_manager_class"]
    assert joined.__mro__[1:3] == (theirs, GatewaySessionManager)


def test_connection_class_set_by_extension_is_replaced_and_named() -> None:
    theirs = derived(ZMQChannelsWebsocketConnection, "docs.websocket")
    choice = choose({"kernel_websocket_connection_class": theirs}, {"docs"})
    assert (choice.ours, choice.to_set) == (True, OURS)
    assert "kernel_websocket_connection_class = docs.websocket.Mine is not used" in choice.line


@pytest.mark.parametrize("subset", SUBSETS, ids=called)
def test_class_that_replaces_ours_later_is_named(subset: tuple[str, ...]) -> None:
    line = replaced_line({**OURS, **{name: derived(LOCAL[name]) for name in subset}})
    mixed = 0 < len(subset) < len(OURS)
    assert bool(line) is mixed
    for name in OURS:
        assert (f"ServerApp.{name} = mine.kernels.Mine" in line) is (mixed and name in subset)


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("kernel_manager_class", AsyncMappingKernelManager),
        ("kernel_spec_manager_class", KernelSpecManager),
        ("session_manager_class", BuiltInSessionManager),
    ],
)
def test_class_of_extension_not_joinable_with_ours_is_foreign(name: str, base: type) -> None:
    choice = choose({name: derived(base, "docs.kernels")}, {"docs"})
    assert not choice.ours
    assert f"ServerApp.{name} = docs.kernels.Mine" in choice.line


# Real servers.


def used(app: ServerApp) -> Classes:
    return {name: getattr(app, name) for name in OURS}


def configured(classes: Classes) -> tuple[str, ...]:
    return tuple(
        f"--ServerApp.{name}={kind.__module__}.{kind.__qualname__}"
        for name, kind in classes.items()
    )


async def runs_a_cell(server: TestServer) -> None:
    """Start a kernel by a notebook's session, and run a cell."""
    body = {"path": "a.ipynb", "name": "", "type": "notebook", "kernel": {"name": "python3"}}
    answer = await server.call("POST", "/api/sessions", body)
    assert answer.status == 201, answer
    async with server.tab(answer.json["kernel"]["id"]) as tab:
        assert await tab.run("ran") == "ran\n"


@pytest.mark.parametrize(
    "subset", [(), tuple(OURS)[:1], tuple(OURS)[:3], tuple(OURS)], ids=called
)  # fmt: skip
async def test_server_with_built_in_gateway_classes_named_runs_cells_on_ours(
    subset: tuple[str, ...],
    fake_gateway: FakeGateway,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    argv = configured({name: BUILT_IN[name] for name in subset})
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        assert used(server.app) == OURS
        await runs_a_cell(server)
    log = capsys.readouterr().err
    assert log.count("jupyter_relay's classes are used") == bool(subset)


@pytest.mark.parametrize("subset", [tuple(OURS)[:1], tuple(OURS)], ids=called)
async def test_jupyterlab_with_built_in_gateway_classes_named_uses_ours(
    subset: tuple[str, ...], fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    # It reads its configuration once more, after all extensions are linked.
    pytest.importorskip("jupyterlab", reason="JupyterLab is not among the oldest versions")
    env = {"JUPYTER_GATEWAY_URL": fake_gateway.url, "JUPYTER_GATEWAY_AUTH_TOKEN": "a-token"}
    fake_gateway.token = "a-token"
    argv = configured({name: BUILT_IN[name] for name in subset})
    async with (
        jupyter_lab(env=env, extra_args=argv, directory=tmp_path) as server,
        aiohttp.ClientSession(server.url, headers=server.headers) as http,
        http.post("/api/kernels", json={"name": "python3"}) as answer,
    ):
        assert answer.status == 201
        started = await answer.json()
    log = server.log_path.read_text()
    assert f"Kernel {started['id']}: runs on" in log
    assert "a-token" not in log


@pytest.fixture
def no_gateway_client_left() -> Iterator[None]:
    """Let the next server make its own gateway client."""
    yield
    BuiltInGatewayClient.clear_instance()


@pytest.mark.usefixtures("no_gateway_client_left")
async def test_server_with_foreign_class_keeps_its_own_classes(
    fake_gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = configured({"kernel_spec_manager_class": KernelSpecManager})
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        assert used(server.app) == {**BUILT_IN, "kernel_spec_manager_class": KernelSpecManager}
        assert type(server.app.gateway_config) is BuiltInGatewayClient
    log = capsys.readouterr().err
    assert log.count("jupyter_relay is not used") == 1
    assert (
        "ServerApp.kernel_spec_manager_class = jupyter_client.kernelspec.KernelSpecManager" in log
    )


@pytest.mark.usefixtures("no_gateway_client_left")
def test_class_given_as_argument_counts_as_set(tmp_path: Path) -> None:
    app = ServerApp(session_manager_class=UsersSessionManager, root_dir=str(tmp_path))
    app.config.GatewayClient.url = "http://127.0.0.1:1"
    app.jpserver_extensions = {"jupyter_relay": True}
    app.init_server_extensions()
    assert app.session_manager_class is UsersSessionManager
    assert not app.trait_has_value("kernel_manager_class")
    GatewayConfig.withdraw()


def test_class_set_by_extension_linked_after_ours_is_considered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "zz_after_ours.py").write_text(EXTENSION)
    monkeypatch.syspath_prepend(tmp_path)
    app = ServerApp(root_dir=str(tmp_path))
    app.config.GatewayClient.url = "http://127.0.0.1:1"
    app.jpserver_extensions = {"jupyter_relay": True, "zz_after_ours": True}
    app.init_server_extensions()
    joined = app.session_manager_class
    assert (joined.__module__, issubclass(joined, GatewaySessionManager)) == ("zz_after_ours", True)
    assert {**used(app), "session_manager_class": GatewaySessionManager} == OURS
    GatewayConfig.withdraw()


EXTENSION = """
from jupyter_server.services.sessions.sessionmanager import SessionManager

class Mine(SessionManager):
    pass

def _link_jupyter_server_extension(app):
    app.session_manager_class = Mine

def _load_jupyter_server_extension(app):
    pass
"""


async def test_class_of_user_derived_from_ours_is_used(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    argv = configured({"session_manager_class": UsersGatewaySessionManager})
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        assert server.app.session_manager_class.__name__ == "UsersGatewaySessionManager"
        await runs_a_cell(server)


class UsersSessionManager(SessionManager):
    """A user's own."""


class UsersGatewaySessionManager(GatewaySessionManager):
    """A user's own, made from ours."""
