"""The protocol of one leg: upstream or downstream, each negotiated by itself.

A message read from one leg is written to the other without its content being parsed; where both
legs speak the same, the very frame goes on.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from jupyter_relay.errors import WireError
from jupyter_relay.wire import legacy, v1
from jupyter_relay.wire.message import Frame, Message, keep, quoted


class Subprotocol(Enum):
    """What a leg speaks; the value is its name in ``Sec-WebSocket-Protocol``."""

    V1 = "v1.kernel.websocket.jupyter.org"
    LEGACY = None

    @classmethod
    def answered(cls, name: str | None) -> Subprotocol:
        """Return what a peer chose in its handshake; no answer, or an empty one, is legacy.

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

        A text frame is legacy JSON whatever was agreed upon, since v1 has no text frames.
        """
        if frame.text:
            message = legacy.decode_text(frame.data)
            keep(message, "legacy_frame", frame)
        elif self is _V1:
            message = v1.decode(frame.data)
            keep(message, "v1_frame", frame)
        else:
            message = legacy.decode_binary(frame.data)
            keep(message, "legacy_frame", frame)
        return message

    def encode(self, message: Message) -> Frame:
        """Write one message, or take the frame that it was read from.

        Raises `UnsendableMessage`, or `MalformedFrame` if its header cannot be read.
        """
        if self is _V1:
            frame = message.v1_frame
            if frame is None:
                frame = v1.encode(message)
                keep(message, "v1_frame", frame)
        else:
            frame = message.legacy_frame
            if frame is None:
                frame = legacy.encode(message)
                keep(message, "legacy_frame", frame)
        return frame


_V1: Final = Subprotocol.V1
"""A name that is found faster than the member of an enum is in Python 3.11."""

OFFERED = (Subprotocol.V1.value,)
"""The names that we offer to a gateway."""
