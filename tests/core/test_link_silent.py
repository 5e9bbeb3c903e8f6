"""A socket on which nothing comes, whatever the gateway says of its kernel."""

from __future__ import annotations

import pytest

from jupyter_relay.core.actions import Timer
from tests.core.rig import UPSTREAM, Rig, connected
from tests.support.messages import Voice, failures, notices, request

STATES = ["starting", "busy", "unknown", "restarting"]


def silence(rig: Rig, state: str, times: int = 1) -> None:
    """So many times nothing was heard until the gateway was asked, which says this."""
    for _ in range(times):
        rig.wait(rig.timers[Timer.PROBE])
        rig.fire(Timer.PROBE)
        rig.do(rig.link.silent(state))


def unheard() -> tuple[Rig, Voice]:
    """A rig that was watched already, so that the next silence begins with the next request."""
    rig, kernel = connected(), Voice()
    rig.hear(*kernel.answer(rig.send()))
    rig.fire(Timer.PROBE)
    return rig, kernel


@pytest.mark.parametrize("state", STATES)
def test_a_socket_that_is_silent_twice_is_replaced_and_the_cell_is_told_once(state: str) -> None:
    rig, kernel = unheard()
    cell = rig.send()
    silence(rig, state)
    assert notices(rig.heard_of(cell)) == []
    silence(rig, state)
    (told,) = notices(rig.heard_of(cell))
    assert f"gpu says that the kernel is {state}" in told
    rig.open()
    assert rig.link.upstream == UPSTREAM, "the gateway keeps for this id what comes meanwhile"
    silence(rig, state, 2)
    assert rig.link.upstream != UPSTREAM
    assert len(notices(rig.heard_of(cell))) == 1
    rig.open()
    rig.hear(*kernel.answer(rig.barriers[-1]))
    assert len(failures(rig.heard_of(cell))) == 1


def test_a_kernel_that_was_heard_to_be_busy_and_is_so_is_left_alone() -> None:
    rig, kernel = unheard()
    cell = rig.send()
    rig.hear(kernel.status("busy", cell))
    silence(rig, "busy", 9)
    assert rig.has_socket
    assert notices(rig.heard_of(cell)) == []


def test_a_kernel_that_was_heard_to_be_busy_for_somebody_else_is_left_alone() -> None:
    rig, kernel = unheard()
    rig.hear(kernel.status("busy", request(session="somebody")))
    cell = rig.send()
    silence(rig, "busy", 9)
    assert notices(rig.heard_of(cell)) == []


def test_a_kernel_that_has_begun_keeps_the_session_id_under_which_its_reply_comes() -> None:
    rig, kernel = unheard()
    cell = rig.send()
    rig.hear(kernel.status("busy", cell))
    silence(rig, "starting", 2)
    rig.open()
    silence(rig, "starting", 2)
    assert rig.link.upstream == UPSTREAM


def test_what_is_heard_ends_the_doubt() -> None:
    rig, kernel = unheard()
    cell = rig.send()
    silence(rig, "unknown")
    rig.hear(kernel.status("busy", cell))
    rig.fire(Timer.PROBE)
    silence(rig, "unknown")
    assert notices(rig.heard_of(cell)) == []
