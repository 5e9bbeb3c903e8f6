"""A handshake that has no answer, while the gateway answers other questions."""

from __future__ import annotations

import pytest

from jupyter_relay.link.actions import Timer
from jupyter_relay.link.table import State
from tests.link.rig import UPSTREAM, Rig, connected
from tests.support.messages import Voice, notices, request


def ask(rig: Rig, state: str, times: int = 1) -> None:
    """So many times the gateway is asked for the kernel, and says this."""
    for _ in range(times):
        rig.wait(rig.timers[Timer.PROBE])
        rig.fire(Timer.PROBE)
        rig.do(rig.link.probed(state))


def reopening() -> Rig:
    """A rig with a cell under way whose socket was cut, and that tries again."""
    rig = connected()
    rig.send()
    rig.drop()
    rig.fire(Timer.RETRY)
    return rig


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_a_handshake_is_given_up_if_the_gateway_says_twice_that_the_kernel_is_there(
    state: str,
) -> None:
    rig = reopening()
    ask(rig, state)
    assert Timer.RETRY not in rig.timers
    ask(rig, state)
    assert not rig.has_socket, "closed before the next begins"
    rig.reopen()
    assert rig.link.state is State.OPEN


@pytest.mark.parametrize("state", ["starting", "restarting", "unknown"])
def test_a_handshake_with_a_kernel_that_cannot_be_talked_to_yet_is_waited_for(state: str) -> None:
    rig = reopening()
    ask(rig, state)
    assert rig.beside == []
    ask(rig, state)
    assert len(rig.beside) == 1
    ask(rig, state, 7)
    assert len(set(rig.beside) - {UPSTREAM}) == 3
    assert rig.link.state is State.OPENING
    rig.open(UPSTREAM)
    assert rig.link.inbound.upstream == UPSTREAM


def test_the_handshake_that_is_answered_first_gives_the_socket_its_session_id() -> None:
    rig, kernel = reopening(), Voice()
    ask(rig, "starting", 2)
    (beside,) = rig.beside
    rig.open(beside)
    assert rig.link.inbound.upstream == beside
    delivered = len(rig.delivered)
    of_the_handshake = request("kernel_info_request", {}, session=beside)
    rig.hear(kernel.status("busy", of_the_handshake), kernel.status("idle", of_the_handshake))
    assert len(rig.delivered) == delivered, "that is for the gateway"


def test_each_handshake_is_waited_for_before_another_goes_beside_it() -> None:
    rig = reopening()
    for _ in range(2):
        ask(rig, "starting")
        assert rig.beside == []
        ask(rig, "starting", 2)
        assert len(rig.beside) == 1
        rig.drop("nobody answered.")
        rig.fire(Timer.RETRY)


def test_what_is_said_of_a_kernel_that_starts_does_not_end_its_handshake_when_it_is_idle() -> None:
    rig = reopening()
    ask(rig, "starting", 3)
    ask(rig, "idle")
    assert rig.link.state is State.OPENING


def test_each_handshake_in_a_row_that_is_given_up_gives_the_next_double_the_time() -> None:
    rig = reopening()
    for answers in (2, 4, 8):
        ask(rig, "idle", answers - 1)
        assert rig.link.state is State.OPENING
        ask(rig, "idle")
        rig.fire(Timer.RETRY)
    rig.open()
    rig.drop()
    rig.fire(Timer.RETRY)
    ask(rig, "idle", 2)
    assert rig.link.state is State.WAITING


def test_the_cell_that_waits_for_a_first_handshake_is_told_since_when() -> None:
    rig = Rig()
    rig.attach()
    cell = rig.send()
    ask(rig, "idle", 2)
    (told,) = notices(rig.heard_of(cell))
    assert "No connection to gpu since 12:00:00 UTC: the handshake had no answer in 20 s" in told


def test_the_cell_that_waits_is_told_during_a_handshake_after_an_outage() -> None:
    rig = reopening()
    rig.wait(rig.timers[Timer.ALARM])
    rig.fire(Timer.ALARM)
    assert rig.link.state is State.OPENING
    (told,) = (text for text in map(str, notices(rig.heard())) if "No connection" in text)
    assert "it was cut." in told
