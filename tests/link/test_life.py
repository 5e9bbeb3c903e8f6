"""The table of a kernel's life: every state, every event."""

from __future__ import annotations

import pytest

from jupyter_relay.link.life import (
    ATTACHED,
    DEAD,
    LISTED,
    NOT_STARTED,
    ON_GATEWAY,
    RESTARTABLE,
    TRANSITIONS,
    VANISHED,
    Life,
    LifeEvent,
    next_life,
)

S, E = Life, LifeEvent

IMPOSSIBLE = {
    S.STARTING: {E.RESTART, E.RESTART_DONE, E.GONE},
    S.FAILED: {E.STARTED, E.START_FAILED, E.RESTART, E.RESTART_DONE},
    S.RUNNING: {E.STARTED, E.START_FAILED, E.RESTART_DONE},
    S.RESTARTING: {E.STARTED, E.START_FAILED, E.RESTART},
    S.GONE: {E.STARTED, E.START_FAILED, E.RESTART},
    S.ENDED: {E.STARTED, E.RESTART},
    S.RELEASED: {E.STARTED, E.START_FAILED},
}
"""A kernel starts once, is asked about once it has started, and restarts while it lives."""

MOVES = {
    (S.STARTING, E.STARTED): S.RUNNING,
    (S.STARTING, E.START_FAILED): S.FAILED,
    (S.STARTING, E.RELEASED): S.RELEASED,
    (S.RUNNING, E.RESTART): S.RESTARTING,
    (S.RUNNING, E.GONE): S.GONE,
    (S.RUNNING, E.RELEASED): S.RELEASED,
    (S.RESTARTING, E.RESTART_DONE): S.RUNNING,
    (S.RESTARTING, E.GONE): S.GONE,
    (S.RESTARTING, E.RELEASED): S.RELEASED,
}
"""What changes the state beside a deletion, which does so from every state."""

CASES = [(life, event) for life in Life for event in LifeEvent]


@pytest.mark.parametrize(("life", "event"), CASES)
def test_next_life_in_every_state_is_the_tables_or_raises(life: Life, event: LifeEvent) -> None:
    if event in IMPOSSIBLE[life]:
        with pytest.raises(RuntimeError, match="cannot happen while"):
            next_life(life, event)
        return
    expected = S.ENDED if event is E.DELETED else MOVES.get((life, event), life)
    assert next_life(life, event) is expected


@pytest.mark.parametrize("life", [life for life in Life if life in DEAD])
def test_dead_states_lead_to_no_other_state_but_ended(life: Life) -> None:
    assert set(TRANSITIONS[life].values()) <= {life, S.ENDED}


@pytest.mark.parametrize("life", Life)
def test_restartable_states_are_those_with_a_restart(life: Life) -> None:
    assert (life in RESTARTABLE) is (E.RESTART in TRANSITIONS[life])


@pytest.mark.parametrize("life", Life)
def test_attached_states_are_those_in_which_a_release_leaves_the_kernel_on_its_gateway(
    life: Life,
) -> None:
    released = TRANSITIONS[life].get(E.RELEASED) is S.RELEASED
    assert (life in ATTACHED) is (released and life not in {S.STARTING, S.RELEASED})


@pytest.mark.parametrize("life", Life)
def test_every_state_is_dead_or_starting_or_on_the_gateway(life: Life) -> None:
    assert [life in DEAD, life is S.STARTING, life in ON_GATEWAY].count(True) == 1


def test_vanished_states_are_dead_and_not_by_a_deletion() -> None:
    assert DEAD - {S.ENDED} == VANISHED
    assert frozenset(Life) == LISTED | VANISHED
    assert not LISTED & VANISHED


def test_not_started_states_are_those_that_no_started_kernel_reaches() -> None:
    reached = {S.RUNNING}
    for _ in Life:
        reached |= {after for life in reached for after in TRANSITIONS[life].values()}
    assert frozenset(Life) - reached == NOT_STARTED
