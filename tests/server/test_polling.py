"""What many tabs cost the gateway."""

from __future__ import annotations

import asyncio

import pytest

from jupyter_relay.server.kernelspecs import GatewayKernelSpecManager
from jupyter_relay.testing import FakeGateway, Hold
from tests.support.server import TestServer

TABS = 10


@pytest.mark.parametrize("lists", [True, False])
async def test_kernel_list_polled_by_ten_tabs_makes_one_request(
    server: TestServer, fake_gateway: FakeGateway, lists: bool
) -> None:
    fake_gateway.list_kernels = lists
    kernel_id = await server.start_kernel()
    released = asyncio.Event()
    asked_for = "/api/kernels" if lists else f"/api/kernels/{kernel_id}"
    fake_gateway.fault("GET", asked_for, Hold(released), times=1)
    before = len(fake_gateway.requests)
    polls = [
        asyncio.create_task(server.call("GET", path))
        for _ in range(TABS)
        for path in ("/api/kernels", "/api/sessions")
    ]
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to("GET", asked_for))
    released.set()
    assert {answer.status for answer in await asyncio.gather(*polls)} == {200}
    for _ in range(TABS):  # those whose timers run a little behind
        (listed,) = (await server.call("GET", "/api/kernels")).json
        assert listed["id"] == kernel_id
        await server.call("GET", "/api/sessions")
    asked = [request.path for request in fake_gateway.requests[before:]]
    assert asked == (["/api/kernels"] if lists else ["/api/kernels", asked_for])


async def test_kernelspecs_asked_for_concurrently_are_requested_once(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    specs = server.app.kernel_spec_manager
    assert isinstance(specs, GatewayKernelSpecManager)
    for listed in await asyncio.gather(*(specs.list_kernel_specs() for _ in range(TABS))):
        assert set(listed["kernelspecs"]) == {"python3"}
    assert len(fake_gateway.requests_to("GET", "/api/kernelspecs")) == 1
