"""The table of a link: every state, every event."""

from __future__ import annotations

import pytest

from jupyter_relay.link.table import TABLE, Event, State
from tests.link.rig import Rig, connected

S, E = State, Event

IMPOSSIBLE = {
    S.IDLE: {E.OPENED, E.DROPPED, E.RETRY, E.RESUME},
    S.OPENING: {E.RETRY, E.RESUME},
    S.OPEN: {E.OPENED, E.RETRY, E.RESUME},
    S.WAITING: {E.OPENED, E.DROPPED, E.RESUME},
    S.PAUSED: {E.OPENED, E.DROPPED, E.RETRY},
    S.GONE: {E.OPENED, E.DROPPED, E.RETRY},
    S.CLOSED: set(),
}
"""Without a socket nothing opens or drops; the back-off timer runs only while waiting."""

MOVES = {
    (S.IDLE, E.NEEDED): S.OPENING,
    (S.OPENING, E.OPENED): S.OPEN,
    (S.OPENING, E.DROPPED): S.WAITING,
    (S.OPENING, E.UNUSED): S.IDLE,
    (S.OPEN, E.DROPPED): S.WAITING,
    (S.OPEN, E.UNUSED): S.IDLE,
    (S.WAITING, E.RETRY): S.OPENING,
    (S.WAITING, E.UNUSED): S.IDLE,
    (S.PAUSED, E.RESUME): S.IDLE,
}
"""What changes the state beside the events that do so from every state that is not final."""


def expected(state: State, event: Event) -> State:
    if state is S.CLOSED or event is E.CLOSE:
        return S.CLOSED
    if state is S.GONE or event is E.GONE:
        return S.GONE
    if event is E.PAUSE:
        return S.PAUSED
    return MOVES.get((state, event), state)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_table_has_the_target_of_every_event_in_every_state(state: State, event: Event) -> None:
    if event in IMPOSSIBLE[state]:
        assert event not in TABLE[state]
    else:
        assert TABLE[state][event] is expected(state, event)


def test_closed_is_final_and_gone_can_only_be_closed() -> None:
    assert set(TABLE[S.CLOSED].values()) == {S.CLOSED}
    assert set(TABLE[S.GONE].values()) == {S.GONE, S.CLOSED}


@pytest.mark.parametrize("rig", [Rig(), connected()], ids=["idle", "open"])
def test_impossible_event_raises_and_changes_nothing(rig: Rig) -> None:
    before = rig.link.state
    with pytest.raises(RuntimeError, match="cannot happen while"):
        rig.open()
    assert rig.link.state is before
