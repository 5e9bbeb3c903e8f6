"""Rules 4 and 5 of a link: no cell is silent, and gaps are seen."""

from __future__ import annotations

import pytest

from jupyter_relay.link.actions import Happening, Timer
from jupyter_relay.testing import read_content
from jupyter_relay.wire.message import Channel, Message
from tests.link.rig import UPSTREAM, Rig, connected
from tests.support.messages import (
    Voice,
    failures,
    gateway_status,
    notices,
    request,
    types,
)

ANSWERED = ["status:busy", "execute_reply", "status:idle"]
FAILURE = ["error", "execute_reply", "status:idle"]


def known(kernel: Voice) -> Rig:
    """A link whose kernel has answered, so that its numbers are known."""
    rig = connected()
    rig.hear(*kernel.answer(rig.send()))
    return rig


def outage(rig: Rig, seconds: float = 5.0) -> None:
    rig.drop()
    rig.reopen(seconds)


def pass_barriers(rig: Rig, kernel: Voice) -> None:
    for barrier in rig.barriers[-2:]:
        rig.hear(*kernel.answer(barrier))


# Rule 4: no silent cell.


def test_request_that_never_arrived_is_answered_so() -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    outage(rig)
    pass_barriers(rig, kernel)
    assert types(rig.heard_of(asked)) == FAILURE
    assert failures(rig.heard()) == [
        "The connection to gpu was down for 5.0 s: this never reached the kernel."
    ]
    assert notices(rig.heard()) == []


def test_request_whose_result_was_lost_is_answered_so() -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    rig.hear(kernel.status("busy", asked))
    rig.drop()
    kernel.answer(asked)
    rig.reopen()
    pass_barriers(rig, kernel)
    assert failures(rig.heard())[0].endswith("this ran, but its result was lost.")
    assert len(notices(rig.heard_of(asked))) == 1


def test_request_of_unknown_fate_is_answered_so() -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    rig.drop()
    kernel.answer(asked)
    rig.reopen()
    pass_barriers(rig, kernel)
    assert failures(rig.heard())[0].endswith("this may have run, and its result was lost.")


def test_request_to_a_kernel_without_numbers_may_have_run() -> None:
    kernel = Voice(numbered=False)
    rig = known(kernel)
    rig.send()
    outage(rig)
    pass_barriers(rig, kernel)
    assert failures(rig.heard())[0].endswith("this may have run, and its result was lost.")


def test_request_may_have_run_if_the_loss_was_reported_in_another_cell() -> None:
    kernel = Voice()
    rig = known(kernel)
    ran, survived = rig.send(), rig.send()
    rig.drop()
    kernel.answer(ran)
    rig.reopen()
    rig.hear(*kernel.answer(survived))
    pass_barriers(rig, kernel)
    assert types(rig.heard_of(ran)) == FAILURE
    assert failures(rig.heard_of(ran))[0].endswith("this may have run, and its result was lost.")


def test_request_may_have_run_if_another_lane_has_counted_the_loss() -> None:
    kernel = Voice()
    rig = known(kernel)
    cell = rig.send()
    control = rig.send(request("debug_request", {}, channel=Channel.CONTROL))
    rig.drop()
    kernel.answer(cell)
    kernel.answer(control)
    rig.reopen()
    pass_barriers(rig, kernel)
    for asked in (cell, control):
        assert failures(rig.heard_of(asked))[0].endswith("may have run, and its result was lost.")


def test_answer_that_the_gateway_kept_is_delivered_and_none_is_written() -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    rig.drop()
    kept = kernel.answer(asked)
    rig.reopen()
    rig.hear(*kept)
    pass_barriers(rig, kernel)
    assert types(rig.heard_of(asked)) == ANSWERED


@pytest.mark.parametrize("lost", [0, 2])
def test_reply_without_its_idle_gets_it_and_a_notice_of_other_losses(lost: int) -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    rig.hear(kernel.status("busy", asked))
    kernel.lose(lost)
    rig.hear(kernel.reply(asked))
    rig.drop()
    kernel.lose()  # the idle
    rig.reopen()
    pass_barriers(rig, kernel)
    notice = ["stream"] if lost else []
    assert types(rig.heard_of(asked)) == [*ANSWERED[:2], *notice, ANSWERED[2]]
    assert [f"up to {lost} messages" in text for text in notices(rig.heard())] == [True] * (
        lost // 2
    )


