"""The threads that somebody has started on purpose."""

from __future__ import annotations

import threading

LOOPS_OWN = "asyncio_"
"""How the names of the threads begin in which event loops look up host names and proxies."""


def threads() -> set[threading.Thread]:
    """Return the running threads, but for those of event loops."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith(LOOPS_OWN)}
