"""The rules of a link: order, holding, at most once, back-off, lingering, ends.

Barriers and gaps are in ``test_link_recovery.py``, restarts in ``test_link_restart.py``.
"""

from __future__ import annotations

from collections import Counter

import pytest

from jupyter_relay.backoff import Backoff
from jupyter_relay.errors import MalformedFrame
from jupyter_relay.link.actions import Happening, Timer
from jupyter_relay.link.backlog import Dropped
from jupyter_relay.link.settings import LinkSettings
from jupyter_relay.link.table import State
from jupyter_relay.testing import read_content
from jupyter_relay.wire.message import Channel, Message
from tests.link.rig import UPSTREAM, Rig, connected
from tests.support.messages import Voice, failures, gateway_status, notices, request, types

FAILURE = ["error", "execute_reply", "status:idle"]


# Rule 1: order.


def test_messages_are_sent_in_their_order_across_drops() -> None:
    rig = connected()
    first = rig.send()
    rig.writable = False
    second, comm = rig.send(), rig.send(request("comm_msg", {"comm_id": "c"}))
    rig.drop()
    third = rig.send()
    rig.writable = True
    rig.reopen()
    assert rig.asked == [first, second, comm, third]


def test_barrier_is_sent_before_held_messages() -> None:
    rig = connected()
    rig.send()
    rig.drop()
    held = rig.send()
    rig.reopen()
    assert rig.sent[-2:] == [rig.barriers[0], held]


# Rule 2: hold, do not drop.


@pytest.mark.parametrize("state", ["idle", "opening", "waiting", "paused"])
def test_request_while_not_open_is_sent_once_open(state: str) -> None:
    rig = Rig()
    if state != "idle":
        rig.attach()
    if state in {"waiting", "paused"}:
        rig.open()
    if state == "waiting":
        rig.drop()
    if state == "paused":
        rig.do(rig.link.pause())
    assert rig.link.state.value == state
    asked = rig.send()
    assert rig.sent == []
    if state == "waiting":
        rig.fire(Timer.RETRY)
    if state == "paused":
        rig.do(rig.link.resume(restarted=True))
    rig.open()
    assert rig.sent == [asked]


def test_full_outbox_fails_a_request_at_once_and_keeps_the_held_ones() -> None:
    rig = connected(LinkSettings(outbox_messages=2))
    rig.drop()
    held = [rig.send(), rig.send()]
    rig.wait(7)
    refused = rig.send()
    assert types(rig.heard_of(refused)) == FAILURE
    (text,) = failures(rig.heard())
    assert "2 messages" in text
    assert "down for 7 s" in text
    assert "not sent" in text
    rig.reopen()
    assert rig.asked == held


def test_full_outbox_reports_a_comm_message_that_it_refuses() -> None:
    rig = connected(LinkSettings(outbox_messages=1))
    rig.drop()
    rig.send()
    rig.send(request("comm_msg", {}))
    assert rig.happened()[-1] is Happening.FAILED
    assert rig.heard() == []


def test_open_socket_that_takes_nothing_fills_the_outbox_to_16_times_its_bound() -> None:
    rig = connected(LinkSettings(outbox_messages=1))
    rig.writable = False
    held = [rig.send() for _ in range(16)]
    assert all(rig.heard_of(message) == [] for message in held)
    assert types(rig.heard_of(rig.send())) == FAILURE


def test_thirty_thousand_requests_are_each_answered_once() -> None:
    rig, kernel = connected(), Voice()
    asked = [rig.send() for _ in range(30_000)]
    for message in rig.sent:
        rig.hear(*kernel.answer(message))
    replies = Counter(m.parent.msg_id for _, m in rig.delivered if m.channel is Channel.SHELL)
    idles = Counter(m.parent.msg_id for _, m in rig.delivered if types([m]) == ["status:idle"])
    once = dict.fromkeys((message.head.msg_id for message in asked), 1)
    assert replies == once
    assert idles == once
    refused = failures(rig.heard())
    assert len(refused) == 30_000 - len(rig.sent)
    (text,) = set(refused)
    assert text.startswith("10000 requests to the kernel (")
    assert text.endswith(" bytes) are already under way; this one was not sent.")