def test_idle_status_without_its_reply_gets_a_reply() -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    busy, _, idle = kernel.answer(asked)
    rig.hear(busy, idle)
    outage(rig)
    pass_barriers(rig, kernel)
    assert failures(rig.heard_of(asked))[0].endswith("this ran, but its result was lost.")


def test_running_cell_is_waited_for() -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    outage(rig)
    assert rig.heard_of(asked) == []
    rig.hear(*kernel.answer(asked))
    pass_barriers(rig, kernel)
    assert types(rig.heard_of(asked)) == ANSWERED


@pytest.mark.parametrize("reply_first", [True, False])
def test_barrier_on_the_shell_needs_its_reply_and_its_idle_status(reply_first: bool) -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    outage(rig)
    busy, reply, idle = kernel.answer(rig.barriers[0])
    rig.hear(busy, *((reply,) if reply_first else (idle,)))
    assert rig.heard_of(asked) == []
    rig.hear(*((idle,) if reply_first else (reply,)))
    assert types(rig.heard_of(asked)) == FAILURE


def test_held_request_is_not_finished_by_the_barrier_before_it() -> None:
    kernel = Voice()
    rig = known(kernel)
    rig.send()
    rig.drop()
    held = rig.send()
    rig.reopen()
    pass_barriers(rig, kernel)
    assert rig.heard_of(held) == []


def test_barrier_is_sent_on_each_lane() -> None:
    kernel = Voice()
    rig = known(kernel)
    rig.send()
    control = rig.send(request("interrupt_request", {}, channel=Channel.CONTROL))
    side = rig.send(request(subshell_id="side"))
    outage(rig)
    lanes = {(m.channel, m.head.subshell_id): m for m in rig.barriers}
    assert set(lanes) == {
        (Channel.SHELL, None),
        (Channel.SHELL, "side"),
        (Channel.CONTROL, None),
    }
    rig.hear(kernel.reply(lanes[Channel.CONTROL, None]))  # some kernels give no status there
    assert types(rig.heard_of(control)) == ["interrupt_reply", "status:idle"]
    rig.hear(*kernel.answer(lanes[Channel.SHELL, "side"]))
    assert types(rig.heard_of(side)) == FAILURE


def test_barrier_for_a_subshell_brings_one_for_the_shell_which_detects_a_restart() -> None:
    kernel = Voice()
    rig = known(kernel)
    side = rig.send(request(subshell_id="side"))
    outage(rig)
    (shell,) = (m for m in rig.barriers if m.head.subshell_id is None)
    rig.hear(*Voice("kernel-2", 72).answer(shell))
    assert "restarted" in failures(rig.heard_of(side))[0]


def test_quiet_lane_does_not_hide_the_loss_of_a_running_one() -> None:
    kernel = Voice()
    rig = known(kernel)
    side = rig.send(request(subshell_id="side"))
    rig.hear(kernel.status("busy", side))
    rig.drop()
    kernel.lose(4)
    rig.reopen()
    (shell,) = (m for m in rig.barriers if m.head.subshell_id is None)
    rig.hear(*kernel.answer(shell))
    rig.hear(*kernel.answer(side))
    assert "up to 4 messages" in notices(rig.heard_of(side))[0]


def test_answers_to_a_barrier_are_not_delivered() -> None:
    kernel = Voice()
    rig = known(kernel)
    rig.send()
    outage(rig)
    before = len(rig.delivered)
    barrier = rig.barriers[0]
    rig.hear(kernel.status("busy", barrier), kernel.stream("banner", barrier))
    rig.hear(kernel.reply(barrier))
    assert rig.delivered[before:] == []


