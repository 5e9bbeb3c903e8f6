"""The states of a link, the events that change them, and the table of transitions.

``docs/link.md`` describes them, with a diagram made from `TABLE`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import Final


class State(Enum):
    """What the socket of a link is doing."""

    IDLE = "idle"
    OPENING = "opening"
    OPEN = "open"
    WAITING = "waiting"
    PAUSED = "paused"
    GONE = "gone"
    CLOSED = "closed"


OPEN: Final = State.OPEN
"""An alias for code that runs with every message, or for each kernel of a list; see `Channel`."""


class Event(Enum):
    """What can change the state of a link."""

    NEEDED = "a subscriber attached, or a message is to be sent"
    OPENED = "the handshake is done"
    DROPPED = "the socket, or the try to open one, ended"
    RETRY = "the backoff timer fired"
    UNUSED = "the linger timer fired"
    PAUSE = "the socket is closed on purpose, for a restart or to be replaced"
    RESUME = "the reason for the pause is over"
    GONE = "the gateway reports that the kernel does not exist"
    CLOSE = "the link was closed for good"


_S, _E = State, Event
_ENDS = {_E.GONE: _S.GONE, _E.CLOSE: _S.CLOSED}

TABLE: dict[State, dict[Event, State]] = {
    _S.IDLE: {
        _E.NEEDED: _S.OPENING,
        _E.UNUSED: _S.IDLE,
        _E.PAUSE: _S.PAUSED,
        **_ENDS,
    },
    _S.OPENING: {
        _E.NEEDED: _S.OPENING,
        _E.OPENED: _S.OPEN,
        _E.DROPPED: _S.WAITING,
        _E.UNUSED: _S.IDLE,
        _E.PAUSE: _S.PAUSED,
        **_ENDS,
    },
    _S.OPEN: {
        _E.NEEDED: _S.OPEN,
        _E.DROPPED: _S.WAITING,
        _E.UNUSED: _S.IDLE,
        _E.PAUSE: _S.PAUSED,
        **_ENDS,
    },
    _S.WAITING: {
        _E.NEEDED: _S.WAITING,
        _E.RETRY: _S.OPENING,
        _E.UNUSED: _S.IDLE,
        _E.PAUSE: _S.PAUSED,
        **_ENDS,
    },
    _S.PAUSED: {
        _E.NEEDED: _S.PAUSED,
        _E.UNUSED: _S.PAUSED,
        _E.PAUSE: _S.PAUSED,
        _E.RESUME: _S.IDLE,
        **_ENDS,
    },
    _S.GONE: {
        **dict.fromkeys((_E.NEEDED, _E.UNUSED, _E.PAUSE, _E.RESUME, _E.GONE), _S.GONE),
        _E.CLOSE: _S.CLOSED,
    },
    _S.CLOSED: dict.fromkeys(_E, _S.CLOSED),
}
"""The state that each event leads to. An event without an entry cannot happen in that state."""


class StateMachine:
    """A state that changes as `TABLE` has it. ``clock`` returns the time, with a time zone."""

    __slots__ = ("_clock", "since", "state")

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self.state = State.IDLE
        """The state. Changed by `_move` alone."""

        self.since = clock()
        """When the state changed last; before that, when this was made."""

    def _move(self, event: Event) -> None:
        """Change the state. Raises `RuntimeError` if the event cannot happen in this one."""
        try:
            state = TABLE[self.state][event]
        except KeyError:
            raise RuntimeError(f"{event} cannot happen while a link is {self.state}") from None
        if state is not self.state:
            self.state = state
            self.since = self._clock()
