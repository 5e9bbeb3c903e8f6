"""The manager on its own."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from jupyter_client.manager import KernelManager
from traitlets.config import Config

from jupyter_relay.config import GatewayClient
from jupyter_relay.errors import (
    AuthenticationFailed,
    GatewayUnavailable,
    KernelNotFound,
    KernelNotRunning,
    KernelSpecNotFound,
    KernelStartFailed,
    OperationUnderWay,
    VariableRefused,
)
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.headless.manager import GatewayKernelManager
from jupyter_relay.kernels.roster import Roster
from jupyter_relay.link.life import Life
from jupyter_relay.testing import Answer, FakeGateway, Hold


async def test_manager_starts_and_shuts_down_its_kernel(fake: FakeGateway) -> None:
    fake.kernelspecs.append("ir")
    manager = GatewayKernelManager(kernel_name="ir")
    assert not await manager.is_alive()
    await manager.start_kernel(env={"KERNEL_A": "b", "PATH": "no"}, cwd="/there", extra=1)
    kernel = fake.kernels[manager.kernel_id]
    assert kernel.name == manager.kernel_name == "ir"
    assert kernel.env == {
        "KERNEL_A": "b", "KERNEL_WORKING_DIR": "/there", "KERNEL_LAUNCH_TIMEOUT": "40",
        "KERNEL_ID": kernel.id,
    }  # fmt: skip
    assert manager.has_kernel
    assert await manager.is_alive()
    await manager.restart_kernel()
    assert kernel.incarnation == 2
    assert await manager.is_alive()
    await manager.interrupt_kernel()
    await manager.shutdown_kernel(now=True)
    assert not fake.kernels
    with pytest.raises(KernelNotRunning):
        _ = manager.running
    assert not await manager.is_alive()


async def test_manager_attaches_by_a_kernel_id_and_lets_go(fake: FakeGateway) -> None:
    kernel = fake.start_kernel()
    manager = GatewayKernelManager()
    await manager.start_kernel(kernel_id=kernel.id)
    assert manager.kernel_id == kernel.id
    client = manager.client()
    client.start_channels()
    await client.wait_for_ready(timeout=10)
    await manager.cleanup_resources()
    assert kernel.id in fake.kernels
    assert not fake.open_sockets


def kept_in(folder: Path) -> list[str]:
    """Return the kernels whose session ids are kept."""
    with closing(sqlite3.connect(folder / "links.sqlite")) as links:
        return [kernel_id for (kernel_id,) in links.execute("SELECT kernel_id FROM links")]


@pytest.fixture
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for session ids, named in the environment."""
    folder = tmp_path / "state"
    monkeypatch.setenv("JUPYTER_GATEWAY_STATE_FOLDER", str(folder))
    return folder


def session_of(manager: GatewayKernelManager) -> str:
    """Return the upstream session id of a manager's kernel."""
    return manager.running._upstream.session


async def test_manager_that_attaches_next_has_the_session_id_of_the_last(
    fake: FakeGateway, state_folder: Path
) -> None:
    manager = GatewayKernelManager()
    await manager.start_kernel()
    remote = manager.running
    await manager.start_kernel(kernel_id=remote.id)
    session = session_of(manager)
    assert session == remote._upstream.session
    await manager.cleanup_resources()
    successor = GatewayKernelManager()
    await successor.start_kernel(kernel_id=remote.id)
    assert session_of(successor) == session
    successor.running.subscribe()
    assert (await fake.wait_for_socket()).session_id == session
    await successor.shutdown_kernel()
    assert kept_in(state_folder) == []


async def test_started_by_server_is_false_of_a_kernel_that_a_program_started(
    fake: FakeGateway, state_folder: Path
) -> None:
    manager = GatewayKernelManager()
    assert not manager.started_by_server
    await manager.start_kernel()
    assert not manager.started_by_server
    await manager.shutdown_kernel()


async def test_started_by_server_is_true_of_a_kernel_that_a_server_started(
    fake: FakeGateway, tmp_path: Path
) -> None:
    gateway = Gateway(GatewayClient().settings())
    roster = Roster(gateway, state_folder=tmp_path, for_server=True)
    kernel = await roster.start("python3")
    manager = GatewayKernelManager(roster=roster)
    await manager.start_kernel(kernel_id=kernel.id)
    assert manager.started_by_server
    await manager.cleanup_resources()
    assert kernel.life is Life.RUNNING, "the roster's other user still has it"
    await roster.shutdown_all()


async def test_managers_attached_at_once_have_session_ids_of_their_own(
    fake: FakeGateway, state_folder: Path
) -> None:
    managers = [GatewayKernelManager(), GatewayKernelManager()]
    kernel_id = fake.start_kernel().id
    for manager in managers:
        await manager.start_kernel(kernel_id=kernel_id)
    assert session_of(managers[0]) != session_of(managers[1])
    for manager in managers:
        await manager.cleanup_resources()
    assert kept_in(state_folder) == [kernel_id, kernel_id]


