"""A link whose kernel becomes another process: restarted by us, by its gateway, by somebody."""

from __future__ import annotations

import pytest

from jupyter_relay.link.actions import Happening, Timer
from jupyter_relay.link.table import State
from jupyter_relay.wire.message import Channel
from tests.link.rig import UPSTREAM, Rig, connected
from tests.support.messages import Voice, failures, gateway_status, notices, request, types

ANSWERED = ["status:busy", "execute_reply", "status:idle"]
FAILURE = ["error", "execute_reply", "status:idle"]


def known(kernel: Voice) -> Rig:
    """A link whose kernel has answered, so that it is known."""
    rig = connected()
    rig.hear(*kernel.answer(rig.send()))
    return rig


# Asked by us.


def test_restart_answers_earlier_requests_and_holds_later_ones() -> None:
    rig = known(Voice())
    before = rig.send()
    rig.do(rig.link.pause())
    assert rig.link.state is State.PAUSED
    assert not rig.has_socket
    meanwhile = rig.send()
    assert rig.heard_of(before) == rig.heard_of(meanwhile) == []
    rig.do(rig.link.resume(restarted=True))
    assert failures(rig.heard_of(before)) == ["The kernel was restarted."]
    assert rig.heard_of(meanwhile) == []
    rig.open()
    assert rig.sent[-1] is meanwhile
    rig.hear(*Voice("kernel-2", 72).answer(meanwhile))
    assert types(rig.heard_of(meanwhile)) == ANSWERED
    assert rig.link.inbound.restarts == 1


def test_restart_without_subscribers_leaves_the_socket_closed() -> None:
    rig = Rig()
    rig.do(rig.link.pause())
    rig.do(rig.link.resume(restarted=True))
    assert rig.link.state is State.IDLE


def test_restart_in_an_outage_stops_all_timers_and_connects_anew() -> None:
    rig = known(Voice())
    rig.send()
    rig.drop()
    rig.do(rig.link.pause())
    assert rig.timers == {}
    rig.do(rig.link.resume(restarted=True))
    rig.open()
    assert rig.barriers == []
    assert Happening.OPENED not in rig.happened()


def test_resume_of_an_ended_link_does_nothing() -> None:
    rig = known(Voice())
    rig.do(rig.link.pause())
    rig.do(rig.link.gone("It is no longer there."))
    assert rig.link.resume(restarted=True) == []
    assert rig.link.pause() == []


def test_kept_end_of_a_restarted_cell_is_delivered_once_with_its_output() -> None:
    old = Voice()
    rig = known(old)
    cell = rig.send()
    rig.hear(old.status("busy", cell))
    rig.do(rig.link.pause())
    rig.do(rig.link.resume(restarted=True))
    rig.open()
    error = old.say(Channel.IOPUB, "error", {"ename": "KeyboardInterrupt"}, cell)
    rig.hear(old.stream("kept", cell), error, old.reply(cell), old.status("idle", cell))
    assert types(rig.heard_of(cell)) == ["status:busy", *FAILURE, "stream"]


def test_late_idle_status_is_not_delivered_and_a_late_error_is() -> None:
    old = Voice()
    rig = known(old)
    cell = rig.send()
    rig.hear(old.status("busy", cell), old.reply(cell))
    rig.do(rig.link.pause())
    rig.do(rig.link.resume(restarted=True))
    rig.open()
    error = old.say(Channel.IOPUB, "error", {"ename": "ValueError"}, cell)
    rig.hear(error, old.status("idle", cell))
    assert types(rig.heard_of(cell)).count("status:idle") == 1
    assert types(rig.heard_of(cell))[-1] == "error"


def test_kept_messages_of_the_old_process_are_no_restart() -> None:
    old, new = Voice(), Voice("kernel-2", 72)
    rig = known(old)
    before = rig.send()
    rig.do(rig.link.pause())
    rig.do(rig.link.resume(restarted=True))
    rig.open()
    later = rig.send()
    rig.hear(*old.answer(before))  # from the gateway's buffer
    rig.hear(*new.answer(later))
    assert failures(rig.heard_of(before)) == ["The kernel was restarted."]
    assert types(rig.heard_of(before)).count("execute_reply") == 1
    assert types(rig.heard_of(later)) == ANSWERED
    assert rig.link.inbound.restarts == 1
    assert Happening.RESTARTED not in rig.happened()


# By the gateway.


def test_death_is_delivered_and_answers_sent_requests() -> None:
    rig = known(Voice())
    asked = rig.send()
    before = len(rig.delivered)
    rig.hear(gateway_status("restarting", UPSTREAM))
    assert types(rig.heard(since=before)) == ["status:restarting", *FAILURE]
    assert "The kernel died" in failures(rig.heard_of(asked))[0]
    assert rig.link.inbound.restarts == 1


