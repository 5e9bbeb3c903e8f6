"""The messages of the bench: what a browser asks, and what the kernel of its gateway answers.

They are written here, and not with the code that is measured: a change of that is not to change
the load. Source of the formats: the Jupyter Server documentation, "WebSocket kernel wire
protocols".
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Final
from uuid import uuid4

V1: Final = "v1.kernel.websocket.jupyter.org"

Content = Mapping[str, "str | int | bool | Mapping[str, str] | None"]

NUMBER: Final = b"00000000"
"""Where a template leaves room for a message's number."""

_KERNEL: Final = uuid4().hex
_DATE: Final = "2026-01-01T00:00:00.000000Z"


class Wire(Enum):
    """What a websocket carries; the value is the subprotocol's name."""

    V1 = V1
    LEGACY = None

    @property
    def opcode(self) -> int:
        """The opcode of a frame without buffers."""
        return 2 if self is Wire.V1 else 1

    def encode(
        self, channel: str, header: bytes, parent: bytes, content: bytes, msg_type: str
    ) -> bytes:
        """Write a message without buffers."""
        if self is Wire.V1:
            parts = (channel.encode(), header, parent, b"{}", content)
            offset = 8 * (len(parts) + 2)
            offsets = [offset]
            for part in parts:
                offset += len(part)
                offsets.append(offset)
            return struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets) + b"".join(parts)
        return b"".join(
            (
                b'{"header": ',
                header,
                b', "msg_id": ',
                json.dumps(json.loads(header)["msg_id"]).encode(),
                b', "msg_type": "',
                msg_type.encode(),
                b'", "parent_header": ',
                parent,
                b', "metadata": {}, "content": ',
                content,
                b', "buffers": [], "channel": "',
                channel.encode(),
                b'"}',
            )
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """What the gateway needs of a request: its header as it came, its type, channel and code."""

    header: bytes
    msg_type: str
    channel: str
    code: str

    @classmethod
    def read(cls, wire: Wire, payload: bytes) -> Asked:
        """Read a request of either wire."""
        if wire is Wire.V1:
            count = int.from_bytes(payload[:8], "little")
            offsets = struct.unpack_from(f"<{count}Q", payload, 8)
            channel, header, _, _, content = (
                payload[start:end] for start, end in pairwise(offsets[:6])
            )
            code = json.loads(content).get("code", "")
            return cls(header, json.loads(header)["msg_type"], channel.decode(), code)
        message = json.loads(payload)
        header = json.dumps(message["header"]).encode()
        return cls(
            header,
            message["header"]["msg_type"],
            message.get("channel", "shell"),
            message["content"].get("code", ""),
        )


def execute_request(wire: Wire, code: str, session: str) -> bytes:
    """Write what a page sends to run a cell."""
    header = _json(
        {
            "msg_id": uuid4().hex,
            "msg_type": "execute_request",
            "session": session,
            "username": "bench",
            "date": _DATE,
            "version": "5.4",
        }
    )
    content = _json(
        {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": True,
            "stop_on_error": True,
        }
    )
    return wire.encode("shell", header, b"{}", content, "execute_request")


def answer(wire: Wire, channel: str, msg_type: str, content: Content, parent: bytes) -> bytes:
    """Write a kernel's message, with `NUMBER` where ipykernel has its count."""
    header = _json(
        {
            "msg_id": f"{_KERNEL}_1234_{NUMBER.decode()}",
            "msg_type": msg_type,
            "username": "kernel",
            "session": _KERNEL,
            "date": _DATE,
            "version": "5.4",
        }
    )
    return wire.encode(channel, header, parent, _json(content), msg_type)


def _json(value: Content) -> bytes:
    return json.dumps(value).encode()
