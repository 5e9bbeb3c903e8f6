"""What a link asks of the connection that drives it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import msgspec

from jupyter_relay.wire.message import Message


class Timer(Enum):
    """The timers that a link asks for; at most one of each runs."""

    RETRY = "until the next try"
    LINGER = "until an unused socket is closed"
    PROBE = "until the gateway is asked for a kernel that owes an answer and is silent"
    ALARM = "until a cell is told that the gateway cannot be reached"


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a socket; tell `Link.opened` or `Link.dropped`."""


@dataclass(frozen=True, slots=True)
class ConnectBeside:
    """Begin another handshake under this session id, beside the one that has no answer yet. The
    first that is answered is the socket; tell `Link.opened` which it was."""

    session: str


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the socket, or end all tries to open one, and tell nobody."""


@dataclass(frozen=True, slots=True)
class Flush:
    """Send what `Link.take` gives, until it gives None."""


class Deliver(msgspec.Struct, frozen=True, gc=False):
    """Hand a message to these subscribers; to all, detached ones too, if ``to`` is None.

    A msgspec struct, since one of these is made for every message that passes.
    """

    message: Message
    to: str | None = None


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Tell `Link.fired` after so many seconds, in place of an earlier timer of this kind."""

    timer: Timer
    seconds: float


@dataclass(frozen=True, slots=True)
class StopTimer:
    """Forget this timer."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask the gateway whether the kernel exists; tell `Link.gone` if it does not."""


class Happening(Enum):
    """What is worth a line in the log and an event."""

    OPENED = "opened"
    DROPPED = "dropped"
    LOST = "messages_lost"
    FAILED = "request_failed"
    RESTARTED = "kernel_restarted"
    GONE = "kernel_gone"


@dataclass(frozen=True, slots=True)
class Report:
    """Something happened that people should be able to find out about.

    ``seconds`` is how long the outage lasted, or has lasted; ``count`` how many messages were lost.
    ``told`` says that the report before this one told of it, too: then it needs no line of its own.
    """

    happening: Happening
    text: str
    seconds: float | None = None
    count: int | None = None
    told: bool = False


Action: TypeAlias = (
    Connect | ConnectBeside | Disconnect | Flush | Deliver | StartTimer | StopTimer | Probe | Report
)
