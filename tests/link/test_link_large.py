"""Messages that are larger than the gateway takes."""

from __future__ import annotations

import pytest
from msgspec import structs

from jupyter_relay.link.actions import Happening, Timer
from jupyter_relay.link.settings import LinkSettings
from jupyter_relay.wire.message import Message
from tests.link.rig import Rig, connected
from tests.support.messages import Voice, failures, notices, request, types

LARGE = {"code": "x" * 2_000_000}


def refuse(rig: Rig) -> None:
    """The gateway closes the socket, since a message was too large."""
    rig.has_socket = False
    rig.do(rig.link.dropped("a message was larger than it takes.", too_large=True))


def test_too_large_message_is_answered_and_others_go_on() -> None:
    rig, kernel = connected(), Voice()
    running = rig.send()
    rig.hear(kernel.status("busy", running))
    large = rig.send(request(content=LARGE))
    rig.writable = False
    held = rig.send()
    refuse(rig)
    (text,) = failures(rig.heard_of(large))
    assert text == "This message of 1.9 MiB is larger than gpu takes, and never reached the kernel."
    assert failures(rig.heard_of(running)) == []
    rig.writable = True
    rig.reopen()
    assert held in rig.sent
    rig.hear(kernel.reply(running), kernel.status("idle", running))
    assert types(rig.heard_of(running))[-1] == "status:idle"


def test_message_above_the_learned_limit_is_answered_at_once() -> None:
    rig = connected()
    rig.send(request(content=LARGE))
    refuse(rig)
    rig.reopen()
    went = len(rig.sent)
    again, larger = (rig.send(request(content={"code": "x" * size})) for size in (2_000_001, 9**7))
    smaller = rig.send(request(content={"code": "x" * 1_900_000}))
    assert len(failures(rig.heard_of(again))) == len(failures(rig.heard_of(larger))) == 1
    assert rig.sent[went:] == [smaller]


def test_held_message_above_the_learned_limit_is_answered() -> None:
    rig = connected()
    rig.send(request(content=LARGE))
    rig.writable = False
    held = rig.send(request(content=LARGE))
    refuse(rig)
    assert len(failures(rig.heard_of(held))) == 1
    rig.writable = True
    rig.reopen()
    assert held not in rig.sent


def test_too_large_message_without_a_reply_is_a_report_and_a_notice() -> None:
    rig, kernel = connected(), Voice()
    running = rig.send()
    rig.hear(kernel.status("busy", running))
    rig.send(request("comm_msg", {"data": "x" * 2_000_000}))
    refuse(rig)
    (told,) = notices(rig.heard_of(running))
    assert "A comm_msg was lost. This message of 1.9 MiB is larger than gpu takes" in told
    assert Happening.FAILED in rig.happened()


def test_cut_in_a_large_message_is_a_limit_the_second_time() -> None:
    rig = connected()
    for _ in range(2):
        large = rig.send(request(content={"code": "x" * 12_000_000}))
        rig.has_socket = False
        rig.do(rig.link.dropped("it was cut.", unfinished=large))
        (text,) = failures(rig.heard_of(large))
        assert "was cut while this message of 11.4 MiB was sent. It is probably larger" in text
        rig.reopen()
    went = len(rig.sent)
    again = rig.send(request(content={"code": "x" * 12_000_000}))
    assert rig.sent[went:] == []
    assert "larger than gpu takes" in failures(rig.heard_of(again))[0]


def test_cut_in_a_small_message_is_no_limit() -> None:
    rig = connected()
    small = rig.send(request(content=LARGE))
    rig.has_socket = False
    rig.do(rig.link.dropped("it was cut.", unfinished=small))
    assert failures(rig.heard_of(small)) == []


def of_size(mebibytes: float, msg_type: str = "execute_request") -> Message:
    """A message a little larger than so many MiB."""
    return request(msg_type, {"code": "x" * int(mebibytes * 2**20)})


def test_requests_behind_a_too_large_one_never_reached_the_kernel() -> None:
    rig, kernel = connected(), Voice()
    running = rig.send()
    rig.hear(kernel.status("busy", running))
    large, large_too, small = (rig.send(of_size(size)) for size in (13, 12, 0.001))
    rig.send(of_size(11, "comm_msg"))
    refuse(rig)
    assert "13.0 MiB is larger than gpu takes" in failures(rig.heard_of(large))[0]
    (text,) = failures(rig.heard_of(large_too))
    assert text == (
        "This message of 12.0 MiB is probably larger than gpu takes, too. It never reached the "
        "kernel."
    )
    (text,) = failures(rig.heard_of(small))
    assert text == (
        "gpu closed the connection, since a message before this one was larger than it takes. This "
        "one never reached the kernel."
    )
    (told,) = notices(rig.heard_of(running))
    assert "A comm_msg was lost. This message of 11.0 MiB is probably larger" in told
    assert failures(rig.heard_of(running)) == []


