"""A tab that has agreed with the server to compress what they say (RFC 7692)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence

import aiohttp
import pytest

from jupyter_relay.testing import FakeGateway, FakeKernel, read_content
from jupyter_relay.wire.message import Message
from jupyter_relay.wire.subprotocol import OFFERED
from tests.server.test_websocket import message_of, receive_type
from tests.support.server import TestServer
from tests.support.tab import Tab

SESSION = "tab"
SIZES = (0, 1, 125, 126, 65_535, 65_536, 400_000)
"""Of buffers: at the bounds of a frame's length fields, and more than goes down in one write."""

BUFFERS: Sequence[tuple[bytes, ...]] = [
    made for size in SIZES for made in ((), (os.urandom(size),), (bytes(size), os.urandom(3)), ())
]
"""Those of a burst: of none and of one, what cannot be compressed and what can."""


async def burst(request: Message, kernel: FakeKernel) -> None:
    """Say much at once, as text and in binary frames by turns."""
    for number, buffers in enumerate(BUFFERS):
        kernel.publish("comm_msg", {"number": number, "text": "é" * number}, request, buffers)


@pytest.fixture
async def kernel(server: TestServer, fake_gateway: FakeGateway) -> FakeKernel:
    """A kernel of a server that compresses; its messages of a comm come in bursts."""
    server.app.web_app.settings["websocket_compression_options"] = {}
    kernel = fake_gateway.kernels[await server.start_kernel()]
    kernel.handlers["comm_msg"] = burst
    return kernel


@pytest.fixture(params=[OFFERED, ()], ids=["v1", "legacy"])
async def tab(
    request: pytest.FixtureRequest, server: TestServer, kernel: FakeKernel
) -> AsyncIterator[Tab]:
    """A tab that offers to compress."""
    async with server.http.ws_connect(
        f"{server.url}/api/kernels/{kernel.id}/channels",
        params={"session_id": SESSION},
        protocols=request.param,
        compress=15,
        max_msg_size=0,
    ) as websocket:
        assert websocket.compress
        yield Tab(websocket, SESSION)


async def test_compressed_websocket_with_many_messages_keeps_content_and_order(
    tab: Tab, kernel: FakeKernel
) -> None:
    sent = message_of("comm_msg", buffers=(os.urandom(200_000), b"up"))
    await tab.send_message(sent)
    async with asyncio.timeout(30):
        for number, buffers in enumerate(BUFFERS):
            came = await receive_type(tab, "comm_msg")
            assert read_content(came) == {"number": number, "text": "é" * number}
            assert tuple(map(bytes, came.buffers)) == buffers
        assert await tab.run("after") == "after\n"
    assert kernel.received[0].buffers == sent.buffers


async def test_compressed_websocket_with_text_and_bytes_keeps_frame_types(tab: Tab) -> None:
    await tab.send_message(message_of("comm_msg"))
    kinds = set()
    async with asyncio.timeout(30):
        for _ in range(len(BUFFERS)):
            frame = await tab.websocket.receive()
            kinds.add(frame.type)
    legacy = tab.websocket.protocol is None
    expected = {aiohttp.WSMsgType.BINARY} | ({aiohttp.WSMsgType.TEXT} if legacy else set())
    assert kinds == expected


async def test_websocket_not_offering_compression_is_not_compressed(
    server: TestServer, kernel: FakeKernel
) -> None:
    async with server.tab(kernel.id) as tab:
        assert not tab.websocket.compress
        assert await tab.run("plain") == "plain\n"


async def test_compressed_websocket_reopened_delivers_missed_output(
    server: TestServer, kernel: FakeKernel, tab: Tab
) -> None:
    await tab.send_message(message_of("comm_msg"))
    await receive_type(tab, "comm_msg")
    assert tab.websocket._response.connection is not None
    transport = tab.websocket._response.connection.transport
    assert transport is not None
    transport.abort()
    heard: list[int] = []
    async with server.tab(kernel.id, SESSION) as back, asyncio.timeout(30):
        while not heard or heard[-1] != len(BUFFERS) - 1:
            number = read_content(await receive_type(back, "comm_msg"))["number"]
            assert isinstance(number, int)
            heard.append(number)
    assert heard == list(range(heard[0], len(BUFFERS)))
