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


def test_backlog_below_its_bound_keeps_all_in_order() -> None:
    backlog = filled(9999, LINE, REPLY, STATUS)
    assert drained(backlog) == [LINE, REPLY, STATUS]
    assert backlog.pop_dropped() is None
    assert backlog.held_bytes == 0


def test_full_backlog_drops_stream_output_first_and_counts_it() -> None:
    backlog = filled(LINE.size * 8, *[LINE] * 6, REPLY, STATUS, LINE, LINE)
    dropped = backlog.pop_dropped()
    assert dropped is not None
    kept = drained(backlog)
    assert kept.count(LINE) == 8 - dropped.count
    assert REPLY in kept
    assert STATUS in kept
    assert dropped.parent_header == CELL.header
    assert backlog.pop_dropped() is None


def test_full_backlog_drops_the_oldest_first() -> None:
    lines = [KERNEL.stream(f"{number:050}", CELL) for number in range(9)]
    kept = drained(filled(lines[0].size * 8, *lines))
    assert kept == lines[-len(kept) :]


def test_full_backlog_drops_other_output_before_replies_and_statuses() -> None:
    picture = KERNEL.say(LINE.channel, "display_data", {"data": "y" * 2000}, CELL)
    kept = drained(filled(8000, picture, REPLY, STATUS, picture))
    assert types(kept) == ["execute_reply", "status:idle", "display_data"]


def test_full_backlog_keeps_replies_in_a_flood_of_output() -> None:
    kept = drained(filled(20_000, REPLY, STATUS, *[LINE] * 500))
    assert kept[:2] == [REPLY, STATUS]


def test_backlog_is_bounded_in_a_flood_of_replies() -> None:
    backlog = filled(20_000, *[REPLY] * 500)
    assert backlog.held_bytes <= 20_000
    assert (dropped := backlog.pop_dropped()) is not None
    assert dropped.count == 500 - len(backlog)


def test_backlog_keeps_one_oversized_message_beside_those_within_the_bound() -> None:
    large = KERNEL.stream("z" * 9000, CELL)
    backlog = filled(4000, LINE, large, REPLY)
    assert drained(backlog) == [LINE, large, REPLY]
    assert backlog.pop_dropped() is None


def test_backlog_keeps_one_of_several_oversized_messages() -> None:
    large = [KERNEL.stream(f"{number}" * 9000, CELL) for number in range(3)]
    backlog = filled(4000, REPLY, *large)
    assert drained(backlog) == [REPLY, large[-1]]
    assert (dropped := backlog.pop_dropped()) is not None
    assert dropped.count == 2


def test_backlog_is_bounded_again_once_the_oversized_message_is_popped() -> None:
    large = KERNEL.stream("z" * 9000, CELL)
    backlog = filled(4000, large)
    assert backlog.pop() is large
    for _ in range(50):
        backlog.append(LINE)
    assert backlog.held_bytes <= 4000


def test_dropped_parent_header_does_not_keep_its_frame_alive() -> None:
    seen = Message(
        channel=LINE.channel,
        header=LINE.header,
        parent_header=memoryview(CELL.header),
        content=LINE.content,
    )
    dropped = filled(LINE.size, seen, seen).pop_dropped()
    assert dropped is not None
    assert isinstance(dropped.parent_header, bytes)


def test_backlog_returns_first_what_was_pushed_back() -> None:
    backlog = filled(9999, REPLY)
    backlog.push_back(LINE)
    assert drained(backlog) == [LINE, REPLY]
    assert backlog.held_bytes == 0


@given(st.lists(st.sampled_from([LINE, STATUS, REPLY])), st.integers(2000, 9000))
def test_backlog_is_bounded_and_keeps_or_counts_every_message(
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
def test_pop_many_returns_batches_in_order_and_within_their_size(
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


def test_backlog_is_bounded_again_once_the_oversized_message_went_in_a_batch() -> None:
    large = KERNEL.stream("z" * 9000, CELL)
    backlog = filled(4000, LINE, large)
    assert backlog.pop_many(10**6) == [LINE, large]
    for _ in range(50):
        backlog.append(LINE)
    assert backlog.held_bytes <= 4000


def test_backlog_keeps_two_oversized_messages_if_the_larger_came_first() -> None:
    larger, large = KERNEL.stream("x" * 30_000, CELL), KERNEL.stream("x" * 20_000, CELL)
    assert drained(filled(9999, larger, LINE, large)) == [larger, large]


def test_over_half_full_is_true_above_half_of_the_bound() -> None:
    backlog = filled(4 * LINE.size, LINE, LINE)
    assert not backlog.over_half_full
    backlog.append(LINE)
    assert backlog.over_half_full
