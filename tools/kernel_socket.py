"""A small, independent client of a server's kernel websocket (v1.kernel.websocket.jupyter.org).

It shares no code with the package on purpose: what checks the package must not be it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import struct
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SUBPROTOCOL = "v1.kernel.websocket.jupyter.org"


@dataclass(frozen=True)
class KernelMessage:
    """One message from a kernel."""

    channel: str
    type: str
    parent_id: str | None
    content: dict[str, Any]
    buffers: list[bytes]


@dataclass
class CellRun:
    """What running one piece of code has brought."""

    reply: dict[str, Any] = field(default_factory=dict)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    buffers: list[bytes] = field(default_factory=list)

    @property
    def stdout(self) -> str:
        """All it has printed."""
        return "".join(o["text"] for o in self.outputs if o.get("name") == "stdout")

    @property
    def data(self) -> dict[str, Any]:
        """All it has displayed, by MIME type."""
        return {mime: value for o in self.outputs for mime, value in o.get("data", {}).items()}


class KernelSocket:
    """Runs code over one open websocket."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse, session_id: str) -> None:
        """Use a websocket that speaks the v1 subprotocol."""
        self._websocket = websocket
        self._session_id = session_id

    async def run(self, code: str, expressions: dict[str, str] | None = None) -> CellRun:
        """Run `code` and wait for its reply and for the kernel to be idle again."""
        message_id = uuid.uuid4().hex
        await self._websocket.send_bytes(self._execute_request(message_id, code, expressions or {}))
        run = CellRun()
        idle = False
        async for message in self._messages():
            if message.parent_id != message_id:
                continue
            run.buffers += message.buffers
            match message.type:
                case "execute_reply":
                    run.reply = message.content
                case "status":
                    idle = message.content["execution_state"] == "idle"
                case "stream" | "display_data" | "execute_result" | "error":
                    run.outputs.append(message.content)
            if idle and run.reply:
                return run
        raise ConnectionError(f"the server closed the websocket ({self._websocket.close_code})")

    async def _messages(self) -> AsyncIterator[KernelMessage]:
        async for frame in self._websocket:
            if frame.type is aiohttp.WSMsgType.BINARY:
                yield decode(frame.data)

    def _execute_request(self, message_id: str, code: str, expressions: dict[str, str]) -> bytes:
        header = {
            "msg_id": message_id,
            "msg_type": "execute_request",
            "session": self._session_id,
            "username": "",
            "version": "5.3",
            "date": "2000-01-01T00:00:00Z",
        }
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": expressions,
            "allow_stdin": False,
            "stop_on_error": True,
        }
        return encode("shell", header, {}, {}, content)


def encode(channel: str, *parts: dict[str, Any]) -> bytes:
    """One frame: the number of offsets, the offsets, then channel and parts."""
    blobs = [channel.encode(), *(json.dumps(part).encode() for part in parts)]
    count = len(blobs) + 1
    offsets = [8 * (count + 1)]
    for blob in blobs:
        offsets.append(offsets[-1] + len(blob))
    return struct.pack(f"<{count + 1}Q", count, *offsets) + b"".join(blobs)


def decode(frame: bytes) -> KernelMessage:
    """The reverse of `encode`."""
    (count,) = struct.unpack_from("<Q", frame)
    offsets = struct.unpack_from(f"<{count}Q", frame, 8)
    blobs = [frame[start:end] for start, end in itertools.pairwise(offsets)]
    header, parent, _, content = (json.loads(blob) for blob in blobs[1:5])
    return KernelMessage(
        channel=blobs[0].decode(),
        type=header["msg_type"],
        parent_id=parent.get("msg_id"),
        content=content,
        buffers=blobs[5:],
    )


async def open_kernel_socket(
    http: aiohttp.ClientSession, url: str, kernel_id: str, timeout: float = 60.0
) -> KernelSocket:
    """Connect to a kernel of the server at `url`; ConnectionError unless it speaks v1."""
    session_id = uuid.uuid4().hex
    async with asyncio.timeout(timeout):
        websocket = await http.ws_connect(
            f"{url}/api/kernels/{kernel_id}/channels?session_id={session_id}",
            protocols=[SUBPROTOCOL],
            max_msg_size=0,
        )
    if websocket.protocol != SUBPROTOCOL:
        await websocket.close()
        raise ConnectionError(f"the server answered subprotocol {websocket.protocol!r}")
    return KernelSocket(websocket, session_id)
