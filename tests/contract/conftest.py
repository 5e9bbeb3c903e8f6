"""The three real gateways, each started once for a module."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from enum import StrEnum

import aiohttp
import pytest
import pytest_asyncio

from jupyter_relay.testing.servers import (
    RunningServer,
    enterprise_gateway,
    jupyter_server,
    kernel_gateway,
)
from tests.contract.probe import Probe
from tests.support.enterprise import needs_enterprise_gateway


class Kind(StrEnum):
    """Which program is the gateway."""

    JUPYTER_SERVER = "Jupyter Server"
    KERNEL_GATEWAY = "Kernel Gateway"
    ENTERPRISE_GATEWAY = "Enterprise Gateway"


def run(kind: Kind) -> AbstractAsyncContextManager[RunningServer]:
    """Run a gateway that lists kernels as it does by default; skips where it cannot be had."""
    match kind:
        case Kind.JUPYTER_SERVER:
            return jupyter_server()
        case Kind.KERNEL_GATEWAY:
            return kernel_gateway(list_kernels=False)
        case Kind.ENTERPRISE_GATEWAY:
            return enterprise_gateway(python=needs_enterprise_gateway(), list_kernels=False)


@pytest.fixture(scope="module", params=[
    Kind.JUPYTER_SERVER,
    Kind.KERNEL_GATEWAY,
    pytest.param(Kind.ENTERPRISE_GATEWAY, marks=pytest.mark.enterprise),
])  # fmt: skip
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind of gateway in turn."""
    chosen: Kind = request.param
    return chosen


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(kind: Kind) -> AsyncIterator[RunningServer]:
    """A real gateway."""
    async with run(kind) as running:
        yield running


@pytest.fixture
async def probe(gateway: RunningServer) -> AsyncIterator[Probe]:
    """A client of the gateway that knows nothing; its kernels end with the test."""
    async with aiohttp.ClientSession() as http:
        probe = Probe(http, gateway)
        yield probe
        for kernel_id in probe.kernels:
            await probe.call("DELETE", f"/api/kernels/{kernel_id}")