def test_barrier_from_before_another_outage_still_counts() -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    outage(rig)
    first, between = rig.barriers[0], rig.send()
    outage(rig)
    rig.hear(*kernel.answer(first))
    assert types(rig.heard_of(asked)) == FAILURE
    assert rig.heard_of(between) == []
    rig.hear(*kernel.answer(rig.barriers[-1]))
    assert types(rig.heard_of(between)) == FAILURE


def test_barrier_whose_answer_was_lost_is_removed_with_the_next() -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    outage(rig)
    first = rig.barriers[0]
    kernel.answer(first)
    outage(rig)
    rig.hear(*kernel.answer(rig.barriers[-1]))
    assert types(rig.heard_of(asked))[1:] == FAILURE
    before = len(rig.delivered)
    rig.hear(*kernel.answer(first))
    assert rig.delivered[before:] == []


def test_flapping_link_keeps_few_barriers_and_answers() -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    for _ in range(200):
        outage(rig)
    rig.hear(*kernel.answer(rig.barriers[-1]))
    assert types(rig.heard_of(asked)) == FAILURE


def test_barrier_that_no_socket_took_is_not_sent_by_the_next() -> None:
    kernel = Voice()
    rig = known(kernel)
    rig.send()
    rig.writable = False
    for _ in range(3):
        outage(rig)
    rig.writable = True
    rig.flush()
    assert len(rig.barriers) == 1


def test_no_barrier_is_sent_without_pending_requests() -> None:
    kernel = Voice()
    rig = known(kernel)
    outage(rig)
    assert rig.barriers == []


def test_late_reply_to_an_answered_request_is_not_delivered() -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    outage(rig)
    pass_barriers(rig, kernel)
    rig.hear(kernel.reply(asked))
    assert types(rig.heard_of(asked)) == FAILURE


# Rule 5: gaps are seen.


def test_lost_output_is_counted_in_a_notice_before_the_cells_idle() -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    rig.hear(kernel.status("busy", asked))
    rig.drop()
    kernel.lose(3)
    rig.reopen(seconds=2.5)
    rig.hear(kernel.stream("on", asked), kernel.reply(asked), kernel.status("idle", asked))
    assert types(rig.heard_of(asked)) == [
        "status:busy",
        "stream",
        "execute_reply",
        "stream",
        "status:idle",
    ]
    assert notices(rig.heard_of(asked)) == [
        "[Jupyter Relay] up to 3 messages were lost while the connection to gpu was down (2.5 s).\n"
    ]
    assert rig.reports[-1].happening is Happening.LOST
    assert rig.reports[-1].count == 3


def test_notice_of_one_lost_message_is_in_the_singular() -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    rig.hear(kernel.status("busy", asked))
    rig.drop()
    kernel.lose()
    rig.reopen()
    rig.hear(*kernel.answer(asked))
    assert "up to 1 message was lost" in notices(rig.heard())[0]


def test_no_loss_is_no_notice() -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    outage(rig)
    rig.hear(*kernel.answer(asked))
    pass_barriers(rig, kernel)
    assert notices(rig.heard()) == []


def test_channels_that_overtake_one_another_are_no_loss() -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    outage(rig)
    busy, reply, idle = kernel.answer(asked)
    rig.hear(busy, idle, reply)
    pass_barriers(rig, kernel)
    assert notices(rig.heard()) == []


def test_holes_from_before_the_outage_do_not_count() -> None:
    kernel = Voice()
    rig = known(kernel)
    kernel.lose(5)  # replies to other clients
    asked = rig.send()
    rig.hear(kernel.status("busy", asked))
    outage(rig)
    rig.hear(kernel.reply(asked), kernel.status("idle", asked))
    assert notices(rig.heard()) == []


def test_replies_to_other_clients_count_as_possible_losses() -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    rig.hear(kernel.status("busy", asked))
    rig.drop()
    kernel.lose(2)
    rig.reopen()
    rig.hear(*kernel.answer(asked))
    assert "up to 2 messages" in notices(rig.heard_of(asked))[0]


