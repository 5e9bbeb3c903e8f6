"""A server that stops with many kernels on a slow gateway: all are deleted, or named in the log."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from jupyter_relay.testing import Answer, Delay, FakeGateway, Reset, Silence
from jupyter_relay.testing.faults import Fault
from jupyter_relay.testing.servers import jupyter_server
from tests.support.relay_process import call
from tests.support.server import server_on

DELETES = ("DELETE", "/api/kernels/*")
BUSY = Answer.json({"reason": "busy", "message": ""}, 500)


async def test_shutdown_all_with_small_pool_sends_all_deletes_at_once(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    argv = ("--GatewayClient.pool_size=2",)
    fake_gateway.fault(*DELETES, Delay(1))
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        for _ in range(70):
            await server.start_kernel()
        stopping = asyncio.create_task(server.kernels.shutdown_all())
        # Not one of them is answered before all have been asked for.
        await fake_gateway.wait_for(lambda: len(fake_gateway.requests_to(*DELETES)) == 70)
        assert len(fake_gateway.kernels) == 70
        await stopping
        assert not fake_gateway.kernels
        assert len(fake_gateway.requests_to(*DELETES)) == 70


@pytest.mark.parametrize("fault", [BUSY, Answer(503), Answer(429), Reset()], ids=str)
async def test_shutdown_all_with_failing_delete_retries_it(
    fake_gateway: FakeGateway, tmp_path: Path, fault: Fault
) -> None:
    argv = ("--GatewayClient.max_request_retries=0",)
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        for _ in range(3):
            await server.start_kernel()
        fake_gateway.fault(*DELETES, fault, times=3)
        await server.kernels.shutdown_all()
        assert not fake_gateway.kernels


async def test_shutdown_all_with_forbidden_delete_does_not_retry_it(
    fake_gateway: FakeGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with server_on(fake_gateway, tmp_path) as server:
        kernel_id = await server.start_kernel()
        forbidden = fake_gateway.fault(*DELETES, Answer.json({"reason": "Not yours."}, 403))
        await server.kernels.shutdown_all()
        assert forbidden.hits == 1
        assert f"Kernel {kernel_id}: could not be shut down: " in caplog.text


async def test_shutdown_all_with_undeleted_kernels_logs_each_with_reason(
    fake_gateway: FakeGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with server_on(fake_gateway, tmp_path) as server:
        kernel_ids = [await server.start_kernel() for _ in range(3)]
        fake_gateway.fault("DELETE", f"/api/kernels/{kernel_ids[0]}", Silence())
        fake_gateway.fault("DELETE", f"/api/kernels/{kernel_ids[1]}", BUSY)
    assert set(fake_gateway.kernels) == set(kernel_ids[:2])
    for kernel_id, why in zip(kernel_ids, ("did not answer within", "busy"), strict=False):
        (line,) = [line for line in caplog.messages if f"{kernel_id}: could not be" in line]
        assert why in line
    assert f"{kernel_ids[2]}: could not be" not in caplog.text


async def test_server_process_on_sigterm_deletes_seventy_kernels_of_slow_gateway(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    fake_gateway.fault(*DELETES, Delay(1))
    settings = {
        "JUPYTER_GATEWAY_URL": fake_gateway.url,
        "JUPYTER_GATEWAY_AUTH_TOKEN": fake_gateway.token,
    }
    async with jupyter_server(env=settings, directory=tmp_path) as server:
        await asyncio.gather(
            *(call(server, "POST", "/api/kernels", {"name": "python3"}) for _ in range(70))
        )
        assert len(fake_gateway.kernels) == 70
        os.kill(server.pid, signal.SIGTERM)
        await fake_gateway.wait_for(lambda: not fake_gateway.kernels, timeout=20)
        assert await asyncio.to_thread(server.process.wait, 20)
    assert "could not be shut down" not in (await asyncio.to_thread(server.log_path.read_text))
