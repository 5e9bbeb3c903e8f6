"""What is known of the kernels of ours on one gateway."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.kernels.kernel import RemoteKernel
from jupyter_relay.kernels.known import KnownKernels
from jupyter_relay.link.life import Life
from jupyter_relay.rest.models import KernelModel
from jupyter_relay.testing import Answer, FakeGateway, FakeKernel, Hold
from tests.support.gateway import KERNEL, KERNELS, settings_for

NOW = datetime.now(UTC)


class Rig:
    """Known kernels on a fake gateway, which are asked for each time."""

    def __init__(self, fake: FakeGateway) -> None:
        self.fake = fake
        self.gateway = Gateway(settings_for(fake.url, listing_ttl=0.0))
        self.known = KnownKernels(self.gateway, log=logging.getLogger(__name__))

    def add(self, fake: FakeKernel | None = None) -> RemoteKernel:
        """A kernel of ours that runs on the gateway."""
        fake = fake or self.fake.start_kernel()
        kernel_id = fake.id
        kernel = RemoteKernel(
            self.gateway,
            KernelModel(kernel_id, fake.name),
            on_change=lambda: self.known.mark_changed(kernel_id),
        )
        self.known.add(kernel, at=NOW)
        return kernel

    def listed(self) -> list[str]:
        """The ids of the kernels that have changed and are to be listed."""
        return [kernel_id for kernel_id, kernel in self.known.changed() if kernel is not None]

    def unlisted(self) -> list[str]:
        """The ids of the kernels that are not to be listed any more."""
        return [kernel_id for kernel_id, kernel in self.known.changed() if kernel is None]


@pytest.fixture
async def rig(fake_gateway: FakeGateway) -> AsyncIterator[Rig]:
    rig = Rig(fake_gateway)
    yield rig
    await rig.known.close()
    for kernel in rig.known:
        await rig.known.stop_asking(kernel.id)
        await kernel.close()
    await rig.gateway.close()


async def test_changed_lists_a_settled_kernel_once(rig: Rig) -> None:
    kernel = rig.add()
    assert rig.listed() == [kernel.id]
    assert rig.listed() == []
    kernel.update(kernel.model)
    assert rig.listed() == [kernel.id]


async def test_changed_lists_a_kernel_with_a_subscriber_each_time(rig: Rig) -> None:
    kernel = rig.add()
    kernel.subscribe("tab")
    assert rig.listed() == rig.listed() == [kernel.id]


async def test_changed_reports_a_kernel_that_is_gone_or_forgotten(rig: Rig) -> None:
    gone, forgotten = rig.add(), rig.add()
    rig.known.changed()
    gone.mark_gone("It was culled.")
    rig.known.forget(forgotten.id)
    assert rig.unlisted() == [gone.id, forgotten.id]
    assert rig.known.get(forgotten.id) is None
    await forgotten.close()


async def test_refresh_of_a_kernel_that_the_gateway_forgot_finds_it_lost(rig: Rig) -> None:
    kernel, other = rig.add(), rig.add()
    rig.fake.lose_kernel(kernel.id)
    await rig.known.refresh_fully()
    assert kernel.life is Life.GONE
    assert "has no kernel" in (rig.known.why_lost(kernel.id) or "")
    assert rig.known.found_gone(kernel.id)
    assert rig.known.why_lost(other.id) is None
    assert not rig.known.found_gone(other.id)


async def test_refresh_after_lost_seconds_closes_and_forgets_a_lost_kernel(rig: Rig) -> None:
    forgotten: list[str] = []

    async def on_forgotten(kernel_id: str) -> None:
        forgotten.append(kernel_id)

    rig.known.on_forgotten = on_forgotten
    kernel = rig.add()
    rig.fake.lose_kernel(kernel.id)
    await rig.known.refresh_fully()
    assert rig.known.get(kernel.id) is kernel
    rig.known.lost_seconds = 0.0
    await rig.known.refresh_fully()
    assert rig.known.get(kernel.id) is None
    assert forgotten == [kernel.id]


async def test_refresh_of_a_gateway_that_refuses_changes_nothing(rig: Rig) -> None:
    kernel = rig.add()
    rig.fake.fault("GET", KERNELS, Answer(500))
    assert not await rig.known.refresh_fully()
    assert kernel.life is Life.RUNNING
    assert "500" in await rig.known.refresh_at_end()


async def test_refresh_at_end_of_a_gateway_that_answers_returns_no_reason(rig: Rig) -> None:
    rig.add()
    assert await rig.known.refresh_at_end() == ""


async def test_look_again_asks_for_a_kernel_on_the_gateway_alone(rig: Rig) -> None:
    kernel, gone = rig.add(), rig.add()
    gone.mark_gone()
    for kernel_id in (kernel.id, gone.id, "stranger"):
        await rig.known.look_again(kernel_id)
    assert [seen.path for seen in rig.fake.requests_to("GET", KERNEL)] == [f"{KERNELS}/{kernel.id}"]


async def test_look_again_at_a_kernel_that_the_gateway_forgot_finds_it_lost(rig: Rig) -> None:
    kernel = rig.add()
    rig.fake.lose_kernel(kernel.id)
    await rig.known.look_again(kernel.id, anew=True)
    assert rig.known.why_lost(kernel.id)


async def test_look_again_asks_for_the_kernel_that_is_known_now(rig: Rig) -> None:
    fake = rig.fake.start_kernel()
    before = rig.add(fake)
    await rig.known.look_again(before.id, anew=True)
    await before.close()
    rig.known.forget(before.id)
    kernel = rig.add(fake)
    asked_at = kernel.asked_at
    await rig.known.look_again(kernel.id, anew=True)
    assert kernel.asked_at > asked_at


async def test_add_in_the_place_of_another_drops_the_question_about_it(rig: Rig) -> None:
    fake = rig.fake.start_kernel()
    before = rig.add(fake)
    await rig.known.look_again(before.id, anew=True)
    kernel = rig.add(fake)
    rig.fake.lose_kernel(kernel.id)
    await rig.known.look_again(kernel.id, anew=True)
    assert (before.life, kernel.life) == (Life.RUNNING, Life.GONE)
    await before.close()


@pytest.mark.parametrize("forget", [True, False])
async def test_question_under_way_ends_when_its_kernel_is_forgotten_or_all_is_closed(
    rig: Rig, forget: bool
) -> None:
    kernel = rig.add()
    rig.fake.fault("GET", KERNEL, Hold(asyncio.Event()))
    asking = asyncio.create_task(rig.known.look_again(kernel.id, anew=True))
    await rig.fake.wait_for(lambda: rig.fake.requests_to("GET", KERNEL))
    if forget:
        rig.known.forget(kernel.id)
    else:
        await rig.known.close()
    await asyncio.wait_for(asking, 1.0)
    await kernel.close()


async def test_refresh_behind_waits_for_nothing_and_asks_once(rig: Rig) -> None:
    rig.add()
    rig.known.refresh_behind()
    rig.known.refresh_behind()
    assert not rig.fake.requests
    await rig.known.refresh_fully()
    assert len(rig.fake.requests_to("GET", KERNELS)) == 1


async def test_last_activity_is_the_latest_of_all_and_stays_when_a_kernel_is_forgotten(
    rig: Rig,
) -> None:
    assert rig.known.last_activity() is None
    kernel = rig.add()
    assert rig.known.last_activity() == NOW
    later = NOW + timedelta(hours=1)
    kernel.update(KernelModel(kernel.id, "python3", last_activity=later))
    assert rig.known.last_activity() == later
    rig.known.forget(kernel.id)
    await kernel.close()
    assert rig.known.last_activity() == later