def test_request_given_up_for_a_new_one_is_answered_with_the_reason() -> None:
    rig, kernel = connected(), Voice()
    asked = [rig.send() for _ in range(10_000)]
    rig.hear(*kernel.answer(asked[1]))
    rig.send()
    rig.send()
    (text,) = failures(rig.heard_of(asked[0]))
    assert text.endswith("given up, since the kernel has answered a later one.")
    rig.hear(kernel.reply(asked[0]))
    assert len(failures(rig.heard_of(asked[0]))) == 1
    assert types(rig.heard_of(asked[0])) == FAILURE


def test_a_message_that_is_no_request_does_not_use_up_the_search_for_room() -> None:
    rig, kernel = connected(), Voice()
    asked = [rig.send() for _ in range(10_000)]
    rig.hear(*kernel.answer(asked[1]))
    rig.send()
    rig.send(request("comm_msg"))
    assert failures(rig.heard_of(asked[0])) == []
    assert failures(rig.heard_of(rig.send())) == []
    assert len(failures(rig.heard_of(asked[0]))) == 1


def test_refused_requests_do_not_let_an_answered_one_be_sent() -> None:
    rig = connected(LinkSettings(outbox_messages=10))
    rig.do(rig.link.pause())
    held = [rig.send() for _ in range(10)]
    rig.do(rig.link.pause())
    rig.do(rig.link.resume(restarted=True))
    for _ in range(2_000):
        rig.send()
    rig.open()
    assert rig.sent == []
    assert all(len(failures(rig.heard_of(message))) == 1 for message in held)


# Rule 3: at most once.


def test_message_that_a_socket_took_is_never_sent_again() -> None:
    rig = connected()
    asked = rig.send()
    for _ in range(3):
        rig.drop()
        rig.reopen()
    assert rig.asked == [asked]


def test_next_message_is_none_while_not_open() -> None:
    rig = connected()
    rig.writable = False
    rig.send()
    rig.drop()
    assert rig.link.next_message() is None


def test_unsendable_request_is_answered() -> None:
    rig = connected()
    asked = rig.send()
    rig.do(rig.link.unsendable(asked, "It holds bytes that are not UTF-8."))
    assert types(rig.heard_of(asked)) == FAILURE
    assert failures(rig.heard()) == ["It holds bytes that are not UTF-8."]


def test_unsendable_comm_message_is_reported() -> None:
    rig = connected()
    comm = rig.send(request("comm_msg", {}))
    rig.do(rig.link.unsendable(comm, "It is too large."))
    assert rig.reports[-1].text == "It is too large."


def test_message_without_a_header_is_refused_and_not_held() -> None:
    rig = connected()
    with pytest.raises(MalformedFrame):
        rig.send(Message(channel=Channel.SHELL, header=b"no JSON"))
    assert rig.sent == []


# Routing.


def test_reply_goes_to_its_subscriber_and_output_to_all() -> None:
    rig, kernel = connected(), Voice()
    rig.attach("console")
    asked = rig.send(subscriber="console")
    rig.hear(*kernel.answer(asked))
    assert [to for to, _ in rig.delivered] == [None, "console", None]


def test_reply_goes_to_a_detached_subscriber() -> None:
    rig, kernel = connected(), Voice()
    asked = rig.send()
    rig.detach()
    rig.hear(kernel.reply(asked))
    assert rig.delivered[-1][0] == "tab"


def test_reply_goes_to_its_subscriber_whatever_session_its_header_names() -> None:
    rig, kernel = connected(), Voice()
    asked = rig.send(request(session="another"), subscriber="tab")
    rig.hear(kernel.reply(asked))
    assert rig.delivered[-1][0] == "tab"


def test_reply_without_a_pending_request_goes_by_the_session_in_its_parent() -> None:
    rig, kernel = connected(), Voice()
    rig.hear(kernel.reply(request(session="from-before-our-restart")))
    assert rig.delivered[-1][0] == "from-before-our-restart"


def test_answer_to_a_barrier_of_an_earlier_process_is_not_delivered() -> None:
    rig, kernel = connected(), Voice()
    barrier = request("kernel_info_request", {}, session=UPSTREAM)
    rig.hear(kernel.status("busy", barrier), kernel.reply(barrier), kernel.status("idle", barrier))
    assert rig.delivered == []


def test_input_request_goes_to_the_subscriber_of_the_cell() -> None:
    rig, kernel = connected(), Voice()
    rig.attach("console")
    asked = rig.send(subscriber="console")
    rig.hear(kernel.say(Channel.STDIN, "input_request", {"prompt": "?"}, asked))
    assert rig.delivered[-1][0] == "console"


