"""Who hears a fake kernel, and the buffer that a gateway keeps while nobody does."""

from __future__ import annotations

from jupyter_relay.testing.fake_socket import FakeSocket
from jupyter_relay.wire.message import Message


class Audience:
    """The open websockets of one kernel.

    Buffering is that of real gateways: it starts when the last socket ends, is replayed once, in
    order, to the same session id, and is discarded when another id comes first. ``buffered`` is
    what waits; with ``buffers`` off, nothing ever does.
    """

    def __init__(self, *, buffers: bool) -> None:
        self.sockets: list[FakeSocket] = []
        self.buffered: list[Message] = []
        self._buffers = buffers
        self._buffer_session: str | None = None

    def join(self, socket: FakeSocket) -> None:
        """Take in a new socket; an older one with the same session id is closed."""
        for other in list(self.sockets):
            if other.session_id == socket.session_id:
                self.sockets.remove(other)
                other.close(None)
        self.sockets.append(socket)
        replay = self.buffered if self._buffer_session == socket.session_id else []
        self._buffer_session = None
        self.buffered = []
        for message in replay:
            socket.send(message)

    def leave(self, socket: FakeSocket) -> None:
        """Forget a socket that has ended."""
        if socket in self.sockets:
            self.sockets.remove(socket)
            if not self.sockets and self._buffers:
                self._buffer_session = socket.session_id

    def publish(self, message: Message) -> None:
        """Send to every socket, or into the buffer."""
        if self._buffer_session is not None:
            self.buffered.append(message)
            return
        # A copy: sending may be what ends a socket.
        for socket in list(self.sockets):
            socket.send(message)

    def answer(self, session_id: str, message: Message) -> None:
        """Send to the socket of one session id, or into its buffer, or nowhere."""
        if self._buffer_session == session_id:
            self.buffered.append(message)
            return
        for socket in list(self.sockets):
            if socket.session_id == session_id:
                socket.send(message)
