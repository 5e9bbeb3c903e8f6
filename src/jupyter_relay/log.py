"""How our log lines are written: by which logger, and not too many of one kind."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, MutableMapping
from typing import Any, TypeAlias

Log: TypeAlias = "logging.Logger | logging.LoggerAdapter[logging.Logger]"
"""A logger, or traitlets' form of one."""


class ThrottledLog:
    """Log lines of one kind: ``lines`` of them are written in each period of ``seconds``, and the
    others are counted.

    ``write`` writes a line. ``clock`` returns seconds, and never goes back.
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
        self._period_began: float | None = None
        """When the period began, by the clock; None until a line comes."""
        self._written = 0
        """How many lines of the period were written."""
        self._suppressed = 0
        """How many lines were counted since a line last reported a count."""

    def write(self, line: str) -> None:
        """Write a line, or count it if the period has had its lines."""
        now = self._clock()
        if self._period_began is None or now - self._period_began >= self._seconds:
            self._period_began, self._written = now, 0
        if self._written >= self._lines:
            self._suppressed += 1
            return
        self._written += 1
        suppressed, self._suppressed = self._suppressed, 0
        self._write(f"{line} ({suppressed} more like it before.)" if suppressed else line)

    def write_count(self) -> None:
        """Write how many lines were counted, if no line has reported that yet; end the period."""
        suppressed, self._suppressed = self._suppressed, 0
        self._period_began = None
        if suppressed:
            self._write(f"{suppressed} more like the last one.")


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
