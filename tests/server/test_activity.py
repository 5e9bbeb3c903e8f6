"""What counts as activity of a server: its kernels' work, by one clock."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jupyter_relay.testing import FakeGateway, FakeKernel
from jupyter_relay.wire.message import Message
from tests.support.server import TestServer, remote_of, server_on
from tests.support.tab import status_of


def last_activity(server: TestServer) -> datetime:
    """What the server reports to JupyterHub."""
    date: datetime = server.app.web_app.last_activity()  # type: ignore[no-untyped-call]  # theirs
    return date


async def test_activity_of_work_behind_closed_page_is_counted(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel_id = await server.start_kernel()
    released = asyncio.Event()

    async def wait(_: Message, __: FakeKernel) -> None:
        await released.wait()

    fake_gateway.kernels[kernel_id].on_execute = wait
    async with server.tab(kernel_id) as tab:
        await tab.execute("1")
        while status_of(await tab.receive()) != "busy":
            pass
    closed = datetime.now(UTC)
    released.set()
    async with server.tab(kernel_id) as tab:  # it comes back, and hears what it missed
        while status_of(await tab.receive()) != "idle":
            pass
    assert last_activity(server) > closed


async def test_activity_without_open_link_is_taken_from_gateway(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel_id = await server.start_kernel()
    later = datetime.now(UTC) + timedelta(minutes=5)
    fake_gateway.kernels[kernel_id].last_activity = later
    server.kernels.roster.gateway.forget_listing()
    assert last_activity(server) != later  # nobody lists: the question goes out behind the answer
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to("GET", "/api/kernels"))
    await server.kernels.known.refresh_all()  # shares that question
    assert last_activity(server) == later
    assert len(fake_gateway.requests_to("GET", "/api/kernels")) == 1


async def test_kernel_count_after_culling_of_gone_kernel_is_zero(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel_id = await server.start_kernel()
    assert len(server.kernels) == 1
    fake_gateway.lose_kernel(kernel_id)
    await server.kernels.cull_kernels()
    assert len(server.kernels) == 0


async def test_kernel_count_with_listed_kernels_equals_the_list(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    gone, kept = await server.start_kernel(), await server.start_kernel()
    fake_gateway.lose_kernel(gone)
    await server.kernels.known.refresh_all()
    assert server.kernels.list_kernel_ids() == [kept]
    assert len(server.kernels) == 1
    assert gone in server.kernels  # its pages are told why it is gone


async def test_kernel_count_and_activity_from_thread_equal_the_loops(
    server: TestServer,
) -> None:
    await server.start_kernel()

    def look() -> tuple[int, datetime]:
        return len(server.kernels), server.kernels.last_kernel_activity

    async def look_in_a_loop() -> tuple[int, datetime]:
        return look()

    in_a_thread = await asyncio.to_thread(look)
    in_another_loop = await asyncio.to_thread(lambda: asyncio.run(look_in_a_loop()))
    assert in_a_thread == in_another_loop == look()


async def test_kernel_count_with_gone_kernel_makes_server_notice(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel_id = await server.start_kernel()
    fake_gateway.lose_kernel(kernel_id)
    assert len(server.kernels) == 1  # the question goes out behind the answer
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to("GET", "/api/kernels"))
    await server.kernels.known.refresh_all()  # shares that question
    assert len(server.kernels) == 0


@pytest.mark.parametrize("ahead", [timedelta(hours=-1), timedelta(hours=1)])
async def test_culling_with_wrong_gateway_clock_keeps_active_kernels(
    server: TestServer, fake_gateway: FakeGateway, ahead: timedelta
) -> None:
    fake_gateway.clock_ahead = ahead
    server.kernels.cull_idle_timeout = 600
    active, idle = await server.start_kernel(), await server.start_kernel()
    fake_gateway.kernels[idle].last_activity = datetime.now(UTC) - timedelta(seconds=700)
    await server.kernels.cull_kernels()
    assert set(fake_gateway.kernels) == {active}
    shown = datetime.fromisoformat((await server.kernels.kernel_model(active))["last_activity"])
    assert abs(datetime.now(UTC) - shown) < timedelta(minutes=1)


async def test_activity_after_culling_is_unchanged(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel_id = await server.start_kernel()
    before = server.kernels.last_kernel_activity
    server.kernels.cull_idle_timeout = 600
    fake_gateway.kernels[kernel_id].last_activity = datetime.now(UTC) - timedelta(seconds=700)
    await server.kernels.cull_kernels()
    assert not fake_gateway.kernels
    assert server.kernels.last_kernel_activity == before


@pytest.mark.parametrize("option", ["", "--MappingKernelManager.untracked_message_types=x_request"])
async def test_activity_of_untracked_message_types_is_not_counted(
    fake_gateway: FakeGateway, tmp_path: Path, option: str
) -> None:
    async with server_on(fake_gateway, tmp_path, argv=(option,) if option else ()) as server:
        kernel_id = await server.start_kernel()
        before = remote_of(server, kernel_id).last_activity
        async with server.tab(kernel_id) as tab:
            await tab.until_idle(await tab.send("x_request"))
            assert (remote_of(server, kernel_id).last_activity == before) is bool(option)
            await tab.run("1")
        assert remote_of(server, kernel_id).last_activity != before
