"""The proxy passes bytes on faithfully, and spoils the wire exactly as told."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from jupyter_relay.testing import Direction, FaultyProxy

DEADLINE = 10.0


class EchoServer:
    """Sends back what it is sent, and counts what it has read."""

    def __init__(self) -> None:
        self.port = 0
        self.read = 0
        self._handlers: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                self.read += len(data)
                writer.write(data)
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def finish(self) -> None:
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)


@pytest.fixture
async def echo() -> AsyncIterator[EchoServer]:
    server = EchoServer()
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        server.port = listening.sockets[0].getsockname()[1]
        yield server
        await server.finish()


@pytest.fixture
async def proxy(echo: EchoServer) -> AsyncIterator[FaultyProxy]:
    async with FaultyProxy("127.0.0.1", echo.port) as proxy:
        yield proxy


class Line:
    """A client's connection through the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def receive(self, count: int) -> bytes:
        async with asyncio.timeout(DEADLINE):
            return await self.reader.readexactly(count)

    async def receive_to_end(self) -> bytes:
        async with asyncio.timeout(DEADLINE):
            return await self.reader.read()

    async def echo(self, data: bytes) -> bytes:
        await self.send(data)
        return await self.receive(len(data))


@asynccontextmanager
async def dialled(proxy: FaultyProxy) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    try:
        yield Line(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_passes_bytes_both_ways_and_counts_them(proxy: FaultyProxy) -> None:
    data = os.urandom(3_000_000)
    async with dialled(proxy) as line:
        sending = asyncio.create_task(line.send(data))
        assert await line.receive(len(data)) == data
        await sending
        assert (proxy.accepted, proxy.open) == (1, 1)
    await proxy.wait_idle()
    assert proxy.delivered(Direction.UPSTREAM) == len(data)
    assert proxy.delivered(Direction.DOWNSTREAM) == len(data)


async def test_tcp_proxy_passes_on_a_half_close(proxy: FaultyProxy) -> None:
    async with dialled(proxy) as line:
        await line.send(b"last words")
        line.writer.write_eof()
        assert await line.receive_to_end() == b"last words"
    await proxy.wait_idle()


async def test_reset_ends_all_connections(proxy: FaultyProxy) -> None:
    async with dialled(proxy) as one, dialled(proxy) as two:
        await one.echo(b"1")
        await two.echo(b"2")
        proxy.reset()
        for line in (one, two):
            with pytest.raises(ConnectionResetError):
                await line.receive(1)
        await proxy.wait_idle()
    async with dialled(proxy) as line:
        assert await line.echo(b"again") == b"again"


async def test_close_is_an_orderly_end(proxy: FaultyProxy) -> None:
    async with dialled(proxy) as line:
        await line.echo(b"x")
        proxy.close()
        assert await line.receive_to_end() == b""
    await proxy.wait_idle()


async def test_tcp_proxy_stall_keeps_all_bytes_and_ends_no_connection(
    proxy: FaultyProxy, echo: EchoServer
) -> None:
    async with dialled(proxy) as line:
        await line.echo(b"before")
        proxy.stall()
        await line.send(b"during")
        async with dialled(proxy) as other:
            await other.send(b"new")
            await proxy.wait_connected(2)
            assert echo.read == len(b"before")
            proxy.resume()
            assert await line.receive(6) == b"during"
            assert await other.receive(3) == b"new"


async def test_tcp_proxy_stall_of_one_direction_leaves_the_other(
    proxy: FaultyProxy, echo: EchoServer
) -> None:
    async with dialled(proxy) as line:
        proxy.stall(upstream=False)
        await line.send(b"request")
        await proxy.wait_for(lambda: proxy.delivered(Direction.UPSTREAM) == 7)
        assert proxy.delivered(Direction.DOWNSTREAM) == 0
        proxy.resume()
        assert await line.receive(7) == b"request"


async def test_tcp_proxy_stall_stops_a_sender_in_the_end(proxy: FaultyProxy) -> None:
    proxy.stall()
    async with dialled(proxy) as line:
        line.writer.transport.set_write_buffer_limits(high=0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await line.send(bytes(64 << 20))
        line.writer.transport.abort()


async def test_tcp_proxy_that_forgets_a_connection_loses_all_and_ends_it_for_neither_side(
    proxy: FaultyProxy, echo: EchoServer
) -> None:
    async with dialled(proxy) as line:
        await line.echo(b"before")
        proxy.forget_connections()
        await line.send(b"lost")
        async with dialled(proxy) as other:
            assert await other.echo(b"new") == b"new"
            proxy.reset()
            with pytest.raises(ConnectionResetError):
                await other.receive(1)
        assert proxy.open == 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await line.reader.read(1)
        assert echo.read == len(b"before" + b"new")


async def test_refusing_and_accepting_again_on_the_same_port(proxy: FaultyProxy) -> None:
    port = proxy.port
    async with dialled(proxy) as line:
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(proxy.host, port)
        assert await line.echo(b"still here") == b"still here"
        proxy.accept()
        assert proxy.port == port
        async with dialled(proxy) as other:
            assert await other.echo(b"back") == b"back"


async def test_refusing_by_reset(proxy: FaultyProxy) -> None:
    proxy.refuse(reset=True)
    with pytest.raises(ConnectionResetError):
        async with dialled(proxy) as line:
            await line.receive(1)
    assert (proxy.accepted, proxy.open) == (1, 0)


async def test_tcp_proxy_without_its_target_resets_the_connection() -> None:
    async with FaultyProxy("127.0.0.1", 1) as proxy:
        with pytest.raises(ConnectionResetError):
            async with dialled(proxy) as line:
                await line.receive(1)


@pytest.mark.parametrize("count", [1, 1000, 100_000])
async def test_tcp_proxy_cut_downstream_comes_after_the_given_bytes(
    proxy: FaultyProxy, count: int
) -> None:
    proxy.cut_after(count, Direction.DOWNSTREAM)
    async with dialled(proxy) as line:
        sending = asyncio.create_task(line.send(bytes(200_000)))
        assert await line.receive(count) == bytes(count)
        with pytest.raises(ConnectionResetError):
            await line.receive(1)
        with suppress(ConnectionError):
            await sending
    assert proxy.delivered(Direction.DOWNSTREAM) == count
    async with dialled(proxy) as line:
        assert await line.echo(b"whole again") == b"whole again"


async def test_tcp_proxy_cut_upstream_comes_after_the_given_bytes(
    proxy: FaultyProxy, echo: EchoServer
) -> None:
    proxy.cut_after(3, Direction.UPSTREAM)
    async with dialled(proxy) as line:
        await line.send(b"12345")
        with pytest.raises(ConnectionResetError):
            await line.receive(100)
    assert proxy.delivered(Direction.UPSTREAM) == 3


async def test_delay(proxy: FaultyProxy) -> None:
    async with dialled(proxy) as line:
        proxy.delay(0.05)
        start = time.monotonic()
        await line.echo(b"slow")
        assert time.monotonic() - start >= 0.09


async def test_limit(proxy: FaultyProxy) -> None:
    async with dialled(proxy) as line:
        proxy.limit(100_000)
        start = time.monotonic()
        await line.echo(bytes(20_000))
        assert time.monotonic() - start >= 0.15
        proxy.limit(None)
        assert await line.echo(b"fast") == b"fast"


async def test_waiting_has_a_deadline(proxy: FaultyProxy) -> None:
    with pytest.raises(TimeoutError):
        await proxy.wait_connected(1, timeout=0.01)
