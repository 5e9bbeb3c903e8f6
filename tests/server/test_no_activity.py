"""``shutdown_no_activity_timeout``: a server process ends when its kernels have, and not before."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import aiohttp

from jupyter_relay.testing import FakeGateway, FakeKernel
from jupyter_relay.testing.servers import RunningServer, jupyter_server
from jupyter_relay.wire.message import Message
from jupyter_relay.wire.subprotocol import OFFERED
from tests.support import looks_often
from tests.support.tab import Tab, status_of

SECONDS = 60.0
"""For how long anything is waited for; all of it takes less than 10 s."""

ROOT = Path(__file__).parents[2]

EXTENSIONS = {"jupyter_relay": True, looks_often.__name__: True}


async def logged(server: RunningServer, line: str, times: int = 1) -> None:
    """Wait until a line is in the server's log so often."""
    async with asyncio.timeout(SECONDS):
        while server.log_path.read_text().count(line) < times:  # noqa: ASYNC110  # another process
            await asyncio.sleep(0.05)


async def start_kernel_at_work(server: RunningServer) -> str:
    """Start a kernel, run a cell, and close the page while that is at work; return its id."""
    async with aiohttp.ClientSession(headers=server.headers) as http:
        async with http.post(f"{server.url}/api/kernels", json={}) as answer:
            kernel_id: str = (await answer.json())["id"]
        url = f"{server.url}/api/kernels/{kernel_id}/channels"
        async with http.ws_connect(url, protocols=OFFERED) as websocket:
            tab = Tab(websocket, "tab")
            await tab.execute("1")
            while status_of(await tab.receive()) != "busy":
                pass
    return kernel_id


async def test_server_with_no_activity_ends_once_busy_kernel_is_gone(
    fake_gateway: FakeGateway,
) -> None:
    released = asyncio.Event()

    async def wait(_: Message, __: FakeKernel) -> None:
        await released.wait()

    arguments = [
        f"--gateway-url={fake_gateway.url}",
        f"--GatewayClient.auth_token={fake_gateway.token}",
        "--ServerApp.shutdown_no_activity_timeout=1",
        f"--ServerApp.jpserver_extensions={EXTENSIONS}",
    ]
    fake_gateway.on_execute = wait
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    async with jupyter_server(extra_args=arguments, env={"PYTHONPATH": path}) as server:
        kernel_id = await start_kernel_at_work(server)
        await logged(server, looks_often.LOOKED.format(kernels=1, idle="long"), times=5)
        still = server.process.exit_code
        assert still is None
        assert kernel_id in fake_gateway.kernels
        fake_gateway.lose_kernel(kernel_id)
        assert await asyncio.to_thread(server.process.wait, SECONDS)
        assert server.process.exit_code == 0
        assert "shutting down" in server.log_path.read_text()
