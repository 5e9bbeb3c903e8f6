"""What a reopened link has to find out, apart from the link."""

from __future__ import annotations

import pytest

from jupyter_relay.link.numbering import Numbering
from jupyter_relay.link.pending import Pending, Request
from jupyter_relay.link.recovery import Loss, Missed, Recovery
from jupyter_relay.wire.message import Channel, Message
from tests.support.messages import request


def under_way(*messages: Message) -> list[Request]:
    pending = Pending()
    for message in messages:
        entry = Request.from_message(message, "tab")
        assert entry is not None
        pending.add_request(entry)
    return list(pending)


def barrier(channel: Channel, subshell_id: str | None) -> Message:
    name = f"barrier {channel} {subshell_id or 'main'}"
    return request("kernel_info_request", msg_id=name, channel=channel, subshell_id=subshell_id)


def numbered(high: int) -> Numbering:
    numbering = Numbering()
    output(numbering, high, identifies=True)
    return numbering


def output(numbering: Numbering, *numbers: int, identifies: bool = False) -> None:
    for number in numbers:
        numbering.record(f"k_1_{number}", Channel.IOPUB, identifies=identifies)


def replied(numbering: Numbering, request: Request, number: int) -> None:
    numbering.record(f"k_1_{number}", Channel.SHELL, identifies=False)
    request.seen = request.replied = True
    request.answered = number


def test_reopen_without_pending_requests_returns_no_barrier() -> None:
    recovery = Recovery(numbered(5))
    recovery.begin_gap([])
    assert recovery.reopen([], 1.0, barrier) == []


def test_barrier_passes_with_its_reply_and_its_idle_status() -> None:
    recovery = Recovery(numbered(5))
    cells = under_way(request())
    recovery.begin_gap(cells)
    (sent,) = recovery.reopen(cells, 2.0, barrier)
    name = sent.head.msg_id
    assert recovery.has_barrier(name)
    assert recovery.barrier_replied(name, 7) is None
    passed = recovery.barrier_ended(name, 8)
    assert passed is not None
    assert [missed.request for missed in passed.unfinished] == cells
    assert (passed.seconds, passed.whole) == (2.0, True)
    assert not recovery.has_barrier(name)


def test_barrier_on_control_passes_without_an_idle_status() -> None:
    recovery = Recovery(numbered(5))
    asked = under_way(request("debug_request", channel=Channel.CONTROL))
    recovery.begin_gap(asked)
    (sent,) = recovery.reopen(asked, 2.0, barrier)
    assert recovery.barrier_replied(sent.head.msg_id, 6) is not None


def test_second_drop_keeps_the_gap_and_the_sent_barrier() -> None:
    numbering = numbered(5)
    recovery = Recovery(numbering)
    cells = under_way(request())
    recovery.begin_gap(cells)
    (sent,) = recovery.reopen(cells, 2.0, barrier)
    recovery.mark_sent(sent.head.msg_id)
    output(numbering, 8)
    recovery.begin_gap(cells)
    assert recovery.has_barrier(sent.head.msg_id)
    recovery.reopen(cells, 3.0, barrier)
    cells[0].replied = True
    output(numbering, 9)
    assert recovery.request_ended(cells[0], 9) == [Missed(cells[0], Loss(2, 5.0))]


def test_second_drop_removes_a_barrier_that_was_not_sent() -> None:
    recovery = Recovery(numbered(5))
    cells = under_way(request())
    recovery.begin_gap(cells)
    (sent,) = recovery.reopen(cells, 2.0, barrier)
    recovery.begin_gap(cells)
    assert not recovery.has_barrier(sent.head.msg_id)


def test_request_ended_of_a_request_outside_the_gap_is_no_loss() -> None:
    recovery = Recovery(numbered(5))
    recovery.begin_gap(under_way(request()))
    assert recovery.request_ended(under_way(request())[0], None) == []


def test_request_ended_counts_output_that_the_reply_had_overtaken() -> None:
    numbering = numbered(1)
    (cell,) = cells = under_way(request())
    cell.began = 2
    output(numbering, 2, 3)
    replied(numbering, cell, 7)
    recovery = Recovery(numbering)
    recovery.begin_gap(cells)
    recovery.reopen(cells, 1.0, barrier)
    output(numbering, 8)
    assert recovery.request_ended(cell, 8) == [Missed(cell, Loss(3, 1.0))]


def test_request_ended_counts_each_cells_own_numbers() -> None:
    numbering = numbered(10)
    cells = under_way(*(request() for _ in range(5)))
    first, second, third, fourth, fifth = cells
    recovery = Recovery(numbering)
    first.began = 10
    replied(numbering, first, 13)  # 11 and 12 are lost, and 14, its idle
    replied(numbering, second, 17)  # 15, its busy, is lost, and 16, and 18, its idle
    recovery.begin_gap(cells)
    recovery.reopen(cells, 1.0, barrier)
    replied(numbering, third, 21)  # 19 is lost, and 20 comes
    output(numbering, 20, 22, 23)
    fourth.began = 23
    assert recovery.request_ended(third, 22) == [
        Missed(first, Loss(2, 1.0)),
        Missed(second, Loss(2, 1.0)),
        Missed(third, Loss(1, 1.0)),
    ]
    for over in (first, second, third):
        over.ended = True
    replied(numbering, fourth, 24)
    output(numbering, 25, 26)
    assert recovery.request_ended(fourth, 25) == [Missed(fourth, None)]
    fourth.ended = True
    fifth.began = 26
    replied(numbering, fifth, 27)
    output(numbering, 28)
    assert recovery.request_ended(fifth, 28) == [Missed(fifth, None)]