def test_request_without_an_id_passes_and_is_not_pending() -> None:
    rig, kernel = connected(), Voice()
    nameless = Message(channel=Channel.SHELL, header=b'{"msg_type": "execute_request"}')
    rig.send(nameless)
    rig.hear(kernel.status("idle", None))
    rig.drop()
    rig.reopen()
    assert rig.sent == [nameless]


def test_dropped_messages_are_a_notice_in_their_cell() -> None:
    cell = request()
    notice = Rig().link.notices.dropped(Dropped(3, cell.header))
    assert notice.parent.msg_id == cell.head.msg_id
    assert notices([notice])[0].startswith("[Jupyter Relay] 3 messages were dropped")


# Rule 7: never give up in silence.


def test_retries_go_on_with_growing_capped_waits() -> None:
    rig = connected(LinkSettings(backoff=Backoff(base=1.0, cap=8.0)))
    rig.drop()
    waits = [rig.timers[Timer.RETRY]]
    for _ in range(20):
        rig.fire(Timer.RETRY)
        rig.drop("refused.")
        waits.append(rig.timers[Timer.RETRY])
    assert waits[:5] == [1.0, 2.0, 4.0, 8.0, 8.0]
    assert set(waits[5:]) == {8.0}


def test_retry_waits_are_fully_jittered() -> None:
    rig = connected(LinkSettings(backoff=Backoff(base=1.0, cap=8.0)))
    rig.chance = 0.25
    rig.drop()
    assert rig.timers[Timer.RETRY] == 0.25


def test_socket_that_ends_at_once_does_not_reset_the_backoff() -> None:
    rig = connected(LinkSettings(backoff=Backoff(base=1.0, cap=8.0)))
    waits = []
    for _ in range(4):
        rig.drop("it was closed at once.")
        waits.append(rig.timers[Timer.RETRY])
        rig.reopen(seconds=0.1)
    assert waits == [1.0, 2.0, 4.0, 8.0]


def test_stable_socket_resets_the_backoff() -> None:
    rig = connected(LinkSettings(backoff=Backoff(base=1.0, cap=8.0)))
    for _ in range(3):
        rig.drop()
        rig.reopen(seconds=0.1)
    rig.wait(8)
    rig.drop()
    assert rig.timers[Timer.RETRY] == 1.0


def test_outage_and_its_end_are_each_reported_once() -> None:
    rig = connected()
    rig.drop()
    rig.fire(Timer.RETRY)
    rig.drop("refused.")
    rig.reopen(seconds=9)
    assert rig.happened() == [Happening.DROPPED, Happening.OPENED]
    assert rig.reports[-1].seconds == 9.0


def test_outage_includes_the_silence_before_the_drop() -> None:
    rig = connected()
    cell = rig.send()
    rig.wait(60)
    rig.drop("it has been silent for 30 s.", silent=30.0)
    assert rig.reports[-1].seconds == 30.0
    rig.fire(Timer.ALARM)
    (text,) = notices(rig.heard_of(cell))
    assert "since 12:00:30 UTC" in text
    rig.reopen(seconds=2)
    assert rig.reports[-1].seconds == 32.0


def test_failed_try_does_not_date_the_outage_back() -> None:
    rig = connected()
    rig.drop()
    rig.fire(Timer.RETRY)
    rig.drop(silent=30.0)
    rig.reopen(seconds=2)
    assert rig.reports[-1].seconds == 2.0


def test_retry_max_ends_the_link_and_answers_all() -> None:
    rig = connected(LinkSettings(retry_max=2))
    asked = rig.send()
    rig.drop()
    for _ in range(2):
        rig.fire(Timer.RETRY)
        rig.drop("refused.")
    assert rig.link.state is State.GONE
    assert types(rig.heard_of(asked)) == FAILURE
    assert "2 tries" in failures(rig.heard())[0]
    assert rig.timers == {}


def test_gone_kernel_fails_pending_requests_and_then_is_dead() -> None:
    rig = connected()
    sent, rig.writable = rig.send(), False
    held = rig.send()
    rig.do(rig.link.gone("The kernel was culled."))
    assert rig.link.state is State.GONE
    assert types(rig.heard()) == [*FAILURE, *FAILURE, "status:dead"]
    assert [m.parent.msg_id for m in rig.heard()[:6:3]] == [sent.head.msg_id, held.head.msg_id]
    assert rig.timers == {}
    assert not rig.has_socket


