"""The bounds and times of a link."""

from __future__ import annotations

from dataclasses import dataclass

from jupyter_relay.backoff import Backoff

_BACKOFF = Backoff(base=1.0, cap=30.0)


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """The bounds and times of a link; times are in seconds.

    The options of the same names have their defaults from here.

    ``retry_max`` None means to go on as long as somebody needs the link. ``linger`` is how long a
    socket that nobody needs stays open. ``probe_after`` is how long a kernel that owes an answer
    may be silent before it is asked for; ``alarm_after`` how long an outage may last before the
    waiting cells are told. A message of more than ``max_message_bytes`` is not sent; 0 sends any.
    """

    backoff: Backoff = _BACKOFF
    retry_max: int | None = None
    linger: float = 30.0
    probe_after: float = 10.0
    alarm_after: float = 10.0
    outbox_messages: int = 1000
    outbox_bytes: int = 64 * 2**20
    max_message_bytes: int = 2**28
