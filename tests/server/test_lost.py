"""A kernel that is no more on its gateway: what pages are told, so that they show why."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from jupyter_relay.testing import FakeGateway
from tests.support.server import TestServer
from tests.support.tab import printed, status_of

KERNELS = "/api/kernels"


async def refused(server: TestServer, kernel_id: str, session_id: str = "tab") -> bool:
    """Whether a page that comes again is answered 404."""
    try:
        async with server.tab(kernel_id, session_id):
            return False
    except aiohttp.WSServerHandshakeError as error:
        return error.status == 404


async def lose_kernel(server: TestServer, fake_gateway: FakeGateway) -> str:
    """Start a kernel that its gateway forgets while a page is open; return its id."""
    kernel_id = await server.start_kernel()
    server.kernels.farewell_seconds = 0.0
    async with server.tab(kernel_id) as tab:
        await tab.run("1")
        fake_gateway.lose_kernel(kernel_id, close=1001)
        messages = await tab.to_the_end()
        # A page that is told `dead` does not ask why.
        assert "dead" not in map(status_of, messages)
        # JupyterLab 4.6 does not come again after 1000 and 1001; aiohttp says 0 for none.
        assert tab.end == "ended: CLOSE 0"
    return kernel_id


async def test_websocket_of_lost_kernel_is_refused_and_model_says_why(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel_id = await lose_kernel(server, fake_gateway)
    assert await refused(server, kernel_id)
    assert await refused(server, kernel_id, "another")
    model = (await server.call("GET", f"{KERNELS}/{kernel_id}")).json
    assert model["execution_state"] == "dead"
    first, second = model["reason"].splitlines()
    assert first == f"{fake_gateway.url} has no kernel {kernel_id}."
    assert second.startswith("It was culled or deleted there")


async def test_lost_kernel_found_gone_is_unlisted_and_says_why_for_a_while(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel_id = await server.start_kernel()
    async with server.tab(kernel_id) as tab:
        await tab.run("1")
        fake_gateway.lose_kernel(kernel_id)
        assert (await server.call("GET", KERNELS)).json == []
        # What is asked now is answered, for as long as the page has not found out.
        for _ in range(2):
            failed = await tab.reply_to(await tab.execute("2"))
            assert b"has no kernel" in bytes(failed.content)
    assert await refused(server, kernel_id)
    gone = (await server.call("GET", f"{KERNELS}/{kernel_id}")).json
    assert (gone["id"], gone["execution_state"]) == (kernel_id, "dead")
    assert "culled or deleted" in gone["reason"]
    server.kernels.known.lost_seconds = 0.0
    server.kernels.roster.gateway.forget_listing()
    assert (await server.call("GET", KERNELS)).json == []
    assert (await server.call("GET", f"{KERNELS}/{kernel_id}")).status == 404


async def test_lost_kernel_listed_first_by_another_page_keeps_its_reason(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel_id = await lose_kernel(server, fake_gateway)
    before = (await server.call("GET", f"{KERNELS}/{kernel_id}")).json
    assert (await server.call("GET", KERNELS)).json == []
    model = (await server.call("GET", f"{KERNELS}/{kernel_id}")).json
    assert model["reason"] == before["reason"] != ""


@pytest.mark.parametrize("legacy", [False, True])
async def test_websocket_reopened_to_lost_kernel_delivers_kept_output_then_ends(
    server: TestServer, fake_gateway: FakeGateway, legacy: bool
) -> None:
    kernel_id = await server.start_kernel()
    server.kernels.farewell_seconds = 0.0
    async with server.tab(kernel_id, "stays") as witness:
        async with server.tab(kernel_id, legacy=legacy) as tab:
            await tab.run("1")
        await witness.run("'while it was away'")
        fake_gateway.lose_kernel(kernel_id, close=1001)
        await witness.to_the_end()
    async with server.tab(kernel_id, legacy=legacy) as tab:
        messages = await tab.to_the_end()
    assert "while it was away" in printed(messages)
    assert "dead" not in map(status_of, messages)
    assert await refused(server, kernel_id)


async def test_websocket_of_kernel_shut_down_here_tells_it_is_dead(
    server: TestServer,
) -> None:
    kernel_id = await server.start_kernel()
    async with server.tab(kernel_id) as tab:
        await tab.run("1")
        ending = asyncio.create_task(tab.to_the_end())
        assert (await server.call("DELETE", f"{KERNELS}/{kernel_id}")).status == 204
        assert "dead" in map(status_of, await ending)