@pytest.mark.parametrize("attach", [True, False])
async def test_store_keeps_no_id_of_a_kernel_that_does_not_exist(
    fake: FakeGateway, state_folder: Path, attach: bool
) -> None:
    manager = GatewayKernelManager()
    await manager.start_kernel()
    kernel_id = manager.kernel_id
    fake.lose_kernel(kernel_id)
    if attach:
        await manager.release()
        assert kept_in(state_folder) == [kernel_id]
        with pytest.raises(KernelNotFound):
            await manager.start_kernel(kernel_id=kernel_id)
    else:
        assert not await manager.is_alive()
        await manager.cleanup_resources()
    assert kept_in(state_folder) == []


async def test_start_is_claimed_before_its_request_reaches_the_gateway(
    fake: FakeGateway, state_folder: Path
) -> None:
    released = asyncio.Event()
    fake.fault("POST", "/api/kernels", Hold(released))
    manager = GatewayKernelManager()
    starting = asyncio.create_task(manager.start_kernel())
    (asked,) = await fake.wait_for(lambda: fake.requests_to("POST", "/api/kernels"))
    assert isinstance(asked.json, dict)
    assert kept_in(state_folder) == [asked.json["kernel_id"]]
    released.set()
    await starting
    assert kept_in(state_folder) == [manager.kernel_id]
    await manager.shutdown_kernel()
    assert kept_in(state_folder) == []


async def test_claim_is_on_the_id_that_the_gateway_gave_the_kernel(
    fake: FakeGateway, state_folder: Path
) -> None:
    fake.kernel_ids = "ignored"
    manager = GatewayKernelManager()
    await manager.start_kernel()
    (kernel_id,) = fake.kernels
    session = session_of(manager)
    await manager.release()
    assert kept_in(state_folder) == [kernel_id]
    await manager.start_kernel(kernel_id=kernel_id)
    assert manager.running._upstream.session == session
    await manager.shutdown_kernel()


@pytest.mark.parametrize("failure", ["refused", "not sent"])
async def test_start_that_fails_leaves_no_claim(
    fake: FakeGateway, state_folder: Path, failure: str
) -> None:
    fake.fault("POST", "/api/kernels", Answer.json({"reason": "Out of GPUs."}, 500))
    manager = GatewayKernelManager()
    env = {"KERNEL_A": "a\nb"} if failure == "not sent" else {}
    with pytest.raises((KernelStartFailed, VariableRefused)):
        await manager.start_kernel(env=env)
    assert kept_in(state_folder) == []


async def test_manager_without_a_state_folder_has_no_store(fake: FakeGateway) -> None:
    manager = GatewayKernelManager()
    await manager.start_kernel()
    assert manager.roster.store is None
    await manager.shutdown_kernel()


async def test_manager_start_that_was_cancelled_leaves_no_kernel(fake: FakeGateway) -> None:
    before = asyncio.all_tasks()
    released = asyncio.Event()
    fake.fault("POST", "/api/kernels", Hold(released))
    manager = GatewayKernelManager()
    starting = asyncio.create_task(manager.start_kernel())
    await fake.wait_for(lambda: fake.requests_to("POST", "/api/kernels"))
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not manager.has_kernel
    released.set()
    await fake.wait_for(lambda: fake.requests_to("DELETE", "/api/kernels/*"))
    await fake.wait_for(lambda: not fake.kernels)
    async with asyncio.timeout(10):  # then the gateway of the manager is closed
        await asyncio.wait(asyncio.all_tasks() - before)


async def test_manager_without_patience_has_a_starting_kernel_at_once(fake: FakeGateway) -> None:
    released = asyncio.Event()
    fake.fault("POST", "/api/kernels", Hold(released))
    manager = GatewayKernelManager()
    await manager.start_kernel(patience=0.0)
    ready = manager.ready
    assert not ready.done()
    assert await manager.is_alive()
    released.set()
    await ready
    assert manager.kernel_id in fake.kernels
    await manager.shutdown_kernel()


async def test_manager_ready_is_one_future_for_each_start(fake: FakeGateway) -> None:
    manager = GatewayKernelManager()
    await manager.start_kernel()
    first = manager.ready
    assert first.done()
    assert manager.ready is first
    await manager.shutdown_kernel()
    fake.fault("POST", "/api/kernels", Answer.json({"reason": "Out of GPUs."}, 500))
    await manager.start_kernel(patience=0.0)
    second = manager.ready
    assert not second.done()
    assert manager.ready is second is not first
    await asyncio.wait([second])
    assert manager.ready is second
    assert "Out of GPUs" in str(second.exception())
    await manager.shutdown_kernel()


async def test_manager_ready_still_serves_others_after_a_wait_for_it_timed_out(
    fake: FakeGateway,
) -> None:
    released = asyncio.Event()
    fake.fault("POST", "/api/kernels", Hold(released))
    manager = GatewayKernelManager()
    await manager.start_kernel(patience=0.0)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(manager.ready, 0.01)
    released.set()
    await manager.ready
    await manager.shutdown_kernel()


