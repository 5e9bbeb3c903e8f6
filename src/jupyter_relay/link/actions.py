"""The values that a link returns: actions for its connection, reports, and a snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TypeAlias

import msgspec

from jupyter_relay.link.table import State
from jupyter_relay.wire.message import Message


class Timer(Enum):
    """The timers of a link; at most one of each runs."""

    RETRY = "until the next try"
    LINGER = "until an unused socket is closed"
    PROBE = "until a silent kernel, or handshake, is checked"
    ALARM = "until the waiting cell is notified that the gateway cannot be reached"


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a socket; then call `Link.opened` or `Link.dropped`."""


@dataclass(frozen=True, slots=True)
class ConnectBeside:
    """Begin another handshake under the session id ``session``, beside the unanswered one. The one
    that is answered first is the socket; `Link.opened` takes its session id."""

    session: str


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the socket, or stop all tries to open one; `Link.dropped` is not called."""


@dataclass(frozen=True, slots=True)
class Flush:
    """Send what `Link.next_message` returns, until it returns None."""


class Deliver(msgspec.Struct, frozen=True, gc=False):
    """Deliver ``message`` to the subscriber ``to``; to all, detached ones too, if that is None.

    A msgspec struct, since one is made for every message.
    """

    message: Message
    to: str | None = None


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Call `Link.fired` with ``timer`` after ``seconds``. A running timer of that kind is
    replaced."""

    timer: Timer
    seconds: float


@dataclass(frozen=True, slots=True)
class StopTimer:
    """Cancel ``timer``, if it runs."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class Probe:
    """Request the kernel's model; then call `Link.probed`, or `Link.gone` if there is none."""


class Happening(Enum):
    """What is logged and emitted as an event."""

    OPENED = "opened"
    DROPPED = "dropped"
    LOST = "messages_lost"
    FAILED = "request_failed"
    RESTARTED = "kernel_restarted"
    GONE = "kernel_gone"


@dataclass(frozen=True, slots=True)
class Report:
    """An event in the life of a link, for the log and for listeners.

    ``happening`` is its kind, and ``text`` describes it for people. ``seconds`` is how long the
    outage lasted, or has lasted; ``count`` how many messages were lost. ``already_reported`` is
    True if the report before this one covers it: then it is not logged.
    """

    happening: Happening
    text: str
    seconds: float | None = None
    count: int | None = None
    already_reported: bool = False


@dataclass(frozen=True, slots=True)
class LinkSnapshot:
    """The facts about a link at one moment, for people and programs.

    ``state`` is that of the link and ``since`` when it took it. ``cause`` is why the link ended, or
    why its last socket, or try to open one, ended; empty if none has. ``held`` is how many messages
    wait to be sent. ``outage_seconds`` is the length of the current outage, or of the last one;
    None if there was none. ``replayed`` counts the messages that the gateway has sent a second
    time, which are dropped; ``lost`` those that are reported as lost, where they could be counted.
    """

    state: State
    since: datetime
    cause: str
    held: int
    outage_seconds: float | None
    replayed: int
    lost: int


Action: TypeAlias = (
    Connect | ConnectBeside | Disconnect | Flush | Deliver | StartTimer | StopTimer | Probe | Report
)
