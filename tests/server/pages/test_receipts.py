"""What was written to a page and not acknowledged by its machine is known."""

from __future__ import annotations

import sys

import pytest
from tornado.iostream import StreamClosedError

from jupyter_relay.server.pages.receipts import Receipts
from jupyter_relay.wire.message import Channel, Message
from tests.server.pages.streams import connection, read

SIZE = 1000

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts the bytes")


def messages(number: int) -> list[Message]:
    """Make so many messages."""
    return [
        Message(channel=Channel.IOPUB, header=f'{{"msg_id":"{each}"}}'.encode())
        for each in range(number)
    ]


async def test_close_with_messages_beyond_acknowledged_bytes_returns_them() -> None:
    given = messages(200)
    async with connection() as (stream, client):
        receipts = Receipts(stream)
        receipts.add_written(given, [SIZE] * len(given))
        writing = stream.write(b"x" * SIZE * len(given))
        await read(client, 10 * SIZE)
        unreceived = receipts.close()
        assert unreceived == given[len(given) - len(unreceived) :]
        assert 0 < len(unreceived) < len(given)
        stream.close()
        with pytest.raises(StreamClosedError):
            await writing


async def test_close_with_all_bytes_acknowledged_returns_nothing() -> None:
    given = messages(3)
    async with connection() as (stream, client):
        receipts = Receipts(stream)
        receipts.add_written(given, [SIZE] * len(given))
        await stream.write(b"x" * SIZE * len(given))
        await read(client, SIZE * len(given))
        client.send(b"x")  # its packet acknowledges all that was received
        await stream.read_bytes(1)
        assert receipts.close() == []


async def test_close_with_refused_messages_returns_them_after_the_written() -> None:
    first, *refused = messages(3)
    async with connection() as (stream, _):
        receipts = Receipts(stream)
        receipts.add_written([first], [10 * 1024 * 1024])
        receipts.add_refused(refused)
        assert receipts.close() == [first, *refused]
        assert receipts.close() == []


async def test_close_without_stream_returns_only_refused_messages() -> None:
    first, *refused = messages(3)
    receipts = Receipts(None)
    receipts.add_written([first], [SIZE])
    receipts.add_refused(refused)
    assert receipts.close() == refused
