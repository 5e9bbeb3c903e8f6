"""The outbox: order, and its bounds."""

from __future__ import annotations

from jupyter_relay.core.outbox import Outbox
from jupyter_relay.wire.message import Message
from tests.support.messages import request


def sized(size: int) -> Message:
    """A message of so many bytes."""
    message = request(content={})
    return Message(
        channel=message.channel,
        header=message.header,
        content=b"x" * (size - len(message.header) - 4),
    )


def drained(outbox: Outbox) -> list[Message]:
    return list(iter(outbox.take, None))


def test_first_in_first_out() -> None:
    outbox = Outbox(max_messages=9, max_bytes=9999)
    messages = [request() for _ in range(3)]
    assert all(outbox.put(message, flowing=False) for message in messages)
    assert drained(outbox) == messages


def test_a_message_of_the_links_own_goes_first_even_at_the_bound() -> None:
    outbox = Outbox(max_messages=1, max_bytes=9999)
    held, own = request(), request()
    outbox.put(held, flowing=False)
    outbox.put_first(own)
    assert drained(outbox) == [own, held]


def test_at_the_bound_of_messages_nothing_is_held() -> None:
    outbox = Outbox(max_messages=2, max_bytes=9999)
    assert [outbox.put(request(), flowing=False) for _ in range(3)] == [True, True, False]
    assert len(outbox) == 2


def test_at_the_bound_of_bytes_nothing_is_held() -> None:
    outbox = Outbox(max_messages=9, max_bytes=1000)
    assert outbox.put(sized(600), flowing=False)
    assert not outbox.put(sized(600), flowing=False)
    assert outbox.put(sized(400), flowing=False)
    assert outbox.size == 1000


def test_one_message_larger_than_the_bound_is_held_alone() -> None:
    outbox = Outbox(max_messages=9, max_bytes=300)
    assert outbox.put(sized(5000), flowing=False)
    assert not outbox.put(sized(200), flowing=False)


def test_what_is_taken_makes_room() -> None:
    outbox = Outbox(max_messages=9, max_bytes=1000)
    outbox.put(sized(900), flowing=False)
    outbox.take()
    assert outbox.size == 0
    assert outbox.put(sized(900), flowing=False)


def test_clear_leaves_nothing() -> None:
    outbox = Outbox(max_messages=9, max_bytes=9999)
    outbox.put(request(), flowing=False)
    outbox.clear()
    assert (len(outbox), outbox.size, outbox.take()) == (0, 0, None)


def test_while_messages_flow_more_of_them_may_pass_at_once() -> None:
    outbox = Outbox(max_messages=9, max_bytes=1000)
    assert all(outbox.put(sized(900), flowing=True) for _ in range(17))
    assert not outbox.put(sized(900), flowing=True)
    assert not outbox.put(sized(900), flowing=False)
