"""What a link writes itself follows the messaging protocol."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from jupyter_relay.link.actions import Deliver
from jupyter_relay.link.answers import Answers, Notices, is_ours
from jupyter_relay.link.pending import Pending, Request
from jupyter_relay.testing import read_content
from jupyter_relay.wire.message import Channel, Message
from tests.support.messages import Voice, request

NOTICES = Notices(
    session="upstream",
    clock=lambda: datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC),
    new_id=lambda: "fresh",
)


def pending(message: Message) -> Request:
    entry = Request.from_message(message, "tab")
    assert entry is not None
    return entry


def test_notices_have_complete_headers() -> None:
    header = msgspec.json.decode(NOTICES.status("dead").header)
    assert header == {
        "msg_id": "fresh",
        "msg_type": "status",
        "session": "upstream",
        "username": "jupyter-relay",
        "date": "2026-05-04T03:02:01Z",
        "version": "5.4",
    }


def test_notices_carry_the_kernels_session_and_barriers_that_of_the_link() -> None:
    notices = Notices(session="upstream", clock=lambda: datetime.now(UTC), new_id=lambda: "fresh")
    notices.kernel_session = "kernel"
    cell = pending(request())
    written = [
        notices.stderr("Look.", cell.header),
        notices.status("dead"),
        *notices.failure(cell, "It was lost."),
    ]
    assert {message.head.session for message in written if message} == {"kernel"}
    assert notices.barrier(Channel.SHELL, None).head.session == "upstream"


@pytest.mark.parametrize("channel", [Channel.SHELL, Channel.CONTROL])
@pytest.mark.parametrize("subshell_id", [None, "side"])
def test_barrier_requests_kernel_info_in_its_lane(
    channel: Channel, subshell_id: str | None
) -> None:
    barrier = NOTICES.barrier(channel, subshell_id)
    assert (barrier.channel, barrier.head.msg_type) == (channel, "kernel_info_request")
    assert barrier.head.subshell_id == subshell_id
    assert ("subshell_id" in msgspec.json.decode(barrier.header)) == (subshell_id is not None)
    assert read_content(barrier) == {}


def test_stderr_line_has_the_cell_as_parent() -> None:
    cell = request()
    line = NOTICES.stderr("Look.", cell.header)
    assert (line.channel, line.head.msg_type) == (Channel.IOPUB, "stream")
    assert read_content(line) == {"name": "stderr", "text": "[Jupyter Relay] Look.\n"}
    assert line.parent.msg_id == cell.head.msg_id


def test_status_of_the_kernel_has_no_parent() -> None:
    status = NOTICES.status("dead")
    assert status.parent.msg_id == ""
    assert read_content(status) == {"execution_state": "dead"}


def test_failure_of_a_cell_is_an_error_a_reply_and_an_idle_status() -> None:
    cell = request()
    output, reply, idle = NOTICES.failure(pending(cell), "It was lost.")
    assert output is not None
    described = {"ename": "LinkLost", "evalue": "It was lost.", "traceback": ["It was lost."]}
    assert (output.channel, output.head.msg_type) == (Channel.IOPUB, "error")
    assert read_content(output) == described
    assert (reply.channel, reply.head.msg_type) == (Channel.SHELL, "execute_reply")
    assert read_content(reply) == {
        "status": "error",
        **described,
        "execution_count": None,
        "user_expressions": {},
        "payload": [],
    }
    assert (idle.head.msg_type, read_content(idle)) == ("status", {"execution_state": "idle"})
    assert {m.parent.msg_id for m in (output, reply, idle)} == {cell.head.msg_id}


def test_failure_of_another_request_is_a_reply_on_its_channel() -> None:
    asked = request("interrupt_request", channel=Channel.CONTROL)
    output, reply, _ = NOTICES.failure(pending(asked), "It was lost.")
    assert output is None
    assert (reply.channel, reply.head.msg_type) == (Channel.CONTROL, "interrupt_reply")
    assert read_content(reply)["status"] == "error"


def answers() -> tuple[Answers, Pending]:
    pending = Pending()
    return Answers(pending, NOTICES), pending


def test_finish_of_a_replied_request_writes_its_idle_status_alone() -> None:
    written, pending_ones = answers()
    asked = pending(request("kernel_info_request", {}))
    pending_ones.add_request(asked)
    pending_ones.mark_replied(asked)
    (idle,) = written.finish([asked], "It was lost.")
    assert isinstance(idle, Deliver)
    assert read_content(idle.message) == {"execution_state": "idle"}
    assert asked.ended
    assert asked not in pending_ones


def test_answers_remember_only_the_last_finished_requests() -> None:
    written, pending_ones = answers()
    first, last = request(msg_id="0"), request(msg_id="20000")
    for message in (first, *(request(msg_id=str(n)) for n in range(1, 20_000)), last):
        asked = pending(message)
        pending_ones.add_request(asked)
        asked.replied = True
        written.finish_output(asked)
    kernel = Voice()
    assert written.makes_obsolete(kernel.status("idle", last))
    assert not written.makes_obsolete(kernel.status("idle", first))


def test_is_ours_goes_by_the_author_in_the_header() -> None:
    assert is_ours(NOTICES.status("dead"))
    assert not is_ours(Message(channel=Channel.IOPUB, header=b'{"username": "kernel"}'))
    assert not is_ours(Message(channel=Channel.IOPUB, header=b"no JSON"))
