"""Websocket frames of a server: unfragmented and unmasked."""

from __future__ import annotations

import struct

from jupyter_relay.wire.message import Frame

_FINAL = 0x80
_TEXT, _BINARY = 0x1, 0x2
_LENGTH_16, _LENGTH_64 = 126, 127


def server_header(frame: Frame) -> bytes:
    """Return the header of a frame, which precedes its payload (RFC 6455, 5.2)."""
    first = _FINAL | (_TEXT if frame.text else _BINARY)
    size = len(frame.data)
    if size < _LENGTH_16:
        return bytes((first, size))
    if size < 1 << 16:
        return struct.pack("!BBH", first, _LENGTH_16, size)
    return struct.pack("!BBQ", first, _LENGTH_64, size)
