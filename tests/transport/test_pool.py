"""The connections to a gateway: how many, for whom, and how long."""

from __future__ import annotations

import asyncio
import logging
import socket
from pathlib import Path

import pytest

from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.testing import FakeGateway, Hold
from jupyter_relay.testing.plugin import ProxyFactory
from jupyter_relay.testing.tcp_proxy import FaultyProxy
from jupyter_relay.transport.aiohttp_transport import AiohttpTransport
from tests.support.gateway import DEADLINE, KERNELS, settings_for
from tests.support.tls import Authority, replace

ROUNDS = 5
RESTART = "/api/kernels/*/restart"


@pytest.fixture
async def wire(fake_gateway: FakeGateway, faulty_proxy: ProxyFactory) -> FaultyProxy:
    """The wire to the fake gateway, on which connections are counted."""
    return await faulty_proxy("127.0.0.1", fake_gateway.port)


async def test_requests_use_one_connection_again_and_a_websocket_has_its_own(
    fake_gateway: FakeGateway, wire: FaultyProxy
) -> None:
    gateway = Gateway(settings_for(wire.url))
    for _ in range(ROUNDS):
        await gateway.kernelspecs()
    assert wire.accepted == 1
    socket = await gateway.connect(fake_gateway.start_kernel().id, "me")
    await gateway.kernelspecs()
    assert wire.accepted == 2
    await socket.close()
    await gateway.close()


async def test_pool_with_a_free_connection_makes_no_handshake_and_reads_no_file(
    tmp_path: Path, faulty_proxy: ProxyFactory, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path)
    async with FakeGateway(tls=authority.serving()) as fake:
        wire = await faulty_proxy("127.0.0.1", fake.port)
        url = wire.url.replace("http:", "https:")
        gateway = Gateway(settings_for(url, ca_certs=str(authority.certificate)))
        await gateway.kernelspecs()
        replace(authority.certificate, b"nonsense")  # which a look at it would tell in the log
        for _ in range(ROUNDS):
            await gateway.kernelspecs()
        assert wire.accepted == 1
        assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
        await gateway.close()


async def test_pool_opens_no_more_connections_than_its_size(
    fake_gateway: FakeGateway, wire: FaultyProxy
) -> None:
    released = asyncio.Event()
    fake_gateway.fault("GET", "/api/kernelspecs/*", Hold(released))
    gateway = Gateway(settings_for(wire.url, pool_size=3))
    asked = [asyncio.create_task(gateway.kernelspec("python3")) for _ in range(8)]
    await fake_gateway.wait_for(lambda: len(fake_gateway.requests) == 3)
    released.set()
    await asyncio.gather(*asked)
    assert wire.accepted == 3
    await gateway.close()


async def test_websockets_do_not_count(fake_gateway: FakeGateway) -> None:
    gateway = Gateway(settings_for(fake_gateway.url, pool_size=1))
    kernels = [fake_gateway.start_kernel().id for _ in range(3)]
    sockets = [await gateway.connect(kernel, "me") for kernel in kernels]
    async with asyncio.timeout(DEADLINE):
        await gateway.kernelspecs()
    for opened in sockets:
        await opened.close()
    await gateway.close()


async def test_kernels_that_start_leave_room_for_everything_else(
    fake_gateway: FakeGateway,
) -> None:
    kernel = fake_gateway.start_kernel()
    released = asyncio.Event()
    fake_gateway.fault("POST", KERNELS, Hold(released))
    gateway = Gateway(settings_for(fake_gateway.url, pool_size=4))
    starts = [asyncio.create_task(gateway.start_kernel("python3")) for _ in range(6)]
    await fake_gateway.wait_for(lambda: len(fake_gateway.requests_to("POST", KERNELS)) == 2)
    async with asyncio.timeout(DEADLINE):
        await asyncio.gather(*(gateway.kernelspecs() for _ in range(ROUNDS)))
        await gateway.interrupt_kernel(kernel.id)
    assert len(fake_gateway.requests_to("POST", KERNELS)) == 2
    released.set()
    assert len({model.id for model in await asyncio.gather(*starts)}) == 6
    await gateway.close()


async def test_restarts_that_hang_leave_room_for_starts_and_everything_else(
    fake_gateway: FakeGateway,
) -> None:
    kernels = [fake_gateway.start_kernel().id for _ in range(20)]
    released = asyncio.Event()
    fake_gateway.fault("POST", RESTART, Hold(released))
    gateway = Gateway(settings_for(fake_gateway.url, pool_size=8))
    restarts = [asyncio.create_task(gateway.restart_kernel(kernel)) for kernel in kernels]
    await fake_gateway.wait_for(lambda: len(fake_gateway.requests_to("POST", RESTART)) == 2)
    async with asyncio.timeout(DEADLINE):
        await asyncio.gather(*(gateway.start_kernel("python3") for _ in range(6)))
        await asyncio.gather(*(gateway.kernelspecs() for _ in range(ROUNDS)))
        await gateway.interrupt_kernel(kernels[0])
    assert len(fake_gateway.requests_to("POST", RESTART)) == 2
    released.set()
    await asyncio.gather(*restarts)
    await gateway.close()


async def test_start_timeout_begins_with_its_turn_for_a_connection(
    fake_gateway: FakeGateway,
) -> None:
    """The second waits longer than it may take, and is started all the same."""
    released = asyncio.Event()
    fake_gateway.fault("POST", KERNELS, Hold(released), times=1)
    gateway = Gateway(
        settings_for(
            fake_gateway.url,
            pool_size=2,
            request_timeout=0.5,
            launch_timeout=0,
            launch_timeout_pad=0,
        )
    )
    first, second = await asyncio.gather(
        gateway.start_kernel("python3"), gateway.start_kernel("python3"), return_exceptions=True
    )
    released.set()
    assert isinstance(first, TimeoutError)
    assert not isinstance(second, BaseException)
    await gateway.close()


async def test_requests_offer_no_compression(fake_gateway: FakeGateway) -> None:
    gateway = Gateway(settings_for(fake_gateway.url))
    opened = await gateway.connect(fake_gateway.start_kernel().id, "me")
    await opened.close()
    await gateway.close()
    assert "Sec-WebSocket-Extensions" not in fake_gateway.requests[-1].headers


async def test_idle_connections_are_looked_after_by_the_system(fake_gateway: FakeGateway) -> None:
    transport = AiohttpTransport(settings_for(fake_gateway.url).transport)
    opened = await transport.connect(
        fake_gateway.url.replace("http", "ws") + f"/api/kernels/{fake_gateway.start_kernel().id}"
        "/channels",
        headers={"Authorization": "token secret"},
        subprotocols=(),
    )
    tcp = opened._websocket.get_extra_info("socket")  # type: ignore[attr-defined]  # it is ours
    assert tcp.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    await opened.close()
    await transport.close()
