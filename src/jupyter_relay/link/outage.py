"""How long a link has been down, why, and when it is tried again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from jupyter_relay.link.settings import LinkSettings

_STANDS = 5.0
"""The seconds after which a socket counts as one that a gateway meant: the back-off begins anew."""


class Outage:
    """The outage of one link, if there is one, and its tries.

    ``since`` is when it began, None while the link is up or not wanted; ``cause`` says why the last
    socket, or try, ended; ``failed`` is how many tries in a row did not open.
    """

    __slots__ = (
        "_attempt",
        "_chance",
        "_clock",
        "_open_since",
        "_settings",
        "cause",
        "failed",
        "since",
    )

    def __init__(
        self,
        settings: LinkSettings,
        *,
        clock: Callable[[], datetime],
        chance: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._chance = chance
        self._open_since: datetime | None = None
        self._attempt = 0
        self.since: datetime | None = None
        self.cause = ""
        self.failed = 0

    @property
    def seconds(self) -> float:
        """For how long the link has been down, 0 if it is not."""
        return (self._clock() - self.since).total_seconds() if self.since else 0.0

    @property
    def is_long(self) -> bool:
        """Whether it has lasted so long that the cell that waits is told."""
        return self.seconds >= self._settings.alarm_after

    @property
    def is_hopeless(self) -> bool:
        """Whether as many tries have failed as there may be."""
        return self._settings.retry_max is not None and self.failed >= self._settings.retry_max

    def drop(self, cause: str, *, silent: float, was_open: bool) -> bool:
        """A socket, or a try to open one, ended; return whether an outage begins with that.

        It began when the peer was last heard, ``silent`` seconds ago.
        """
        self.cause = cause
        self.failed = 0 if was_open else self.failed + 1
        if was_open and self._stood():
            self._attempt = 0  # one that ends at once is as good as one that never opened
        if self.since is not None:
            return False
        self.since = self._clock() - timedelta(seconds=silent)
        return True

    def wait(self) -> float:
        """Return how many seconds to wait before the next try."""
        delay = self._settings.backoff.delay(self._attempt, self._chance())
        self._attempt += 1
        return delay

    def end(self) -> None:
        """The link is open again."""
        self._open_since = self._clock()
        self.since = None

    def forget(self) -> None:
        """The link is down on purpose from now on; the next tries begin anew."""
        self.since = None
        self._attempt = 0

    def _stood(self) -> bool:
        """Whether the socket stood long enough to say that the gateway is well."""
        if self._open_since is None:
            return False
        return (self._clock() - self._open_since).total_seconds() >= _STANDS
