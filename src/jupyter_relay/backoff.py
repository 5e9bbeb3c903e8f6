"""When to try again."""

from __future__ import annotations

from dataclasses import dataclass


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