@pytest.mark.parametrize("fate", ["died", "another process", "barrier"])
def test_request_answered_here_ends_once(fate: str) -> None:
    old, new = Voice(), Voice("kernel-2", 72)
    rig = known(old)
    asked = rig.send()
    rig.hear(old.status("busy", asked))
    if fate == "died":
        rig.hear(gateway_status("restarting", UPSTREAM))
        rig.open()
    elif fate == "another process":
        rig.hear(*new.answer(rig.send()))
    else:
        rig.drop()
        rig.reopen()
        rig.hear(*old.answer(rig.barriers[0]))
    rig.hear(old.say(Channel.IOPUB, "error", {}, asked), *old.answer(asked))
    rest = [word for word in types(rig.heard_of(asked)) if word != "stream"]
    assert rest == ["status:busy", *FAILURE]


def test_request_sent_again_under_its_id_gets_its_answer() -> None:
    rig, kernel = known(Voice()), Voice("kernel-2", 72)
    first = rig.send()
    rig.hear(gateway_status("restarting", UPSTREAM))
    rig.open()
    again = rig.send(request(msg_id=first.head.msg_id))
    rig.hear(*kernel.answer(again))
    assert types(rig.heard_of(again)) == [*FAILURE, *ANSWERED]


def test_death_replaces_the_socket() -> None:
    rig = known(Voice())
    rig.hear(gateway_status("restarting", UPSTREAM))
    assert rig.link.state is State.OPENING
    assert rig.has_socket
    rig.open()
    asked = rig.send()
    rig.hear(*Voice("kernel-2", 72).answer(asked))
    assert types(rig.heard_of(asked)) == ANSWERED
    assert rig.link.inbound.restarts == 1


def test_death_keeps_what_was_not_sent() -> None:
    rig = known(Voice())
    rig.writable = False
    held = rig.send()
    rig.hear(gateway_status("restarting", UPSTREAM))
    rig.writable = True
    rig.open()
    assert rig.sent[-1] is held
    rig.hear(*Voice("kernel-2", 72).answer(held))
    assert types(rig.heard_of(held)) == ANSWERED
    assert rig.link.inbound.restarts == 1


def test_restarting_status_with_a_parent_is_no_death() -> None:
    kernel = Voice()
    rig = known(kernel)
    asked = rig.send()
    rig.hear(kernel.status("restarting", asked))
    assert rig.link.inbound.restarts == 0


# By somebody else.


def test_reply_of_another_process_answers_the_requests_before_it() -> None:
    rig = known(Voice())
    lost, asked = rig.send(), rig.send()
    rig.hear(*Voice("kernel-2", 72).answer(asked))
    assert "restarted" in failures(rig.heard_of(lost))[0]
    assert types(rig.heard_of(asked)) == ANSWERED
    assert Happening.RESTARTED in rig.happened()
    assert rig.link.inbound.restarts == 1


def test_barrier_answered_by_another_process_does_not_answer_held_requests() -> None:
    new = Voice("kernel-2", 72)
    rig = known(Voice())
    lost = rig.send()
    rig.drop()
    held = rig.send()
    rig.reopen()
    rig.hear(*new.answer(rig.barriers[0]))
    assert "restarted" in failures(rig.heard_of(lost))[0]
    assert rig.heard_of(held) == []
    rig.hear(*new.answer(held))
    assert types(rig.heard_of(held)) == ANSWERED


def test_barrier_behind_the_reply_of_another_process_still_counts() -> None:
    new = Voice("kernel-2", 72)
    rig = known(Voice())
    kept, lost = rig.send(), rig.send()
    rig.drop()
    rig.reopen()
    rig.hear(*new.answer(kept), *new.answer(rig.barriers[0]))
    assert types(rig.heard_of(kept))[:2] == ANSWERED[:2]
    assert failures(rig.heard_of(lost))[0].endswith("this may have run, and its result was lost.")


def test_numbers_of_a_new_process_count_from_its_first_reply() -> None:
    new = Voice("kernel-2", 72)
    rig = known(Voice())
    rig.hear(*new.answer(rig.send()))
    running = rig.send()
    rig.hear(new.status("busy", running))
    rig.drop()
    new.lose(2)
    rig.reopen()
    rig.hear(*new.answer(running))
    assert "up to 2 messages" in notices(rig.heard_of(running))[0]


def test_kernel_that_repeats_the_sessions_of_requests_is_no_restart() -> None:
    kernel = Voice(numbered=False, echoes=True)
    rig = connected()
    rig.attach("console")
    waiting = rig.send(subscriber="tab")
    for subscriber in ("console", "tab", "console"):
        rig.hear(*kernel.answer(rig.send(subscriber=subscriber)))
    rig.drop()
    rig.reopen()
    rig.hear(*kernel.answer(waiting))
    rig.hear(*kernel.answer(rig.barriers[0]))
    assert types(rig.heard_of(waiting)) == ["status:busy", "execute_reply", "stream", "status:idle"]
    assert rig.link.inbound.restarts == 0


