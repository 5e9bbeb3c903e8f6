"""Starts whose answer is lost, or that nobody wants any more: adopted or deleted, never orphans."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Literal
from uuid import uuid4

import pytest

from jupyter_relay.errors import (
    GatewayTimeout,
    GatewayUnavailable,
    KernelNotRunning,
    KernelStartFailed,
)
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.kernels.kernel import RemoteKernel
from jupyter_relay.link.life import Life
from jupyter_relay.rest.models import KernelModel
from jupyter_relay.testing import Answer, FakeGateway, Hold, Reset, Silence
from tests.support.gateway import CHANNELS, KERNEL, KERNELS, answer_of, settings_for
from tests.support.messages import failures, request, types

LOST = [Answer(502), Answer(503), Answer(504), Answer.html("Time-out", 504), Reset(), Silence()]
"""What a proxy may answer in the place of a gateway that goes on with a start."""


@pytest.fixture
async def hasty(fake_gateway: FakeGateway) -> AsyncIterator[Gateway]:
    """A gateway of ours that waits for nothing longer than half a second."""
    gateway = Gateway(
        settings_for(
            fake_gateway.url, request_timeout=0.5, launch_timeout=0.0, launch_timeout_pad=0.0
        )
    )
    yield gateway
    await gateway.close()


async def asked(fake: FakeGateway) -> str:
    """Wait for a start; return the id that was chosen for its kernel."""
    await fake.wait_for(lambda: fake.requests_to("POST", KERNELS))
    body = fake.requests_to("POST", KERNELS)[-1].json
    assert isinstance(body, dict)
    env, kernel_id = body["env"], body["kernel_id"]
    assert isinstance(env, dict)
    assert isinstance(kernel_id, str)
    assert env["KERNEL_ID"] == kernel_id
    return kernel_id


@pytest.mark.parametrize("kernel_ids", ["body", "env"])
async def test_start_sends_an_id_chosen_by_the_relay(
    gateway: Gateway, fake_gateway: FakeGateway, kernel_ids: Literal["body", "env"]
) -> None:
    fake_gateway.kernel_ids = kernel_ids
    model = await gateway.start_kernel("python3", env={"KERNEL_ID": "somebody else's"})
    assert model.id == await asked(fake_gateway)


async def test_start_begun_with_a_given_id_sends_it_once_before_request_has_ended(
    gateway: Gateway, fake_gateway: FakeGateway
) -> None:
    kernel_id, may_go = str(uuid4()), asyncio.Event()

    async def before_request() -> None:
        await may_go.wait()

    start = gateway.begin_start("python3", kernel_id=kernel_id, before_request=before_request)
    await gateway.kernelspecs()  # meanwhile other requests go out
    assert fake_gateway.requests_to("POST", KERNELS) == []
    may_go.set()
    assert (await start.wait()).id == kernel_id == await asked(fake_gateway)


async def test_start_given_up_before_its_request_goes_out_is_never_sent(
    gateway: Gateway, fake_gateway: FakeGateway
) -> None:
    over = asyncio.Event()

    async def before_request() -> None:
        await asyncio.Event().wait()

    start = gateway.begin_start("python3", before_request=before_request)
    await gateway.kernelspecs()
    start.give_up()
    start.when_over(over.set)
    assert over.is_set()
    with pytest.raises(KernelNotRunning):
        await start.decided()
    await gateway.kernelspecs()
    assert fake_gateway.requests_to("POST", KERNELS) == []


async def test_start_on_a_gateway_that_ignores_the_id_has_the_gateways_id(
    gateway: Gateway, fake_gateway: FakeGateway
) -> None:
    fake_gateway.kernel_ids = "ignored"
    model = await gateway.start_kernel("python3")
    assert model.id != await asked(fake_gateway)
    assert list(fake_gateway.kernels) == [model.id]


async def test_start_on_a_gateway_that_attaches_by_an_id_is_sent_once_more_without_one(
    gateway: Gateway, fake_gateway: FakeGateway
) -> None:
    fake_gateway.kernel_ids = "attached"
    model = await gateway.start_kernel("python3")
    assert list(fake_gateway.kernels) == [model.id]
    first, second = (request.json for request in fake_gateway.requests_to("POST", KERNELS))
    assert isinstance(first, dict)
    assert second == {key: value for key, value in first.items() if key != "kernel_id"}


async def test_start_on_a_gateway_that_attaches_by_an_id_keeps_the_id_that_was_shown(
    gateway: Gateway, fake_gateway: FakeGateway
) -> None:
    fake_gateway.kernel_ids = "attached"
    released = asyncio.Event()
    fake_gateway.fault("POST", KERNELS, Hold(released), times=1)
    start = gateway.begin_start("python3")
    shown = (await start.wait(0.0)).id
    released.set()
    assert (await start.decided()).id == shown
    assert list(fake_gateway.kernels) == [gateway.ids.given(shown)]
    await gateway.shutdown_kernel(shown)
    assert fake_gateway.kernels == {}


async def test_start_given_up_where_two_requests_are_needed_leaves_no_kernel(
    gateway: Gateway, fake_gateway: FakeGateway
) -> None:
    fake_gateway.kernel_ids = "attached"
    released = asyncio.Event()
    fake_gateway.fault("POST", KERNELS, Hold(released), times=1)
    start = gateway.begin_start("python3")
    await asked(fake_gateway)
    over = asyncio.Event()
    start.give_up()
    start.when_over(over.set)
    released.set()
    await over.wait()
    assert fake_gateway.kernels == {}


@pytest.mark.parametrize("status", [404, 500])
@pytest.mark.parametrize(
    "message", ["No kernel for you", "Kernel died before replying to kernel_info", ""]
)
async def test_start_refused_without_mention_of_the_sent_id_is_not_sent_again(
    gateway: Gateway, fake_gateway: FakeGateway, status: int, message: str
) -> None:
    fake_gateway.fault("POST", KERNELS, Answer.json({"message": message}, status))
    with pytest.raises(KernelStartFailed):
        await gateway.start_kernel("python3")
    assert len(fake_gateway.requests_to("POST", KERNELS)) == 1


@pytest.mark.parametrize("lost", LOST)
async def test_start_whose_kernel_appears_late_returns_that_kernel(
    hasty: Gateway, fake_gateway: FakeGateway, lost: Answer | Reset | Silence
) -> None:
    fake_gateway.fault("POST", KERNELS, lost)
    starting = asyncio.create_task(hasty.start_kernel("python3"))
    kernel_id = await asked(fake_gateway)
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to("GET", KERNEL))
    fake_gateway.start_kernel(kernel_id=kernel_id)
    assert (await starting).id == kernel_id
    assert len(fake_gateway.requests_to("POST", KERNELS)) == 1


@pytest.mark.parametrize("kernel_ids", ["body", "env"])
async def test_start_whose_answer_was_cut_returns_its_kernel(
    gateway: Gateway, fake_gateway: FakeGateway, kernel_ids: Literal["body", "env"]
) -> None:
    fake_gateway.kernel_ids = kernel_ids
    fake_gateway.fault("POST", KERNELS, Reset(after=True))
    model = await gateway.start_kernel("python3")
    assert list(fake_gateway.kernels) == [model.id]
    assert len(fake_gateway.requests_to("POST", KERNELS)) == 1


@pytest.mark.parametrize("lost", LOST)
async def test_start_whose_kernel_never_appears_is_an_error(
    hasty: Gateway, fake_gateway: FakeGateway, lost: Answer | Reset | Silence
) -> None:
    fake_gateway.fault("POST", KERNELS, lost)
    with pytest.raises(GatewayUnavailable, match=r"No kernel has come of it in 0\.5 s") as caught:
        await hasty.start_kernel("python3")
    in_time = isinstance(lost, Silence) or (isinstance(lost, Answer) and lost.status == 504)
    assert isinstance(caught.value, GatewayTimeout) == in_time
    assert len(fake_gateway.requests_to("POST", KERNELS)) == 1


async def test_start_whose_kernel_appears_after_the_error_has_it_deleted(
    hasty: Gateway, fake_gateway: FakeGateway
) -> None:
    fake_gateway.fault("POST", KERNELS, Answer(504))
    with pytest.raises(GatewayTimeout):
        await hasty.start_kernel("python3")
    fake_gateway.start_kernel(kernel_id=await asked(fake_gateway))
    await fake_gateway.wait_for(lambda: not fake_gateway.kernels)


async def test_start_that_a_proxy_sent_twice_returns_its_kernel(
    gateway: Gateway, fake_gateway: FakeGateway
) -> None:
    """Enterprise Gateway then refuses the second time, since the id is taken."""
    fake_gateway.kernel_ids = "env"
    released = asyncio.Event()
    fake_gateway.fault("POST", KERNELS, Hold(released))
    starting = asyncio.create_task(gateway.start_kernel("python3"))
    kernel_id = await asked(fake_gateway)
    fake_gateway.start_kernel(kernel_id=kernel_id)
    released.set()
    assert (await starting).id == kernel_id


async def test_start_that_reached_no_gateway_is_not_doubtful(unused_tcp_port: int) -> None:
    gateway = Gateway(settings_for(f"http://127.0.0.1:{unused_tcp_port}"))
    with pytest.raises(GatewayUnavailable, match="cannot be reached") as caught:
        await gateway.start_kernel("python3")
    assert not caught.value.doubtful
    await gateway.close()


@pytest.mark.parametrize("kernel_ids", ["body", "env", "ignored"])
async def test_start_that_was_cancelled_leaves_no_kernel_on_the_gateway(
    gateway: Gateway, fake_gateway: FakeGateway, kernel_ids: Literal["body", "env", "ignored"]
) -> None:
    fake_gateway.kernel_ids = kernel_ids
    released = asyncio.Event()
    fake_gateway.fault("POST", KERNELS, Hold(released))
    starting = asyncio.create_task(gateway.start_kernel("python3"))
    await asked(fake_gateway)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    released.set()
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to("DELETE", KERNEL))
    await fake_gateway.wait_for(lambda: not fake_gateway.kernels)


async def test_start_cancelled_long_before_its_kernel_appears_has_it_deleted(
    hasty: Gateway, fake_gateway: FakeGateway
) -> None:
    fake_gateway.fault("POST", KERNELS, Answer(504))
    starting = asyncio.create_task(hasty.start_kernel("python3"))
    kernel_id = await asked(fake_gateway)
    await fake_gateway.wait_for(lambda: len(fake_gateway.requests_to("GET", KERNEL)) > 1)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    fake_gateway.start_kernel(kernel_id=kernel_id)
    fake_gateway.fault("DELETE", KERNEL, Answer(500), times=1)
    await fake_gateway.wait_for(lambda: not fake_gateway.kernels)


async def test_gateway_that_closes_ends_its_starts(
    gateway: Gateway, fake_gateway: FakeGateway
) -> None:
    released = asyncio.Event()
    fake_gateway.fault("POST", KERNELS, Hold(released))
    start = gateway.begin_start("python3")
    await asked(fake_gateway)
    closing = asyncio.create_task(gateway.close())
    with pytest.raises(KernelNotRunning, match="given up"):
        await start.wait()
    released.set()
    await closing
    assert fake_gateway.requests_to("DELETE", KERNEL)
    assert not fake_gateway.kernels


async def starting_kernel(gateway: Gateway) -> RemoteKernel:
    """A kernel whose start has just begun."""
    start = gateway.begin_start("python3")
    return RemoteKernel(gateway, await start.wait(0.0), start=start)


async def test_starting_kernel_holds_requests_until_it_has_started(
    gateway: Gateway, fake_gateway: FakeGateway
) -> None:
    released = asyncio.Event()
    fake_gateway.fault("POST", KERNELS, Hold(released))
    kernel = await starting_kernel(gateway)
    assert kernel.id == await asked(fake_gateway)
    assert kernel.model == KernelModel(kernel.id, "python3", execution_state="starting")
    listener = kernel.subscribe("tab")
    first = request(content={"code": "early"})
    listener.send(first)
    assert await kernel.refresh() == kernel.model
    await gateway.kernelspecs()  # time enough for a handshake
    assert not fake_gateway.requests_to("GET", KERNEL)
    assert not fake_gateway.requests_to("GET", CHANNELS)
    released.set()
    heard = await answer_of(listener, first)
    assert types(heard).count("execute_reply") == 1
    assert not failures(heard)
    assert kernel.life is Life.RUNNING
    await kernel.shutdown()
    assert not fake_gateway.kernels


async def test_starting_kernel_that_does_not_come_fails_the_requests_that_wait(
    gateway: Gateway, fake_gateway: FakeGateway
) -> None:
    released = asyncio.Event()
    fake_gateway.fault("POST", KERNELS, Hold(released))
    kernel = await starting_kernel(gateway)
    await asked(fake_gateway)
    fake_gateway.kernelspecs.clear()
    listener = kernel.subscribe("tab")
    first = request()
    listener.send(first)
    released.set()
    (reason,) = failures(await answer_of(listener, first))
    assert "has no kernelspec 'python3'" in reason
    assert kernel.life is Life.FAILED
    assert kernel.model.execution_state == "dead"
    assert "has no kernelspec 'python3'" in kernel.model.reason
    await kernel.shutdown()


async def test_starting_kernel_can_be_deleted(gateway: Gateway, fake_gateway: FakeGateway) -> None:
    released = asyncio.Event()
    fake_gateway.fault("POST", KERNELS, Hold(released))
    kernel = await starting_kernel(gateway)
    await asked(fake_gateway)
    await kernel.shutdown()
    released.set()
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to("DELETE", KERNEL))
    await fake_gateway.wait_for(lambda: not fake_gateway.kernels)


async def test_starting_kernel_that_is_released_is_not_deleted(
    gateway: Gateway, fake_gateway: FakeGateway
) -> None:
    fake_gateway.fault("POST", KERNELS, Silence())
    kernel = await starting_kernel(gateway)
    await asked(fake_gateway)
    await kernel.close()
    await gateway.close()
    assert not fake_gateway.requests_to("DELETE", KERNEL)


@pytest.fixture
async def narrow(fake_gateway: FakeGateway) -> AsyncIterator[Gateway]:
    """A gateway of ours that lets one start pass at a time."""
    gateway = Gateway(settings_for(fake_gateway.url, pool_size=2))
    yield gateway
    await gateway.close()


async def test_start_given_up_before_its_turn_is_never_sent(
    narrow: Gateway, fake_gateway: FakeGateway
) -> None:
    released = asyncio.Event()
    fake_gateway.fault("POST", KERNELS, Hold(released))
    first = asyncio.create_task(narrow.start_kernel("python3"))
    await asked(fake_gateway)
    cancelled = asyncio.create_task(narrow.start_kernel("python3"))
    deleted = await starting_kernel(narrow)
    unsent = narrow.begin_start("python3")
    unsent.give_up()  # before its first step
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    await deleted.shutdown()
    last = asyncio.create_task(narrow.start_kernel("python3"))
    released.set()
    wanted = {(await first).id, (await last).id}
    assert set(fake_gateway.kernels) == wanted
    assert len(fake_gateway.requests_to("POST", KERNELS)) == 2
    assert not fake_gateway.requests_to("DELETE", KERNEL)


async def test_start_given_up_while_it_waits_for_a_connection_is_never_sent(
    narrow: Gateway, fake_gateway: FakeGateway
) -> None:
    released = asyncio.Event()
    fake_gateway.fault("GET", "/api/kernelspecs/*", Hold(released))
    others = [asyncio.create_task(narrow.kernelspec("python3")) for _ in range(2)]
    await fake_gateway.wait_for(lambda: len(fake_gateway.requests) == 2)
    start = narrow.begin_start("python3")
    waiting = asyncio.create_task(narrow.kernel("k1"))  # behind it in the pool's queue
    await asyncio.sleep(0)
    start.give_up()
    released.set()
    await asyncio.gather(*others, waiting, return_exceptions=True)
    assert not fake_gateway.requests_to("POST", KERNELS)
    assert not fake_gateway.requests_to("DELETE", KERNEL)


async def test_start_without_a_turn_at_the_close_is_not_followed_by_a_delete(
    narrow: Gateway, fake_gateway: FakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    fake_gateway.fault("POST", KERNELS, Silence())
    sent = narrow.begin_start("python3")
    await asked(fake_gateway)
    unsent = narrow.begin_start("python3")
    await asyncio.sleep(0)
    await narrow.close()
    deleted = [request.path for request in fake_gateway.requests_to("DELETE", KERNEL)]
    assert deleted == [f"{KERNELS}/{sent.id}"]
    assert unsent.id not in caplog.text
