"""The subprotocol ``v1.kernel.websocket.jupyter.org``: one binary frame a message.

::

    n                        8 bytes, little-endian: how many offsets follow
    offset[0] … offset[n-1]  8 bytes each: where each part begins; the last is the end
    channel                  UTF-8
    header, parent_header, metadata, content      JSON
    buffers …

Source: the Jupyter Server documentation, "WebSocket kernel wire protocols".
"""

from __future__ import annotations

import struct
from itertools import pairwise

from jupyter_relay.errors import MalformedFrame
from jupyter_relay.wire.message import Channel, Frame, Message, Part

_WORD = 8
_SHORT = 1024
_LEAST_OFFSETS = 6  # channel, four parts, and the end
_CHANNELS = {channel.value.encode(): channel for channel in Channel}


def decode(data: bytes) -> Message:
    """Cut a frame into a message.

    Raises `MalformedFrame` for anything else than what `encode` can make.
    """
    size = len(data)
    if size < _WORD:
        raise MalformedFrame(f"A frame of {size} bytes is too short for a message.")
    count = int.from_bytes(data[:_WORD], "little")
    table_end = _WORD * (count + 1)
    if count < _LEAST_OFFSETS or table_end > size:
        raise MalformedFrame(f"A frame of {size} bytes claims to have {count} offsets.")
    offsets = struct.unpack_from(f"<{count}Q", data, _WORD)
    if offsets[0] < table_end or offsets[-1] > size or sorted(offsets) != [*offsets]:
        raise MalformedFrame("The offsets of a frame do not lie in order within it.")
    start, header, parent_header, metadata, content, *buffers = offsets
    name = data[start:header]
    channel = _CHANNELS.get(name)
    if channel is None:
        raise MalformedFrame(f"A frame names the unknown channel {name[:32]!r}.")
    return Message(
        channel=channel,
        header=data[header:parent_header],
        parent_header=data[parent_header:metadata],
        metadata=_cut(data, metadata, content),
        content=_cut(data, content, buffers[0]),
        buffers=tuple(_cut(data, *ends) for ends in pairwise(buffers)) if buffers[1:] else (),
    )


def _cut(data: bytes, start: int, end: int) -> Part:
    """Return a stretch of a frame; a short one as a copy, which costs less than a view."""
    return memoryview(data)[start:end] if end - start > _SHORT else data[start:end]


def encode(message: Message) -> Frame:
    """Join a message into one binary frame."""
    parts = (message.channel.value.encode(), *message.parts)
    offset = _WORD * (len(parts) + 2)
    offsets = [offset]
    for part in parts:
        offset += len(part)
        offsets.append(offset)
    table = struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets)
    return Frame(b"".join((table, *parts)))