def test_busy_status_identifies_an_unknown_process() -> None:
    rig, kernel = connected(), Voice()
    cell = rig.send()
    rig.hear(kernel.status("busy", cell))
    rig.drop()
    kernel.lose(2)
    rig.reopen()
    rig.hear(kernel.reply(cell), kernel.status("idle", cell))
    assert "up to 2 messages" in notices(rig.heard_of(cell))[0]


def test_status_that_overtakes_the_old_processs_last_reply_is_no_restart() -> None:
    old, new = Voice(), Voice("kernel-2", 72)
    rig = known(old)
    first, second = rig.send(), rig.send()
    busy, reply, idle = old.answer(first)
    rig.hear(busy, idle, new.status("busy", second), reply)
    assert types(rig.heard_of(first)) == ["status:busy", "status:idle", "execute_reply"]
    assert rig.link.inbound.restarts == 0


def test_control_reply_does_not_identify_the_process() -> None:
    rig = known(Voice())
    waiting = rig.send()
    control = rig.send(request("debug_request", {}, channel=Channel.CONTROL))
    rig.hear(Voice("debugger", 71).reply(control))
    assert rig.heard_of(waiting) == []


def test_link_without_pending_requests_after_a_restart_may_sleep() -> None:
    rig = known(Voice())
    rig.send()
    rig.drop()
    rig.detach()
    rig.reopen()
    rig.hear(*Voice("kernel-2", 72).answer(rig.barriers[0]))
    assert Timer.LINGER in rig.timers


# Found out by asking a silent kernel.


def silence(rig: Rig) -> None:
    """Let the kernel be silent for as long as it takes: it was heard in the first of these."""
    rig.fire(Timer.PROBE)
    rig.fire(Timer.PROBE)


def test_restart_from_elsewhere_is_detected_by_a_probe() -> None:
    rig = known(Voice())
    lost = rig.send()
    silence(rig)
    (barrier,) = rig.barriers
    rig.hear(*Voice("kernel-2", 72).answer(barrier))
    assert types(rig.heard_of(lost)) == FAILURE
    assert "restarted" in failures(rig.heard_of(lost))[0]
    assert rig.link.inbound.restarts == 1
    later = rig.send()
    rig.hear(*Voice("kernel-2", 72).answer(later))
    assert types(rig.heard_of(later)) == ANSWERED


def test_process_that_counts_anew_under_the_same_session_is_delivered() -> None:
    rig = known(Voice())
    rig.hear(*Voice().answer(rig.send()))
    asked, again = rig.send(), Voice()
    rig.hear(*again.answer(asked))
    assert types(rig.heard_of(asked)) == ANSWERED


def test_kernel_that_answers_probes_out_of_turn_is_left_to_work() -> None:
    kernel = Voice()
    rig = known(kernel)
    cell = rig.send()
    silence(rig)
    rig.hear(*kernel.answer(rig.barriers[0]))
    assert rig.heard_of(cell) == []
    rig.hear(*kernel.answer(cell))
    assert types(rig.heard_of(cell)) == ANSWERED


def test_kernel_at_work_gets_one_barrier() -> None:
    rig = known(Voice())
    rig.send()
    silence(rig)
    rig.fire(Timer.PROBE)
    assert len(rig.barriers) == 1
    assert rig.probes == 2


def test_idle_status_lost_by_the_gateway_is_written_after_a_probe() -> None:
    rig, kernel = known(Voice()), Voice("kernel-2", 72)
    cell = rig.send()
    rig.hear(kernel.reply(cell))
    silence(rig)
    rig.hear(*kernel.answer(rig.barriers[-1]))
    assert types(rig.heard_of(cell)) == ["execute_reply", "stream", "status:idle"]
    assert "between the kernel and gpu" in notices(rig.heard_of(cell))[0]


def test_idle_model_of_a_silent_kernel_shows_a_deaf_socket() -> None:
    rig = known(Voice())
    cell = rig.send()
    silence(rig)
    rig.do(rig.link.probed("idle"))
    assert list(rig.timers) == [Timer.PROBE], "the next handshake is watched"
    rig.open()
    assert rig.link.inbound.upstream == UPSTREAM
    rig.hear(*Voice("kernel-2", 72).answer(rig.barriers[-1]))
    assert types(rig.heard_of(cell)) == FAILURE
    rig.do(rig.link.probed("idle"))
    assert rig.link.state is State.OPEN


