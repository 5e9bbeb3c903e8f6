"""A server that is stopped while its gateway is a black hole ends soon, and says what it leaves."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import aiohttp
import pytest

from jupyter_relay.testing import FaultyProxy
from jupyter_relay.testing.servers import RunningServer, jupyter_server, kernel_gateway
from jupyter_relay.wire.subprotocol import OFFERED
from tests.support.tab import Tab

ENDS_WITHIN = 20.0
"""Twice what is promised: this machine may be busy. Requests to the gateway may take 42 s."""


@pytest.fixture
async def behind() -> AsyncIterator[tuple[RunningServer, FaultyProxy]]:
    """A server, and the way to the Kernel Gateway on which it has its kernels."""
    async with (
        kernel_gateway() as gateway,
        FaultyProxy("127.0.0.1", gateway.port) as proxy,
        jupyter_server(
            env={
                "JUPYTER_GATEWAY_URL": proxy.url,
                "JUPYTER_GATEWAY_AUTH_TOKEN": gateway.token,
            }
        ) as server,
    ):
        yield server, proxy


async def start_kernel(http: aiohttp.ClientSession) -> str:
    async with http.post("/api/kernels", json={}) as response:
        assert response.status == 201
        kernel_id: str = (await response.json())["id"]
        return kernel_id


async def ask(http: aiohttp.ClientSession, method: str) -> int:
    """Make a request, and return its status."""
    async with http.request(method, "/api/kernels") as response:
        return response.status


async def ended(server: RunningServer) -> bool:
    """Stop a server as an operating system does, and see whether it ends."""
    os.kill(server.pid, signal.SIGTERM)
    return await asyncio.to_thread(server.process.wait, ENDS_WITHIN)


@pytest.mark.parametrize("silent", ["both ways", "only back", "refused"])
async def test_server_stop_ends_while_cells_run_and_a_page_is_open(
    behind: tuple[RunningServer, FaultyProxy], silent: str
) -> None:
    server, proxy = behind
    async with aiohttp.ClientSession(server.url, headers=server.headers) as http:
        kernel_ids = [await start_kernel(http) for _ in range(3)]
        async with (
            http.ws_connect(
                f"/api/kernels/{kernel_ids[0]}/channels?session_id=tab", protocols=OFFERED
            ) as websocket,
        ):
            tab = Tab(websocket, "tab")
            await tab.execute("import time\nwhile True: print('x', flush=True); time.sleep(0.1)")
            while (await tab.receive()).head.msg_type != "stream":
                pass
            if silent == "refused":
                proxy.refuse()
                proxy.reset()
            else:
                proxy.stall(upstream=silent == "both ways")
            asking = asyncio.create_task(ask(http, "GET"))  # a page goes on asking
            assert await ended(server)
            await asyncio.gather(asking, return_exceptions=True)
    log = server.log_path.read_text()
    for kernel_id in kernel_ids:
        assert f"Kernel {kernel_id}: could not be shut down: " in log
    assert "Traceback" not in log


async def test_server_stop_ends_while_a_kernel_is_being_started(
    behind: tuple[RunningServer, FaultyProxy],
) -> None:
    server, proxy = behind
    async with aiohttp.ClientSession(server.url, headers=server.headers) as http:
        await ask(http, "GET")
        proxy.reset()  # so that there is no connection that could be used again
        await proxy.wait_idle()
        proxy.stall()
        starting = asyncio.create_task(ask(http, "POST"))
        await proxy.wait_connected()
        assert await ended(server)
        await asyncio.gather(starting, return_exceptions=True)