def test_loss_of_a_kernel_never_heard_has_no_count() -> None:
    recovery = Recovery(Numbering())
    cells = under_way(request())
    recovery.begin_gap(cells)
    (sent,) = recovery.reopen(cells, 1.0, barrier)
    recovery.barrier_replied(sent.head.msg_id, 7)
    passed = recovery.barrier_ended(sent.head.msg_id, 8)
    assert passed is not None
    assert passed.unfinished == [Missed(cells[0], Loss(None, 1.0))]
    assert not passed.whole


def test_reset_leaves_no_gap_and_no_barrier() -> None:
    recovery = Recovery(numbered(5))
    cells = under_way(request())
    recovery.begin_gap(cells)
    (sent,) = recovery.reopen(cells, 1.0, barrier)
    assert recovery.requests_before(sent.head.msg_id) == cells
    recovery.clear()
    assert not recovery.has_barrier(sent.head.msg_id)
    assert len(recovery) == 0


class Watched(Request):
    """A request that counts, for all of its kind, how often something of it is read."""

    reads = 0

    def __getattribute__(self, name: str) -> object:
        Watched.reads += 1
        return super().__getattribute__(name)


@pytest.mark.parametrize("answered", ["all", "every second"])
def test_request_ended_costs_the_same_however_many_are_pending(answered: str) -> None:
    costs = []
    for count in (100, 1600):
        numbering = numbered(1)
        cells = [Watched.from_message(request(), "tab") for _ in range(count)]
        for order, cell in enumerate(cells, start=1):
            assert cell is not None
            cell.order, cell.sent = order, True
        watched = [cell for cell in cells if cell is not None]
        recovery = Recovery(numbering)
        recovery.begin_gap(watched)
        Watched.reads = 0
        for number, cell in enumerate(watched):
            if answered == "all" or number % 2:
                output(numbering, 2 * number + 2)
                recovery.request_ended(cell, 2 * number + 2)
                cell.ended = True
        costs.append(Watched.reads / count)
    few, many = costs
    assert many < 1.2 * few


def test_barrier_of_a_probe_counts_the_loss_of_a_half_done_cell() -> None:
    numbering = numbered(1)
    unnumbered, whole, holed, asked = cells = under_way(*(request() for _ in range(4)))
    recovery = Recovery(numbering)
    unnumbered.replied = True
    output(numbering, 2)
    whole.began = 2
    replied(numbering, whole, 3)
    output(numbering, 5)
    holed.began = 5
    replied(numbering, holed, 8)
    (sent,) = recovery.probe(cells, barrier)
    assert recovery.barrier_replied(sent.head.msg_id, 9) is None
    passed = recovery.barrier_ended(sent.head.msg_id, 10)
    assert passed is not None
    assert passed.unfinished == [
        Missed(unnumbered, Loss(None, 0.0)),
        Missed(whole, None),
        Missed(holed, Loss(2, 0.0)),
    ]
    assert not asked.replied


def test_barrier_behind_cells_without_idle_counts_the_loss_of_each() -> None:
    numbering = numbered(1)
    first, second = cells = under_way(request(), request())
    recovery = Recovery(numbering)
    recovery.begin_gap(cells)
    (sent,) = recovery.reopen(cells, 1.0, barrier)
    output(numbering, 2)
    first.began = 2
    replied(numbering, first, 5)  # 3 and 4 are lost, and 6, its idle
    output(numbering, 7)
    second.began = 7
    replied(numbering, second, 9)  # 8 is lost, and 10, its idle
    numbering.record("k_1_11", Channel.SHELL, identifies=False)
    assert recovery.barrier_replied(sent.head.msg_id, 11) is None
    output(numbering, 12)
    passed = recovery.barrier_ended(sent.head.msg_id, 12)
    assert passed is not None
    assert passed.unfinished == [Missed(first, Loss(2, 1.0)), Missed(second, Loss(1, 1.0))]


def test_request_ended_includes_an_earlier_cell_with_a_late_reply() -> None:
    numbering = numbered(1)
    first, second, third = cells = under_way(*(request() for _ in range(3)))
    recovery = Recovery(numbering)
    recovery.begin_gap(cells)
    recovery.reopen(cells, 1.0, barrier)
    replied(numbering, second, 6)
    output(numbering, 7)
    recovery.request_ended(second, 7)
    second.ended = True
    replied(numbering, first, 4)
    recovery.request_replied(first)
    replied(numbering, third, 9)
    output(numbering, 10)
    assert [missed.request for missed in recovery.request_ended(third, 10)] == [first, third]


def test_passed_barriers_are_bounded() -> None:
    recovery = Recovery(numbered(1))
    cells = under_way(request())
    for number in range(200):

        def named(channel: Channel, subshell_id: str | None, number: int = number) -> Message:
            return request("kernel_info_request", msg_id=f"barrier {number}", channel=channel)

        (sent,) = recovery.probe(cells, named)
        recovery.barrier_replied(sent.head.msg_id, None)
        assert recovery.barrier_ended(sent.head.msg_id, None) is not None
    assert recovery.had_barrier("barrier 199")
    assert not recovery.had_barrier("barrier 0")
