"""What becomes of the kernels that a server has started when the server stops."""

from __future__ import annotations

from enum import Enum


class OnExit(Enum):
    """The option ``on_exit``; each value is how it is set."""

    SHUTDOWN = "shutdown"
    KEEP = "keep"
    KEEP_BUSY = "keep-busy"

    def keeps(self, *, at_work: bool) -> bool:
        """Whether a kernel runs on that is ``at_work``, as far as is known, or is not."""
        return self is OnExit.KEEP or (self is OnExit.KEEP_BUSY and at_work)
