"""The bounds and times of a link."""

from __future__ import annotations

from dataclasses import dataclass

from jupyter_relay.backoff import Backoff

_BACKOFF = Backoff(base=1.0, cap=30.0)


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """The bounds and times of a link; times are in seconds.

    The options of the same names have their defaults from here.

    ``backoff`` has the waits between tries, and ``retry_max`` is how many tries may fail in a row;
    None for any number, as long as somebody needs the link. ``linger`` is how long a socket that
    nobody needs stays open. ``probe_after`` is how long a kernel that owes an answer may be silent
    until it is probed, and ``alarm_after`` how long an outage may last until the waiting cell is
    notified. While the link is down, ``outbox_messages`` of ``outbox_bytes`` together are held. A
    message of more than ``max_message_bytes`` is not sent; 0 for no maximum.
    """

    backoff: Backoff = _BACKOFF
    retry_max: int | None = None
    linger: float = 30.0
    probe_after: float = 10.0
    alarm_after: float = 10.0
    outbox_messages: int = 1000
    outbox_bytes: int = 64 * 2**20
    max_message_bytes: int = 2**28
