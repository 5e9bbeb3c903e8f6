"""Which relay the managers of a server, or of a program without one, share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tornado.web import HTTPError
from traitlets.config import Config

from jupyter_relay.link.life import Life
from jupyter_relay.server.kernels import GatewayMappingKernelManager
from jupyter_relay.server.kernelspecs import GatewayKernelSpecManager
from jupyter_relay.testing import FakeGateway, Hold
from tests.support.server import server_on


@pytest.fixture
async def specs(
    fake_gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[GatewayKernelSpecManager]:
    """The kernelspecs of a program without a server, which may start ``ir`` and no other."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    config = Config()
    config.GatewayClient.url = fake_gateway.url
    config.GatewayClient.auth_token = fake_gateway.token
    config.KernelSpecManager.allowed_kernelspecs = {"ir"}
    specs = GatewayKernelSpecManager(config=config)
    yield specs
    await specs.close()


async def test_managers_without_server_share_gateway_and_allowed_kernelspecs(
    specs: GatewayKernelSpecManager, fake_gateway: FakeGateway
) -> None:
    kernels = GatewayMappingKernelManager(config=specs.config, kernel_spec_manager=specs)
    assert kernels.relay is specs.relay
    with pytest.raises(HTTPError, match="not allowed"):
        await kernels.start_kernel(kernel_name="python3")
    assert not fake_gateway.kernels
    await kernels.shutdown_all()
    assert specs.gateway.closed


async def test_close_of_kernelspecs_during_a_start_closes_the_gateway_and_not_the_store(
    specs: GatewayKernelSpecManager, fake_gateway: FakeGateway
) -> None:
    roster = specs.relay.roster
    kernel = await roster.attach(fake_gateway.start_kernel().id)
    released = asyncio.Event()
    fake_gateway.fault("POST", "/api/kernels", Hold(released))
    starting = await roster.start("python3", patience=0.0)
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to("POST", "/api/kernels"))
    closing = asyncio.create_task(specs.close())
    await asyncio.sleep(0)
    released.set()
    await closing
    assert specs.gateway.closed
    assert starting.life is Life.FAILED
    session = kernel._upstream.session
    assert roster.store is not None
    other = await roster.store.claims.claim(specs.gateway.address, kernel.id)
    assert other.session != session, "the store was not closed under the kernel"
    await other.hand_back(gone=False)
    await roster.shutdown_all()


async def test_kernel_without_server_has_its_kernelspec(
    specs: GatewayKernelSpecManager, fake_gateway: FakeGateway
) -> None:
    specs.allowed_kernelspecs = set()
    kernels = GatewayMappingKernelManager(config=specs.config, kernel_spec_manager=specs)
    listed = await specs.get_all_specs()
    kernel = kernels.get_kernel(await kernels.start_kernel(kernel_name="python3"))
    assert kernel.kernel_spec is not None
    assert kernel.kernel_spec.display_name == listed["python3"]["spec"]["display_name"] != ""
    await kernels.shutdown_all()


@pytest.mark.parametrize("given", [True, False])
async def test_second_manager_in_server_has_own_roster_and_same_allowed_kernelspecs(
    fake_gateway: FakeGateway, tmp_path: Path, given: bool
) -> None:
    argv = ("--KernelSpecManager.allowed_kernelspecs=ir",)
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        app = server.app
        kwargs = {"kernel_spec_manager": app.kernel_spec_manager} if given else {}
        kernels = GatewayMappingKernelManager(parent=app, **kwargs)
        assert kernels.roster is not server.kernels.roster
        with pytest.raises(HTTPError, match="not allowed"):
            await kernels.start_kernel(kernel_name="python3")
        assert not fake_gateway.kernels
        await kernels.shutdown_all()
