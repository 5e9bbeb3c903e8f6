"""Websocket frames, as far as a bench needs them (RFC 6455, 5.2): whole messages, no extensions."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_FIN: Final = 0x80
_MASKED: Final = 0x80


def head(opcode: int, size: int, *, masked: bool = False) -> bytes:
    """Return the head of a frame. A client's mask is all zeros: it changes no byte."""
    bit = _MASKED if masked else 0
    if size < 126:
        length = bytes([bit | size])
    elif size < 2**16:
        length = bytes([bit | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([bit | 127]) + size.to_bytes(8, "big")
    return bytes([_FIN | opcode]) + length + (bytes(4) if masked else b"")


def take(buffer: bytearray) -> tuple[int, bytes] | None:
    """Take the first frame of a client from a buffer: its opcode and payload; None until it is
    whole."""
    if len(buffer) < 2:
        return None
    size, at = buffer[1] & 0x7F, 2
    if size == 126:
        size, at = int.from_bytes(buffer[2:4], "big"), 4
    elif size == 127:
        size, at = int.from_bytes(buffer[2:10], "big"), 10
    end = at + 4 + size
    if len(buffer) < end:
        return None
    opcode = buffer[0] & 0x0F
    mask = bytes(buffer[at : at + 4])
    payload = bytes(buffer[at + 4 : end])
    del buffer[:end]
    return opcode, _unmasked(payload, mask) if any(mask) else payload


def accept(key: bytes) -> bytes:
    """Return the answer to a handshake's key."""
    return base64.b64encode(hashlib.sha1(key + _GUID).digest())  # the handshake's own choice


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
