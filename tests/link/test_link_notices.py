"""What a link writes to those who listen: under whose name, and where it is shown."""

from __future__ import annotations

from jupyter_relay.link.backlog import Dropped
from tests.link.rig import UPSTREAM, Rig, connected
from tests.support.messages import Voice, notices, request, types


def test_notices_carry_the_links_session_before_the_kernel_was_heard() -> None:
    rig = connected()
    rig.send()
    rig.do(rig.link.gone("It is gone."))
    assert {message.head.session for message in rig.heard()} == {UPSTREAM}


def test_notices_carry_the_session_of_the_kernels_last_message() -> None:
    rig, kernel = connected(), Voice("kernel-1")
    cell = rig.send()
    rig.hear(kernel.status("busy", cell), kernel.stream("1", cell))
    described = rig.link.notices.dropped(Dropped(3, cell.header))
    assert described.head.session == "kernel-1"
    begun = len(rig.delivered)
    rig.do(rig.link.watch.notify_of_failure("interrupt", "It said no.", unreachable=False))
    rig.drop()
    rig.do(rig.link.gone("It is gone."))
    written = rig.heard(since=begun)
    assert types(written) == ["stream", "error", "execute_reply", "status:idle", "status:dead"]
    assert {message.head.session for message in written} == {"kernel-1"}


def test_notices_carry_the_session_of_the_new_process_once_heard() -> None:
    rig, kernel, successor = connected(), Voice("kernel-1"), Voice("kernel-2", 72)
    rig.hear(*kernel.answer(rig.send()))
    rig.do([*rig.link.pause(), *rig.link.resume(restarted=True)])
    rig.open()
    cell = rig.send()
    assert rig.link.notices.dropped(Dropped(1, cell.header)).head.session == "kernel-1"
    rig.hear(successor.status("busy", cell))
    assert rig.link.notices.dropped(Dropped(1, cell.header)).head.session == "kernel-2"


def test_notices_ignore_the_session_of_the_gateways_own_messages() -> None:
    rig, kernel = connected(), Voice("kernel-1")
    cell = rig.send()
    rig.hear(kernel.status("busy", cell), Voice(UPSTREAM).stream("A limit was passed.", cell))
    assert rig.link.notices.dropped(Dropped(1, cell.header)).head.session == "kernel-1"


def down_for(seconds: float) -> tuple[Rig, list[str]]:
    """A rig with two cells asked for, down for so long."""
    rig, kernel = connected(), Voice()
    rig.send(request("kernel_info_request", {}))
    running, waiting = rig.send(), rig.send()
    rig.hear(kernel.status("busy", running))
    rig.drop()
    rig.wait(seconds)
    return rig, [running.head.msg_id, waiting.head.msg_id]


def test_failed_operation_in_an_outage_is_a_notice_with_its_length() -> None:
    rig, (running, _) = down_for(12)
    rig.do(rig.link.watch.notify_of_failure("interrupt", "Nobody answers.", unreachable=True))
    (told,) = [message for message in rig.heard() if message.head.msg_type == "stream"]
    assert told.parent.msg_id == running
    assert notices([told]) == [
        "[Jupyter Relay] Cannot interrupt: no connection to gpu since 12 s.\n"
    ]


def test_failed_operation_is_a_notice_with_the_gateways_reason() -> None:
    rig, _ = down_for(12)
    rig.do(rig.link.watch.notify_of_failure("restart", "gpu says no.", unreachable=False))
    assert notices(rig.heard()) == ["[Jupyter Relay] Cannot restart: gpu says no.\n"]


def test_failed_operation_without_a_running_cell_is_no_notice() -> None:
    rig, kernel = connected(), Voice()
    rig.hear(*kernel.answer(rig.send()))
    begun = len(rig.delivered)
    rig.do(rig.link.watch.notify_of_failure("interrupt", "gpu says no.", unreachable=False))
    assert rig.delivered[begun:] == []
