"""The backlog of a slow or absent listener: what is let go of, and that it is counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jupyter_relay.link.backlog import Backlog
from jupyter_relay.wire.message import Message
from tests.support.messages import Voice, request, types

KERNEL = Voice()
CELL = request()
LINE = KERNEL.stream("x" * 100, CELL)
STATUS = KERNEL.status("idle", CELL)
REPLY = KERNEL.reply(CELL)


def drained(backlog: Backlog) -> list[Message]:
    return list(iter(backlog.pop, None))


def filled(max_bytes: int, *messages: Message) -> Backlog:
    backlog = Backlog(max_bytes=max_bytes)
    for message in messages:
        backlog.append(message)
    return backlog


def test_below_the_bound_all_is_kept_in_order() -> None:
    backlog = filled(9999, LINE, REPLY, STATUS)
    assert drained(backlog) == [LINE, REPLY, STATUS]
    assert backlog.pop_dropped() is None
    assert backlog.held_bytes == 0


def test_stream_output_goes_first_and_is_counted_once() -> None:
    backlog = filled(LINE.size * 8, *[LINE] * 6, REPLY, STATUS, LINE, LINE)
    dropped = backlog.pop_dropped()
    assert dropped is not None
    kept = drained(backlog)
    assert kept.count(LINE) == 8 - dropped.count
    assert REPLY in kept
    assert STATUS in kept
    assert dropped.parent_header == CELL.header
    assert backlog.pop_dropped() is None


def test_the_oldest_goes_first() -> None:
    lines = [KERNEL.stream(f"{number:050}", CELL) for number in range(9)]
    kept = drained(filled(lines[0].size * 8, *lines))
    assert kept == lines[-len(kept) :]


def test_other_output_goes_before_replies_and_statuses() -> None:
    picture = KERNEL.say(LINE.channel, "display_data", {"data": "y" * 2000}, CELL)
    kept = drained(filled(8000, picture, REPLY, STATUS, picture))
    assert types(kept) == ["execute_reply", "status:idle", "display_data"]


def test_replies_survive_a_flood() -> None:
    kept = drained(filled(20_000, REPLY, STATUS, *[LINE] * 500))
    assert kept[:2] == [REPLY, STATUS]


def test_a_flood_of_replies_is_bounded_too() -> None:
    backlog = filled(20_000, *[REPLY] * 500)
    assert backlog.held_bytes <= 20_000
    assert (dropped := backlog.pop_dropped()) is not None
    assert dropped.count == 500 - len(backlog)


def test_one_message_larger_than_the_bound_is_kept_beside_what_fits_into_it() -> None:
    large = KERNEL.stream("z" * 9000, CELL)
    backlog = filled(4000, LINE, large, REPLY)
    assert drained(backlog) == [LINE, large, REPLY]
    assert backlog.pop_dropped() is None


def test_of_several_that_are_larger_than_the_bound_one_is_kept() -> None:
    large = [KERNEL.stream(f"{number}" * 9000, CELL) for number in range(3)]
    backlog = filled(4000, REPLY, *large)
    assert drained(backlog) == [REPLY, large[-1]]
    assert (dropped := backlog.pop_dropped()) is not None
    assert dropped.count == 2


def test_the_bound_holds_again_once_the_large_one_is_taken() -> None:
    large = KERNEL.stream("z" * 9000, CELL)
    backlog = filled(4000, large)
    assert backlog.pop() is large
    for _ in range(50):
        backlog.append(LINE)
    assert backlog.held_bytes <= 4000


def test_the_parent_of_what_was_dropped_does_not_keep_the_frame_alive() -> None:
    seen = Message(
        channel=LINE.channel,
        header=LINE.header,
        parent_header=memoryview(CELL.header),
        content=LINE.content,
    )
    dropped = filled(LINE.size, seen, seen).pop_dropped()
    assert dropped is not None
    assert isinstance(dropped.parent_header, bytes)


def test_what_is_put_back_comes_first() -> None:
    backlog = filled(9999, REPLY)
    backlog.push_back(LINE)
    assert drained(backlog) == [LINE, REPLY]
    assert backlog.held_bytes == 0


@given(st.lists(st.sampled_from([LINE, STATUS, REPLY])), st.integers(2000, 9000))
def test_it_is_bounded_and_what_is_kept_and_dropped_is_all(
    messages: list[Message], max_bytes: int
) -> None:
    backlog = filled(max_bytes, *messages)
    size = backlog.held_bytes
    dropped = backlog.pop_dropped()
    kept = drained(backlog)
    assert size == sum(message.size for message in kept)
    assert size <= max_bytes
    assert len(kept) + (dropped.count if dropped else 0) == len(messages)


@given(st.lists(st.sampled_from([LINE, STATUS, REPLY]), min_size=1), st.integers(0, 9000))
def test_batches_are_in_order_and_no_longer_than_they_must_be(
    messages: list[Message], max_bytes: int
) -> None:
    backlog = filled(10**6, *messages)
    batches = []
    while batch := backlog.pop_many(max_bytes):
        batches.append(batch)
        assert backlog.held_bytes == sum(m.size for m in messages) - sum(
            m.size for batch in batches for m in batch
        )
    assert [message for batch in batches for message in batch] == messages
    for batch in batches:
        assert sum(message.size for message in batch[:-1]) < max(max_bytes, 1)
    for batch in batches[:-1]:
        assert sum(message.size for message in batch) >= max_bytes


def test_the_bound_holds_again_once_the_large_one_went_in_a_batch() -> None:
    large = KERNEL.stream("z" * 9000, CELL)
    backlog = filled(4000, LINE, large)
    assert backlog.pop_many(10**6) == [LINE, large]
    for _ in range(50):
        backlog.append(LINE)
    assert backlog.held_bytes <= 4000


def test_two_messages_above_the_bound_are_kept_if_the_larger_came_first() -> None:
    larger, large = KERNEL.stream("x" * 30_000, CELL), KERNEL.stream("x" * 20_000, CELL)
    assert drained(filled(9999, larger, LINE, large)) == [larger, large]


def test_a_backlog_over_half_full_is_known() -> None:
    backlog = filled(4 * LINE.size, LINE, LINE)
    assert not backlog.over_half_full
    backlog.append(LINE)
    assert backlog.over_half_full
