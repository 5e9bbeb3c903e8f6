"""The helpers that run real servers: they start, are private, and leave nothing behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from jupyter_relay.testing.processes import ServerProcess, descendants, running_processes
from jupyter_relay.testing.servers import ServerStartError, jupyter_server, kernel_gateway

if TYPE_CHECKING:
    from jupyter_relay.testing.servers import RunningServer


async def start_kernel(server: RunningServer) -> str:
    async with (
        aiohttp.ClientSession(headers=server.headers) as session,
        session.post(f"{server.url}/api/kernels", json={"name": "python3", "env": {}}) as response,
    ):
        assert response.status == 201
        kernel_id: str = (await response.json())["id"]
        return kernel_id


def is_running(pid: int) -> bool:
    return any(process.pid == pid for process in running_processes())


async def test_server_and_its_kernels_are_gone_after_its_block(tmp_path: Path) -> None:
    async with kernel_gateway(directory=tmp_path) as gateway:
        await start_kernel(gateway)
        family = descendants(gateway.pid)
        assert family
    assert not is_running(gateway.pid)
    assert not set(family) & set(running_processes())
    assert gateway.log_path.read_text()


async def test_server_token_is_needed_and_shown_nowhere() -> None:
    async with jupyter_server() as server, aiohttp.ClientSession() as session:
        async with session.get(f"{server.url}/api/kernels") as response:
            assert response.status == 403
        assert server.token not in repr(server)
        assert server.token not in server.log_path.read_text()


async def test_killed_gateway_can_come_back_at_its_address() -> None:
    async with kernel_gateway() as first:
        await first.kill()
        async with kernel_gateway(port=first.port, token=first.token) as second:
            assert second.url == first.url
            await start_kernel(second)


async def test_kernels_are_not_listed_when_told_so() -> None:
    async with (
        kernel_gateway(list_kernels=False) as gateway,
        aiohttp.ClientSession(headers=gateway.headers) as session,
        session.get(f"{gateway.url}/api/kernels") as response,
    ):
        assert response.status == 403


async def test_server_that_cannot_start_shows_its_log() -> None:
    with pytest.raises(ServerStartError, match=r"exit status 1; its log ends with:(.|\n)*nonsense"):
        async with kernel_gateway(extra_args=["--KernelGatewayApp.api=nonsense"]):
            pass


async def test_server_port_that_is_taken_is_an_error() -> None:
    async with kernel_gateway() as gateway:
        with pytest.raises(ServerStartError, match=f"port {gateway.port} taken"):
            async with kernel_gateway(port=gateway.port):
                pass


PARENT = """
import sys, os
from pathlib import Path
from jupyter_relay.testing.processes import ServerProcess

folder = Path(sys.argv[1])
child = ServerProcess.spawn(
    sys.executable, "http.server", ["--bind", "127.0.0.1", "0"],
    environment=os.environ, directory=folder, log_path=folder / "log",
)
print(child.pid, flush=True)
sys.stdin.read()
"""


async def test_server_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    def run() -> int:
        with subprocess.Popen(
            [sys.executable, "-c", PARENT, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as parent:
            assert parent.stdout is not None
            pid = int(parent.stdout.readline())
            assert is_running(pid)
            parent.kill()
        return pid

    pid = await asyncio.to_thread(run)
    async with asyncio.timeout(20):
        while await asyncio.to_thread(is_running, pid):
            pass


def test_stopping_twice_is_harmless(tmp_path: Path) -> None:
    process = ServerProcess.spawn(
        sys.executable,
        "http.server",
        ["--bind", "127.0.0.1", "0"],
        environment={},
        directory=tmp_path,
        log_path=tmp_path / "log",
    )
    process.stop()
    process.stop()
    assert process.exit_code is not None
