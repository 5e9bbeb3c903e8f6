"""What becomes of a server's kernels when it stops: the option ``on_exit``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from jupyter_relay.testing import Answer, FakeGateway, FakeKernel, Hold, Silence
from jupyter_relay.testing.faults import Fault
from jupyter_relay.wire.message import Message
from tests.support.server import TestServer, remote_of, server_on

LIST = ("GET", "/api/kernels")
DELETES = ("DELETE", "/api/kernels/*")
STARTS = ("POST", "/api/kernels")


@asynccontextmanager
async def server_that(
    on_exit: str, gateway: FakeGateway, directory: Path, *argv: str
) -> AsyncIterator[TestServer]:
    """Run a server with this ``on_exit``; leaving the block stops it."""
    option = f"--GatewayClient.on_exit={on_exit}"
    async with server_on(gateway, directory, argv=(option, *argv)) as server:
        yield server


async def never(_: Message, __: FakeKernel) -> None:
    """Run a cell that has no end."""
    await asyncio.Event().wait()


async def test_shutdown_all_without_on_exit_deletes_kernels(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    await server.start_kernel()
    await server.kernels.shutdown_all()
    assert not fake_gateway.kernels


async def test_keep_with_many_kernels_leaves_them_and_logs_one_line(
    fake_gateway: FakeGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with server_that("keep", fake_gateway, tmp_path) as server:
        kernel_ids = [await server.start_kernel() for _ in range(2)]
        async with server.tab(kernel_ids[0]) as tab:
            assert await tab.run("1") == "1\n"
            await server.kernels.shutdown_all()
        assert not server.kernels.list_kernel_ids()
        await server.kernels.shutdown_all()  # as at POST /api/shutdown and a signal after it
    assert list(fake_gateway.kernels) == kernel_ids
    assert not fake_gateway.requests_to(*DELETES)
    assert not fake_gateway.open_sockets
    (line,) = [line for line in caplog.messages if kernel_ids[1] in line and "on_exit" in line]
    assert line == (
        f"2 kernels run on at {fake_gateway.url} (on_exit = keep): {', '.join(kernel_ids)}."
    )


async def test_keep_with_running_cell_does_not_end_it_in_its_page(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    async with server_that("keep", fake_gateway, tmp_path) as server:
        kernel_id = await server.start_kernel()
        kernel = fake_gateway.kernels[kernel_id]
        kernel.on_execute = never
        async with server.tab(kernel_id) as tab:
            cell = await tab.execute("1")
            await fake_gateway.wait_for(lambda: kernel.execution_state == "busy")
            await server.kernels.shutdown_all()
            heard = [m.head.msg_type for m in await tab.to_the_end() if m.parent.msg_id == cell]
    assert set(heard) <= {"status", "execute_input"}
    assert heard.count("status") <= 1, "its idle is the kernel's to tell"


async def test_keep_with_very_many_kernels_names_some_in_log(
    fake_gateway: FakeGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with server_that("keep", fake_gateway, tmp_path) as server:
        kernel_ids = [await server.start_kernel() for _ in range(12)]
    (line,) = [line for line in caplog.messages if "on_exit = keep" in line]
    assert line.endswith(f": {', '.join(kernel_ids[:10])} and 2 more.")


async def test_keep_busy_with_idle_kernels_asks_once_and_deletes_them(
    fake_gateway: FakeGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    states = ("busy", "idle", "unknown", "starting", "a new word")
    async with server_that("keep-busy", fake_gateway, tmp_path) as server:
        kernel_ids = {state: await server.start_kernel() for state in states}
        await server.call("GET", "/api/kernels")  # what is known from here on is not used
        for state, kernel_id in kernel_ids.items():
            fake_gateway.kernels[kernel_id].execution_state = state
        asked = len(fake_gateway.requests_to(*LIST))
        await server.kernels.shutdown_all()
        assert len(fake_gateway.requests_to(*LIST)) == asked + 1
    stay = [kernel_ids[state] for state in ("busy", "unknown", "a new word")]
    assert list(fake_gateway.kernels) == stay
    assert f"(on_exit = keep-busy): {', '.join(stay)}." in caplog.text


@pytest.mark.parametrize("fault", [Silence(), Answer(500), Answer(403)], ids=str)
async def test_keep_busy_without_gateway_answer_uses_last_known_state(
    fake_gateway: FakeGateway, tmp_path: Path, fault: Fault
) -> None:
    async with server_that("keep-busy", fake_gateway, tmp_path) as server:
        busy, idle, unknown = [await server.start_kernel() for _ in range(3)]
        fake_gateway.kernels[unknown].execution_state = "unknown"
        await server.call("GET", "/api/kernels")
        fake_gateway.kernels[busy].on_execute = never
        async with server.tab(busy) as tab, server.tab(idle) as other:
            await tab.execute("a cell without an end")
            assert await other.run("1") == "1\n"
            await fake_gateway.wait_for(lambda: fake_gateway.kernels[busy].received)
            await tab.receive()  # its busy
            fake_gateway.fault("GET", "/api/kernels", fault)
            fake_gateway.fault("GET", "/api/kernels/*", fault)
            await server.kernels.shutdown_all()
    assert list(fake_gateway.kernels) == [busy, unknown]


async def test_keep_busy_with_unforeseen_failure_uses_last_known_state(
    fake_gateway: FakeGateway,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(_: object) -> None:
        raise ValueError

    async with server_that("keep-busy", fake_gateway, tmp_path) as server:
        await server.start_kernel()
        monkeypatch.setattr(server.kernels.roster.gateway, "find_kernels", fail)
        await server.kernels.shutdown_all()
    assert not fake_gateway.kernels
    assert any(record.exc_info for record in caplog.records)
    assert any("what was heard last: ValueError" in line for line in caplog.messages)


async def test_keep_busy_at_gateway_without_listing_asks_for_each_kernel(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    fake_gateway.list_kernels = False
    async with server_that("keep-busy", fake_gateway, tmp_path) as server:
        busy, _ = [await server.start_kernel() for _ in range(2)]
        fake_gateway.kernels[busy].execution_state = "busy"
    assert list(fake_gateway.kernels) == [busy]


async def test_keep_busy_with_unanswered_request_counts_kernel_as_busy(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    async with server_that("keep-busy", fake_gateway, tmp_path) as server:
        kernel_id = await server.start_kernel()
        async with server.tab(kernel_id) as tab:
            assert await tab.run("1") == "1\n"
            kernel = fake_gateway.kernels[kernel_id]
            kernel.kill()  # it takes what it is sent, and says nothing
            known = len(kernel.received)
            await tab.execute("2")
            await fake_gateway.wait_for(lambda: len(kernel.received) > known)
            await server.kernels.shutdown_all()
    assert list(fake_gateway.kernels) == [kernel_id]


async def test_shutdown_all_with_delete_waiting_for_restart_carries_it_out(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    restart = ("POST", "/api/kernels/*/restart")
    async with server_that("keep", fake_gateway, tmp_path) as server:
        kernel_id = await server.start_kernel()
        fake_gateway.fault(*restart, Silence())
        restarting = asyncio.create_task(
            server.call("POST", f"/api/kernels/{kernel_id}/restart", {})
        )
        await fake_gateway.wait_for(lambda: fake_gateway.requests_to(*restart))
        deletion = asyncio.create_task(server.kernels.shutdown_kernel(kernel_id))
        await asyncio.sleep(0)  # it begins
        await server.kernels.shutdown_all()
        await deletion
        assert (await restarting).status == 404
    assert not fake_gateway.kernels


async def test_session_shut_down_before_exit_deletes_its_kernel(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    """JupyterLab's *File > Shut Down* does so with each, before it asks the server to end."""
    async with server_that("keep", fake_gateway, tmp_path) as server:
        body = {"path": "a.ipynb", "name": "a.ipynb", "type": "notebook", "kernel": {}}
        session = (await server.call("POST", "/api/sessions", body)).json
        without_session = await server.start_kernel()
        assert (await server.call("DELETE", f"/api/sessions/{session['id']}")).status == 204
    assert list(fake_gateway.kernels) == [without_session]