def test_reply_to_the_gateways_own_request_is_no_loss() -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    rig.drop()
    rig.reopen()
    nudge = request("kernel_info_request", {}, session=UPSTREAM)
    rig.hear(kernel.status("busy", nudge))
    kernel.lose()  # its reply went to the gateway
    rig.hear(kernel.status("idle", nudge))
    pass_barriers(rig, kernel)
    assert failures(rig.heard_of(asked))[0].endswith("this never reached the kernel.")
    assert notices(rig.heard()) == []


def test_loss_is_reported_once_and_not_in_the_next_cells() -> None:
    kernel = Voice()
    rig = known(kernel)
    running, queued = rig.send(), rig.send()
    rig.hear(kernel.status("busy", running))
    rig.drop()
    kernel.lose(3)
    rig.reopen()
    rig.hear(*kernel.answer(running), *kernel.answer(queued))
    pass_barriers(rig, kernel)
    assert len(notices(rig.heard_of(running))) == 1
    assert len(notices(rig.heard())) == 1


@pytest.mark.parametrize("cells", [1, 3])
def test_notice_without_numbers_is_in_one_cell_and_has_no_count(cells: int) -> None:
    kernel = Voice(numbered=False)
    rig = known(kernel)
    asked = [rig.send() for _ in range(cells)]
    outage(rig)
    for cell in asked:
        rig.hear(*kernel.answer(cell))
    pass_barriers(rig, kernel)
    assert notices(rig.heard()) == notices(rig.heard_of(asked[0]))
    (text,) = notices(rig.heard())
    assert "messages may have been lost while the connection to gpu was down (5.0 s)" in text
    assert rig.reports[-1].count is None


def test_messages_of_the_gateways_own_are_not_counted() -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    outage(rig)
    # Of a gateway's Session: its number would leave 900,000 holes.
    rig.hear(gateway_status("busy", UPSTREAM, asked.header))
    rig.hear(*kernel.answer(asked))
    pass_barriers(rig, kernel)
    assert notices(rig.heard()) == []


def test_numbers_of_forked_children_are_not_counted() -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    outage(rig)
    child = Voice(kernel.session, kernel.pid + 1)
    child.lose(500)
    rig.hear(child.stream("from a fork", asked))
    rig.hear(*kernel.answer(asked))
    assert notices(rig.heard()) == []


def test_outages_in_a_row_are_one_gap() -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    rig.hear(kernel.status("busy", asked))
    for _ in range(2):
        rig.drop()
        kernel.lose(2)
        rig.reopen(seconds=3)
    rig.hear(kernel.reply(asked), kernel.status("idle", asked))
    (notice,) = notices(rig.heard())
    assert "up to 4 messages were lost" in notice
    assert "6.0 s" in notice


def test_failed_try_is_part_of_the_same_outage() -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    rig.hear(kernel.status("busy", asked))
    rig.drop()
    rig.wait(4)
    rig.fire(Timer.RETRY)
    rig.drop("refused.")
    kernel.lose(2)
    rig.reopen(seconds=4)
    rig.hear(*kernel.answer(asked))
    assert "8.0 s" in notices(rig.heard())[0]


def test_message_ids_of_any_form_are_accepted() -> None:
    rig = connected()
    asked = rig.send()
    for msg_id in ("", "_", "a_1_" + "9" * 5000, "a_1_-3", "a_b_٣"):
        odd = Message(
            channel=Channel.SHELL,
            header=b'{"msg_id": "%s", "msg_type": "x", "session": "a"}' % msg_id.encode(),
            parent_header=asked.header,
        )
        rig.hear(odd)
    assert rig.link.inbound.restarts == 0


def test_failure_has_the_form_of_the_messaging_protocol() -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    outage(rig)
    pass_barriers(rig, kernel)
    error, reply, idle = rig.heard_of(asked)
    assert (error.channel, reply.channel, idle.channel) == (
        Channel.IOPUB,
        Channel.SHELL,
        Channel.IOPUB,
    )
    content = read_content(reply)
    assert content["status"] == "error"
    assert content["traceback"] == [content["evalue"]]
    assert [to for to, message in rig.delivered if message is reply] == ["tab"]


