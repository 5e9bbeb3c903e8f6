"""What a link knows of the kernel's state, by the kernel's own word."""

from __future__ import annotations

import pytest
from msgspec import json, structs

from jupyter_relay.link.inbound import UNTRACKED
from jupyter_relay.wire.message import Channel
from tests.link.rig import UPSTREAM, connected
from tests.support.messages import WRITTEN, Voice, failures, gateway_status, request


def test_the_state_is_that_of_the_last_status() -> None:
    rig, kernel = connected(), Voice()
    asked = rig.send()
    rig.hear(kernel.status("busy", asked), kernel.stream("1", asked))
    assert rig.link.inbound.reported_state == ("busy", WRITTEN)
    rig.hear(kernel.reply(asked), kernel.status("idle", asked))
    assert rig.link.inbound.reported_state == ("idle", WRITTEN)


def test_what_only_asks_about_a_kernel_changes_nothing_of_its_state() -> None:
    rig, kernel = connected(), Voice()
    rig.hear(kernel.status("busy", rig.send()))
    for quiet in ("kernel_info_request", "comm_info_request", "debug_request"):
        asked = rig.send(request(quiet, {}))
        rig.hear(*kernel.answer(asked))
    rig.hear(kernel.status("idle", request("kernel_info_request", {}, session=UPSTREAM)))
    assert rig.link.inbound.reported_state == ("busy", WRITTEN)


def test_another_process_has_told_nothing_yet() -> None:
    rig, kernel = connected(), Voice()
    rig.hear(kernel.status("busy", rig.send()))
    assert rig.link.inbound.reported_state
    rig.do([*rig.link.pause(), *rig.link.resume(restarted=True)])
    assert rig.link.inbound.reported_state is None


def test_a_kernel_that_died_has_told_nothing_since() -> None:
    rig, kernel = connected(), Voice()
    rig.hear(kernel.status("busy", rig.send()))
    assert rig.link.inbound.reported_state
    rig.hear(gateway_status("restarting", UPSTREAM))
    assert rig.link.inbound.reported_state is None


@pytest.mark.parametrize("content", [b"{}", b"no JSON", b'{"execution_state": 7}'])
def test_a_status_that_tells_no_state_is_none(content: bytes) -> None:
    rig, said = connected(), Voice().status("busy", request())
    rig.hear(structs.replace(said, content=content))
    assert rig.link.inbound.reported_state is None


@pytest.mark.parametrize(
    "date", ["", "yesterday", None, 7, "2026-01-02T03:04:05", "0001-01-01T00:00:00+05:00"]
)
def test_a_status_that_does_not_tell_when_is_none(date: object) -> None:
    rig, said = connected(), Voice().status("busy", request())
    header = json.encode({**json.decode(said.header), "date": date})
    rig.hear(structs.replace(said, header=header, _head=None))
    assert rig.link.inbound.reported_state is None


def test_a_kernel_works_when_it_prints_and_not_when_it_says_goodbye() -> None:
    rig, kernel = connected(), Voice()
    asked = rig.send()
    before = rig.link.active_at
    assert before is None
    rig.hear(kernel.stream("1", asked))
    worked = rig.link.active_at
    assert worked == rig.now.timestamp()
    rig.wait(60.0)
    ending = request("shutdown_request", {"restart": False}, session="another client")
    goodbye = kernel.say(Channel.IOPUB, "shutdown_reply", {"restart": False}, ending)
    rig.hear(kernel.status("busy", ending), goodbye, kernel.status("idle", ending))
    assert rig.link.active_at == worked


@pytest.mark.parametrize("untracked", [UNTRACKED, frozenset({"complete_request", "debug_request"})])
def test_what_comes_of_an_untracked_request_is_no_work(untracked: frozenset[str]) -> None:
    rig, kernel = connected(), Voice()
    rig.link.inbound.untracked = untracked
    for msg_type in ("debug_request", "complete_request"):
        rig.hear(*kernel.answer(rig.send(request(msg_type, {}))))
        assert (rig.link.active_at is None) is (msg_type in untracked)


def test_output_of_an_untracked_type_is_work_if_its_request_is_tracked() -> None:
    rig, kernel = connected(), Voice()
    rig.link.inbound.untracked = frozenset({"stream", "complete_request"})
    rig.hear(kernel.stream("1", rig.send(request("complete_request", {}))))
    assert rig.link.active_at is None
    rig.hear(kernel.stream("1", rig.send()))
    assert rig.link.active_at is not None


def test_output_of_a_kernel_that_is_busy_is_work_whatever_its_type() -> None:
    rig, kernel = connected(), Voice()
    rig.link.inbound.untracked = frozenset({"stream", "complete_request"})
    rig.hear(kernel.status("busy", rig.send()))
    at = rig.link.active_at
    rig.wait(5.0)
    rig.hear(kernel.stream("1", rig.send(request("complete_request", {}))))
    assert at is not None
    assert rig.link.active_at == at + 5


def test_a_barriers_answer_counts_though_its_number_came_before() -> None:
    rig, kernel = connected(), Voice()
    rig.hear(*kernel.answer(rig.send()))
    cell = rig.send()
    rig.drop()
    rig.reopen()
    kernel.number = 0  # it counts anew, under the same name
    rig.hear(*kernel.answer(rig.barriers[-1]))
    assert failures(rig.heard_of(cell))
    assert rig.link.inbound.replayed == 0


def test_a_request_whose_id_came_again_is_not_answered_behind_the_barrier_of_the_first() -> None:
    rig, kernel = connected(), Voice()
    rig.hear(*kernel.answer(rig.send()))
    first = rig.send()
    rig.drop()
    rig.reopen()
    rig.send(request(msg_id=first.head.msg_id))
    rig.hear(*kernel.answer(rig.barriers[-1]))
    assert failures(rig.heard_of(first)) == []
