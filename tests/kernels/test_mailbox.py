"""A mailbox: what it keeps, who is woken, and what a slow reader costs."""

from __future__ import annotations

import asyncio

import pytest

from jupyter_relay.kernels.mailbox import Mailbox
from jupyter_relay.link.backlog import Dropped
from jupyter_relay.wire.message import Message
from tests.support.gateway import DEADLINE
from tests.support.messages import request

SIZE = request().size


def describe(dropped: Dropped) -> Message:
    return request(f"dropped_{dropped.count}")


def ids(messages: list[Message]) -> list[str]:
    return [message.head.msg_id for message in messages]


async def waiting(mailbox: Mailbox, count: int = 1) -> list[asyncio.Task[None]]:
    """Readers that wait for the next message."""
    readers = [asyncio.create_task(mailbox.changed()) for _ in range(count)]
    await asyncio.sleep(0)
    return readers


def test_mailbox_with_messages_gives_them_in_order() -> None:
    mailbox = Mailbox(max_bytes=10 * SIZE)
    first, second, third = (request() for _ in range(3))
    for message in (first, second, third):
        mailbox.append(message)
    assert len(mailbox) == 3
    assert mailbox.size == first.size + second.size + third.size
    assert mailbox.pop() is first
    assert mailbox.pop_many(10 * SIZE) == [second, third]
    assert mailbox.pop() is None
    assert mailbox.pop_many(10 * SIZE) == []


def test_mailbox_with_a_message_put_back_gives_it_first() -> None:
    mailbox = Mailbox(max_bytes=10 * SIZE)
    first, second = request(), request()
    mailbox.append(first)
    mailbox.append(second)
    assert mailbox.pop() is first
    mailbox.push_back(first)
    assert mailbox.pop_many(10 * SIZE) == [first, second]


def test_mailbox_that_is_full_gives_the_notice_of_what_was_dropped_before_what_is_kept() -> None:
    mailbox = Mailbox(max_bytes=3 * SIZE, describe=describe)
    sent = [request() for _ in range(10)]
    for message in sent:
        mailbox.append(message)
    kept = len(mailbox)
    notice = mailbox.pop()
    assert notice is not None
    assert notice.head.msg_type == f"dropped_{10 - kept}"
    assert ids(mailbox.pop_many(100 * SIZE)) == ids(sent[-kept:])


def test_mailbox_without_notices_drops_in_silence() -> None:
    mailbox = Mailbox(max_bytes=3 * SIZE)
    sent = [request() for _ in range(10)]
    for message in sent:
        mailbox.append(message)
    kept = len(mailbox)
    assert mailbox.pop() is sent[-kept]


def test_mailbox_that_is_cleared_has_neither_messages_nor_a_notice() -> None:
    mailbox = Mailbox(max_bytes=3 * SIZE, describe=describe)
    for _ in range(10):
        mailbox.append(request())
    mailbox.clear()
    assert len(mailbox) == 0
    assert mailbox.pop() is None


def test_mailbox_with_a_callback_keeps_nothing() -> None:
    mailbox = Mailbox(max_bytes=10 * SIZE)
    heard: list[Message] = []
    mailbox.on_message = heard.append
    message = request()
    mailbox.append(message)
    assert heard == [message]
    assert len(mailbox) == 0


async def test_changed_returns_to_every_reader_when_a_message_comes() -> None:
    mailbox = Mailbox(max_bytes=10 * SIZE)
    readers = await waiting(mailbox, 2)
    assert not any(reader.done() for reader in readers)
    mailbox.append(request())
    await asyncio.gather(*readers)


async def test_changed_returns_when_it_is_woken_without_a_message() -> None:
    mailbox = Mailbox(max_bytes=10 * SIZE)
    (reader,) = await waiting(mailbox)
    mailbox.wake()
    await reader
    assert mailbox.pop() is None


async def test_changed_that_is_cancelled_keeps_no_other_reader_waiting() -> None:
    mailbox = Mailbox(max_bytes=10 * SIZE)
    gone, cancelled, stays = await waiting(mailbox, 3)
    gone.cancel()
    await asyncio.wait([gone])
    cancelled.cancel()  # it has not run yet when the message comes
    mailbox.append(request())
    await stays
    with pytest.raises(asyncio.CancelledError):
        await cancelled


async def test_has_room_returns_when_a_reader_has_caught_up() -> None:
    mailbox = Mailbox(max_bytes=5 * SIZE)
    for _ in range(3):
        mailbox.append(request())
    behind = [mailbox.over_half_full]
    room = asyncio.create_task(mailbox.has_room(3600.0))
    await asyncio.sleep(0)
    mailbox.pop()
    behind.append(mailbox.over_half_full)
    await asyncio.wait_for(room, DEADLINE)
    assert behind == [True, False]


async def test_has_room_returns_in_time_when_no_reader_catches_up() -> None:
    mailbox = Mailbox(max_bytes=6 * SIZE)
    for _ in range(5):
        mailbox.append(request())
    room = asyncio.create_task(mailbox.has_room(0.01))
    await asyncio.sleep(0)
    mailbox.pop()
    assert mailbox.over_half_full
    await room
    await mailbox.has_room(0.0)  # and it can be waited for again
