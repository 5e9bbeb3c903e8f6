"""Writes messages to a page: many in one write, and no more than its socket takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Sequence
from typing import Final

from tornado.iostream import IOStream, StreamClosedError
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from jupyter_relay.server.pages.receipts import Receipts
from jupyter_relay.wire.framing import server_header
from jupyter_relay.wire.message import Frame, Message

_COPIED_BYTES: Final = 64 * 1024
"""How many bytes of a frame are copied into a common write; the rest of a longer frame is written
as it is."""


class PageWriter:
    """Writes to the websocket of one page, and keeps what the page has not received.

    tornado makes a write, a task and two futures for each frame, which costs more than all else
    that is done with it. Here the frames of many messages are one write. If page and server have
    agreed on compression, tornado writes the frames.
    """

    def __init__(self, handler: WebSocketHandler) -> None:
        self._handler = handler
        self._receipts = Receipts(self._stream)
        self._unwritten: deque[Message] = deque()

    async def write(self, batch: Sequence[tuple[Message, Frame]]) -> None:
        """Write messages, each in its frame; return when the page's socket can take more.

        Raises `WebSocketClosedError`.
        """
        stream = self._stream
        if stream is None or stream.closed():
            self._receipts.add_refused(message for message, _ in batch)
            raise WebSocketClosedError
        try:
            if self._handler.get_compression_options() is None:
                await self._write_plain(stream, batch)
            else:
                await self._write_compressed(batch)
        except StreamClosedError as error:
            raise WebSocketClosedError from error

    def close(self) -> list[Message]:
        """Stop, and return the messages, in order, that were not received whole."""
        unwritten = list(self._unwritten)
        self._unwritten.clear()
        return [*self._receipts.close(), *unwritten]

    @property
    def _stream(self) -> IOStream | None:
        connection = self._handler.ws_connection
        return connection.stream if connection is not None else None

    async def _write_plain(self, stream: IOStream, batch: Sequence[tuple[Message, Frame]]) -> None:
        sizes: list[int] = []
        writes: list[bytes | memoryview] = []
        pieces: list[bytes | memoryview] = []
        for _, frame in batch:
            header, data = server_header(frame), frame.data
            size = len(data)
            sizes.append(len(header) + size)
            if size <= _COPIED_BYTES:
                pieces += (header, data)
            else:
                view = memoryview(data)
                writes += (b"".join((*pieces, header, view[:_COPIED_BYTES])), view[_COPIED_BYTES:])
                pieces.clear()
        if pieces:
            writes.append(b"".join(pieces))
        self._receipts.add_written([message for message, _ in batch], sizes)
        written: Awaitable[None] | None = None
        for piece in writes:
            written = stream.write(piece)
        if written is not None and stream.writing():
            await written

    async def _write_compressed(self, batch: Sequence[tuple[Message, Frame]]) -> None:
        self._unwritten.extend(message for message, _ in batch)
        for message, frame in batch:
            written = self._handler.write_message(frame.data, binary=not frame.text)
            self._unwritten.popleft()
            self._receipts.add_written([message], [0])
            await written