@pytest.mark.parametrize("code", [1009, None])
def test_large_request_before_the_largest_may_have_run_only_if_the_kernel_answers(
    code: int | None,
) -> None:
    rig, kernel = connected(), Voice()
    rig.hear(*kernel.answer(rig.send()))
    runs, lost, largest = (rig.send(of_size(size)) for size in (12, 11, 13))
    if code == 1009:
        refuse(rig)
    else:
        rig.has_socket = False
        rig.do(rig.link.dropped("it was cut.", unfinished=largest))
    assert len(failures(rig.heard_of(largest))) == 1
    assert rig.heard_of(runs) == rig.heard_of(lost) == []
    rig.reopen()
    rig.hear(*kernel.answer(runs), *kernel.answer(rig.barriers[0]))
    assert failures(rig.heard_of(runs)) == []
    (text,) = failures(rig.heard_of(lost))
    assert text == (
        "This message of 11.0 MiB never reached the kernel, or its result was lost. It is probably "
        "larger than gpu takes, which is 10 MiB unless it is set up otherwise."
    )


def test_requests_behind_a_too_large_comm_message_never_reached_the_kernel() -> None:
    rig = connected()
    before = rig.send()
    rig.send(of_size(12, "comm_msg"))
    behind = rig.send()
    refuse(rig)
    assert failures(rig.heard_of(before)) == []
    assert "This one never reached the kernel." in failures(rig.heard_of(behind))[0]


def test_request_that_the_kernel_has_begun_was_not_too_large() -> None:
    rig, kernel = connected(), Voice()
    large = rig.send(request(content=LARGE))
    rig.hear(kernel.status("busy", large))
    refuse(rig)
    assert failures(rig.heard_of(large)) == []
    rig.reopen()
    sent = rig.send(request(content=LARGE))
    assert sent in rig.sent


def test_learned_limit_is_forgotten_after_failed_tries() -> None:
    rig = connected()
    rig.send(request(content=LARGE))
    refuse(rig)
    rig.fire(Timer.RETRY)
    rig.drop("nobody answers.")
    rig.reopen()
    assert rig.send(request(content=LARGE)) in rig.sent


def test_size_of_a_message_with_many_buffers_is_that_of_its_frame() -> None:
    rig = connected()
    rig.send(request(content=LARGE))
    refuse(rig)
    rig.reopen()
    plain = request(content={"code": "x" * 1_000_000})
    many = structs.replace(plain, buffers=[b""] * 8000, _size=-1)
    assert many.size > 2_000_000
    assert rig.send(many) in rig.sent


def test_message_above_max_message_bytes_is_answered_and_never_sent() -> None:
    rig = connected(LinkSettings(max_message_bytes=1_000_000))
    went = len(rig.sent)
    text = failures(rig.heard_of(rig.send(request(content=LARGE))))
    assert "1.9 MiB is larger than max_message_bytes (1,000,000), and never reached" in text[0]
    small = rig.send(request())
    assert rig.sent[went:] == [small]


def test_message_of_any_size_is_sent_without_max_message_bytes() -> None:
    rig = connected(LinkSettings(max_message_bytes=0))
    assert rig.send(request(content=LARGE)) in rig.sent


def test_comm_message_above_the_learned_limit_is_reported_and_not_sent() -> None:
    rig = connected()
    rig.send(request(content=LARGE))
    refuse(rig)
    rig.reopen()
    cell, went = rig.send(), len(rig.sent)
    rig.send(request("comm_msg", {"data": "x" * 2_000_100}))
    assert len(rig.sent) == went
    assert "A comm_msg was lost. This message of 1.9 MiB is larger" in rig.reports[-1].text
    assert "A comm_msg was lost." in notices(rig.heard_of(cell))[-1]


def test_held_comm_message_above_the_learned_limit_is_reported() -> None:
    rig = connected()
    rig.send(request(content=LARGE))
    rig.writable = False
    rig.send(request("comm_msg", {"data": "x" * 2_000_100}))
    refuse(rig)
    assert any("A comm_msg was lost." in report.text for report in rig.reports)
    rig.writable = True
    rig.reopen()
    assert [message.head.msg_type for message in rig.asked] == ["execute_request"]


def test_cut_in_a_request_that_the_kernel_has_begun_is_no_limit() -> None:
    rig, kernel = connected(), Voice()
    cell = rig.send(request(content={"code": "x" * 11_000_000}))
    rig.hear(kernel.status("busy", cell))
    rig.has_socket = False
    rig.do(rig.link.dropped("it was cut.", unfinished=cell))
    assert failures(rig.heard_of(cell)) == []
