"""A socket on which nothing comes, whatever the gateway says of its kernel."""

from __future__ import annotations

import pytest

from jupyter_relay.link.actions import Happening, Timer
from jupyter_relay.link.table import State
from jupyter_relay.wire.message import Channel, Message
from tests.link.rig import UPSTREAM, Rig, connected
from tests.support.messages import Voice, failures, notices, request, types

STATES = ["starting", "busy", "unknown", "restarting"]


def silence(rig: Rig, state: str, times: int = 1) -> None:
    """So many times nothing was heard until the gateway was asked, which says this."""
    for _ in range(times):
        rig.wait(rig.timers[Timer.PROBE])
        rig.fire(Timer.PROBE)
        rig.do(rig.link.probed(state))


def unheard() -> tuple[Rig, Voice]:
    """A rig that was watched already, so that the next silence begins with the next request."""
    rig, kernel = connected(), Voice()
    rig.hear(*kernel.answer(rig.send()))
    rig.fire(Timer.PROBE)
    return rig, kernel


@pytest.mark.parametrize("state", STATES)
def test_socket_silent_twice_is_replaced_with_one_notice(state: str) -> None:
    rig, kernel = unheard()
    cell = rig.send()
    silence(rig, state)
    assert notices(rig.heard_of(cell)) == []
    silence(rig, state)
    (told,) = notices(rig.heard_of(cell))
    assert f"gpu reports it as {state}" in told
    rig.open()
    assert rig.link.inbound.upstream == UPSTREAM, (
        "the gateway keeps for this id what comes meanwhile"
    )
    silence(rig, state, 2)
    assert rig.link.inbound.upstream != UPSTREAM
    assert len(notices(rig.heard_of(cell))) == 1
    rig.open()
    rig.hear(*kernel.answer(rig.barriers[-1]))
    assert len(failures(rig.heard_of(cell))) == 1


def beside(rig: Rig) -> list[Message]:
    """What the kernel was asked on control."""
    return [message for message in rig.barriers if message.channel is Channel.CONTROL]


def at_work() -> tuple[Rig, Voice, Message]:
    """A rig, and a cell with which its kernel was heard to begin."""
    rig, kernel = unheard()
    cell = rig.send()
    rig.hear(kernel.status("busy", cell))
    rig.fire(Timer.PROBE)
    return rig, kernel, cell


def test_kernel_at_work_that_answers_on_control_is_left_alone() -> None:
    rig, kernel, cell = at_work()
    for times in range(1, 9):
        silence(rig, "busy")
        assert len(beside(rig)) == times
        rig.hear(*kernel.answer(beside(rig)[-1]))
        rig.fire(Timer.PROBE)
    rig.hear(*kernel.answer(rig.barriers[0])[:2], kernel.reply(cell), kernel.status("idle", cell))
    assert types(rig.heard_of(cell)) == ["status:busy", "execute_reply", "status:idle"]
    assert Happening.DROPPED not in rig.happened()


def test_socket_deaf_after_busy_is_replaced_with_one_notice() -> None:
    rig, kernel, cell = at_work()
    silence(rig, "busy")
    rig.hear(*kernel.answer(beside(rig)[-1]))
    rig.fire(Timer.PROBE)
    silence(rig, "busy", 2)
    assert notices(rig.heard_of(cell)) == [], "one silence more, and it is deaf"
    silence(rig, "busy")
    (told,) = notices(rig.heard_of(cell))
    assert "does not answer on control" in told
    rig.open()
    assert rig.link.inbound.upstream == UPSTREAM, "its reply comes under this id"
    silence(rig, "busy", 3)
    rig.open()
    assert len(notices(rig.heard_of(cell))) == 1
    rig.hear(kernel.reply(cell), kernel.status("idle", cell))
    assert types(rig.heard_of(cell)) == ["status:busy", "stream", "execute_reply", "status:idle"]


