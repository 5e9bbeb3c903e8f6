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
from jupyter_relay.wire.message import (
    BUFFER_COST,
    MAX_BUFFERS,
    MESSAGE_COST,
    VIEWS_COST,
    Channel,
    Frame,
    Message,
    Part,
    too_many_buffers,
)

_WORD = 8
"""The bytes of an offset."""

_SHORT_BYTES = 2048
"""Parts of frames up to this size are copied, which costs less than views of them."""

_CHANNELS = {channel.value.encode(): channel for channel in Channel}

_TABLE = struct.Struct("<7Q")
"""The number of offsets, and the offsets of a message without buffers: the channel, the four parts,
and the end."""

_MIN_OFFSETS = 6
_MAX_OFFSETS = _MIN_OFFSETS + MAX_BUFFERS

_unpack_table = _TABLE.unpack_from


def decode(data: bytes) -> Message:
    """Read a frame. Raises `MalformedFrame` if `encode` could not have written it."""
    size = len(data)
    if size < _TABLE.size:
        raise MalformedFrame(f"A frame of {size} bytes is too short for a message.")
    count, name, header, parent_header, metadata, content, end = _unpack_table(data)
    table_end = _WORD * (count + 1)
    if count < _MIN_OFFSETS or table_end > size:
        raise MalformedFrame(f"A frame of {size} bytes claims to have {count} offsets.")
    if count > _MAX_OFFSETS:
        raise too_many_buffers(count - _MIN_OFFSETS)
    if not table_end <= name <= header <= parent_header <= metadata <= content <= end <= size:
        raise _out_of_order()
    channel = _CHANNELS.get(data[name:header])
    if channel is None:
        raise MalformedFrame("A frame names an unknown channel.")
    body: Part
    if size <= _SHORT_BYTES:
        body, held = data, size + size + MESSAGE_COST
    else:
        body, held = memoryview(data), size + MESSAGE_COST + VIEWS_COST
    buffers: tuple[Part, ...] = ()
    if count > _MIN_OFFSETS:
        buffers = _buffers(body, count, end)
        held += BUFFER_COST * len(buffers)
    return Message(
        channel=channel,
        header=data[header:parent_header],
        parent_header=data[parent_header:metadata],
        metadata=body[metadata:content],
        content=body[content:end],
        buffers=buffers,
        _size=held,
    )


def _buffers(body: Part, count: int, start: int) -> tuple[Part, ...]:
    """Return the buffers. The first begins at ``start``; ``count`` is the number of all offsets."""
    more = count - _MIN_OFFSETS
    offsets = (start, *struct.unpack_from(f"<{more}Q", body, _WORD * (_MIN_OFFSETS + 1)))
    if offsets[-1] > len(body) or sorted(offsets) != [*offsets]:
        raise _out_of_order()
    return tuple(body[first:last] for first, last in pairwise(offsets))


def _out_of_order() -> MalformedFrame:
    return MalformedFrame("The offsets of a frame do not lie in order within it.")


def encode(message: Message) -> Frame:
    """Write a message as one binary frame."""
    parts = (message.channel.value.encode(), *message.parts)
    offset = _WORD * (len(parts) + 2)
    offsets = [offset]
    for part in parts:
        offset += len(part)
        offsets.append(offset)
    table = struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets)
    return Frame(b"".join((table, *parts)))