async def test_start_that_fails_unobserved_logs_no_unretrieved_exception(
    fake: FakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    fake.fault("POST", "/api/kernels", Answer.json({"reason": "Out of GPUs."}, 500))
    manager = GatewayKernelManager()
    await manager.start_kernel(patience=0.0)
    await asyncio.wait([manager.ready])
    await manager.shutdown_kernel()
    del manager
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_kernel_that_vanished_is_not_alive(fake: FakeGateway) -> None:
    manager = GatewayKernelManager()
    await manager.start_kernel()
    fake.lose_kernel(manager.kernel_id)
    assert not await manager.is_alive()
    assert not await manager.is_alive()
    await manager.shutdown_kernel()


async def test_kernel_whose_gateway_is_away_counts_as_alive(fake: FakeGateway) -> None:
    manager = GatewayKernelManager()
    await manager.start_kernel()
    fault = fake.fault("GET", "/api/kernels/*", Answer(503))
    assert await manager.is_alive()
    fault.lift()
    await manager.shutdown_kernel()


async def test_kernel_that_died_and_was_replaced_is_not_alive(fake: FakeGateway) -> None:
    manager = GatewayKernelManager()
    await manager.start_kernel()
    client = manager.client()
    client.start_channels()
    await client.wait_for_ready(timeout=10)
    fake.kernels[manager.kernel_id].die()
    while (await client.get_iopub_msg(timeout=10))["content"].get(
        "execution_state"
    ) != "restarting":
        pass
    assert not await manager.is_alive()
    client.stop_channels()
    await manager.shutdown_kernel()


async def test_errors_are_those_of_the_tree(fake: FakeGateway) -> None:
    manager = GatewayKernelManager(kernel_name="cobol")
    with pytest.raises(KernelSpecNotFound, match="cobol"):
        await manager.start_kernel()
    with pytest.raises(KernelNotFound):
        await manager.start_kernel(kernel_id="nobody")
    with pytest.raises(KernelNotRunning, match="No kernel is running!"):
        await manager.interrupt_kernel()
    fake.token = "another"
    with pytest.raises(AuthenticationFailed):
        await manager.start_kernel()


async def test_start_with_a_variable_that_cannot_be_sent_is_an_error_and_starts_nothing(
    fake: FakeGateway,
) -> None:
    manager = GatewayKernelManager()
    for env in ({"KERNEL_X": "$x"}, {"KERNEL_USERNAME ": "ann"}):
        with pytest.raises(VariableRefused, match="KERNEL_"):
            await manager.start_kernel(env=env)
    assert not manager.has_kernel
    assert not fake.requests


async def test_operations_at_once_have_one_order_for_a_program_too(fake: FakeGateway) -> None:
    manager = GatewayKernelManager()
    await manager.start_kernel()
    released = asyncio.Event()
    fake.fault("POST", "/api/kernels/*/restart", Hold(released))
    restarts = [asyncio.create_task(manager.restart_kernel()) for _ in range(2)]
    await fake.wait_for(lambda: fake.requests_to("POST", "/api/kernels/*/restart"))
    with pytest.raises(OperationUnderWay):
        await manager.interrupt_kernel()
    deletion = asyncio.create_task(manager.shutdown_kernel())
    await asyncio.sleep(0)
    released.set()
    await asyncio.gather(deletion, *restarts)
    assert len(fake.requests_to("POST", "/api/kernels/*/restart")) == 1
    assert not fake.kernels


async def test_manager_uses_the_gateway_that_is_configured_or_given(
    fake_gateway: FakeGateway,
) -> None:
    config = Config()
    config.GatewayClient.url = fake_gateway.url
    config.GatewayClient.auth_token = fake_gateway.token
    manager = GatewayKernelManager(config=config)
    await manager.start_kernel()
    await manager.shutdown_kernel()
    gateway = Gateway(GatewayClient(config=config).settings())
    given = GatewayKernelManager(gateway=gateway)
    await given.start_kernel()
    await given.shutdown_kernel()
    await gateway.kernelspecs()  # it is not closed with one of its managers
    await gateway.close()
    assert not fake_gateway.kernels


async def test_manager_whose_gateway_is_not_there_raises_gateway_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JUPYTER_GATEWAY_URL", "http://127.0.0.1:1")
    manager = GatewayKernelManager()
    with pytest.raises(GatewayUnavailable, match="cannot be reached"):
        await manager.start_kernel()


def test_manager_is_an_instance_of_nbclients_class() -> None:
    assert issubclass(GatewayKernelManager, KernelManager)


@pytest.mark.parametrize("module", ["manager", "client", "channels"])
def test_headless_modules_import_no_server(module: str) -> None:
    code = (
        f"import sys, jupyter_relay.headless.{module}\n"
        "print([m for m in ('jupyter_server', 'jupyter_events', 'tornado.web', 'websocket')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
