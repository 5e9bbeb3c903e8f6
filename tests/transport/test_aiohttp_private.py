"""A connector of aiohttp's whose connections are made by us carries requests and websockets."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler

from jupyter_relay.testing import FakeGateway
from jupyter_relay.transport.aiohttp_private import OwnConnector


class ElsewhereConnector(OwnConnector):
    """Connects all requests to one port of this machine, whatever they are for."""

    def __init__(self, port: int) -> None:
        super().__init__(limit=0)
        self.to = port
        self.asked_for: list[str] = []
        self.timeouts: list[float | None] = []

    async def open_connection(
        self, request: aiohttp.ClientRequest, timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        """Connect to the port."""
        self.asked_for.append(request.url.host or "")
        self.timeouts.append(timeout.sock_connect)
        protocol = self.new_protocol()
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: protocol, "127.0.0.1", self.to)
        return protocol


class FailingConnector(OwnConnector):
    """Connects to nothing."""

    async def open_connection(
        self, request: aiohttp.ClientRequest, timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        """Fail."""
        raise aiohttp.ClientProxyConnectionError(request.connection_key, OSError(111, "refused"))


async def test_own_connector_makes_the_connections_of_requests_and_websockets(
    fake_gateway: FakeGateway,
) -> None:
    kernel = fake_gateway.start_kernel()
    connector = ElsewhereConnector(fake_gateway.port)
    headers = {"Authorization": f"token {fake_gateway.token}"}
    async with aiohttp.ClientSession(
        "http://nowhere.example/", connector=connector, headers=headers,
        timeout=aiohttp.ClientTimeout(sock_connect=7.5),
    ) as session:  # fmt: skip
        async with session.get(f"/api/kernels/{kernel.id}") as answer:
            assert (await answer.json())["id"] == kernel.id
        async with session.ws_connect(f"/api/kernels/{kernel.id}/channels"):
            await fake_gateway.wait_for_socket()
    assert connector.asked_for == ["nowhere.example"] * len(connector.asked_for)
    assert 1 <= len(connector.asked_for) <= 2, "the connection of the request may serve again"
    assert set(connector.timeouts) == {7.5}


async def test_own_connector_that_fails_raises_what_open_connection_raised() -> None:
    async with aiohttp.ClientSession(connector=FailingConnector(limit=0)) as session:
        with pytest.raises(aiohttp.ClientProxyConnectionError):
            await session.get("http://nowhere.example/")