async def test_keep_during_restart_leaves_kernel(fake_gateway: FakeGateway, tmp_path: Path) -> None:
    async with server_that("keep", fake_gateway, tmp_path) as server:
        kernel_id = await server.start_kernel()
        never = asyncio.Event()
        restart = ("POST", "/api/kernels/*/restart")
        fake_gateway.fault(*restart, Hold(never))
        restarting = asyncio.create_task(
            server.call("POST", f"/api/kernels/{kernel_id}/restart", {})
        )
        await fake_gateway.wait_for(lambda: fake_gateway.requests_to(*restart))
        await server.kernels.shutdown_all()
        assert (await restarting).status == 503
    assert list(fake_gateway.kernels) == [kernel_id]


@pytest.mark.parametrize("on_exit", ["keep", "keep-busy"])
async def test_keep_during_start_leaves_no_kernel(
    fake_gateway: FakeGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture, on_exit: str
) -> None:
    grace = "--GatewayClient.start_grace=0"
    async with server_that(on_exit, fake_gateway, tmp_path, grace) as server:
        released = asyncio.Event()
        fake_gateway.fault(*STARTS, Hold(released))
        await server.start_kernel()
        await fake_gateway.wait_for(lambda: fake_gateway.requests_to(*STARTS))
        stopping = asyncio.create_task(server.kernels.shutdown_all())
        released.set()
        await stopping
    await fake_gateway.wait_for(lambda: not fake_gateway.kernels)
    assert "runs on at" not in caplog.text


