"""The gateway of the bench: ``python -m bench.gateway [CERTIFICATE KEY]``, in a process of its own.

It prints one line of JSON, where it listens, and ends with its standard input. Answers are made
beforehand as far as they can be, and a burst goes out in large writes: no client of this bench is
as fast as it is. Like real gateways it does not set TCP_NODELAY and writes each message of an
answer by itself, so that a small frame waits for the acknowledgement of the one before.

The code of an execute request is an order::

    hello              one line of output
    burst COUNT SIZE   COUNT lines of SIZE bytes
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import socket
import ssl
import sys
import termios
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from typing import Final, TypeAlias, TypeVarTuple
from uuid import uuid4

from bench import frames
from bench.messages import NUMBER, V1, Asked, Content, Wire, answer
from bench.orders import orders

Ts = TypeVarTuple("Ts")

ROUND_TRIP_FRAMES: Final = 5
"""What answers ``hello``: busy, execute_input, stream, execute_reply, idle."""

BURST_FRAMES: Final = 4
"""What stands around a burst: the same, without the one stream."""

_FIRST_NUMBER: Final = 10**7
"""Numbers have no leading zeros, as ipykernel's have none, and yet all have the same length."""

_CHUNK_BYTES: Final = 2**18
_HIGH_WATER: Final = 2**20

_SPEC: Final = {
    "name": "python3",
    "spec": {
        "argv": ["python"],
        "env": {},
        "display_name": "Python 3",
        "language": "python",
        "interrupt_mode": "signal",
        "metadata": {},
    },
    "resources": {},
}


Spoken: TypeAlias = tuple[str, str, Content]
"""What a kernel says: channel, message type and content."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel: its model, who listens, and the numbers of its messages."""

    model: bytes
    audience: set[Peer] = field(default_factory=set)
    numbers: count[int] = field(default_factory=lambda: count(_FIRST_NUMBER))


@dataclass
class State:
    """The kernels, how slow the gateway pretends to be, and what it has counted."""

    kernels: dict[str, Kernel] = field(default_factory=dict)
    manners: dict[str, float] = field(default_factory=dict)
    connections: int = 0
    written: int = 0
    websockets: set[Peer] = field(default_factory=set)
    listing: bytes | None = None

    def start(self) -> bytes:
        """Start a kernel; return its model."""
        kernel_id = str(uuid4())
        model = {
            "id": kernel_id,
            "name": "python3",
            "last_activity": "2026-01-01T00:00:00.000000Z",
            "execution_state": "idle",
            "connections": 0,
        }
        self.kernels[kernel_id] = Kernel(json.dumps(model).encode())
        self.listing = None
        return self.kernels[kernel_id].model

    def models(self) -> bytes:
        """Return all models, or none if they are hidden."""
        if self.manners.get("hidden"):
            return b"[]"
        if self.manners.get("hostile"):
            return _hostile_kernels()
        if self.listing is None:
            models = (kernel.model for kernel in self.kernels.values())
            self.listing = b"[" + b", ".join(models) + b"]"
        return self.listing

    def stats(self) -> bytes:
        """Return what was counted."""
        return json.dumps(
            {
                "connections": self.connections,
                "websockets": len(self.websockets),
                "written": self.written,
                "unsent": sum(peer.unsent for peer in self.websockets),
            }
        ).encode()