def test_gone_twice_is_reported_once() -> None:
    rig = connected()
    rig.do(rig.link.gone("Culled."))
    assert rig.link.gone("Culled again.") == []


def test_request_to_a_gone_link_is_answered_at_once() -> None:
    rig = connected()
    rig.do(rig.link.gone("The kernel was culled."))
    asked = rig.send()
    assert types(rig.heard_of(asked)) == FAILURE
    assert failures(rig.heard()) == ["The kernel was culled."]


def test_attach_to_a_gone_kernel_delivers_a_dead_status() -> None:
    rig = connected()
    rig.do(rig.link.gone("Culled."))
    before = len(rig.delivered)
    rig.attach("late")
    assert rig.delivered[before][0] == "late"
    assert types(rig.heard("late", before)) == ["status:dead"]


def test_dead_status_from_the_gateway_ends_the_link() -> None:
    rig = connected()
    rig.hear(gateway_status("dead", UPSTREAM))
    assert rig.link.state is State.GONE
    assert types(rig.heard()) == ["status:dead"]


def test_message_behind_the_end_is_not_delivered() -> None:
    rig, kernel = connected(), Voice()
    asked = rig.send()
    rig.do(rig.link.gone("Culled."))
    before = len(rig.delivered)
    rig.hear(*kernel.answer(asked))
    assert rig.delivered[before:] == []


def test_close_answers_pending_requests_and_is_final() -> None:
    rig = connected()
    asked = rig.send()
    rig.do(rig.link.close("The server stops."))
    assert types(rig.heard_of(asked)) == FAILURE
    rig.attach()
    late = rig.send()
    assert failures(rig.heard_of(late)) == ["The server stops."]
    rig.do(rig.link.close("Again."))
    assert rig.link.state is State.CLOSED
    assert rig.timers == {}
    assert not rig.has_socket


def test_close_with_leave_work_answers_only_what_was_not_sent() -> None:
    rig = connected()
    sent = rig.send()
    rig.drop()
    held = rig.send()
    rig.do(rig.link.close("The server stops.", leave_work=True))
    assert rig.heard_of(sent) == []
    assert failures(rig.heard_of(held)) == ["The server stops."]
    rig.do(rig.link.close("Again."))
    assert rig.heard_of(sent) == []


# The alarm.


def test_long_outage_is_one_notice_in_the_running_cell() -> None:
    rig = connected()
    running, queued = rig.send(), rig.send()
    rig.drop("it was cut without a word.")
    rig.wait(10)
    rig.fire(Timer.ALARM)
    (text,) = notices(rig.heard_of(running))
    assert "No connection to gpu since 12:00:00 UTC: it was cut without a word." in text
    assert notices(rig.heard_of(queued)) == []
    rig.send()
    assert len(notices(rig.heard())) == 1


def test_cell_sent_in_a_long_outage_gets_a_notice_at_once() -> None:
    rig = connected()
    rig.drop()
    rig.wait(10)
    rig.fire(Timer.ALARM)
    assert notices(rig.heard()) == []
    cell = rig.send()
    assert len(notices(rig.heard_of(cell))) == 1


def test_short_outage_is_no_notice() -> None:
    rig = connected()
    rig.send()
    rig.drop()
    rig.reopen(seconds=1)
    assert Timer.ALARM not in rig.timers
    assert notices(rig.heard()) == []


def test_next_long_outage_is_another_notice() -> None:
    rig = connected()
    cell = rig.send()
    for _ in range(2):
        rig.drop()
        rig.wait(10)
        rig.fire(Timer.ALARM)
        rig.reopen()
    assert len(notices(rig.heard_of(cell))) == 2


# The probe.


def test_silent_kernel_that_owes_an_answer_is_probed_again_and_again() -> None:
    rig = connected()
    rig.send()
    rig.fire(Timer.PROBE)
    rig.fire(Timer.PROBE)
    assert rig.probes == 2


def test_kernel_that_is_heard_is_not_probed() -> None:
    rig, kernel = connected(), Voice()
    asked = rig.send()
    rig.hear(kernel.stream("working", asked))
    rig.fire(Timer.PROBE)
    assert rig.probes == 0
    assert Timer.PROBE in rig.timers


def test_kernel_that_owes_nothing_is_not_probed() -> None:
    rig, kernel = connected(), Voice()
    asked = rig.send()
    rig.hear(*kernel.answer(asked))
    rig.fire(Timer.PROBE)
    assert rig.probes == 0
    assert rig.timers == {}