# Replies overtake the output before them, and cells wait in a row.


def test_lost_output_that_the_reply_had_overtaken_is_counted() -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    rig.hear(kernel.status("busy", asked), kernel.say(Channel.IOPUB, "execute_input", {}, asked))
    kernel.lose(3)
    rig.hear(kernel.reply(asked))
    outage(rig)
    rig.hear(kernel.status("idle", asked))
    (notice,) = notices(rig.heard_of(asked))
    assert "up to 3 messages were lost" in notice


def test_output_overtaken_by_its_reply_that_comes_after_the_cut_is_no_loss() -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    rig.hear(kernel.status("busy", asked))
    late = [kernel.stream("1", asked), kernel.stream("2", asked)]
    rig.hear(kernel.reply(asked))
    outage(rig)
    rig.hear(*late, kernel.status("idle", asked))
    assert notices(rig.heard()) == []


def test_lost_output_that_replies_of_other_lanes_had_overtaken_is_counted() -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    aside = rig.send(request("debug_request", {}, channel=Channel.CONTROL))
    rig.hear(kernel.status("busy", asked))
    kernel.lose(2)
    rig.hear(kernel.reply(aside))
    outage(rig)
    rig.hear(kernel.reply(asked), kernel.status("idle", asked))
    (notice,) = notices(rig.heard_of(asked))
    assert "up to 2 messages were lost" in notice


def test_lost_output_that_an_input_request_had_overtaken_is_counted() -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    rig.hear(kernel.status("busy", asked))
    kernel.lose(2)
    rig.hear(kernel.say(Channel.STDIN, "input_request", {"prompt": "?"}, asked))
    outage(rig)
    rig.hear(kernel.reply(asked), kernel.status("idle", asked))
    (notice,) = notices(rig.heard_of(asked))
    assert "up to 2 messages were lost" in notice


def test_output_that_a_passed_barrier_had_overtaken_can_still_be_lost() -> None:
    kernel = Voice()
    rig = known(kernel)
    first, running = rig.send(), rig.send(request(subshell_id="side"))
    rig.hear(kernel.status("busy", running))
    outage(rig)
    for barrier in rig.barriers:
        if barrier.head.subshell_id is None:
            rig.hear(*kernel.answer(barrier))
    assert failures(rig.heard_of(first))
    kernel.lose(2)
    aside = rig.send()
    rig.hear(kernel.reply(aside))
    outage(rig)
    rig.hear(kernel.reply(running), kernel.status("idle", running))
    (notice,) = notices(rig.heard_of(running))
    assert "up to 2 messages were lost" in notice


def test_each_cell_that_lost_output_gets_its_own_count_and_no_other_does() -> None:
    kernel = Voice()
    rig = known(kernel)
    cells = [rig.send() for _ in range(4)]
    kept = []
    for lost, cell in zip((1, 2, 0, 0), cells, strict=True):
        kept.append([kernel.status("busy", cell)])
        kernel.lose(lost)
        kept[-1] += [kernel.reply(cell), kernel.status("idle", cell)]
    rig.hear(kept[0][0], kept[0][1], kept[1][1])  # replies have overtaken all output
    outage(rig)  # and the statuses between the two are lost
    rig.hear(kept[1][2], *kept[2], *kept[3])
    pass_barriers(rig, kernel)
    told = [notices(rig.heard_of(cell)) for cell in cells]
    assert [len(texts) for texts in told] == [1, 1, 0, 0]
    assert "up to 1 message was lost" in told[0][0]
    assert "up to 3 messages were lost" in told[1][0]  # its busy, too
    for cell in cells:
        assert types(rig.heard_of(cell)).count("status:idle") == 1


def test_cells_without_idle_end_with_the_next_that_does() -> None:
    kernel = Voice()
    rig = known(kernel)
    lost, last = rig.send(), rig.send()
    rig.hear(kernel.status("busy", lost))
    kernel.lose(5)
    rig.hear(kernel.reply(lost))
    rig.drop()
    kernel.lose()
    rig.reopen()
    rig.hear(*kernel.answer(last))
    assert types(rig.heard_of(lost)) == [*ANSWERED[:2], "stream", ANSWERED[2]]
    assert types(rig.heard_of(last)) == ANSWERED


