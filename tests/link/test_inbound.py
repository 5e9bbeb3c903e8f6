"""What a link knows of the kernel's state, by the kernel's own word."""

from __future__ import annotations

import pytest
from msgspec import json, structs

from jupyter_relay.link.inbound import UNTRACKED
from jupyter_relay.wire.message import Channel
from tests.link.rig import UPSTREAM, connected
from tests.support.messages import WRITTEN, Voice, failures, gateway_status, request


def test_reported_state_is_that_of_the_last_status() -> None:
    rig, kernel = connected(), Voice()
    asked = rig.send()
    rig.hear(kernel.status("busy", asked), kernel.stream("1", asked))
    assert rig.link.inbound.reported_state == ("busy", WRITTEN)
    rig.hear(kernel.reply(asked), kernel.status("idle", asked))
    assert rig.link.inbound.reported_state == ("idle", WRITTEN)


def test_reported_state_ignores_untracked_requests() -> None:
    rig, kernel = connected(), Voice()
    rig.hear(kernel.status("busy", rig.send()))
    for quiet in ("kernel_info_request", "comm_info_request", "debug_request"):
        asked = rig.send(request(quiet, {}))
        rig.hear(*kernel.answer(asked))
    rig.hear(kernel.status("idle", request("kernel_info_request", {}, session=UPSTREAM)))
    assert rig.link.inbound.reported_state == ("busy", WRITTEN)


def test_reported_state_is_none_after_a_restart() -> None:
    rig, kernel = connected(), Voice()
    rig.hear(kernel.status("busy", rig.send()))
    assert rig.link.inbound.reported_state
    rig.do([*rig.link.pause(), *rig.link.resume(restarted=True)])
    assert rig.link.inbound.reported_state is None


def test_reported_state_is_none_after_a_death() -> None:
    rig, kernel = connected(), Voice()
    rig.hear(kernel.status("busy", rig.send()))
    assert rig.link.inbound.reported_state
    rig.hear(gateway_status("restarting", UPSTREAM))
    assert rig.link.inbound.reported_state is None


@pytest.mark.parametrize("content", [b"{}", b"no JSON", b'{"execution_state": 7}'])
def test_reported_state_of_a_status_without_a_state_is_none(content: bytes) -> None:
    rig, said = connected(), Voice().status("busy", request())
    rig.hear(structs.replace(said, content=content))
    assert rig.link.inbound.reported_state is None


@pytest.mark.parametrize(
    "date", ["", "yesterday", None, 7, "2026-01-02T03:04:05", "0001-01-01T00:00:00+05:00"]
)
def test_reported_state_of_a_status_without_a_usable_date_is_none(date: object) -> None:
    rig, said = connected(), Voice().status("busy", request())
    header = json.encode({**json.decode(said.header), "date": date})
    rig.hear(structs.replace(said, header=header, _head=None))
    assert rig.link.inbound.reported_state is None


def test_active_at_changes_with_output_and_not_with_a_shutdown_reply() -> None:
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
def test_active_at_ignores_answers_to_untracked_requests(untracked: frozenset[str]) -> None:
    rig, kernel = connected(), Voice()
    rig.link.inbound.untracked = untracked
    for msg_type in ("debug_request", "complete_request"):
        rig.hear(*kernel.answer(rig.send(request(msg_type, {}))))
        assert (rig.link.active_at is None) is (msg_type in untracked)


def test_active_at_counts_output_of_an_untracked_type_to_a_tracked_request() -> None:
    rig, kernel = connected(), Voice()
    rig.link.inbound.untracked = frozenset({"stream", "complete_request"})
    rig.hear(kernel.stream("1", rig.send(request("complete_request", {}))))
    assert rig.link.active_at is None
    rig.hear(kernel.stream("1", rig.send()))
    assert rig.link.active_at is not None


def test_active_at_counts_all_output_of_a_busy_kernel() -> None:
    rig, kernel = connected(), Voice()
    rig.link.inbound.untracked = frozenset({"stream", "complete_request"})
    rig.hear(kernel.status("busy", rig.send()))
    at = rig.link.active_at
    rig.wait(5.0)
    rig.hear(kernel.stream("1", rig.send(request("complete_request", {}))))
    assert at is not None
    assert rig.link.active_at == at + 5


def test_barrier_answer_with_a_number_that_came_before_still_counts() -> None:
    rig, kernel = connected(), Voice()
    rig.hear(*kernel.answer(rig.send()))
    cell = rig.send()
    rig.drop()
    rig.reopen()
    kernel.number = 0  # it counts anew, under the same name
    rig.hear(*kernel.answer(rig.barriers[-1]))
    assert failures(rig.heard_of(cell))
    assert rig.link.inbound.replayed == 0


def test_barrier_does_not_answer_a_request_that_was_sent_again_under_its_id() -> None:
    rig, kernel = connected(), Voice()
    rig.hear(*kernel.answer(rig.send()))
    first = rig.send()
    rig.drop()
    rig.reopen()
    rig.send(request(msg_id=first.head.msg_id))
    rig.hear(*kernel.answer(rig.barriers[-1]))
    assert failures(rig.heard_of(first)) == []
