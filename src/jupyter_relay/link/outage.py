"""The outage of a link: how long it is down, why, and when the next try is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from jupyter_relay.link.actions import (
    Action,
    Happening,
    Report,
    StartTimer,
    StopTimer,
    Timer,
)
from jupyter_relay.link.settings import LinkSettings

_STABLE_SECONDS = 5.0
"""A socket that was open so long resets the backoff. One that ends sooner counts as a failed
try."""


class Outage:
    """The current outage of one link, if there is one, and the tries to end it.

    ``gateway`` is the gateway's name for people, ``clock`` returns the time with its offset from
    UTC, and ``chance`` a random number from 0 to 1. ``settings`` are those of the link.
    """

    __slots__ = (
        "_attempt",
        "_chance",
        "_clock",
        "_settings",
        "cause",
        "failed_tries",
        "gateway",
        "last_seconds",
        "retried_early",
        "since",
    )

    def __init__(
        self,
        settings: LinkSettings,
        *,
        gateway: str,
        clock: Callable[[], datetime],
        chance: Callable[[], float],
    ) -> None:
        self._settings = settings
        self.gateway = gateway
        self._clock = clock
        self._chance = chance
        self._attempt = 0
        """How many waits the backoff has counted. Reset when a stable socket ends, and by
        `reset`."""

        self.since: datetime | None = None
        """When the outage began; None while the link is up, or closed on purpose."""

        self.cause = ""
        """Why the last socket, or try, ended, as a sentence; empty before that. Never reset."""

        self.failed_tries = 0
        """How many tries in a row did not open a socket. Reset when an open socket ends."""

        self.retried_early = False
        """True once a wait was ended early in this outage. Reset when a socket opens."""

        self.last_seconds: float | None = None
        """How long the last outage that is over lasted; None before that. Never reset."""

    @property
    def is_down(self) -> bool:
        """True if the socket was lost, or did not open, and none has opened since."""
        return self.since is not None

    @property
    def seconds(self) -> float:
        """How long the link has been down; 0 if it is not."""
        return (self._clock() - self.since).total_seconds() if self.since else 0.0

    @property
    def is_long(self) -> bool:
        """True if it has lasted so long that the waiting cell is notified."""
        return self.seconds >= self._settings.alarm_after

    @property
    def is_hopeless(self) -> bool:
        """True if as many tries have failed as are allowed."""
        retry_max = self._settings.retry_max
        return retry_max is not None and self.failed_tries >= retry_max

    def describe_hopeless(self) -> str:
        """Return why no further try is made, as a sentence."""
        return f"{self.gateway} was not reached in {self.failed_tries} tries: {self.cause}"

    def socket_ended(
        self, cause: str, *, silent: float, open_since: datetime | None
    ) -> list[Action]:
        """A socket, or a try to open one, has ended. Reports the outage if one begins with that.

        ``open_since`` is when the socket opened, None for a try. The outage began when the peer was
        last heard, ``silent`` seconds ago.
        """
        now = self._clock()
        self.cause = cause
        if open_since is None:
            self.failed_tries += 1
        else:
            self.failed_tries = 0
            if (now - open_since).total_seconds() >= _STABLE_SECONDS:
                self._attempt = 0
        if self.since is not None:
            return []
        self.since = now - timedelta(seconds=silent)
        what = "could not be opened" if open_since is None else "was lost"
        text = f"The connection to {self.gateway} {what}: {cause}"
        return [
            Report(Happening.DROPPED, text, seconds=silent or None),
            StartTimer(Timer.ALARM, self._settings.alarm_after),
        ]

    def next_delay(self) -> float:
        """Return how many seconds to wait before the next try."""
        delay = self._settings.backoff.delay(self._attempt, self._chance())
        self._attempt += 1
        return delay

    def socket_opened(self) -> list[Action]:
        """A socket is open. Reports the end of the outage, if there was one."""
        self.retried_early = False
        actions: list[Action] = [StopTimer(Timer.ALARM)]
        if self.since is not None:
            self.last_seconds = self.seconds
            self.since = None
            text = f"Connected to {self.gateway} again, after {self.last_seconds:.1f} s."
            actions.append(Report(Happening.OPENED, text, seconds=self.last_seconds))
        return actions

    def watch_again(self) -> list[Action]:
        """A pause in an outage is over, and nothing was reached: notify the waiting cell when it
        would have been without the pause."""
        if self.since is None or self.is_long:
            return []
        return [StartTimer(Timer.ALARM, self._settings.alarm_after - self.seconds)]

    def end_on_purpose(self) -> None:
        """The link is closed on purpose: there is no outage, and the backoff begins anew."""
        self.since = None
        self._attempt = 0
