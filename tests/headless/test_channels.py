"""The channels on their own: queues with the interface of jupyter_client's."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from queue import Empty

import pytest
from jupyter_client.channelsabc import ChannelABC, HBChannelABC
from jupyter_client.session import Session

from jupyter_relay.errors import KernelNotRunning, MalformedFrame
from jupyter_relay.headless.channels import ChannelQueue, HBChannelQueue
from jupyter_relay.wire.message import Channel, Message

HEADER = b'{"msg_id":"1","msg_type":"stream","date":"2026-01-02T03:04:05Z"}'


def channel(*, max_bytes: int = 10_000) -> tuple[ChannelQueue, list[Message]]:
    """A started channel, and what is sent through it."""
    sent: list[Message] = []
    made = ChannelQueue(Channel.IOPUB, Session(), send=sent.append, max_bytes=max_bytes)
    made.start()
    return made, sent


def message(content: bytes = b"{}") -> Message:
    return Message(channel=Channel.IOPUB, header=HEADER, content=content)


async def test_messages_come_in_order() -> None:
    queue, _ = channel()
    for number in range(3):
        queue.put(message(b"%d" % number))
    assert await queue.msg_ready()
    assert (await queue.get_msg())["content"] == 0
    assert [msg["content"] for msg in await queue.get_msgs()] == [1, 2]
    assert not await queue.msg_ready()


async def test_message_headers_have_dates_as_datetimes() -> None:
    queue, _ = channel()
    parent = b'{"msg_id":"0","date":"2026-01-02T03:04:05.000001+02:00"}'
    queue.put(Message(channel=Channel.IOPUB, header=HEADER, parent_header=parent))
    queue.put(Message(channel=Channel.IOPUB, header=b'{"msg_id":"1","msg_type":"","date":"now"}'))
    dated, undated = await queue.get_msgs()
    assert dated["header"]["date"] == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert dated["parent_header"]["date"] == datetime(2026, 1, 2, 1, 4, 5, 1, tzinfo=UTC)
    assert undated["header"]["date"] == "now"
    assert undated["parent_header"] == {}


async def test_channel_wakes_a_waiting_reader_at_a_message() -> None:
    queue, _ = channel()
    waiting = asyncio.create_task(queue.get_msg())
    await asyncio.sleep(0)
    queue.put(message())
    assert (await waiting)["msg_type"] == "stream"


async def test_channel_serves_each_of_several_waiting_readers() -> None:
    queue, _ = channel()
    waiting = [asyncio.create_task(queue.get_msg(timeout=5)) for _ in range(3)]
    await asyncio.sleep(0)
    for number in range(3):
        queue.put(message(b"%d" % number))
    assert sorted([(await task)["content"] for task in waiting]) == [0, 1, 2]


async def test_channel_refuses_a_negative_timeout() -> None:
    queue, _ = channel()
    with pytest.raises(ValueError, match="non-negative"):
        await queue.get_msg(timeout=-1)


async def test_stopping_ends_the_wait() -> None:
    queue, _ = channel()
    waiting = asyncio.create_task(queue.get_msg())
    await asyncio.sleep(0)
    queue.stop()
    with pytest.raises(KernelNotRunning, match="iopub"):
        await waiting
    with pytest.raises(KernelNotRunning):
        await queue.get_msg(timeout=0)


async def test_stopped_channel_takes_and_sends_nothing() -> None:
    queue, sent = channel()
    queue.put(message())
    queue.stop()
    queue.start()
    with pytest.raises(Empty):
        await queue.get_msg(timeout=0)
    queue.stop()
    queue.put(message())
    with pytest.raises(KernelNotRunning):
        queue.send(Session().msg("x"))
    assert not sent


@pytest.mark.parametrize(("content", "value"), [(b"NaN", None), (b'{"a": Infinity}', float("inf"))])
async def test_numbers_that_json_does_not_know_are_read(content: bytes, value: object) -> None:
    queue, _ = channel()
    queue.put(message(content))
    read = (await queue.get_msg())["content"]
    assert read != read if value is None else read == {"a": value}  # NaN alone


async def test_channel_with_a_message_that_is_not_json_raises_and_reads_the_next_one() -> None:
    queue, _ = channel()
    queue.put(message(b"{nonsense"))
    queue.put(message())
    with pytest.raises(MalformedFrame):
        await queue.get_msg()
    assert (await queue.get_msg())["content"] == {}


async def test_channel_without_a_reader_holds_a_bounded_number_of_messages() -> None:
    queue, _ = channel(max_bytes=2_000)
    for number in range(1000):
        queue.put(message(b"%d" % number))
    kept = [msg["content"] for msg in await queue.get_msgs()]
    assert len(kept) < 50
    assert kept[-1] == 999


def test_heartbeat_channel_beats_while_its_kernel_is_there() -> None:
    there = True
    heart = HBChannelQueue(lambda: there)
    assert not heart.is_beating()
    heart.start()
    assert heart.is_alive()
    assert heart.is_beating()
    heart.pause()
    heart.unpause()
    there = False
    assert not heart.is_beating()
    heart.stop()
    assert not heart.is_alive()
    assert heart.time_to_dead == float("inf")


def test_channels_are_instances_of_jupyter_clients_classes() -> None:
    assert issubclass(ChannelQueue, ChannelABC)
    assert issubclass(HBChannelQueue, HBChannelABC)
