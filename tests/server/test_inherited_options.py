"""The options of the classes that ours replace: each does what it says, or the log says not."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from jupyter_server.services.kernels.kernelmanager import ServerKernelManager
from packaging.version import Version
from traitlets.config import Config, Configurable

from jupyter_relay.server.extension import _start_jupyter_server_extension
from jupyter_relay.server.inherited_options import (
    INHERITED,
    REPLACED,
    InheritedOption,
    unused_options,
)
from jupyter_relay.server.kernel import GatewayKernelManager
from jupyter_relay.server.kernels import GatewayMappingKernelManager
from jupyter_relay.server.kernelspecs import GatewayKernelSpecManager
from jupyter_relay.server.pages.websocket import GatewayWebSocketConnection
from jupyter_relay.server.sessions import GatewaySessionManager
from jupyter_relay.testing import FakeGateway, FakeKernel, read_content
from jupyter_relay.wire.message import Channel, Message
from tests.support.server import server_on
from tests.support.versions import JUPYTER_CLIENT

LEGACY = pytest.mark.parametrize("legacy", [False, True], ids=["v1", "legacy"])
MAPPING = "--MappingKernelManager"


NEWER = {
    ("AsyncMappingKernelManager", "transport_encryption"),
    ("ServerKernelManager", "transport_encryption"),
    ("ServerKernelManager", "client_class"),
    ("ServerKernelManager", "client_factory"),
}
"""The options that the oldest jupyter_client has not, 8.6."""


def configurable() -> dict[tuple[str, str], object]:
    """Every option of the classes that ours replace, by class and name."""
    return {
        (owner.__name__, name): trait
        for owner in REPLACED
        for name, trait in owner.class_traits(config=True).items()
    }


def test_options_of_replaced_classes_are_all_in_the_table() -> None:
    table = {(option.owner, option.name) for option in INHERITED}
    newer = NEWER if Version("8.6") <= JUPYTER_CLIENT < Version("8.7") else set()
    assert table == configurable().keys() | newer


def test_compatibility_page_as_written_equals_the_table() -> None:
    root = Path(__file__).parents[2]
    made = subprocess.run(
        [sys.executable, root / "tools" / "compatibility_page.py"], capture_output=True, check=True
    )
    written = (root / "docs" / "compatibility.md").read_text(encoding="utf-8")
    assert written == made.stdout.decode(), "run: make compatibility-page"


@pytest.mark.parametrize(
    "option",
    [option for option in INHERITED if not option.heeded],
    ids=lambda option: f"{option.owner}.{option.name}",
)
def test_option_without_effect_when_set_is_named(option: InheritedOption) -> None:
    (line,) = unused_options(Config({option.owner: {option.name: "set"}}))
    assert line.startswith(f"{option.owner}.{option.name} has no effect")


def test_option_heeded_or_of_other_class_when_set_is_not_named() -> None:
    heeded = Config()
    for option in INHERITED:
        if option.heeded:
            heeded[option.owner][option.name] = "set"
    assert unused_options(heeded) == []
    assert unused_options(Config({"Else": {"limit_rate": False}})) == []


OURS_BY_OWNER: Mapping[str, type[Configurable]] = {
    "AsyncMappingKernelManager": GatewayMappingKernelManager,
    "ServerKernelManager": GatewayKernelManager,
    "KernelSpecManager": GatewayKernelSpecManager,
    "SessionManager": GatewaySessionManager,
    "ZMQChannelsWebsocketConnection": GatewayWebSocketConnection,
}


@pytest.mark.parametrize(
    "option",
    [option for option in INHERITED if not option.heeded],
    ids=lambda option: f"{option.owner}.{option.name}",
)
def test_option_without_effect_set_under_our_class_is_named(
    option: InheritedOption,
) -> None:
    section = OURS_BY_OWNER[option.owner].__name__
    (line,) = unused_options(Config({section: {option.name: "set"}}), OURS_BY_OWNER.values())
    assert line.startswith(f"{section}.{option.name} has no effect")


async def test_log_with_options_set_under_our_classes_names_them(
    fake_gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = (
        "GatewayKernelManager.autorestart",
        "GatewayMappingKernelManager.kernel_info_timeout",
        "GatewayWebSocketConnection.limit_rate",
        "GatewayKernelSpecManager.ensure_native_kernel",
    )
    async with server_on(fake_gateway, tmp_path, argv=tuple(f"--{name}=0" for name in named)):
        pass
    log = capsys.readouterr().err
    for name in named:
        assert f"{name} has no effect on kernels of a gateway" in log


async def test_log_with_option_without_effect_names_it_as_it_was_set(
    fake_gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ("--MappingKernelManager.kernel_info_timeout=5", "--ServerApp.iopub_msg_rate_limit=5")
    async with server_on(fake_gateway, tmp_path, argv=argv):
        pass
    log = capsys.readouterr().err  # the server's log has its own handler while it starts
    assert "MappingKernelManager.kernel_info_timeout has no effect on kernels of a gateway" in log
    assert "ZMQChannelsWebsocketConnection.iopub_msg_rate_limit has no effect on kernels" in log


# What pages may send, and are shown.


@LEGACY
async def test_websocket_with_message_type_not_allowed_does_not_reach_kernel(
    fake_gateway: FakeGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture, legacy: bool
) -> None:
    argv = (f"{MAPPING}.allowed_message_types=kernel_info_request",)
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        kernel_id = await server.start_kernel()
        async with server.tab(kernel_id, legacy=legacy) as tab:
            for channel in (Channel.CONTROL, Channel.SHELL):
                await tab.send("execute_request", {"code": "1"}, channel=channel)
            await tab.reply_to(await tab.send("kernel_info_request"))
        received = {m.head.msg_type for m in fake_gateway.kernels[kernel_id].received}
    assert received == {"kernel_info_request"}
    assert "its type 'execute_request' is not among the allowed_message_types" in caplog.text


@LEGACY
async def test_tracebacks_when_not_allowed_are_replaced(
    fake_gateway: FakeGateway, tmp_path: Path, legacy: bool
) -> None:
    async def fail(request: Message, kernel: FakeKernel) -> None:
        raise ValueError("secret")

    argv = (
        f"{MAPPING}.allow_tracebacks=False",
        f"{MAPPING}.traceback_replacement_message=Ask Ann.",
    )
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        kernel_id = await server.start_kernel()
        fake_gateway.kernels[kernel_id].on_execute = fail
        async with server.tab(kernel_id, legacy=legacy) as tab:
            output, reply = await tab.until_idle(await tab.execute("1"))
    shown = [read_content(reply), *(read_content(m) for m in output if m.head.msg_type == "error")]
    assert [content["traceback"] for content in shown] == [["Ask Ann."], ["Ask Ann."]]
    assert not any(b"secret" in bytes(message.content) for message in [reply, *output])


@pytest.mark.parametrize(("buffered", "heard"), [(True, "away\n"), (False, "")])
async def test_offline_messages_are_kept_only_with_buffer_offline_messages(
    fake_gateway: FakeGateway, tmp_path: Path, buffered: bool, heard: str
) -> None:
    argv = (f"{MAPPING}.buffer_offline_messages={buffered}",)
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        kernel_id = await server.start_kernel()
        kernel = fake_gateway.kernels[kernel_id]
        async with server.tab(kernel_id, "other") as other:
            async with server.tab(kernel_id, "leaves") as tab:
                await tab.run("here")
            await other.until_idle(await other.execute("away"))
            assert kernel.execution_count == 2
            async with server.tab(kernel_id, "leaves") as tab:
                msg_id = await tab.execute("back")
                texts = []
                while "back\n" not in texts:
                    message = await tab.receive()
                    if message.head.msg_type == "stream":
                        texts.append(str(read_content(message)["text"]))
                await tab.until_idle(msg_id)
    assert "".join(texts) == f"{heard}back\n"


async def test_subprotocol_set_for_built_in_class_is_spoken_with_pages(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    argv = ("--ZMQChannelsWebsocketConnection.kernel_ws_protocol=",)
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        kernel_id = await server.start_kernel()
        async with server.tab(kernel_id) as tab:
            assert tab.websocket.protocol is None
            assert await tab.run("legacy") == "legacy\n"


# Classes, files and schemas.


async def test_session_database_when_set_holds_sessions(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    file = tmp_path / "sessions.db"
    file.touch()
    argv = (f"--SessionManager.database_filepath={file}",)
    body = {"path": "a.ipynb", "name": "", "type": "notebook", "kernel": {"name": "python3"}}
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        answer = await server.call("POST", "/api/sessions", body)
        assert answer.status == 201
        assert answer.json["id"].encode() in file.read_bytes()
    with sqlite3.connect(file) as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
    database.close()


async def test_kernel_manager_class_of_user_is_used(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    argv = (f"--AsyncMappingKernelManager.kernel_manager_class={__name__}.UsersKernelManager",)
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        kernel = server.kernels.get_kernel(await server.start_kernel())
        assert type(kernel).__name__ == "UsersKernelManager"


async def test_kernel_manager_class_for_local_processes_is_named_and_not_used(
    fake_gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = f"{ServerKernelManager.__module__}.{ServerKernelManager.__name__}"
    argv = (f"--AsyncMappingKernelManager.kernel_manager_class={named}",)
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        assert await server.start_kernel() in fake_gateway.kernels
    assert f"kernel_manager_class = {named} is not used" in capsys.readouterr().err


@pytest.mark.parametrize(
    "section",
    [
        "MultiKernelManager",
        "AsyncMultiKernelManager",
        "MappingKernelManager",
        "AsyncMappingKernelManager",
        "GatewayMappingKernelManager",
        "UsersMappingKernelManager",
    ],
)
@pytest.mark.parametrize(
    "named",
    ["jupyter_client.ioloop.IOLoopKernelManager", "jupyter_client.ioloop.AsyncIOLoopKernelManager"],
)
def test_kernel_manager_class_set_to_default_of_base_class_is_named_and_not_used(
    section: str, named: str, caplog: pytest.LogCaptureFixture
) -> None:
    log = logging.getLogger("server")
    config = Config({section: {"kernel_manager_class": named}})
    config.GatewayClient.url = "http://127.0.0.1:1"
    kernels = UsersMappingKernelManager(config=config, log=log)
    assert kernels.kernel_manager_class == "jupyter_relay.managers.GatewayKernelManager"
    assert isinstance(kernels.kernel_manager_factory(), GatewayKernelManager)
    assert f"kernel_manager_class = {named} is not used" in caplog.text


async def test_kernel_start_with_local_default_manager_class_set_runs_on_the_gateway(
    fake_gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = "jupyter_client.ioloop.AsyncIOLoopKernelManager"
    async with server_on(
        fake_gateway, tmp_path, argv=(f"{MAPPING}.kernel_manager_class={named}",)
    ) as server:
        assert await server.start_kernel() in fake_gateway.kernels
    log = capsys.readouterr().err
    assert f"kernel_manager_class = {named} is not used" in log
    assert "Traceback" not in log


class UsersMappingKernelManager(GatewayMappingKernelManager):
    """A user's own."""


class UsersKernelManager(GatewayKernelManager):
    """A user's own."""


SCHEMA = """\
$id: https://example.com/mine
version: "1"
title: Mine
type: object
properties: {}
"""


async def test_event_schema_of_user_is_registered(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    schema = tmp_path / "mine.yaml"
    schema.write_text(SCHEMA)
    async with server_on(fake_gateway, tmp_path) as server:
        # It takes a `Path`, which no command line can say.
        server.app.config.ServerKernelManager.extra_event_schema_paths = [schema]
        await _start_jupyter_server_extension(server.app)
        await server.start_kernel()
        logger = server.app.event_logger
        assert logger is not None
        assert "https://example.com/mine" in logger.schemas