def test_second_deaf_socket_is_replaced_under_another_session_id() -> None:
    kernel = Voice()
    rig = known(kernel)
    cell = rig.send()
    silence(rig)
    rig.do(rig.link.probed("idle"))
    rig.open()
    rig.hear(kernel.status("idle", request(session=UPSTREAM)))  # output is not what it is deaf to
    silence(rig)
    rig.do(rig.link.probed("idle"))
    renewed = rig.link.inbound.upstream
    assert renewed != UPSTREAM
    rig.open()
    delivered = len(rig.delivered)
    asked_by_gateway = request("kernel_info_request", {}, session=renewed)
    rig.hear(kernel.status("busy", asked_by_gateway), kernel.status("idle", asked_by_gateway))
    assert len(rig.delivered) == delivered
    rig.hear(*kernel.answer(rig.barriers[-1]))
    assert types(rig.heard_of(cell))[-2:] == FAILURE[-2:]
    rig.send()
    silence(rig)
    rig.do(rig.link.probed("idle"))
    assert rig.link.inbound.upstream == renewed, "one that answered is deaf for the first time"


def test_deaf_socket_is_found_although_each_is_cut_early() -> None:
    rig, kernel = known(Voice()), Voice()
    rig.send()
    rig.fire(Timer.PROBE)  # of before
    assert rig.timers[Timer.PROBE] == 10.0
    waits = []
    for _ in range(3):
        rig.wait(4)
        rig.drop()
        rig.reopen(seconds=0)
        waits.append(rig.timers[Timer.PROBE])
        handshake = request("kernel_info_request", {}, session=UPSTREAM)
        rig.hear(kernel.status("busy", handshake), kernel.status("idle", handshake))
    assert waits == [6.0, 2.5, 2.5]
    probes = rig.probes
    rig.fire(Timer.PROBE)
    assert rig.probes == probes + 1
    assert rig.timers[Timer.PROBE] == 10.0, "one that stays is asked about at leisure"
    rig.do(rig.link.probed("idle"))
    rig.open()
    assert rig.timers[Timer.PROBE] == 2.5
    rig.fire(Timer.PROBE)
    rig.do(rig.link.probed("idle"))
    assert rig.link.inbound.upstream != UPSTREAM


@pytest.mark.parametrize("failed", [0, 2])
def test_silence_lasts_over_sockets_until_the_kernel_is_heard(failed: int) -> None:
    rig, kernel = known(Voice()), Voice()
    asked = rig.send()
    rig.fire(Timer.PROBE)  # of before
    rig.wait(9)
    rig.drop()
    for _ in range(failed):
        rig.fire(Timer.RETRY)
        rig.drop("refused.")
    rig.reopen(seconds=0)
    assert rig.timers[Timer.PROBE] == 2.5
    rig.hear(kernel.status("busy", asked))
    rig.drop()
    rig.reopen()
    assert rig.timers[Timer.PROBE] == 10.0


def test_idle_model_of_a_kernel_that_owes_nothing_changes_nothing() -> None:
    rig = known(Voice())
    rig.do(rig.link.probed("idle"))
    assert rig.link.state is State.OPEN


def test_failed_restart_in_an_outage_leaves_its_beginning_and_the_notice() -> None:
    rig = known(Voice())
    cell = rig.send()
    rig.drop()
    rig.wait(7)
    rig.do(rig.link.pause())
    rig.do(rig.link.resume(restarted=False))
    assert rig.timers[Timer.ALARM] == rig.settings.alarm_after - 7
    rig.wait(3)
    rig.fire(Timer.ALARM)
    assert "since 12:00:00 UTC" in notices(rig.heard_of(cell))[0]
    rig.wait(2)
    rig.open()
    assert rig.link.outage.last_seconds == 12


def test_failed_restart_without_an_outage_begins_none() -> None:
    rig = known(Voice())
    rig.send()
    rig.do(rig.link.pause())
    rig.do(rig.link.resume(restarted=False))
    assert not rig.link.outage.is_down
    assert Timer.ALARM not in rig.timers


def test_failed_restart_answers_nothing() -> None:
    kernel = Voice()
    rig = known(kernel)
    cell = rig.send()
    rig.do(rig.link.pause())
    rig.do(rig.link.resume(restarted=False))
    rig.open()
    rig.hear(*kernel.answer(cell))
    assert types(rig.heard_of(cell)) == ANSWERED
    assert rig.link.inbound.restarts == 0


def test_request_held_before_a_restart_does_not_reach_the_new_process() -> None:
    rig = known(Voice())
    rig.writable = False
    held = rig.send()
    rig.do(rig.link.pause())
    rig.do(rig.link.resume(restarted=True))
    rig.writable = True
    rig.open()
    assert held not in rig.sent
    assert types(rig.heard_of(held)) == FAILURE
