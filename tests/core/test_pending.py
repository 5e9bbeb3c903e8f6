"""Requests under way."""

from __future__ import annotations

import pytest

from jupyter_relay.core.pending import Pending, Request
from jupyter_relay.errors import MalformedFrame
from jupyter_relay.wire.message import Channel, Message
from tests.support.messages import request


def added(pending: Pending, message: Message | None = None) -> Request:
    entry = pending.add(message or request(), "tab")
    assert entry is not None
    return entry


def test_a_request_is_under_way_until_its_reply_and_its_idle_are_in() -> None:
    for first, second in (("replied", "ended"), ("ended", "replied")):
        pending = Pending()
        entry = added(pending)
        getattr(pending, first)(entry)
        assert entry in pending
        getattr(pending, second)(entry)
        assert entry not in pending
        assert len(pending) == 0


def test_a_reply_is_what_is_awaited() -> None:
    pending = Pending()
    awaited = [pending.awaits_reply]
    entry = added(pending)
    awaited.append(pending.awaits_reply)
    pending.replied(entry)
    awaited.append(pending.awaits_reply)
    assert awaited == [False, True, False]


@pytest.mark.parametrize(
    "message",
    [
        request("comm_msg"),
        request("comm_open"),
        request("input_reply", channel=Channel.STDIN),
        request("input_request", channel=Channel.STDIN),
        Message(channel=Channel.SHELL, header=b'{"msg_type": "execute_request"}'),
    ],
)
def test_what_has_no_reply_is_not_waited_for(message: Message) -> None:
    pending = Pending()
    assert pending.add(message, "tab") is None
    assert not pending.awaits_reply


def test_a_header_that_cannot_be_read_raises() -> None:
    with pytest.raises(MalformedFrame):
        Pending().add(Message(channel=Channel.SHELL, header=b"["), "tab")


def test_what_came_of_it_is_noted() -> None:
    pending = Pending()
    entry, other = added(pending), added(pending)
    assert pending.seen(entry.msg_id) is entry
    assert pending.seen("another") is None
    assert (entry.seen, other.seen) == (True, False)


def test_lanes_are_channels_and_subshells() -> None:
    pending = Pending()
    assert added(pending).lane == (Channel.SHELL, None)
    assert added(pending, request(subshell_id="a")).lane == (Channel.SHELL, "a")
    assert added(pending, request(channel=Channel.CONTROL)).lane == (Channel.CONTROL, None)


def test_the_type_of_the_reply() -> None:
    assert added(Pending(), request("is_complete_request")).reply_type == "is_complete_reply"


def test_order_is_that_of_coming_and_changes_while_read_do_no_harm() -> None:
    pending = Pending()
    entries = [added(pending) for _ in range(3)]
    read = []
    for entry in pending:
        pending.remove(entry)
        read.append(entry)
    assert read == entries
    assert len(pending) == 0


def test_a_request_is_not_one_of_the_same_id_that_came_later() -> None:
    pending = Pending()
    earlier = added(pending, request(msg_id="same"))
    later = added(pending, request(msg_id="same"))
    assert earlier not in pending
    assert later in pending


def test_the_header_is_a_copy_so_that_the_frame_can_go() -> None:
    message = request()
    viewed = Message(channel=message.channel, header=memoryview(message.header))
    assert isinstance(added(Pending(), viewed).header, bytes)


def test_at_the_bound_a_request_that_has_its_reply_makes_room() -> None:
    pending = Pending(max_requests=3)
    waiting, replied, _ = (added(pending) for _ in range(3))
    pending.replied(replied)
    added(pending)
    assert waiting in pending
    assert replied not in pending
    added(pending)
    assert waiting not in pending
    assert len(pending) == 3
