"""A gateway of ours, connected to a fake one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.kernels.kernel import RemoteKernel
from jupyter_relay.testing import FakeGateway, FakeKernel
from tests.support.gateway import remote_kernel, settings_for


@pytest.fixture
async def gateway(fake_gateway: FakeGateway) -> AsyncIterator[Gateway]:
    gateway = Gateway(settings_for(fake_gateway.url))
    yield gateway
    await gateway.close()


@pytest.fixture
async def fake_kernel(fake_gateway: FakeGateway) -> FakeKernel:
    return fake_gateway.start_kernel()


@pytest.fixture
async def kernel(gateway: Gateway, fake_kernel: FakeKernel) -> AsyncIterator[RemoteKernel]:
    kernel = remote_kernel(gateway, fake_kernel)
    yield kernel
    await kernel.close()
