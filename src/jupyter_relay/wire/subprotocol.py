"""The subprotocol of one websocket. The upstream one and those of pages are negotiated separately.

A message that is read from one websocket is written to another without parsing its content. If both
have the same subprotocol, the same frame goes on.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from jupyter_relay.errors import WireError
from jupyter_relay.wire import legacy, v1
from jupyter_relay.wire.message import Frame, Message, quoted


class Subprotocol(Enum):
    """A subprotocol; the value is its name in ``Sec-WebSocket-Protocol``."""

    V1 = "v1.kernel.websocket.jupyter.org"
    LEGACY = None

    @classmethod
    def answered(cls, name: str | None) -> Subprotocol:
        """Return the subprotocol that a peer chose in its handshake; none, or an empty name, means
        legacy.

        Raises `WireError` for a subprotocol that was not offered.
        """
        try:
            return cls(name or None)
        except ValueError:
            raise WireError(
                f"The peer chose a subprotocol that is not known: {quoted(name)!r}."
            ) from None

    def decode(self, frame: Frame) -> Message:
        """Read one frame. Raises `MalformedFrame`.

        A text frame is read as legacy JSON even on a v1 websocket, since v1 has no text frames.
        """
        if frame.text:
            message = legacy.decode_text(frame.data)
            message.legacy_frame = frame
        elif self is _V1:
            message = v1.decode(frame.data)
            message.v1_frame = frame
        else:
            message = legacy.decode_binary(frame.data)
            message.legacy_frame = frame
        return message

    def decode_head(self, frame: Frame) -> Message:
        """Read one frame that is too large to be passed on: of JSON only header and channel, since
        to parse it takes its time. Raises `MalformedFrame`."""
        if frame.text or self is not _V1:
            return legacy.decode_head(frame)
        return v1.decode(frame.data)

    def encode(self, message: Message) -> Frame:
        """Return the frame that a message was read from, or write one.

        Raises `UnsendableMessage`, or `MalformedFrame` if its header cannot be read.
        """
        if self is _V1:
            frame = message.v1_frame
            if frame is None:
                frame = message.v1_frame = v1.encode(message)
        else:
            frame = message.legacy_frame
            if frame is None:
                frame = message.legacy_frame = legacy.encode(message)
        return frame


_V1: Final = Subprotocol.V1
"""An alias that is read faster than the member of the enum; see `Channel`."""

OFFERED = (Subprotocol.V1.value,)
"""The names that are offered to a gateway."""
