"""Requests under way."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from types import FrameType

import pytest

from jupyter_relay.errors import MalformedFrame
from jupyter_relay.link.pending import Pending, Request, pending_size
from jupyter_relay.wire.message import Channel, Message
from tests.support.messages import request


def added(pending: Pending, message: Message | None = None) -> Request:
    entry = Request.from_message(message or request(), "tab")
    assert entry is not None
    pending.add_request(entry)
    return entry


def test_request_is_pending_until_its_reply_and_its_idle_status() -> None:
    for first, second in (("mark_replied", "mark_ended"), ("mark_ended", "mark_replied")):
        pending = Pending()
        entry = added(pending)
        getattr(pending, first)(entry)
        assert entry in pending
        getattr(pending, second)(entry)
        assert entry not in pending
        assert len(pending) == 0


def test_awaits_reply_is_true_until_the_reply() -> None:
    pending = Pending()
    awaited = [pending.awaits_reply]
    entry = added(pending)
    awaited.append(pending.awaits_reply)
    pending.mark_replied(entry)
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
def test_message_without_a_reply_is_not_pending(message: Message) -> None:
    assert Request.from_message(message, "tab") is None


def test_add_request_with_an_unreadable_header_raises() -> None:
    with pytest.raises(MalformedFrame):
        Request.from_message(Message(channel=Channel.SHELL, header=b"["), "tab")


def test_mark_seen_marks_the_request() -> None:
    pending = Pending()
    entry, other = added(pending), added(pending)
    assert pending.mark_seen(entry.msg_id) is entry
    assert pending.mark_seen("another") is None
    assert (entry.seen, other.seen) == (True, False)


def test_lane_is_a_channel_or_a_subshell() -> None:
    pending = Pending()
    assert added(pending).lane == (Channel.SHELL, None)
    assert added(pending, request(subshell_id="a")).lane == (Channel.SHELL, "a")
    assert added(pending, request(channel=Channel.CONTROL)).lane == (Channel.CONTROL, None)


def test_reply_type_is_that_of_the_request() -> None:
    assert added(Pending(), request("is_complete_request")).reply_type == "is_complete_reply"


def test_pending_is_in_order_and_may_change_while_it_is_iterated() -> None:
    pending = Pending()
    entries = [added(pending) for _ in range(3)]
    read = []
    for entry in pending:
        pending.remove(entry)
        read.append(entry)
    assert read == entries
    assert len(pending) == 0


def test_pending_does_not_contain_an_earlier_request_of_the_same_id() -> None:
    pending = Pending()
    earlier = added(pending, request(msg_id="same"))
    later = added(pending, request(msg_id="same"))
    assert earlier not in pending
    assert later in pending


def test_request_header_does_not_keep_its_frame_alive() -> None:
    message = request()
    viewed = Message(channel=message.channel, header=memoryview(message.header))
    assert isinstance(added(Pending(), viewed).header, bytes)


def test_make_room_below_the_bound_gives_nothing_up() -> None:
    pending = Pending(max_requests=2)
    added(pending)
    assert pending.make_room() == []


def test_make_room_at_the_bound_keeps_what_the_kernel_may_still_answer() -> None:
    pending = Pending(max_requests=3)
    for _ in range(3):
        added(pending)
    assert pending.make_room() is None
    assert len(pending) == 3


def test_make_room_gives_up_a_request_whose_lane_has_answered_a_later_one() -> None:
    pending = Pending(max_requests=3)
    other_lane = added(pending, request(channel=Channel.CONTROL))
    passed_over, answered = added(pending), added(pending)
    pending.mark_replied(answered)
    assert pending.make_room() == [passed_over]
    pending.remove(passed_over)
    added(pending)
    assert other_lane in pending


def test_make_room_gives_up_a_request_whose_idle_alone_is_missing_last() -> None:
    pending = Pending(max_requests=3)
    entries = [added(pending) for _ in range(3)]
    assert pending.make_room() is None
    pending.mark_replied(entries[0])
    assert pending.make_room() == [entries[0]], "its idle may come, but nothing else is spare"
    pending.mark_replied(entries[1])
    pending.mark_replied(entries[2])
    pending.mark_ended(entries[2])
    added(pending)
    assert pending.make_room() == [entries[0]]
    pending.remove(entries[0])
    added(pending)
    assert pending.make_room() == [entries[1]], "a later one has its idle"


def test_make_room_can_refuse_again_once_all_are_needed() -> None:
    pending = Pending(max_requests=2)
    first, second = added(pending), added(pending)
    assert pending.make_room() is None
    assert pending.make_room() is None
    pending.mark_replied(second)
    assert pending.make_room() == [first]


@pytest.mark.parametrize("case", ["every second is lost", "no idle comes", "nothing is answered"])
def test_make_room_costs_the_same_however_many_are_pending(case: str) -> None:
    costs = []
    for bound in (160, 1600):
        pending = Pending(max_requests=bound)
        waiting = deque(added(pending) for _ in range(bound))

        def press(pending: Pending = pending, waiting: deque[Request] = waiting) -> None:
            """Answer what is to be answered, and ask for something else."""
            if case != "nothing is answered" and len(waiting) > 1:
                if case == "every second is lost":
                    waiting.popleft()
                answered = waiting.popleft()
                pending.mark_replied(answered)
                if case == "every second is lost":
                    pending.mark_ended(answered)
            for _ in range(2):
                given_up = pending.make_room()
                if given_up is not None:
                    for request in given_up:
                        pending.remove(request)
                    waiting.append(added(pending))

        costs.append(calls_of(press, times=bound) / bound)
        assert len(pending) <= bound
    few, many = costs
    assert many < 1.5 * few


def calls_of(work: Callable[[], None], *, times: int) -> int:
    """Return how many functions of Python are called when this is done so many times."""
    calls = 0

    def note(_frame: FrameType, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(note)
    try:
        for _ in range(times):
            work()
    finally:
        sys.setprofile(None)
    return calls


def test_make_room_gives_up_no_more_than_it_must_of_those_whose_idle_may_come() -> None:
    pending = Pending(max_requests=160)
    entries = [added(pending) for _ in range(160)]
    for entry in entries[:5]:
        pending.mark_replied(entry)
    assert pending.make_room() == entries[:1]


def test_pending_forgets_a_lane_with_its_last_request() -> None:
    pending = Pending()
    for number in range(20):
        entry = added(pending, request(subshell_id=f"{number}-{'x' * 5000}"))
        pending.mark_replied(entry)
        pending.mark_ended(entry)
    assert len(pending._lanes) == 0
    assert not pending.awaits_reply


def test_request_added_again_under_its_id_is_awaited_once() -> None:
    pending = Pending()
    added(pending, request(msg_id="a"))
    again = added(pending, request(msg_id="a"))
    pending.mark_replied(again)
    assert not pending.awaits_reply


def test_make_room_gives_up_a_request_once() -> None:
    skipped, second = (request(msg_id=name) for name in "ab")
    last = request("execute_request", msg_id="c", channel=Channel.CONTROL)
    pending = Pending(max_bytes=3 * pending_size(skipped.header))
    first = added(pending, skipped)
    pending.mark_replied(first)
    pending.mark_ended(added(pending, second))
    third = added(pending, last)
    pending.mark_replied(third)
    assert pending.make_room(2 * first.memory) == [first, third]


def test_remove_of_a_request_that_is_not_pending_does_nothing() -> None:
    pending = Pending()
    entry = added(pending)
    pending.remove(entry)
    pending.remove(entry)
    assert (len(pending), pending.memory, pending.awaits_reply) == (0, 0, False)
