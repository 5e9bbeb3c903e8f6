"""The outbox: order, and its bounds."""

from __future__ import annotations

from msgspec import structs

from jupyter_relay.link.outbox import Outbox
from jupyter_relay.wire.message import Message
from tests.support.messages import request


def sized(size: int) -> Message:
    """A message that takes so many bytes."""
    message = request(content={})
    message = Message(channel=message.channel, header=message.header, content=b"")
    return structs.replace(message, content=b"x" * (size - message.size), _size=-1)


def drained(outbox: Outbox) -> list[Message]:
    return list(iter(outbox.pop, None))


def test_outbox_is_first_in_first_out() -> None:
    outbox = Outbox(max_messages=9, max_bytes=9999)
    messages = [request() for _ in range(3)]
    assert all(outbox.append(message, flowing=False) for message in messages)
    assert drained(outbox) == messages


def test_append_first_holds_a_message_first_even_at_the_bound() -> None:
    outbox = Outbox(max_messages=1, max_bytes=9999)
    held, own = request(), request()
    outbox.append(held, flowing=False)
    outbox.append_first(own)
    assert drained(outbox) == [own, held]


def test_append_at_the_bound_of_messages_holds_nothing() -> None:
    outbox = Outbox(max_messages=2, max_bytes=9999)
    assert [outbox.append(request(), flowing=False) for _ in range(3)] == [True, True, False]
    assert len(outbox) == 2


def test_append_at_the_bound_of_bytes_holds_nothing() -> None:
    outbox = Outbox(max_messages=9, max_bytes=10_000)
    assert outbox.append(sized(6000), flowing=False)
    assert not outbox.append(sized(6000), flowing=False)
    assert outbox.append(sized(4000), flowing=False)
    assert outbox.held_bytes == 10_000


def test_append_holds_one_message_larger_than_the_bound_alone() -> None:
    outbox = Outbox(max_messages=9, max_bytes=3000)
    assert outbox.append(sized(5000), flowing=False)
    assert not outbox.append(sized(2000), flowing=False)


def test_pop_makes_room() -> None:
    outbox = Outbox(max_messages=9, max_bytes=10_000)
    outbox.append(sized(9000), flowing=False)
    outbox.pop()
    assert outbox.held_bytes == 0
    assert outbox.append(sized(9000), flowing=False)


def test_remove_larger_keeps_the_others_in_order() -> None:
    outbox = Outbox(max_messages=9, max_bytes=100_000)
    messages = [sized(size) for size in (2000, 8000, 3000, 9000)]
    for message in messages:
        outbox.append(message, flowing=False)
    assert outbox.remove_larger(messages[1].frame_size) == [messages[1], messages[3]]
    assert outbox.held_bytes == 5000
    assert drained(outbox) == [messages[0], messages[2]]
    assert outbox.remove_larger(1) == []


def test_clear_leaves_nothing() -> None:
    outbox = Outbox(max_messages=9, max_bytes=9999)
    outbox.append(request(), flowing=False)
    outbox.clear()
    assert (len(outbox), outbox.held_bytes, outbox.pop()) == (0, 0, None)


def test_append_while_flowing_holds_16_times_the_bound() -> None:
    outbox = Outbox(max_messages=9, max_bytes=10_000)
    assert all(outbox.append(sized(9000), flowing=True) for _ in range(17))
    assert not outbox.append(sized(9000), flowing=True)
    assert not outbox.append(sized(9000), flowing=False)
