"""The states of a link, the events that change them, and the table that says how.

The theory stands above `Link`, in ``link.py``.
"""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """What the socket is doing; see the theory above."""

    IDLE = "idle"
    OPENING = "opening"
    OPEN = "open"
    WAITING = "waiting"
    PAUSED = "paused"
    GONE = "gone"
    CLOSED = "closed"


class Event(Enum):
    """What can change the state."""

    NEEDED = "somebody needs the link"
    OPENED = "the handshake is done"
    DROPPED = "the socket, or the try to open one, ended"
    RETRY = "the back-off timer fired"
    UNUSED = "the linger timer fired"
    PAUSE = "the kernel is about to be restarted"
    RESUME = "the kernel has been restarted"
    GONE = "the gateway says that the kernel does not exist"
    CLOSE = "close was asked for"


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
"""Where each event leads. An event that has no entry for a state cannot happen in it."""
