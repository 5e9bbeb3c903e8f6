"""Messages are written to a page's real websocket, many in one write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application
from tornado.websocket import (
    WebSocketClientConnection,
    WebSocketClosedError,
    WebSocketHandler,
    websocket_connect,
)

from jupyter_relay.server.pages.page_writer import PageWriter
from jupyter_relay.wire.message import Channel, Frame, Message

LARGE = 200_000
"""More bytes than are copied into a common write."""


class Page(WebSocketHandler):
    """The server's side of a page's websocket."""

    def initialize(self, opened: asyncio.Future[Page], compressed: bool) -> None:
        """Take what the test needs."""
        self.opened = opened
        self.compressed = compressed
        self.left = asyncio.Event()

    def get_compression_options(self) -> dict[str, object] | None:
        """Agree to compress, or not."""
        return {} if self.compressed else None

    def on_close(self) -> None:
        """Note that the page has left."""
        self.left.set()

    def open(self, *_: str, **__: str) -> None:
        """Give the handler to the test."""
        self.opened.set_result(self)


@asynccontextmanager
async def page(
    *, compressed: bool = False
) -> AsyncIterator[tuple[Page, WebSocketClientConnection]]:
    """Give both sides of an open websocket."""
    listener, port = bind_unused_port()
    opened: asyncio.Future[Page] = asyncio.get_running_loop().create_future()
    options = {"opened": opened, "compressed": compressed}
    server = HTTPServer(Application([("/", Page, options)]))
    server.add_socket(listener)
    client = await websocket_connect(
        f"ws://127.0.0.1:{port}/", compression_options={} if compressed else None
    )
    handler = await opened
    try:
        yield handler, client
    finally:
        client.close()
        await handler.left.wait()
        server.stop()
        await server.close_all_connections()


def batch(*frames: Frame) -> list[tuple[Message, Frame]]:
    """Return each frame with a message of its own."""
    return [
        (Message(channel=Channel.IOPUB, header=b"{}", content=frame.data), frame)
        for frame in frames
    ]


@pytest.mark.parametrize("compressed", [False, True])
async def test_write_of_a_batch_gives_the_page_each_frame_in_order(compressed: bool) -> None:
    frames = [
        Frame(b"a text", text=True),
        Frame(bytes(200)),
        Frame(bytes(LARGE)),
        Frame(b"the last", text=True),
    ]
    async with page(compressed=compressed) as (handler, client):
        writer = PageWriter(handler)
        writing = asyncio.create_task(writer.write(batch(*frames)))
        received = [await client.read_message() for _ in frames]
        await writing
        writer.close()
    assert received == ["a text", bytes(200), bytes(LARGE), "the last"]


async def test_write_to_a_page_that_has_left_raises_and_keeps_the_messages() -> None:
    async with page() as (handler, client):
        writer = PageWriter(handler)
        client.close()
        await handler.left.wait()
        given = batch(Frame(b"1"), Frame(b"2"))
        with pytest.raises(WebSocketClosedError):
            await writer.write(given)
        assert writer.close() == [message for message, _ in given]
        assert writer.close() == []