class Peer(asyncio.Protocol):
    """One connection: HTTP, until it asks for a websocket."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._buffer = bytearray()
        self._wire: Wire | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._bursts: set[asyncio.Task[None]] = set()
        self._transport: asyncio.Transport
        self._kernel: Kernel

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        # asyncio sets it; gateways do not.
        tcp: socket.socket = transport.get_extra_info("socket")
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        self._state.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._state.websockets:
            self._state.websockets.remove(self)
            self._kernel.audience.remove(self)
        self._writable.set()
        for burst in self._bursts:
            burst.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._wire is None and self._take_request():
            pass
        if self._wire is not None:
            while (frame := frames.take(self._buffer)) is not None:
                self._take_frame(*frame)

    @property
    def unsent(self) -> int:
        """The bytes that the other side has not acknowledged, or that still wait here."""
        tcp: socket.socket = self._transport.get_extra_info("socket")
        queued = fcntl.ioctl(tcp.fileno(), termios.TIOCOUTQ, bytes(4))
        here = self._transport.get_write_buffer_size()
        return (
            here + int.from_bytes(queued, sys.byteorder) + sum(not b.done() for b in self._bursts)
        )

    # HTTP.

    def _take_request(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        first, *lines = bytes(self._buffer[:end]).split(b"\r\n")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in lines)
        }
        size = int(headers.get(b"content-length", b"0"))
        if len(self._buffer) < end + 4 + size:
            return False
        body = bytes(self._buffer[end + 4 : end + 4 + size])
        del self._buffer[: end + 4 + size]
        method, target, _ = first.decode().split(" ")
        self._answer(method, target.partition("?")[0].strip("/"), headers, body)
        return True

    def _answer(self, method: str, path: str, headers: dict[bytes, bytes], body: bytes) -> None:
        state = self._state
        kernel_id = path.split("/")[2] if path.startswith("api/kernels/") else ""
        status, reply, manner = 200, b"{}", method
        match method, path.split("/"):
            case "GET", ["api"]:
                reply = b'{"version": "2.21.1"}'
            case "GET", ["api", "kernelspecs"]:
                specs = {"default": "python3", "kernelspecs": {"python3": _SPEC}}
                hostile = state.manners.get("hostile")
                reply = _hostile_specs() if hostile else json.dumps(specs).encode()
            case "GET", ["api", "kernelspecs", _]:
                reply = json.dumps(_SPEC).encode()
            case "GET", ["api", "kernels"]:
                reply, manner = state.models(), ""
            case "POST", ["api", "kernels"]:
                status, reply = 201, state.start()
            case _, ["api", "kernels", *_] if kernel_id not in state.kernels:
                status, reply = 404, b'{"reason": "Not Found", "message": "No such kernel"}'
            case "GET", ["api", "kernels", _]:
                reply = state.kernels[kernel_id].model
            case "GET", ["api", "kernels", _, "channels"]:
                self._later("handshake", self._open, state.kernels[kernel_id], headers)
                return
            case "DELETE", ["api", "kernels", _]:
                del state.kernels[kernel_id]
                state.listing = None
                status, reply = 204, b""
            case "GET", ["bench", "stats"]:
                reply, manner = state.stats(), ""
            case "POST", ["bench", "manners"]:
                state.manners, manner = json.loads(body), ""
            case _:
                status, reply = 404, b'{"reason": "Not Found", "message": ""}'
        response = (
            f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(reply)}\r\n\r\n"
        ).encode()
        self._later(manner, self._write, response + reply)

    def _later(self, manner: str, act: Callable[[*Ts], None], *arguments: *Ts) -> None:
        seconds = self._state.manners.get(manner, 0)
        if seconds:
            asyncio.get_running_loop().call_later(seconds, act, *arguments)
        else:
            act(*arguments)

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)
            self._state.written += len(data)

    # The websocket.

    def _open(self, kernel: Kernel, headers: dict[bytes, bytes]) -> None:
        offered = headers.get(b"sec-websocket-protocol", b"").decode()
        legacy = V1 not in offered or self._state.manners.get("legacy")
        self._wire = Wire.LEGACY if legacy else Wire.V1
        answered = f"Sec-WebSocket-Protocol: {V1}\r\n" if self._wire is Wire.V1 else ""
        self._write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: "
            + frames.accept(headers[b"sec-websocket-key"])
            + f"\r\n{answered}\r\n".encode()
        )
        self._state.websockets.add(self)
        self._kernel = kernel
        kernel.audience.add(self)

    def _take_frame(self, opcode: int, payload: bytes) -> None:
        if opcode == frames.CLOSE:
            self._write(frames.head(frames.CLOSE, len(payload)) + payload)
            self._transport.close()
        elif opcode == frames.PING:
            self._write(frames.head(frames.PONG, len(payload)) + payload)
        elif opcode in {frames.TEXT, frames.BINARY}:
            wire = Wire.LEGACY if opcode == frames.TEXT else Wire.V1
            self._obey(Asked.read(wire, payload))

    def _obey(self, asked: Asked) -> None:
        if asked.msg_type == "kernel_info_request":
            self._tell(asked, [_status("busy"), _info(asked), _status("idle")])
        elif asked.msg_type == "execute_request":
            order, *sizes = asked.code.split()
            before = [_status("busy"), _input(asked)]
            after = [_reply(asked), _status("idle")]
            if order == "burst":
                burst = asyncio.get_running_loop().create_task(
                    self._burst(asked, before, after, *map(int, sizes))
                )
                self._bursts.add(burst)
                burst.add_done_callback(self._bursts.discard)
            else:
                self._tell(asked, [*before, _stream("hello\n"), *after])

    def _tell(self, asked: Asked, all_spoken: Iterable[Spoken]) -> None:
        """Let the kernel speak, each message written by itself."""
        for spoken in all_spoken:
            frame = self._numbered(self._template(asked, spoken))
            for peer in self._hearing(spoken[0]):
                peer._write(frame)  # noqa: SLF001  # of the same class

    def _hearing(self, channel: str) -> Iterable[Peer]:
        return tuple(self._kernel.audience) if channel == "iopub" else (self,)

    def _template(self, asked: Asked, spoken: Spoken) -> list[bytes]:
        """Return a frame, cut where the message's number stands."""
        assert self._wire is not None
        payload = answer(self._wire, *spoken, asked.header)
        frame = frames.head(self._wire.opcode, len(payload)) + payload
        return frame.split(NUMBER)

    def _numbered(self, template: list[bytes]) -> bytes:
        return (b"%d" % next(self._kernel.numbers)).join(template)

    async def _burst(
        self, asked: Asked, before: list[Spoken], after: list[Spoken], messages: int, size: int
    ) -> None:
        """Write everything in as few writes as can be: no frame waits for an acknowledgement."""
        first = b"".join([self._numbered(self._template(asked, spoken)) for spoken in before])
        template = self._template(asked, _stream("x" * (size - 1) + "\n"))
        at_once = max(1, _CHUNK_BYTES // sum(map(len, template)))
        for start in range(0, messages, at_once):
            here = range(min(at_once, messages - start))
            chunk = first + b"".join([self._numbered(template) for _ in here])
            first = b""
            if start + at_once >= messages:
                # The reply is for the one who asked alone; channels may overtake one another.
                chunk += self._numbered(self._template(asked, after[-1]))
                self._write(self._numbered(self._template(asked, after[0])))
            for peer in self._hearing("iopub"):
                peer._write(chunk)  # noqa: SLF001  # of the same class
                await peer._writable.wait()  # noqa: SLF001  # of the same class


@cache
def _hostile_kernels() -> bytes:
    """A list of kernels that is nearly as long as is taken."""
    model = b'{"id": "k%d", "name": "python3", "reason": "' + b"x" * 1200 + b'"}'
    return b"[" + b", ".join(model % number for number in range(50_000)) + b"]"


@cache
def _hostile_specs() -> bytes:
    """A list of kernelspecs in which quotings stand everywhere, nearly as many as are taken."""
    model = b'"k%d": {"spec": {"display_name": "K", "argv": ["' + b"%%41&amp;%%2541" * 150 + b'"]}}'
    models = b", ".join(model % number for number in range(1900))
    return b'{"default": "k0", "kernelspecs": {' + models + b"}}"


def _status(state: str) -> Spoken:
    return "iopub", "status", {"execution_state": state}


def _input(asked: Asked) -> Spoken:
    return "iopub", "execute_input", {"code": asked.code, "execution_count": 1}


def _stream(text: str) -> Spoken:
    return "iopub", "stream", {"name": "stdout", "text": text}


def _reply(asked: Asked) -> Spoken:
    return asked.channel, "execute_reply", {"status": "ok", "execution_count": 1}


def _info(asked: Asked) -> Spoken:
    content: Content = {
        "status": "ok",
        "protocol_version": "5.4",
        "implementation": "bench",
        "implementation_version": "1",
        "language_info": {"name": "python", "version": "3"},
        "banner": "",
    }
    return asked.channel, "kernel_info_reply", content


async def _serve(certificate: list[str]) -> None:
    state = State()
    loop = asyncio.get_running_loop()
    plain = await loop.create_server(lambda: Peer(state), "127.0.0.1", 0, backlog=2048)
    ports = {"http": plain.sockets[0].getsockname()[1]}
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
        secure = await loop.create_server(
            lambda: Peer(state), "127.0.0.1", 0, ssl=context, backlog=2048
        )
        ports["https"] = secure.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    async for _ in orders():
        pass


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1:]))