@pytest.mark.parametrize("on_exit", ["shutdown", "keep-busy", "keep"])
async def test_shutdown_all_with_kernel_started_by_others_leaves_it(
    fake_gateway: FakeGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture, on_exit: str
) -> None:
    foreign = fake_gateway.start_kernel().id
    async with server_that(on_exit, fake_gateway, tmp_path) as server:
        answer = await server.call("POST", "/api/kernels", {"kernel_id": foreign})
        assert answer.status == 201
    assert list(fake_gateway.kernels) == [foreign]
    assert (
        f"1 kernel runs on at {fake_gateway.url} (not started by this server): {foreign}."
    ) in caplog.messages


async def test_kernel_delete_of_kernel_started_by_others_ends_it(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    foreign = fake_gateway.start_kernel().id
    await server.call("POST", "/api/kernels", {"kernel_id": foreign})
    assert (await server.call("DELETE", f"/api/kernels/{foreign}")).status == 204
    assert not fake_gateway.kernels


async def test_kept_kernel_attached_by_next_server_belongs_to_it(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    async with server_that("keep", fake_gateway, tmp_path) as server:
        kernel_id = await server.start_kernel()
        session = remote_of(server, kernel_id)._upstream.session
    for on_exit, left in (("keep", [kernel_id]), ("shutdown", [])):
        async with server_that(on_exit, fake_gateway, tmp_path) as server:
            await server.call("POST", "/api/kernels", {"kernel_id": kernel_id})
            assert remote_of(server, kernel_id)._upstream.session == session
        assert list(fake_gateway.kernels) == left


async def test_shutdown_all_with_kernel_of_living_server_leaves_it(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    async with server_that("shutdown", fake_gateway, tmp_path) as server:
        kernel_id = await server.start_kernel()
        async with server_that("shutdown", fake_gateway, tmp_path) as other:
            await other.call("POST", "/api/kernels", {"kernel_id": kernel_id})
        assert list(fake_gateway.kernels) == [kernel_id]
    assert not fake_gateway.kernels


async def test_attach_answered_during_shutdown_all_leaves_kernel(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    foreign = fake_gateway.start_kernel().id
    await server.start_kernel()
    answered, deleted = asyncio.Event(), asyncio.Event()
    fake_gateway.fault("GET", f"/api/kernels/{foreign}", Hold(answered))
    fake_gateway.fault(*DELETES, Hold(deleted))
    attach = asyncio.create_task(server.call("POST", "/api/kernels", {"kernel_id": foreign}))
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to("GET", f"/api/kernels/{foreign}"))
    stopping = asyncio.create_task(server.kernels.shutdown_all())
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to(*DELETES))
    answered.set()
    answer = await attach
    deleted.set()
    await stopping
    assert (answer.status, answer.json["message"]) == (503, "The server is about to end.")
    assert list(fake_gateway.kernels) == [foreign]
