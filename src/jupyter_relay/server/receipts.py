"""Which messages a tab's machine has not received, by the word of TCP.

A laptop that falls asleep does not say so: what is written to it fills the socket, megabytes of
it, until a ping goes unanswered. The operating system knows how many bytes the other side has not
acknowledged; the messages in them are kept for the tab's return. The other side acknowledges what
it has, so none of them can arrive twice.
"""

from __future__ import annotations

import socket
import sys
from collections import deque
from collections.abc import Iterable, Sequence

from tornado.iostream import IOStream, SSLIOStream

from jupyter_relay.wire.message import Message

_PRUNE_MESSAGES = 64
_PRUNE_BYTES = 2**20


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
        self._written: deque[tuple[int, Message]] = deque()
        self._since_pruned = 0

    def expect(self, messages: Iterable[Message], sizes: Sequence[int]) -> None:
        """Note messages that are written to the stream next, and the bytes that each takes; those
        of size 0 were just written."""
        if self._socket is None or self._stream is None:
            return
        end = self._stream._total_write_index  # noqa: SLF001  # tornado has no public count
        for message, size in zip(messages, sizes, strict=True):
            end += size
            self._written.append((end, message))
            self._since_pruned += message.size
        if self._since_pruned > _PRUNE_BYTES or len(self._written) > _PRUNE_MESSAGES:
            self._prune()

    def refused(self, messages: Iterable[Message]) -> None:
        """Note messages that the stream did not take any more."""
        self._written.extend((sys.maxsize, message) for message in messages)

    def close(self) -> list[Message]:
        """End it; return the messages, in order, that were not received whole."""
        self._prune()
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        unreceived = [message for _, message in self._written]
        self._written.clear()
        return unreceived

    def _prune(self) -> None:
        if self._socket is None or self._stream is None:
            return
        self._since_pruned = 0
        flushed = self._stream._total_write_done_index  # noqa: SLF001  # tornado has no public count
        received = flushed - _unacknowledged(self._socket)
        while self._written and self._written[0][0] <= received:
            self._written.popleft()


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
