"""Which messages a page's machine has not acknowledged by TCP.

A laptop that falls asleep closes no connection: what is written to it fills the socket, megabytes
of it, until a ping stays unanswered. The operating system knows how many bytes the other side has
not acknowledged. The messages in those bytes are kept for the page's return. The other side
acknowledges what it has received, the last bytes up to 40 ms later: only those can arrive twice.
"""

from __future__ import annotations

import socket
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

from tornado.iostream import IOStream, SSLIOStream

from jupyter_relay.server.pages.tornado_private import bytes_flushed, bytes_written
from jupyter_relay.wire.message import Message

_MAX_WRITES = 64
_MAX_BYTES = 2**20
"""After how many writes, or bytes, those that were received are forgotten."""


class _Write(NamedTuple):
    """Messages that were one write: the stream's byte counts at its start and its end, and how many
    bytes each message takes."""

    start: int
    messages: Sequence[Message]
    sizes: Sequence[int]
    end: int

    def unreceived(self, received: int) -> list[Message]:
        """Return the messages that do not end within the first ``received`` bytes of the stream."""
        ends = accumulate(self.sizes, initial=self.start)
        next(ends)
        return [m for m, end in zip(self.messages, ends, strict=True) if end > received]


class Receipts:
    """Keeps the messages that were written to one socket until they are acknowledged.

    Nothing is known, and nothing kept, where the operating system does not count (other than
    Linux), and where bytes of messages are not bytes of the socket (TLS ends here). A proxy
    acknowledges in the page's place; what was on its way is lost then.
    """

    def __init__(self, stream: IOStream | None) -> None:
        self._stream = stream
        # A second descriptor, since the first one is closed by the time that a loss is known.
        self._socket = _countable(stream)
        self._writes: deque[_Write] = deque()
        """What was written, and was not acknowledged when that was last looked up."""
        self._refused: list[Message] = []
        """What could not be written any more."""
        self._bytes_since_pruned = 0

    def add_written(self, messages: Sequence[Message], sizes: Sequence[int]) -> None:
        """Keep messages that are written to the stream next, with the number of bytes of each; 0
        for one that was just written."""
        if self._socket is None or self._stream is None:
            return
        start = bytes_written(self._stream)
        written = sum(sizes)
        self._writes.append(_Write(start, messages, sizes, start + written))
        self._bytes_since_pruned += written or sum(message.size for message in messages)
        if self._bytes_since_pruned > _MAX_BYTES or len(self._writes) > _MAX_WRITES:
            self._prune()

    def add_refused(self, messages: Iterable[Message]) -> None:
        """Keep messages that the stream did not take any more."""
        self._refused.extend(messages)

    def close(self) -> list[Message]:
        """Stop, and return the messages, in order, that were not received whole."""
        received = self._prune()
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        unreceived = [message for write in self._writes for message in write.unreceived(received)]
        unreceived += self._refused
        self._writes.clear()
        self._refused.clear()
        return unreceived

    def _prune(self) -> int:
        """Forget the writes that were received whole; return the number of all bytes received."""
        if self._socket is None or self._stream is None:
            return 0
        self._bytes_since_pruned = 0
        flushed = bytes_flushed(self._stream)
        received = flushed - _unacknowledged(self._socket)
        while self._writes and self._writes[0].end <= received:
            self._writes.popleft()
        return received


def _countable(stream: IOStream | None) -> socket.socket | None:
    if sys.platform != "linux" or stream is None or isinstance(stream, SSLIOStream):
        return None
    is_tcp = stream.socket.family in {socket.AF_INET, socket.AF_INET6}
    return stream.socket.dup() if is_tcp else None


def _unacknowledged(tcp: socket.socket) -> int:
    """Return how many bytes the other side has not acknowledged (tcp(7), SIOCOUTQ)."""
    # These are not there on every platform; `_countable` has seen that this is Linux.
    import fcntl
    import termios

    answer = fcntl.ioctl(tcp, termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(answer, sys.byteorder)
