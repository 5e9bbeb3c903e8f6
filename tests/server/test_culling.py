"""Culling by this server, and by the gateway behind its back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jupyter_relay.testing import Answer, FakeGateway
from jupyter_relay.wire.json import Json
from tests.support.server import TestServer


async def test_culling_with_current_gateway_state_deletes_idle_kernels_only(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    server.kernels.cull_idle_timeout = 60
    idle, active, busy = [await server.start_kernel() for _ in range(3)]
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    for kernel_id in (idle, busy):
        fake_gateway.kernels[kernel_id].last_activity = long_ago
    fake_gateway.kernels[busy].execution_state = "busy"
    await server.kernels.cull_kernels()
    assert set(fake_gateway.kernels) == {active, busy}


@pytest.mark.parametrize(
    "said",
    [
        {"metadata": None},
        {"metadata": "x", "env": None},
        {"env": ["A=1"], "argv": "python"},
        {"interrupt_mode": "shout", "display_name": None, "argv": [1]},
        {"interrupt_mode": None, "language": 7, "notify_change": 1, "__class__": "x", "parent": 1},
    ],
    ids=str,
)
async def test_culling_of_kernel_with_invalid_kernelspec_values_deletes_it(
    server: TestServer, fake_gateway: FakeGateway, said: dict[str, Json]
) -> None:
    spec: dict[str, Json] = {"display_name": "P", "language": "python", "argv": [], **said}
    listed: Json = {"default": "python3", "kernelspecs": {"python3": {"spec": spec}}}
    fake_gateway.fault("GET", "/api/kernelspecs", Answer.json(listed))
    await server.call("GET", "/api/kernelspecs")
    server.kernels.cull_idle_timeout = 60
    kernel_id = await server.start_kernel()
    kernel = server.kernels.get_kernel(kernel_id)
    fits = {key: value for key, value in spec.items() if key not in said}
    assert kernel.kernel_spec is not None
    assert fits.items() <= kernel.kernel_spec.to_dict().items()
    fake_gateway.kernels[kernel_id].last_activity = datetime.now(UTC) - timedelta(hours=1)
    await server.kernels.cull_kernels()
    assert set(fake_gateway.kernels) == set()


async def test_culling_at_gateway_without_listing_deletes_idle_kernels(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    fake_gateway.list_kernels = False
    server.kernels.cull_idle_timeout = 60
    kernel_id = await server.start_kernel()
    await server.kernels.cull_kernels()
    assert kernel_id in fake_gateway.kernels
    fake_gateway.kernels[kernel_id].last_activity = datetime.now(UTC) - timedelta(hours=1)
    await server.kernels.cull_kernels()
    assert not fake_gateway.kernels


async def test_culling_of_kernel_with_open_page_keeps_it(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    server.kernels.cull_idle_timeout = 60
    kernel_id = await server.start_kernel()
    async with server.tab(kernel_id) as tab:
        await tab.run("1")
        fake_gateway.kernels[kernel_id].last_activity = datetime.now(UTC) - timedelta(hours=1)
        await server.kernels.cull_kernels()
    assert kernel_id in fake_gateway.kernels


async def test_culling_of_kernel_found_gone_remembers_it_for_a_while(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    server.kernels.cull_idle_timeout = 60
    kernel_id = await server.start_kernel()
    del fake_gateway.kernels[kernel_id]
    await server.kernels.cull_kernels()
    for _ in range(2):
        assert (await server.kernels.kernel_model(kernel_id))["execution_state"] == "dead"
        await server.kernels.cull_kernels()
    server.kernels.known.lost_seconds = 0.0
    await server.kernels.cull_kernels()
    assert kernel_id not in server.kernels


async def test_culling_of_kernel_back_after_reported_gone_deletes_it(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    server.kernels.cull_idle_timeout = 60
    kernel_id = await server.start_kernel()
    kernel = fake_gateway.kernels.pop(kernel_id)
    server.kernels.farewell_seconds = 0.0
    async with server.tab(kernel_id) as tab:
        await tab.to_the_end()
    fake_gateway.kernels[kernel_id] = kernel
    await server.kernels.cull_kernels()
    assert not fake_gateway.kernels
    assert kernel_id not in server.kernels
