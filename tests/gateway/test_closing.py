"""The end of a gateway: who asks after it, or is under way, opens no connection any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from jupyter_relay.errors import GatewayClosed
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.testing import Answer, FakeGateway, Hold
from jupyter_relay.testing.plugin import ProxyFactory
from jupyter_relay.testing.tcp_proxy import FaultyProxy
from tests.support.gateway import CHANNELS, DEADLINE, KERNELS, remote_kernel, settings_for
from tests.support.oauth2_server import CLIENT_ID, SECRET, OAuth2Server

SPEC = "/api/kernelspecs/*"
RESTART = "/api/kernels/*/restart"

Ask = Callable[[Gateway], Awaitable[object]]


@pytest.fixture
async def wire(fake_gateway: FakeGateway, faulty_proxy: ProxyFactory) -> FaultyProxy:
    """The wire to the fake gateway, on which connections are counted."""
    return await faulty_proxy("127.0.0.1", fake_gateway.port)


@pytest.mark.parametrize(
    "ask",
    [
        Gateway.kernelspecs,
        lambda gateway: gateway.find_kernels(["k1"]),
        lambda gateway: gateway.start_kernel("python3"),
        lambda gateway: gateway.shutdown_kernel("k1"),
        lambda gateway: gateway.connect("k1", "me"),
    ],
    ids=["kernelspecs", "list", "start", "delete", "websocket"],
)
@pytest.mark.parametrize("used", [True, False])
async def test_closed_gateway_refuses_each_call_without_a_connection(
    wire: FaultyProxy, ask: Ask, used: bool
) -> None:
    gateway = Gateway(settings_for(wire.url))
    if used:
        await gateway.kernelspecs()
    await gateway.close()
    before = wire.accepted
    with pytest.raises(GatewayClosed, match="was closed") as caught:
        await ask(gateway)
    assert not caught.value.retryable
    assert not caught.value.doubtful
    await gateway.close()
    assert wire.accepted == before


async def test_calls_under_way_end_with_gateway_closed_when_the_gateway_closes(
    fake_gateway: FakeGateway, wire: FaultyProxy
) -> None:
    kernels = [fake_gateway.start_kernel().id for _ in range(2)]
    gateway = Gateway(settings_for(wire.url, pool_size=4, max_request_retries=5))
    fake_gateway.fault("POST", RESTART, Hold(asyncio.Event()))
    fake_gateway.fault("GET", SPEC, Hold(asyncio.Event()))
    fake_gateway.fault("GET", CHANNELS, Hold(asyncio.Event()))
    fake_gateway.fault("GET", KERNELS, Answer(429, headers={"Retry-After": "20"}))
    listing = asyncio.ensure_future(gateway.find_kernels(kernels))  # waits, to try again
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to("GET", KERNELS))
    restarts = [asyncio.ensure_future(gateway.restart_kernel(kernel)) for kernel in kernels]
    handshake = asyncio.ensure_future(gateway.connect(kernels[0], "me"))
    others = [asyncio.ensure_future(gateway.kernelspec("python3")) for _ in range(5)]
    await fake_gateway.wait_for(
        lambda: (
            fake_gateway.requests_to("GET", CHANNELS)
            and fake_gateway.requests_to("POST", RESTART)
            and len(fake_gateway.requests_to("GET", SPEC)) == 3
        )
    )
    before = wire.accepted
    async with asyncio.timeout(DEADLINE):
        await gateway.close()
        ends = await asyncio.gather(listing, handshake, *restarts, *others, return_exceptions=True)
    assert [type(end) for end in ends] == [GatewayClosed] * 9
    assert wire.accepted == before


async def test_restart_request_cut_by_the_close_is_doubtful(fake_gateway: FakeGateway) -> None:
    gateway = Gateway(settings_for(fake_gateway.url))
    kernel = fake_gateway.start_kernel()
    fake_gateway.fault("POST", RESTART, Hold(asyncio.Event()))
    restarting = asyncio.create_task(gateway.restart_kernel(kernel.id))
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to("POST", RESTART))
    await gateway.close()
    with pytest.raises(GatewayClosed) as caught:
        await restarting
    assert caught.value.doubtful


async def test_link_that_reconnects_opens_no_connection_after_the_close(
    fake_gateway: FakeGateway, wire: FaultyProxy
) -> None:
    gateway = Gateway(settings_for(wire.url))
    kernel = remote_kernel(gateway, fake_gateway.start_kernel())
    kernel.subscribe("tab")
    await fake_gateway.wait_for_socket()
    before = wire.accepted
    await gateway.close()
    await fake_gateway.wait_for(lambda: not fake_gateway.open_sockets)
    with pytest.raises(GatewayClosed):
        await kernel.refresh()
    await kernel.close()
    assert wire.accepted == before


async def test_token_source_is_not_asked_after_the_close(fake_gateway: FakeGateway) -> None:
    async with OAuth2Server() as tokens:
        gateway = Gateway(
            settings_for(
                fake_gateway.url,
                auth_token=None,
                oauth2_token_url=tokens.url,
                oauth2_client_id=CLIENT_ID,
                oauth2_client_secret=SECRET,
            )
        )
        await gateway.close()
        with pytest.raises(GatewayClosed):
            await gateway.kernelspecs()
        assert not tokens.requests


async def test_closed_gateway_starts_kernels_again_after_reopen(fake_gateway: FakeGateway) -> None:
    gateway = Gateway(settings_for(fake_gateway.url))
    gateway.reopen()  # it is open, and stays as it is
    await gateway.kernelspecs()
    await gateway.close()
    gateway.reopen()
    model = await gateway.start_kernel("python3")
    await gateway.close()
    assert set(fake_gateway.kernels) == {model.id}


async def test_call_made_before_the_close_fails_in_spite_of_reopen(
    fake_gateway: FakeGateway,
) -> None:
    gateway = Gateway(settings_for(fake_gateway.url, max_request_retries=5))
    fake_gateway.fault("GET", KERNELS, Answer(429, headers={"Retry-After": "0"}), times=1)
    before = asyncio.create_task(gateway.find_kernels(["k1"]))
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to("GET", KERNELS))
    await gateway.close()
    gateway.reopen()
    with pytest.raises(GatewayClosed):
        await before
    await gateway.kernelspecs()
    await gateway.close()
