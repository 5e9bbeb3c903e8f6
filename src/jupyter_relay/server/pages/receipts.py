"""Which messages a tab's machine has not received, by the word of TCP.

A laptop that falls asleep does not say so: what is written to it fills the socket, megabytes of
it, until a ping goes unanswered. The operating system knows how many bytes the other side has not
acknowledged; the messages in them are kept for the tab's return. The other side acknowledges what
it has, the last of it up to 40 ms later: only that can arrive twice.
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

_PRUNE_WRITES = 64
_PRUNE_BYTES = 2**20


class _Write(NamedTuple):
    """Messages that were one write: where they begin in all that was written, and the bytes that
    each takes."""

    start: int
    messages: Sequence[Message]
    sizes: Sequence[int]
    end: int

    def behind(self, received: int) -> list[Message]:
        """Return those of which not all bytes are among the first ``received``."""
        ends = accumulate(self.sizes, initial=self.start)
        next(ends)
        return [m for m, end in zip(self.messages, ends, strict=True) if end > received]


class Receipts:
    """Follows what is written to one socket.

    It knows nothing, and keeps nothing, where the operating system does not tell (elsewhere than
    on Linux), where bytes are not countable (TLS ends here), or where a proxy on the way
    acknowledges in the tab's place: what is lost then is what was on its way.
    """

    def __init__(self, stream: IOStream | None) -> None:
        self._stream = stream
        # A second descriptor, since the first one is closed by the time that a loss is known.
        self._socket = _countable(stream)
        self._writes: deque[_Write] = deque()
        self._refused: list[Message] = []
        self._since_pruned = 0

    def expect(self, messages: Sequence[Message], sizes: Sequence[int]) -> None:
        """Note messages that are written to the stream next, and the bytes that each takes; those
        of size 0 were just written."""
        if self._socket is None or self._stream is None:
            return
        start = bytes_written(self._stream)
        written = sum(sizes)
        self._writes.append(_Write(start, messages, sizes, start + written))
        self._since_pruned += written or sum(message.size for message in messages)
        if self._since_pruned > _PRUNE_BYTES or len(self._writes) > _PRUNE_WRITES:
            self._prune()

    def refused(self, messages: Iterable[Message]) -> None:
        """Note messages that the stream did not take any more."""
        self._refused.extend(messages)

    def close(self) -> list[Message]:
        """End it; return the messages, in order, that were not received whole."""
        received = self._prune()
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        unreceived = [message for write in self._writes for message in write.behind(received)]
        unreceived += self._refused
        self._writes.clear()
        self._refused.clear()
        return unreceived

    def _prune(self) -> int:
        """Forget the writes that were received whole; return how many bytes were received."""
        if self._socket is None or self._stream is None:
            return 0
        self._since_pruned = 0
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
    """Return the bytes that the other side has not acknowledged (tcp(7), SIOCOUTQ)."""
    # These are not there on every platform; `_countable` has seen that this is Linux.
    import fcntl
    import termios

    answer = fcntl.ioctl(tcp, termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(answer, sys.byteorder)
