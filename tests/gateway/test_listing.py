"""KernelFinder: one question for all who ask."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from jupyter_relay.errors import AuthenticationFailed, GatewayRefused, KernelNotFound
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.gateway.listing import KernelFinder
from jupyter_relay.rest.models import KernelModel
from jupyter_relay.testing import Answer, FakeGateway, FakeKernel, Hold
from tests.support.gateway import KERNEL, KERNELS, TOKEN, settings_for


@pytest.mark.parametrize("lists", [True, False])
async def test_listing_for_many_simultaneous_callers_sends_one_request(
    gateway: Gateway, fake_gateway: FakeGateway, fake_kernel: FakeKernel, lists: bool
) -> None:
    fake_gateway.list_kernels = lists
    kernels = [fake_kernel.id]
    for found in await asyncio.gather(*(gateway.find_kernels(kernels) for _ in range(10))):
        assert set(found) == {fake_kernel.id}
    for _ in range(10):
        assert await gateway.find_kernels(kernels) is found, "by which one sees that it is not new"
    assert len(fake_gateway.requests_to("GET", KERNELS)) == 1
    assert len(fake_gateway.requests_to("GET", KERNEL)) == (0 if lists else 1)


async def test_listing_after_a_change_by_this_gateway_is_requested_anew(
    gateway: Gateway, fake_gateway: FakeGateway
) -> None:
    first = (await gateway.start_kernel("python3")).id
    await gateway.find_kernels([first])
    asked = len(fake_gateway.requests_to("GET", KERNELS))
    for change in (gateway.restart_kernel, gateway.shutdown_kernel):
        await change(first)
        await gateway.find_kernels([first])
        asked += 1
        assert len(fake_gateway.requests_to("GET", KERNELS)) == asked
    assert await gateway.find_kernels([first]) == {first: None}


async def test_listing_older_than_its_ttl_is_requested_anew(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    gateway = Gateway(settings_for(fake_gateway.url, listing_ttl=0.0))
    for _ in range(3):
        await gateway.find_kernels([fake_kernel.id])
    await gateway.close()
    assert len(fake_gateway.requests_to("GET", KERNELS)) == 3


async def test_listing_error_reaches_its_waiting_callers_and_no_later_one(
    gateway: Gateway, fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    fault = fake_gateway.fault("GET", KERNELS, Answer(500))
    asking = (gateway.find_kernels([fake_kernel.id]) for _ in range(5))
    for answer in await asyncio.gather(*asking, return_exceptions=True):
        assert isinstance(answer, GatewayRefused)
    assert fault.hits == 1
    fault.lift()
    assert set(await gateway.find_kernels([fake_kernel.id])) == {fake_kernel.id}


async def test_listing_with_one_cancelled_caller_still_answers_the_others(
    gateway: Gateway, fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    released = asyncio.Event()
    fake_gateway.fault("GET", KERNELS, Hold(released), times=1)
    one, other = (asyncio.create_task(gateway.find_kernels([fake_kernel.id])) for _ in range(2))
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to("GET", KERNELS))
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    released.set()
    assert set(await other) == {fake_kernel.id}


async def test_listing_request_ends_when_all_its_callers_are_cancelled(
    gateway: Gateway, fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    fake_gateway.fault("GET", KERNELS, Hold(asyncio.Event()), times=1)
    asking = asyncio.create_task(gateway.find_kernels([fake_kernel.id]))
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to("GET", KERNELS))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert set(await gateway.find_kernels([fake_kernel.id])) == {fake_kernel.id}
    await fake_gateway.wait_for(lambda: fake_gateway.abandoned)


class Source:
    """A gateway that counts what it is asked, and is slow."""

    def __init__(self) -> None:
        self.now = 0.0
        self.listed = 0
        self.at_once = 0
        self.most_at_once = 0
        self.lists = False

    def listing(self) -> KernelFinder:
        return KernelFinder(self.everything, self.one, seconds=0.0, clock=lambda: self.now)

    async def everything(self) -> Collection[KernelModel]:
        self.listed += 1
        if not self.lists:
            raise AuthenticationFailed("No listing.", status=403)
        return [KernelModel("a", "python3")]

    async def one(self, kernel_id: str) -> KernelModel:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if kernel_id == "gone":
            raise KernelNotFound("Gone.", status=404)
        return KernelModel(kernel_id, "python3")


async def test_listing_refused_by_the_gateway_is_tried_again_after_a_while() -> None:
    source = Source()
    listing = source.listing()
    for _ in range(3):
        await listing.find(["a"])
    assert source.listed == 1
    source.now += 301
    source.lists = True
    for listed in (2, 3):
        await listing.find(["a"])
        assert source.listed == listed


async def test_listing_of_many_kernels_one_by_one_asks_for_a_limited_number_at_once() -> None:
    source = Source()
    kernels = [*(f"k{number}" for number in range(1000)), "gone"]
    found = await source.listing().find(kernels)
    assert len(found) == 1001
    assert found["gone"] is None
    assert source.most_at_once == 32


async def test_listing_refused_by_the_gateway_is_tried_again_after_trouble(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    gateway = Gateway(settings_for(fake_gateway.url, listing_ttl=0))
    fake_gateway.list_kernels = False
    await gateway.find_kernels([fake_kernel.id])
    fake_gateway.token = "another"
    with pytest.raises(AuthenticationFailed):
        await gateway.find_kernels([fake_kernel.id])
    fake_gateway.token, fake_gateway.list_kernels = TOKEN, True
    before = len(fake_gateway.requests)
    await gateway.find_kernels([fake_kernel.id])
    assert [request.path for request in fake_gateway.requests[before:]] == [KERNELS]
    await gateway.close()
