"""The subprotocol without a name: JSON text, or binary with a table of offsets if there are
buffers.

A text frame is one JSON object: the message, with its ``channel``. A binary frame is::

    n                        4 bytes, big-endian: how many parts follow
    offset[0] … offset[n-1]  4 bytes each: where each part begins
    the same JSON object
    buffers …

The JSON object is parsed at its first level only: header, parent_header, metadata and content stay
as they are. Source: the Jupyter Server documentation, "WebSocket kernel wire protocols",
default protocol.
"""

from __future__ import annotations

import struct
from itertools import pairwise

import msgspec

from jupyter_relay.errors import MalformedFrame, UnsendableMessage
from jupyter_relay.wire.message import (
    BUFFER_COST,
    EMPTY,
    MAX_BUFFERS,
    MESSAGE_COST,
    VIEWS_COST,
    Channel,
    Frame,
    Message,
    Part,
    quoted,
    too_many_buffers,
)

_WORD = 4
"""The bytes of an offset."""


class _Envelope(msgspec.Struct, gc=False):
    """The first level of the JSON object. A message without a channel is for the shell, as Jupyter
    Server reads it, too."""

    header: msgspec.Raw
    parent_header: msgspec.Raw = msgspec.Raw(EMPTY)
    metadata: msgspec.Raw = msgspec.Raw(EMPTY)
    content: msgspec.Raw = msgspec.Raw(EMPTY)
    channel: Channel | None = None


_read_envelope = msgspec.json.Decoder(_Envelope).decode
_to_json = msgspec.json.encode


def decode_text(data: bytes) -> Message:
    """Read a text frame. Raises `MalformedFrame` if it is not a message."""
    return _from_json(data, (), len(data))


def decode_binary(data: bytes) -> Message:
    """Read a binary frame; buffers are views of it. Raises `MalformedFrame` if it is not a
    message."""
    view = memoryview(data)
    size = len(view)
    if size < _WORD:
        raise MalformedFrame(f"A frame of {size} bytes is too short for a message.")
    count = int.from_bytes(view[:_WORD], "big")
    table_end = _WORD * (count + 1)
    if count < 1 or table_end > size:
        raise MalformedFrame(f"A frame of {size} bytes claims to have {count} parts.")
    if count - 1 > MAX_BUFFERS:
        raise too_many_buffers(count - 1)
    offsets = (*struct.unpack_from(f"!{count}I", view, _WORD), size)
    if offsets[0] < table_end or any(a > b for a, b in pairwise(offsets)):
        raise MalformedFrame("The offsets of a frame do not lie in order within it.")
    text, *buffers = (view[start:end] for start, end in pairwise(offsets))
    return _from_json(text, tuple(buffers), size)


def encode(message: Message) -> Frame:
    """Write a message as JSON text, or as binary if it has buffers.

    ``msg_id`` and ``msg_type`` are repeated on the first level, where old clients look for them.
    Raises `UnsendableMessage` if a part is not text, or the buffers pass 4 GiB, and
    `MalformedFrame` if the header that it came with cannot be read.
    """
    head = message.head
    text = b"".join(
        (
            b'{"channel":',
            _to_json(message.channel),
            b',"msg_id":',
            _to_json(head.msg_id),
            b',"msg_type":',
            _to_json(head.msg_type),
            b',"header":',
            message.header,
            b',"parent_header":',
            message.parent_header or EMPTY,
            b',"metadata":',
            message.metadata or EMPTY,
            b',"content":',
            message.content or EMPTY,
            b',"buffers":[]}' if not message.buffers else b"}",
        )
    )
    if not message.buffers:
        try:
            text.decode()
        except UnicodeDecodeError as error:
            # A peer must fail the whole websocket at such a text frame (RFC 6455, 8.1).
            raise UnsendableMessage(
                "A message holds bytes that are not UTF-8, which this client cannot take."
            ) from error
        return Frame(text, text=True)
    parts = (text, *message.buffers)
    offset = _WORD * (len(parts) + 1)
    offsets = []
    for part in parts:
        offsets.append(offset)
        offset += len(part)
    try:
        table = struct.pack(f"!{len(parts) + 1}I", len(parts), *offsets)
    except struct.error as error:
        raise UnsendableMessage(
            f"A message of {offset} bytes is larger than this client's protocol can carry (4 GiB)."
        ) from error
    return Frame(b"".join((table, *parts)))


def _from_json(text: Part, buffers: tuple[Part, ...], size: int) -> Message:
    try:
        envelope = _read_envelope(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        why = quoted(error)
        if why.startswith("Invalid enum value"):  # the rest would quote the gateway
            why = "it names an unknown channel"
        raise MalformedFrame(f"A frame is not a Jupyter message: {why}.") from error
    return Message(
        channel=envelope.channel or Channel.SHELL,
        header=memoryview(envelope.header),
        parent_header=memoryview(envelope.parent_header),
        metadata=memoryview(envelope.metadata),
        content=memoryview(envelope.content),
        buffers=buffers,
        _size=size + MESSAGE_COST + VIEWS_COST + BUFFER_COST * len(buffers),
    )
