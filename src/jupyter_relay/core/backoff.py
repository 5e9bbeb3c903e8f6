"""When to try again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


@dataclass(frozen=True, slots=True)
class Backoff:
    """A schedule of waits that double up to a cap, with full jitter.

    ``base`` and ``cap`` are in seconds. Full jitter keeps a thousand clients of one gateway that
    has just come back from calling it in the same instant.
    """

    base: float
    cap: float

    def delay(self, attempt: int, chance: float) -> float:
        """Return the seconds to wait before try number ``attempt``, counted from 0.

        ``chance`` is a random number from 0 to 1.
        """
        # Past 2**32 the cap has long been reached, and the power would only grow.
        return float(min(self.cap, self.base * 2 ** min(attempt, 32)) * chance)


def retry_after(text: str | None, now: datetime) -> float | None:
    """Read a ``Retry-After`` header: the seconds from ``now``, None where it gives none.

    It holds whole seconds, or a date (RFC 9110, 10.2.3); one that has passed means now.
    """
    text = (text or "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    # A date "-0000" comes without a zone, and is UTC.
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds())
