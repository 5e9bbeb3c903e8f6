"""The transport that is made by whoever needs it first."""

from __future__ import annotations

import asyncio
import threading

import pytest

from jupyter_relay.errors import GatewayClosed
from jupyter_relay.testing import FakeGateway
from jupyter_relay.testing.plugin import ProxyFactory
from jupyter_relay.transport.deferred import DeferredTransport
from jupyter_relay.transport.transport import Request
from tests.support.gateway import KERNELS, TOKEN, settings_for


async def ask(transport: DeferredTransport, url: str) -> int:
    headers = {"Authorization": f"token {TOKEN}"}
    return (await transport.request(Request("GET", f"{url}{KERNELS}", headers=headers))).status


async def test_deferred_transport_serves_all_early_requests_by_one_pool(
    fake_gateway: FakeGateway, faulty_proxy: ProxyFactory
) -> None:
    wire = await faulty_proxy("127.0.0.1", fake_gateway.port)
    transport = DeferredTransport(settings_for(wire.url, pool_size=1).transport)
    asked = [asyncio.create_task(ask(transport, wire.url)) for _ in range(5)]
    assert await asyncio.gather(*asked) == [200] * 5
    assert wire.accepted == 1  # a pool for each would have opened a connection for each
    await transport.close()


async def test_deferred_transport_serves_the_others_when_one_request_is_cancelled(
    fake_gateway: FakeGateway,
) -> None:
    transport = DeferredTransport(settings_for(fake_gateway.url).transport)
    first = asyncio.create_task(ask(transport, fake_gateway.url))
    second = asyncio.create_task(ask(transport, fake_gateway.url))
    await asyncio.sleep(0)  # both wait for it now
    first.cancel()
    assert await second == 200
    assert first.cancelled()
    await transport.close()


async def test_closed_while_it_is_made(fake_gateway: FakeGateway) -> None:
    transport = DeferredTransport(settings_for(fake_gateway.url).transport)
    asked = asyncio.create_task(ask(transport, fake_gateway.url))
    await asyncio.sleep(0)  # it waits for it now
    await transport.close()
    with pytest.raises(GatewayClosed, match="was closed"):
        await asked
    assert not fake_gateway.requests


async def test_deferred_transport_ends_its_thread(fake_gateway: FakeGateway) -> None:
    before = set(threading.enumerate())
    transport = DeferredTransport(settings_for(fake_gateway.url).transport)
    await ask(transport, fake_gateway.url)
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive()
    await transport.close()
