"""The life of a kernel, as far as this process knows it: its states, events and transitions.

========== ===================================================================================
STARTING   its start is under way; no gateway has it yet
FAILED     its start failed, or was given up; there is no kernel
RUNNING    its gateway has it
RESTARTING its gateway has been asked to restart it
GONE       its gateway says that it does not exist, or was not reached in the tries allowed
ENDED      it was deleted here
RELEASED   it runs on at its gateway; this process has closed its link to it
========== ===================================================================================

*   The state of the websocket is that of the link (``table.py``), and no part of this: a kernel is
    RUNNING during an outage, too.
*   FAILED, GONE and ENDED are final, but for one thing: a kernel that is deleted here is ENDED,
    whatever it was before.
*   A deletion that is under way is no state, since it may wait for a restart, and may fail.
*   A restart that failed leaves the kernel RUNNING, as one that succeeded does.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class Life(Enum):
    """Where in its life a kernel is; see the table above."""

    STARTING = "starting"
    FAILED = "failed"
    RUNNING = "running"
    RESTARTING = "restarting"
    GONE = "gone"
    ENDED = "ended"
    RELEASED = "released"

    __hash__ = object.__hash__  # there is one of each; Enum's own hash is a call of Python


class LifeEvent(Enum):
    """What can change where in its life a kernel is."""

    STARTED = "its start succeeded"
    START_FAILED = "its start failed, or was given up"
    RESTART = "its gateway is about to be asked to restart it"
    RESTART_DONE = "the gateway has restarted it, or has failed to"
    GONE = "its gateway says that it does not exist"
    DELETED = "it was deleted here, or its start was given up by a deletion"
    RELEASED = "the link to it is closed from here on"


_S, _E = Life, LifeEvent

TRANSITIONS: Final[dict[Life, dict[LifeEvent, Life]]] = {
    _S.STARTING: {
        _E.STARTED: _S.RUNNING,
        _E.START_FAILED: _S.FAILED,
        _E.DELETED: _S.ENDED,
        _E.RELEASED: _S.RELEASED,
    },
    _S.FAILED: {
        _E.GONE: _S.FAILED,
        _E.DELETED: _S.ENDED,
        _E.RELEASED: _S.FAILED,
    },
    _S.RUNNING: {
        _E.RESTART: _S.RESTARTING,
        _E.GONE: _S.GONE,
        _E.DELETED: _S.ENDED,
        _E.RELEASED: _S.RELEASED,
    },
    _S.RESTARTING: {
        _E.RESTART_DONE: _S.RUNNING,
        _E.GONE: _S.GONE,
        _E.DELETED: _S.ENDED,
        _E.RELEASED: _S.RELEASED,
    },
    _S.GONE: {
        _E.RESTART_DONE: _S.GONE,
        _E.GONE: _S.GONE,
        _E.DELETED: _S.ENDED,
        _E.RELEASED: _S.GONE,
    },
    _S.ENDED: dict.fromkeys(
        (_E.START_FAILED, _E.RESTART_DONE, _E.GONE, _E.DELETED, _E.RELEASED), _S.ENDED
    ),
    _S.RELEASED: {
        **dict.fromkeys((_E.RESTART, _E.RESTART_DONE, _E.GONE, _E.RELEASED), _S.RELEASED),
        _E.DELETED: _S.ENDED,
    },
}
"""Where each event leads. An event that has no entry for a state cannot happen in it."""

NOT_STARTED: Final = frozenset({Life.STARTING, Life.FAILED})
"""Its gateway has never had it, so its gateway is not asked about it."""

ATTACHED: Final = frozenset({Life.RUNNING, Life.RESTARTING})
"""Its gateway has it, by all that is known, and this process has a link to it."""

ON_GATEWAY: Final = ATTACHED | {Life.RELEASED}
"""Its gateway has it, by all that is known."""

DEAD: Final = frozenset({Life.FAILED, Life.GONE, Life.ENDED})
"""There is no such kernel, whatever became of it."""

VANISHED: Final = frozenset({Life.FAILED, Life.GONE})
"""There is no such kernel, though it was not deleted here: its pages have to show why."""

LISTED: Final = frozenset(Life) - VANISHED
"""A list of kernels shows it. A deleted kernel is in no list, since its manager drops it."""

RESTARTABLE: Final = frozenset({Life.RUNNING, Life.RELEASED})
"""A restart may begin."""


def next_life(life: Life, event: LifeEvent) -> Life:
    """Return where in its life a kernel is after this event. Raises `RuntimeError` if the event
    cannot happen there."""
    try:
        return TRANSITIONS[life][event]
    except KeyError:
        raise RuntimeError(f"{event} cannot happen while a kernel is {life}") from None