def test_kernel_that_answers_nothing_at_work_gets_new_sockets_ever_more_rarely() -> None:
    rig, kernel, cell = at_work()
    silences = []
    for number in range(1, 40):
        silence(rig, "busy")
        if rig.link.state is State.OPENING:
            silences.append(number)
            rig.open()
        if number == 3:
            assert notices(rig.heard_of(cell)) == [], "it need not be deaf"
    assert silences == [3, 6, 11, 20, 37]
    rig.hear(*kernel.answer(rig.barriers[-1]), kernel.reply(cell), kernel.status("idle", cell))
    assert types(rig.heard_of(cell))[-2:] == ["execute_reply", "status:idle"]
    assert failures(rig.heard_of(cell)) == []


def test_kernel_that_answers_control_in_turn_does_not_count_as_answering_at_work() -> None:
    rig, kernel, cell = at_work()
    silence(rig, "busy")
    rig.hear(kernel.reply(cell), kernel.status("idle", cell), *kernel.answer(beside(rig)[-1]))
    queued = rig.send()
    rig.hear(kernel.status("busy", queued))
    rig.fire(Timer.PROBE)
    silence(rig, "busy", 3)
    assert rig.link.state is State.OPENING
    assert notices(rig.heard_of(queued)) == []


def test_idle_model_after_our_question_on_control_is_not_believed() -> None:
    rig, kernel, cell = at_work()
    silence(rig, "busy")
    for _ in range(5):
        rig.hear(*kernel.answer(beside(rig)[-1]))
        rig.fire(Timer.PROBE)
        rig.wait(rig.timers[Timer.PROBE])
        rig.fire(Timer.PROBE)
        rig.do(rig.link.probed("idle"))
    assert Happening.DROPPED not in rig.happened()
    assert len(beside(rig)) == 6
    rig.hear(*kernel.answer(rig.barriers[0]))
    rig.fire(Timer.PROBE)
    rig.fire(Timer.PROBE)
    rig.do(rig.link.probed("idle"))
    assert rig.link.state is State.OPENING, "what went before is over, and its reply is lost"
    rig.open()
    rig.hear(*kernel.answer(rig.barriers[-1]))
    assert len(failures(rig.heard_of(cell))) == 1


def test_output_lost_before_the_idle_of_our_question_is_counted() -> None:
    rig, kernel, cell = at_work()
    silence(rig, "busy")
    question = beside(rig)[-1]
    rig.hear(kernel.status("busy", question), kernel.reply(question))
    lost = kernel.stream("lost", cell)
    idle = kernel.status("idle", question)
    rig.hear(idle)
    rig.drop()
    rig.reopen()
    rig.hear(kernel.reply(cell), kernel.status("idle", cell))
    assert lost.head.msg_id
    assert any("1 message was lost" in text for text in notices(rig.heard_of(cell)))


def test_kernel_busy_for_another_client_is_asked_on_control() -> None:
    rig, kernel = unheard()
    rig.hear(kernel.status("busy", request(session="somebody")))
    cell = rig.send()
    rig.fire(Timer.PROBE)
    silence(rig, "busy")
    rig.hear(*kernel.answer(beside(rig)[-1]))
    rig.fire(Timer.PROBE)
    assert notices(rig.heard_of(cell)) == []
    assert Happening.DROPPED not in rig.happened()


def test_kernel_that_has_begun_keeps_the_session_id_of_its_reply() -> None:
    rig, kernel = unheard()
    cell = rig.send()
    rig.hear(kernel.status("busy", cell))
    silence(rig, "starting", 2)
    rig.open()
    silence(rig, "starting", 2)
    assert rig.link.inbound.upstream == UPSTREAM


def test_message_from_the_kernel_resets_the_silences() -> None:
    rig, kernel = unheard()
    cell = rig.send()
    silence(rig, "unknown")
    rig.hear(kernel.status("busy", cell))
    rig.fire(Timer.PROBE)
    silence(rig, "unknown")
    assert notices(rig.heard_of(cell)) == []


@pytest.mark.parametrize("state", ["idle", "busy", "starting"])
def test_model_while_the_link_waits_changes_nothing(state: str) -> None:
    rig = connected()
    rig.send()
    rig.drop()
    assert rig.link.probed(state) == []
