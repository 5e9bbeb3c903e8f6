"""What happens to the kernels that a server has started when the server stops."""

from __future__ import annotations

from enum import Enum


class OnExit(Enum):
    """The option ``on_exit``; each value is how it is set."""

    SHUTDOWN = "shutdown"
    KEEP = "keep"
    KEEP_BUSY = "keep-busy"

    def keeps(self, *, at_work: bool) -> bool:
        """Return True if a kernel is left running; ``at_work`` is True if it may be computing."""
        return self is OnExit.KEEP or (self is OnExit.KEEP_BUSY and at_work)
