"""tornado's private counts of a stream's bytes are what we take them for."""

from __future__ import annotations

import asyncio

from tornado.iostream import IOStream
from tornado.tcpclient import TCPClient
from tornado.tcpserver import TCPServer

from jupyter_relay.server.pages.tornado_private import bytes_flushed, bytes_written

LARGE = b"x" * 8 * 1024 * 1024
"""More than the system takes from a stream whose other side does not read."""


class Accepts(TCPServer):
    """Takes one connection, and leaves it to the test to read from it."""

    def __init__(self) -> None:
        super().__init__()
        self.accepted: asyncio.Future[IOStream] = asyncio.get_running_loop().create_future()

    async def handle_stream(self, stream: IOStream, address: tuple[object, ...]) -> None:
        """Give the connection to the test."""
        self.accepted.set_result(stream)


async def test_bytes_written_and_flushed_of_stream_count_given_and_passed_on_bytes() -> None:
    server = Accepts()
    server.listen(0, "127.0.0.1")
    ((_, sock),) = server._sockets.items()
    stream = await TCPClient().connect("127.0.0.1", sock.getsockname()[1])
    other = await server.accepted
    assert (bytes_written(stream), bytes_flushed(stream)) == (0, 0)
    await stream.write(b"12345")
    assert (bytes_written(stream), bytes_flushed(stream)) == (5, 5)
    writing = stream.write(LARGE)
    assert bytes_written(stream) == 5 + len(LARGE)
    assert 5 <= bytes_flushed(stream) < 5 + len(LARGE)
    await other.read_bytes(5 + len(LARGE))
    await writing
    assert bytes_flushed(stream) == 5 + len(LARGE)
    for end in (stream, other):
        end.close()
    server.stop()