def test_link_that_is_down_probes_only_in_a_handshake() -> None:
    rig = connected()
    rig.send()
    rig.drop()
    assert Timer.PROBE not in rig.timers


# Rule 9: kernels may sleep.


def test_unused_socket_is_closed_after_linger() -> None:
    rig = connected(LinkSettings(linger=12.0))
    rig.detach()
    assert rig.timers == {Timer.LINGER: 12.0}
    rig.fire(Timer.LINGER)
    assert rig.link.state is State.IDLE
    assert not rig.has_socket
    assert rig.timers == {}


def test_socket_without_subscribers_stays_until_the_reply() -> None:
    rig, kernel = connected(), Voice()
    asked = rig.send()
    rig.detach()
    assert Timer.LINGER not in rig.timers
    rig.hear(*kernel.answer(asked))
    assert Timer.LINGER in rig.timers


def test_subscriber_that_returns_within_linger_finds_the_socket_open() -> None:
    rig = connected()
    rig.detach()
    rig.attach()
    assert Timer.LINGER not in rig.timers
    assert rig.link.state is State.OPEN


def test_request_of_a_detached_subscriber_keeps_the_socket() -> None:
    rig, kernel = connected(), Voice()
    rig.detach()
    asked = rig.send()
    assert Timer.LINGER not in rig.timers
    rig.hear(kernel.reply(asked))
    assert Timer.LINGER in rig.timers


def test_linger_is_not_begun_again_by_each_failed_try() -> None:
    rig = connected()
    rig.drop()
    rig.detach()
    rig.timers[Timer.LINGER] = 1.0  # most of it is over
    rig.fire(Timer.RETRY)
    rig.drop("refused.")
    assert rig.timers[Timer.LINGER] == 1.0
    rig.fire(Timer.LINGER)
    assert rig.link.state is State.IDLE
    assert rig.timers == {}


def test_death_of_a_kernel_without_subscribers_starts_linger() -> None:
    rig = connected()
    rig.send()
    rig.detach()
    rig.hear(gateway_status("restarting", UPSTREAM))
    assert rig.link.state is State.IDLE
    assert not rig.has_socket
    assert rig.timers == {}


def test_backoff_begins_anew_after_a_sleep() -> None:
    rig = connected(LinkSettings(backoff=Backoff(base=1.0, cap=8.0)))
    rig.drop()
    for _ in range(3):
        rig.fire(Timer.RETRY)
        rig.drop("refused.")
    rig.detach()
    rig.fire(Timer.LINGER)
    rig.attach()
    rig.drop("refused.")
    assert rig.timers[Timer.RETRY] == 1.0


def test_idle_status_missed_in_a_sleep_is_written() -> None:
    rig, kernel = connected(), Voice()
    asked = rig.send()
    rig.hear(kernel.status("busy", asked), kernel.reply(asked))
    rig.detach()
    rig.fire(Timer.LINGER)
    rig.attach()
    rig.open()
    rig.hear(*kernel.answer(rig.barriers[0]))
    assert types(rig.heard_of(asked)) == ["status:busy", "execute_reply", "status:idle"]
    assert Happening.FAILED not in rig.happened()


def test_content_that_cannot_be_read_is_passed_on() -> None:
    rig = connected()
    odd = Message(
        channel=Channel.IOPUB,
        header=b'{"msg_id": "k_1_1", "msg_type": "status", "session": "k"}',
        content=b'{"execution_state": "\xff"}',
    )
    rig.hear(odd)
    assert rig.heard() == [odd]


def test_failed_request_that_is_no_cell_has_no_error_output() -> None:
    rig = connected()
    asked = rig.send(request("complete_request", {}))
    rig.do(rig.link.gone("Culled."))
    assert types(rig.heard_of(asked)) == ["complete_reply", "status:idle"]
    assert read_content(rig.heard_of(asked)[0])["status"] == "error"


def test_retry_now_ends_the_wait_for_the_next_try() -> None:
    rig = connected()
    assert rig.link.retry_now() == []
    rig.drop()
    rig.do(rig.link.retry_now())
    assert rig.link.state is State.OPENING
    assert Timer.RETRY not in rig.timers
    assert rig.link.retry_now() == []


def test_retry_now_counts_once_in_an_outage() -> None:
    rig = connected()
    rig.drop()
    rig.do(rig.link.retry_now())
    rig.drop()
    assert rig.link.state is State.WAITING
    assert rig.link.retry_now() == []
