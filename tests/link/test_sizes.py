"""What is counted of a message, or of a request under way, is what it takes of memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from jupyter_relay.link.pending import Pending, Request
from jupyter_relay.testing import read_content
from jupyter_relay.wire.message import MAX_BUFFERS, Frame, Message
from jupyter_relay.wire.subprotocol import Subprotocol
from tests.link.rig import connected
from tests.support.messages import Voice, failures, request

V1, LEGACY = Subprotocol
CELL = request()
HUGE = "x" * 1_000_000


def memory_of(make: Callable[[], object]) -> int:
    """Return how many bytes what is made takes."""
    tracemalloc.start()
    try:
        made = make()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert made
    return taken


def with_buffers(count: int, buffer: bytes = b"") -> Message:
    line = Voice().stream("x", CELL)
    return Message(channel=line.channel, header=line.header, buffers=(buffer,) * count)


@pytest.mark.parametrize("subprotocol", [V1, LEGACY])
@pytest.mark.parametrize(
    ("message", "copies"),
    [
        (Voice().stream("x", CELL), 200),
        (Voice().stream("x" * 1500, CELL), 200),
        (Voice().stream("x" * 5000, CELL), 200),
        (Voice().stream("x" * 1_000_000, CELL), 3),
        (with_buffers(1000, b"12345678"), 10),
        (with_buffers(MAX_BUFFERS), 2),
    ],
    ids=["tiny", "short", "long", "huge", "buffers", "empty buffers"],
)
def test_size_of_a_message_from_a_frame_is_its_memory(
    subprotocol: Subprotocol, message: Message, copies: int
) -> None:
    frame = subprotocol.encode(message)

    def read() -> list[Message]:
        made = []
        for _ in range(copies):
            read = subprotocol.decode(Frame(bytes(bytearray(frame.data)), frame.text))
            assert (read.head.session, read.parent.session) != ("", "")
            made.append(read)
        return made

    taken = memory_of(read) / copies
    counted = subprotocol.decode(frame).size
    assert 0.6 * counted < taken < 1.2 * counted


def test_requests_with_huge_headers_are_refused_at_the_bound_of_bytes() -> None:
    rig = connected()
    asked = [request(msg_id=f"{n}{'x' * 9_000_000}") for n in range(40)]
    for message in asked:
        rig.send(message)
    refused = failures(rig.heard())
    assert len(rig.sent) == 3
    assert len(refused) == 37
    assert all("already under way; this one was not sent." in text for text in refused)


def add_huge(pending: Pending, number: int) -> Request:
    """Add a request with a huge id."""
    entry = Request.from_message(request(msg_id=HUGE + str(number)), "tab")
    assert entry is not None
    pending.add_request(entry)
    return entry


def test_memory_of_removed_requests_is_subtracted() -> None:
    pending = Pending()
    entries = [add_huge(pending, n) for n in range(3)]
    assert pending.memory > 6_000_000
    again = add_huge(pending, 0)
    assert len(pending) == 3
    for entry in (*entries, again):
        if entry in pending:
            pending.mark_replied(entry)
            pending.mark_ended(entry)
    assert pending.memory == 0


def test_make_room_gives_up_as_many_as_the_bytes_need() -> None:
    pending = Pending(max_bytes=10_000_000)
    entries = [add_huge(pending, n) for n in range(4)]
    assert pending.make_room(4_000_000) is None, "the kernel may still answer all of them"
    pending.mark_replied(entries[-1])
    assert pending.make_room(4_000_000) == entries[:2]
    assert pending.make_room(1000) == []


def test_request_larger_than_the_bound_may_be_pending_alone() -> None:
    pending = Pending(max_bytes=1000)
    assert pending.make_room(10**9) == []


def test_huge_id_is_remembered_by_a_digest() -> None:
    rig, kernel = connected(), Voice()
    asked = request(msg_id=HUGE)
    rig.send(asked)
    rig.do([*rig.link.pause(), *rig.link.resume(restarted=True)])
    rig.open()
    begun = len(rig.delivered)
    rig.hear(kernel.reply(asked))
    assert rig.delivered[begun:] == [], "it was answered in the kernel's place"
    assert read_content(rig.delivered[-2][1])["status"] == "error"
