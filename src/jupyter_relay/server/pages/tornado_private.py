"""The names of tornado that are not public, and that we need. No other file names one.

tornado counts the bytes of a stream, and has no public way to read its counts.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Final

from tornado.iostream import IOStream

# Not functions: they are called for each write to a page.

bytes_written: Final[Callable[[IOStream], int]] = attrgetter("_total_write_index")
"""Returns how many bytes the stream was given to write since it was made."""

bytes_flushed: Final[Callable[[IOStream], int]] = attrgetter("_total_write_done_index")
"""Returns how many of those bytes the stream has given to the operating system."""
