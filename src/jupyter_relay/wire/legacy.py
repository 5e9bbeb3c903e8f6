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

import json
import re
import struct
from itertools import pairwise
from typing import Final

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

_SEARCHED_BYTES: Final = 64 * 1024
"""How many bytes at each end of a JSON object `decode_head` searches."""

_HEADER_KEY: Final = re.compile(r'(?<!\\)"header"\s*:\s*')
_CHANNEL: Final = re.compile(r'(?<!\\)"channel"\s*:\s*"(\w+)"')

_scan_json = json.JSONDecoder().raw_decode


class _Envelope(msgspec.Struct, gc=False):
    """The first level of the JSON object. A message without a channel is for the shell, as Jupyter
    Server reads it, too."""

    header: msgspec.Raw
    parent_header: msgspec.Raw = msgspec.Raw(EMPTY)
    metadata: msgspec.Raw = msgspec.Raw(EMPTY)
    content: msgspec.Raw = msgspec.Raw(EMPTY)
    channel: Channel | None = None


_CHANNELS: Final = {channel.value: channel for channel in Channel}

_read_envelope = msgspec.json.Decoder(_Envelope).decode
_to_json = msgspec.json.encode


def decode_text(data: bytes) -> Message:
    """Read a text frame. Raises `MalformedFrame` if it is not a message."""
    return _from_json(data, (), len(data))


def decode_binary(data: bytes) -> Message:
    """Read a binary frame; buffers are views of it. Raises `MalformedFrame` if it is not a
    message."""
    text, *buffers = _cut(data)
    return _from_json(text, tuple(buffers), len(data))


def decode_head(frame: Frame) -> Message:
    """Read only header and channel of a frame that is too large to be passed on. The whole frame
    counts as the message's content.

    To parse 100 MiB of JSON takes 0.4 s, in which nothing else runs. Clients write the header first
    (jupyter_client) or behind the content (JupyterLab), so both ends are searched. Raises
    `MalformedFrame` if neither has a header.
    """
    view = memoryview(frame.data) if frame.text else _cut(frame.data)[0]
    head = bytes(view[:_SEARCHED_BYTES]).decode(errors="replace")
    tail = bytes(view[-_SEARCHED_BYTES:]).decode(errors="replace")
    header = _find_header(head, [*_HEADER_KEY.finditer(head)][:1])
    header = header or _find_header(tail, [*_HEADER_KEY.finditer(tail)][-1:])
    if not header:
        raise MalformedFrame(f"A frame of {len(frame.data)} bytes has no header at its ends.")
    names = _CHANNEL.findall(head)[:1] or _CHANNEL.findall(tail)[-1:]
    channel = _CHANNELS.get(names[0]) if names else Channel.SHELL
    if channel is None:
        raise MalformedFrame("A frame is not a Jupyter message: it names an unknown channel.")
    return Message(channel=channel, header=header, content=memoryview(frame.data))


def _find_header(text: str, places: list[re.Match[str]]) -> bytes:
    """Return the header that begins behind one of these places; empty if there is none."""
    for place in places:
        try:
            value, end = _scan_json(text, place.end())
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and value.get("msg_id"):
            return text[place.end() : end].encode()
    return b""


def _cut(data: bytes) -> list[memoryview]:
    """Cut a binary frame into its JSON and its buffers. Raises `MalformedFrame`."""
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
    return [view[start:end] for start, end in pairwise(offsets)]


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
