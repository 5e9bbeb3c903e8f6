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
def test_handshake_is_given_up_after_two_models_of_an_idle_or_busy_kernel(
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
def test_handshake_with_a_kernel_in_another_state_gets_another_beside_it(state: str) -> None:
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


def test_handshake_answered_first_gives_the_session_id() -> None:
    rig, kernel = reopening(), Voice()
    ask(rig, "starting", 2)
    (beside,) = rig.beside
    rig.open(beside)
    assert rig.link.inbound.upstream == beside
    delivered = len(rig.delivered)
    of_the_handshake = request("kernel_info_request", {}, session=beside)
    rig.hear(kernel.status("busy", of_the_handshake), kernel.status("idle", of_the_handshake))
    assert len(rig.delivered) == delivered, "that is for the gateway"


def test_each_handshake_gets_two_models_until_another_begins_beside_it() -> None:
    rig = reopening()
    for _ in range(2):
        ask(rig, "starting")
        assert rig.beside == []
        ask(rig, "starting", 2)
        assert len(rig.beside) == 1
        rig.drop("nobody answered.")
        rig.fire(Timer.RETRY)


def test_models_of_a_starting_kernel_do_not_count_against_its_handshake_once_idle() -> None:
    rig = reopening()
    ask(rig, "starting", 3)
    ask(rig, "idle")
    assert rig.link.state is State.OPENING


def test_handshake_given_up_doubles_the_time_of_the_next() -> None:
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


def test_long_first_handshake_is_a_notice_in_the_waiting_cell() -> None:
    rig = Rig()
    rig.attach()
    cell = rig.send()
    ask(rig, "idle", 2)
    (told,) = notices(rig.heard_of(cell))
    assert "No connection to gpu since 12:00:00 UTC: the handshake had no answer in 20 s" in told


def test_outage_is_a_notice_during_a_handshake() -> None:
    rig = reopening()
    rig.wait(rig.timers[Timer.ALARM])
    rig.fire(Timer.ALARM)
    assert rig.link.state is State.OPENING
    (told,) = (text for text in map(str, notices(rig.heard())) if "No connection" in text)
    assert "it was cut." in told
