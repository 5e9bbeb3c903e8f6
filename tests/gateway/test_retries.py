"""When a request is sent again, how long that is waited for, and when it is not."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from jupyter_relay.errors import GatewayRefused, GatewayTimeout, GatewayUnavailable
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.testing import Answer, Delay, FakeGateway, FakeKernel, Reset
from tests.support.gateway import DEADLINE, KERNEL, settings_for


def asks_for(wait: str, status: int = 503) -> Answer:
    """An answer that asks to be left alone."""
    return Answer(status, b"", "text/plain", {"Retry-After": wait})


@pytest.mark.parametrize("status", [429, 502, 503, 504])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_request_is_retried_after_the_time_in_retry_after(
    gateway: Gateway, fake_gateway: FakeGateway, fake_kernel: FakeKernel, method: str, status: int
) -> None:
    fake_gateway.fault(method, KERNEL, asks_for("1", status), times=1)
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(DEADLINE):
        if method == "GET":
            await gateway.kernel(fake_kernel.id)
        else:
            await gateway.shutdown_kernel(fake_kernel.id)
    assert loop.time() - began >= 1.0
    assert len(fake_gateway.requests_to(method, KERNEL)) == 2


async def test_request_with_too_long_a_retry_after_fails_at_once(
    gateway: Gateway, fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    for wait, told in (("120", "120 s"), (later, r"3(600|599|598) s")):
        fault = fake_gateway.fault("GET", KERNEL, asks_for(wait), times=1)
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(GatewayUnavailable, match=rf"no request within {told}\."):
                await gateway.kernel(fake_kernel.id)
        fault.lift()
    assert len(fake_gateway.requests_to("GET", KERNEL)) == 2


async def test_request_refused_by_429_without_a_time_is_a_refusal(
    gateway: Gateway, fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    fake_gateway.fault("GET", KERNEL, Answer(429))
    with pytest.raises(GatewayRefused, match="429"):
        await gateway.kernel(fake_kernel.id)
    assert len(fake_gateway.requests_to("GET", KERNEL)) == 1


async def test_request_whose_connection_was_reset_is_sent_again(
    gateway: Gateway, fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    fake_gateway.fault("GET", KERNEL, Reset(), times=2)
    assert (await gateway.kernel(fake_kernel.id)).id == fake_kernel.id


async def test_request_that_is_neither_get_nor_delete_is_sent_once(
    gateway: Gateway, fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    for action in ("interrupt", "restart"):
        fake_gateway.fault("POST", f"{KERNEL}/{action}", asks_for("0"))
    with pytest.raises(GatewayUnavailable):
        await gateway.interrupt_kernel(fake_kernel.id)
    with pytest.raises(GatewayUnavailable):
        await gateway.restart_kernel(fake_kernel.id)
    assert len(fake_gateway.requests_to("POST", f"{KERNEL}/*")) == 2


async def test_request_with_many_retries_takes_no_longer_than_one_timeout(
    fake_gateway: FakeGateway,
) -> None:
    gateway = Gateway(
        settings_for(
            fake_gateway.url,
            request_timeout=0.6,
            launch_timeout=0.0,
            launch_timeout_pad=0.0,
            max_request_retries=1000,
        )
    )
    fake_gateway.fault("GET", KERNEL, Answer(503), times=1)
    fake_gateway.fault("GET", KERNEL, Delay(60))
    async with asyncio.timeout(DEADLINE):
        with pytest.raises((GatewayTimeout, GatewayUnavailable)):
            await gateway.kernel("k1")
    await gateway.close()


async def test_request_that_timed_out_is_not_sent_again(
    fake_gateway: FakeGateway,
) -> None:
    gateway = Gateway(
        settings_for(
            fake_gateway.url, request_timeout=0.1, launch_timeout=0.0, launch_timeout_pad=0.0
        )
    )
    fake_gateway.fault("GET", KERNEL, Delay(60))
    with pytest.raises(GatewayTimeout):
        await gateway.kernel("k1")
    await gateway.close()
    assert len(fake_gateway.requests_to("GET", KERNEL)) == 1
