"""What those who log are given."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, MutableMapping
from typing import Any, TypeAlias

Log: TypeAlias = "logging.Logger | logging.LoggerAdapter[logging.Logger]"
"""A logger, or traitlets' form of one."""


class Flood:
    """Lines of one kind for a log: the first ``lines`` of each so many ``seconds`` are written, and
    the others counted.

    ``write`` takes a line; ``clock`` tells the seconds of a clock that only goes on.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        *,
        lines: int = 1,
        seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._seconds = seconds
        self._clock = clock
        self._lines = lines
        self._begun: float | None = None
        self._written = 0
        self._untold = 0

    def add(self, line: str) -> None:
        """Write a line, or count it if enough were written a moment ago."""
        now = self._clock()
        if self._begun is None or now - self._begun >= self._seconds:
            self._begun, self._written = now, 0
        if self._written >= self._lines:
            self._untold += 1
            return
        self._written += 1
        untold, self._untold = self._untold, 0
        self._write(f"{line} ({untold} more like it before.)" if untold else line)

    def end(self) -> None:
        """Say how many were counted, and not told of yet."""
        untold, self._untold = self._untold, 0
        self._begun = None
        if untold:
            self._write(f"{untold} more like the last one.")


class KernelLog(logging.LoggerAdapter["logging.Logger | logging.LoggerAdapter[logging.Logger]"]):
    """The log of one kernel: each line begins with "Kernel <id>: "."""

    def __init__(self, log: Log, kernel_id: str) -> None:
        super().__init__(log)
        self._prefix = f"Kernel {kernel_id}: ".replace("%", "%%")

    def process(
        self, msg: object, kwargs: MutableMapping[str, Any]
    ) -> tuple[str, MutableMapping[str, Any]]:
        """See `logging.LoggerAdapter.process`."""
        return f"{self._prefix}{msg}", kwargs
