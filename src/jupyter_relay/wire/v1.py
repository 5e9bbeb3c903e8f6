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
    MESSAGE_COST,
    MOST_BUFFERS,
    VIEWS_COST,
    Channel,
    Frame,
    Message,
    Part,
    too_many_buffers,
)

_WORD = 8
_SHORT = 2048
_CHANNELS = {channel.value.encode(): channel for channel in Channel}

_TABLE = struct.Struct("<7Q")
"""How many offsets there are, and those of a message without buffers: the channel, the four parts,
and the end."""

_LEAST_OFFSETS = 6
_MOST_OFFSETS = _LEAST_OFFSETS + MOST_BUFFERS

_unpack_table = _TABLE.unpack_from


def decode(data: bytes) -> Message:
    """Cut a frame into a message.

    Raises `MalformedFrame` for anything else than what `encode` can make.
    """
    size = len(data)
    if size < _TABLE.size:
        raise MalformedFrame(f"A frame of {size} bytes is too short for a message.")
    count, name, header, parent_header, metadata, content, end = _unpack_table(data)
    table_end = _WORD * (count + 1)
    if count < _LEAST_OFFSETS or table_end > size:
        raise MalformedFrame(f"A frame of {size} bytes claims to have {count} offsets.")
    if count > _MOST_OFFSETS:
        raise too_many_buffers(count - _LEAST_OFFSETS)
    if not table_end <= name <= header <= parent_header <= metadata <= content <= end <= size:
        raise _out_of_order()
    channel = _CHANNELS.get(data[name:header])
    if channel is None:
        raise MalformedFrame("A frame names an unknown channel.")
    body: Part
    if size <= _SHORT:  # parts are copied, which costs less than views do
        body, held = data, size + size + MESSAGE_COST
    else:
        body, held = memoryview(data), size + MESSAGE_COST + VIEWS_COST
    buffers: tuple[Part, ...] = ()
    if count > _LEAST_OFFSETS:
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
    """Cut out the buffers, of which the first begins at ``start``; ``count`` is of all offsets."""
    more = count - _LEAST_OFFSETS
    offsets = (start, *struct.unpack_from(f"<{more}Q", body, _WORD * (_LEAST_OFFSETS + 1)))
    if offsets[-1] > len(body) or sorted(offsets) != [*offsets]:
        raise _out_of_order()
    return tuple(body[first:last] for first, last in pairwise(offsets))


def _out_of_order() -> MalformedFrame:
    return MalformedFrame("The offsets of a frame do not lie in order within it.")


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
