"""The least that everything on the way to a gateway must let pass."""

from __future__ import annotations

import asyncio

import pytest

from jupyter_relay.errors import KernelNotFound
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.kernels.kernel import RemoteKernel
from jupyter_relay.settings.settings import GatewaySettings
from jupyter_relay.testing import read_content
from tests.support.gateway import run
from tests.support.messages import request

DEADLINE = 60.0


async def round_trip(settings: GatewaySettings) -> None:
    """Start a kernel, run a cell in it, and shut it down."""
    gateway = Gateway(settings)
    try:
        async with asyncio.timeout(DEADLINE):
            await _use(gateway)
    finally:
        await gateway.close()


async def _use(gateway: Gateway) -> None:
    kernel = RemoteKernel(gateway, await gateway.start_kernel("python3"))
    try:
        cell = request(content={"code": "print(6 * 7)", "silent": False})
        heard = await run(kernel.subscribe("tab"), cell)
        printed = [read_content(m)["text"] for m in heard if m.head.msg_type == "stream"]
        assert printed == ["42\n"]
    finally:
        await kernel.shutdown()
        await kernel.close()
    with pytest.raises(KernelNotFound):
        await gateway.kernel(kernel.id)