def test_cell_replied_after_the_idle_of_a_later_one_gets_a_notice() -> None:
    kernel = Voice()
    rig = known(kernel)
    overtaken, later = rig.send(), rig.send()
    kernel.status("busy", overtaken)
    kernel.lose(2)
    late_reply = kernel.reply(overtaken)
    kernel.status("idle", overtaken)
    outage(rig)
    rig.hear(*kernel.answer(later), late_reply)
    pass_barriers(rig, kernel)
    assert "may have been lost" in notices(rig.heard_of(overtaken))[0]
    assert types(rig.heard_of(overtaken)) == ["execute_reply", "stream", "status:idle"]


def test_cell_that_has_begun_gets_a_notice_though_earlier_replies_are_missing() -> None:
    kernel = Voice()
    rig = known(kernel)
    waiting, cell = rig.send(), rig.send()
    rig.hear(kernel.status("busy", waiting))
    late_reply = kernel.reply(waiting)
    outage(rig)
    kernel.status("idle", waiting)
    rig.hear(kernel.status("busy", cell))
    kernel.lose()
    rig.hear(kernel.reply(cell), kernel.status("idle", cell))
    assert "up to 1 message was lost" in notices(rig.heard_of(cell))[0]
    rig.hear(late_reply)


def test_line_lost_before_the_idle_of_the_gateways_own_request_is_reported() -> None:
    kernel = Voice()
    rig = known(kernel)
    cell = rig.send()
    nudge = request("kernel_info_request", {}, session=UPSTREAM, channel=Channel.CONTROL)
    outage(rig)
    rig.hear(kernel.status("busy", nudge))
    kernel.lose()  # the reply, which the gateway keeps
    rig.hear(kernel.status("busy", cell))
    kernel.lose()  # a line of the cell
    rig.hear(kernel.status("idle", nudge), kernel.reply(cell), kernel.status("idle", cell))
    assert "up to 1 message was lost" in notices(rig.heard_of(cell))[0]


def test_cell_on_control_whose_reply_overtook_its_lost_line_gets_a_notice() -> None:
    kernel = Voice()
    rig = known(kernel)
    cell = rig.send(request(channel=Channel.CONTROL))
    rig.hear(kernel.status("busy", cell))
    kernel.lose()
    rig.hear(kernel.reply(cell))
    late_idle = kernel.status("idle", cell)
    outage(rig)
    rig.hear(kernel.reply(rig.barriers[-1]), late_idle)
    assert "may have been lost" in notices(rig.heard_of(cell))[0]


def test_cells_whose_replies_were_lost_have_the_loss_in_their_errors() -> None:
    kernel = Voice()
    rig = known(kernel)
    cells = [rig.send() for _ in range(3)]
    rig.hear(kernel.status("busy", cells[0]))
    rig.drop()
    kernel.lose(9)
    rig.reopen()
    pass_barriers(rig, kernel)
    assert all(len(failures(rig.heard_of(cell))) == 1 for cell in cells)
    assert [len(notices(rig.heard_of(cell))) for cell in cells] == [1, 0, 0]


def test_loss_in_two_lanes_at_once_is_counted_once_and_noticed_in_both() -> None:
    kernel = Voice()
    rig = known(kernel)
    main, side = rig.send(), rig.send(request(subshell_id="side"))
    rig.hear(kernel.status("busy", main), kernel.status("busy", side))
    rig.drop()
    kernel.lose(3)
    rig.reopen()
    rig.hear(kernel.reply(main), kernel.status("idle", main))
    rig.hear(kernel.reply(side), kernel.status("idle", side))
    (counted,) = notices(rig.heard_of(main))
    (uncounted,) = notices(rig.heard_of(side))
    assert "up to 3 messages were lost" in counted
    assert "messages may have been lost" in uncounted


