"""The end of a program whose gateway fails at first: its kernels are deleted all the same."""

from __future__ import annotations

import asyncio
import sys

import pytest

from jupyter_relay.testing import Answer, FakeGateway, Reset
from jupyter_relay.testing.faults import Fault

PROGRAM = """
import asyncio
from jupyter_relay.headless.manager import GatewayKernelManager

async def main():
    await GatewayKernelManager().start_kernel()

asyncio.run(main())
"""


@pytest.mark.parametrize(
    "fault", [Answer(500, b"no"), Answer(429, b"later"), Answer(503, b"away"), Reset()], ids=str
)
async def test_a_deletion_that_fails_at_a_programs_end_is_tried_again(
    fake_gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setenv("JUPYTER_GATEWAY_URL", fake_gateway.url)
    monkeypatch.setenv("JUPYTER_GATEWAY_AUTH_TOKEN", fake_gateway.token)
    monkeypatch.setenv("JUPYTER_GATEWAY_MAX_REQUEST_RETRIES", "0")
    fake_gateway.fault("DELETE", "/api/kernels/*", fault, times=1)
    program = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM)
    assert await program.wait() == 0
    assert len(fake_gateway.requests_to("POST", "/api/kernels")) == 1
    assert not fake_gateway.kernels
