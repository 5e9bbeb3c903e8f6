"""What a reopened link has to find out, apart from the link."""

from __future__ import annotations

from jupyter_relay.core.numbering import Numbering
from jupyter_relay.core.pending import Pending, Request
from jupyter_relay.core.recovery import Loss, Recovery
from jupyter_relay.wire.message import Channel, Message
from tests.support.messages import request


def under_way(*messages: Message) -> list[Request]:
    pending = Pending()
    for message in messages:
        pending.add(message, "tab")
    return list(pending)


def barrier(channel: Channel, subshell_id: str | None) -> Message:
    name = f"barrier {channel} {subshell_id or 'main'}"
    return request("kernel_info_request", msg_id=name, channel=channel, subshell_id=subshell_id)


def numbered(high: int) -> Numbering:
    numbering = Numbering()
    numbering.see(f"k_1_{high}", leads=True)
    return numbering


def test_nothing_under_way_needs_no_barrier() -> None:
    recovery = Recovery(numbered(5))
    recovery.drop([])
    assert recovery.reopen([], 1.0, barrier) == []


def test_a_barrier_has_passed_with_its_reply_and_its_idle() -> None:
    recovery = Recovery(numbered(5))
    cells = under_way(request())
    recovery.drop(cells)
    (sent,) = recovery.reopen(cells, 2.0, barrier)
    name = sent.head.msg_id
    assert recovery.owns(name)
    assert recovery.reply(name, 7) is None
    passed = recovery.idle(name, 8)
    assert passed is not None
    assert (passed.behind, passed.loss, passed.whole) == (cells, Loss(0, 2.0), True)
    assert not recovery.owns(name)


def test_a_control_barrier_needs_no_idle() -> None:
    recovery = Recovery(numbered(5))
    asked = under_way(request("debug_request", channel=Channel.CONTROL))
    recovery.drop(asked)
    (sent,) = recovery.reopen(asked, 2.0, barrier)
    assert recovery.reply(sent.head.msg_id, 6) is not None


def test_another_drop_forgets_the_barriers_and_keeps_the_beginning_of_the_gap() -> None:
    numbering = numbered(5)
    recovery = Recovery(numbering)
    cells = under_way(request())
    recovery.drop(cells)
    (first,) = recovery.reopen(cells, 2.0, barrier)
    numbering.see("k_1_8", leads=False)
    recovery.drop(cells)
    assert not recovery.owns(first.head.msg_id)
    recovery.reopen(cells, 3.0, barrier)
    cells[0].replied = True
    numbering.see("k_1_9", leads=False)
    assert recovery.cell_idle(cells[0], 9) == Loss(2, 5.0)


def test_the_idle_of_a_cell_that_was_not_under_way_tells_nothing() -> None:
    recovery = Recovery(numbered(5))
    recovery.drop(under_way(request()))
    assert recovery.cell_idle(under_way(request())[0], None) is None


def test_a_kernel_never_heard_before_cannot_be_counted() -> None:
    recovery = Recovery(Numbering())
    cells = under_way(request())
    recovery.drop(cells)
    (sent,) = recovery.reopen(cells, 1.0, barrier)
    recovery.reply(sent.head.msg_id, 7)
    passed = recovery.idle(sent.head.msg_id, 8)
    assert passed is not None
    assert (passed.loss.count, passed.whole) == (None, False)


def test_forget_leaves_nothing_to_find_out() -> None:
    recovery = Recovery(numbered(5))
    cells = under_way(request())
    recovery.drop(cells)
    (sent,) = recovery.reopen(cells, 1.0, barrier)
    assert recovery.before == cells
    recovery.forget()
    assert not recovery.owns(sent.head.msg_id)
    assert recovery.before == []