def test_idle_of_another_request_does_not_hide_a_cells_loss() -> None:
    kernel = Voice()
    rig = known(kernel)
    running = rig.send()
    aside = rig.send(request("debug_request", {}, channel=Channel.CONTROL))
    rig.hear(kernel.status("busy", running), kernel.status("busy", aside))
    rig.drop()
    kernel.lose(3)
    rig.reopen()
    rig.hear(kernel.reply(aside), kernel.status("idle", aside))
    rig.hear(kernel.reply(running), kernel.status("idle", running))
    assert notices(rig.heard_of(aside)) == []
    assert len(notices(rig.heard_of(running))) == 1


def test_control_request_whose_reply_was_overtaken_may_have_run() -> None:
    kernel = Voice()
    rig = known(kernel)
    running = rig.send()
    aside = rig.send(request("debug_request", {}, channel=Channel.CONTROL))
    rig.hear(kernel.status("busy", running))
    kernel.lose()  # its reply, on its way
    rig.hear(kernel.stream("1", running))
    outage(rig)
    for barrier in rig.barriers:
        if barrier.channel is Channel.CONTROL:
            rig.hear(kernel.reply(barrier))
    (text,) = failures(rig.heard_of(aside))
    assert text.endswith("this may have run, and its result was lost.")


@pytest.mark.parametrize("cuts", [1, 2])
def test_notice_without_numbers_is_in_each_cell_without_idle(cuts: int) -> None:
    kernel = Voice(numbered=False)
    rig = known(kernel)
    first, second, third, fourth = (rig.send() for _ in range(4))
    rig.hear(kernel.status("busy", first), kernel.reply(first))
    outage(rig)  # and the idle of the first was lost, and the beginning of the second
    rig.hear(kernel.reply(second), kernel.status("idle", second))
    if cuts == 2:
        outage(rig)
    rig.hear(*kernel.answer(third), *kernel.answer(fourth))
    pass_barriers(rig, kernel)
    told = [len(notices(rig.heard_of(cell))) for cell in (first, second, third, fourth)]
    assert told == [1, 1, cuts - 1, 0]


def test_replayed_message_is_not_delivered_twice() -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    said = [kernel.status("busy", asked), kernel.stream("1", asked), kernel.reply(asked)]
    rig.hear(*said)
    outage(rig)
    rest = [kernel.stream("2", asked), kernel.status("idle", asked)]
    rig.hear(*said, *rest)
    outage(rig)
    rig.hear(*rest)
    assert types(rig.heard_of(asked)) == [
        "status:busy",
        "stream",
        "execute_reply",
        "stream",
        "status:idle",
    ]
    assert notices(rig.heard()) == []


def test_gateways_own_question_beside_a_printing_cell_is_no_loss() -> None:
    kernel = Voice()
    rig = known(kernel)
    cell = rig.send()
    nudge = request("kernel_info_request", {}, session=UPSTREAM, channel=Channel.CONTROL)
    rig.hear(kernel.status("busy", cell))
    outage(rig)
    rig.hear(kernel.status("busy", nudge), kernel.stream("1", cell))
    kernel.lose()  # the reply, which the gateway keeps
    rig.hear(kernel.stream("2", cell), kernel.status("idle", nudge))
    rig.hear(kernel.reply(cell), kernel.status("idle", cell))
    assert notices(rig.heard_of(cell)) == []


def test_cell_whose_loss_was_counted_in_a_later_one_is_told_without_a_count() -> None:
    kernel = Voice()
    rig = known(kernel)
    first, second, third = (rig.send() for _ in range(3))
    rig.hear(kernel.status("busy", first))
    kernel.lose(5)  # two lines, the reply and the idle status, and the second one's busy
    line = kernel.stream("2", second)
    kernel.lose()  # its reply
    second_idle = kernel.status("idle", second)
    outage(rig)
    rig.hear(line, second_idle, kernel.status("busy", third))
    kernel.lose()  # its reply
    rig.hear(kernel.status("idle", third))
    pass_barriers(rig, kernel)
    assert "up to 4 messages" in notices(rig.heard_of(second))[0]
    assert "] messages may have been lost" in notices(rig.heard_of(first))[0]
