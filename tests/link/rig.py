"""A connection without a socket: it does what a link says, at once, and remembers it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from jupyter_relay.link.actions import (
    Action,
    Connect,
    ConnectBeside,
    Deliver,
    Disconnect,
    Flush,
    Happening,
    Probe,
    Report,
    StartTimer,
    StopTimer,
    Timer,
)
from jupyter_relay.link.link import Link
from jupyter_relay.link.settings import LinkSettings
from jupyter_relay.link.table import State
from jupyter_relay.wire.message import Message
from tests.support.messages import request

UPSTREAM = "upstream"
"""The session id of the link under test."""

OWN_ID = "relay-"
"""How the ids of what the link writes itself begin."""


class Rig:
    """A link and all that it asked for.

    Of whatever the link writes to those who listen, it sees that it carries the session id of the
    message that the kernel sent last.

    ``sent`` holds what went up, ``delivered`` what came down, with whom it is for (None for all).
    ``beside`` are the session ids of the handshakes under way beside the first.
    With ``writable`` off the socket takes nothing, as one whose buffers are full.
    """

    def __init__(self, settings: LinkSettings | None = None) -> None:
        numbers = itertools.count(1)
        self.now = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)
        self.chance = 1.0
        self.settings = settings or LinkSettings()
        self.link = Link(
            self.settings,
            gateway="gpu",
            session=UPSTREAM,
            clock=lambda: self.now,
            new_id=lambda: f"{OWN_ID}{next(numbers)}",
            chance=lambda: self.chance,
            seconds=lambda: self.now.timestamp(),
        )
        self.has_socket = False
        self.beside: list[str] = []
        self.kernel_session = UPSTREAM
        self.writable = True
        self.sent: list[Message] = []
        self.delivered: list[tuple[str | None, Message]] = []
        self.reports: list[Report] = []
        self.timers: dict[Timer, float] = {}
        self.probes = 0

    def do(self, actions: Iterable[Action]) -> None:
        """Do what the link says."""
        for action in actions:
            match action:
                case Connect():
                    assert not self.has_socket, "a second socket beside the first"
                    self.has_socket = True
                case ConnectBeside(session):
                    assert self.link.state is State.OPENING, "nothing to open beside"
                    self.beside.append(session)
                case Disconnect():
                    assert self.has_socket, "no socket to close"
                    self.has_socket = False
                    self.beside.clear()
                case Flush():
                    self.flush()
                case Deliver(message, to):
                    if message.head.msg_id.startswith(OWN_ID):
                        assert message.head.session == self.kernel_session
                    self.delivered.append((to, message))
                case StartTimer(timer, seconds):
                    self.timers[timer] = seconds
                case StopTimer(timer):
                    self.timers.pop(timer, None)
                case Probe():
                    self.probes += 1
                case Report():
                    self.reports.append(action)

    def flush(self) -> None:
        """Let the socket take what waits."""
        while self.writable and (message := self.link.next_message()) is not None:
            self.sent.append(message)

    def wait(self, seconds: float) -> None:
        """Let time pass; timers fire only when told to."""
        self.now += timedelta(seconds=seconds)

    def attach(self, subscriber: str = "tab") -> None:
        """Somebody listens."""
        self.do(self.link.attach(subscriber))

    def detach(self, subscriber: str = "tab") -> None:
        """Somebody goes away."""
        self.do(self.link.detach(subscriber))

    def open(self, session: str = "") -> None:
        """The handshake is done, or the one beside it under this session id."""
        self.beside.clear()
        self.do(self.link.opened(session))

    def drop(self, cause: str = "it was cut.", *, silent: float = 0.0) -> None:
        """The socket ends, after so many seconds of silence."""
        self.has_socket = False
        self.beside.clear()
        self.do(self.link.dropped(cause, silent=silent))

    def reopen(self, seconds: float = 5.0) -> None:
        """The back-off ends and the handshake is done."""
        self.wait(seconds)
        self.fire(Timer.RETRY)
        self.open()

    def fire(self, timer: Timer) -> None:
        """A timer that runs, runs out."""
        del self.timers[timer]
        self.do(self.link.fired(timer))

    def send(self, message: Message | None = None, subscriber: str = "tab") -> Message:
        """A subscriber speaks: by default, it asks to execute something."""
        message = message or request(session=subscriber)
        self.do(self.link.accept(subscriber, message))
        return message

    def hear(self, *messages: Message) -> None:
        """The kernel, or the gateway, speaks."""
        for message in messages:
            session = message.head.session
            if self.link.state is State.OPEN and not session.startswith((UPSTREAM, OWN_ID)):
                self.kernel_session = session
            self.do(self.link.receive(message))

    def heard(self, subscriber: str = "tab", since: int = 0) -> list[Message]:
        """Return what one subscriber was given."""
        return [message for to, message in self.delivered[since:] if to in (None, subscriber)]

    def heard_of(self, parent: Message, subscriber: str = "tab") -> list[Message]:
        """Return what one subscriber was given that is about a request."""
        msg_id = parent.head.msg_id
        return [m for m in self.heard(subscriber) if m.parent.msg_id == msg_id]

    @property
    def barriers(self) -> list[Message]:
        """The barriers that went up."""
        return [message for message in self.sent if message.head.session == UPSTREAM]

    @property
    def asked(self) -> list[Message]:
        """What went up for subscribers."""
        return [message for message in self.sent if message.head.session != UPSTREAM]

    def happened(self) -> list[Happening]:
        """Return what was reported."""
        return [report.happening for report in self.reports]


def connected(settings: LinkSettings | None = None) -> Rig:
    """A rig whose link is open, with one subscriber: ``tab``."""
    rig = Rig(settings)
    rig.attach()
    rig.open()
    return rig
