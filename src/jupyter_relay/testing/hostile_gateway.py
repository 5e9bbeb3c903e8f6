"""A gateway that breaks the rules on purpose. It writes bytes, and no HTTP library keeps it from
anything.

::

    async with HostileGateway() as gateway:
        ...                                   # it behaves: gateway.fake answers
        with gateway.misbehaving(GzipBomb()):
            ...                               # every answer is one, also that to a handshake
        with gateway.misbehaving(EndlessFragments()):
            ...                               # websockets misbehave once they are open

Each kind of misbehaviour is a value. `MISDEEDS` has one or more of every kind.

Longer than others, since it is one table: each misdeed is a class of some lines, and all of them
are read together.
"""

from __future__ import annotations

import asyncio
import html
import json
import re
import zlib
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha1
from types import TracebackType
from typing import Final, Literal, Protocol, Self
from urllib.parse import quote, quote_plus, unquote, urlsplit

from jupyter_relay.testing.changes import Changes
from jupyter_relay.testing.fake_gateway import FakeGateway

_MIB: Final = 1024 * 1024
_HEAD_END: Final = b"\r\n\r\n"
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""What makes the answer to a websocket handshake (RFC 6455, 1.3)."""

_PHRASES: Final = {200: "OK", 201: "Created", 500: "Internal Server Error"}


@dataclass(frozen=True, slots=True)
class RawRequest:
    """A request as it came; ``path`` is unquoted and without the query, header names are small."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    head: bytes = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def is_handshake(self) -> bool:
        """Whether it asks for a websocket."""
        return self.headers.get("upgrade", "").lower() == "websocket"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What it carries to be let in."""
        shown = self.headers.get("authorization", "")
        word = shown.rpartition(" ")[2]
        with suppress(ValueError):
            return tuple(filter(None, (word, b64decode(word, validate=True).decode())))
        return (word,) if word else ()


class Wire:
    """The way to one client. Everything raises `ConnectionError` once the client has gone."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.sent = 0

    async def send(self, data: bytes) -> None:
        """Send bytes; return when there is room for more."""
        if self._writer.is_closing():
            raise ConnectionResetError
        self._writer.write(data)
        self.sent += len(data)
        await self._writer.drain()

    async def head(
        self, status: int = 200, content_type: str = "application/json", **headers: str
    ) -> None:
        """Send a status line and headers; the body ends with the connection unless told."""
        lines = [f"HTTP/1.1 {status} {_PHRASES.get(status, 'Odd')}"]
        lines += [f"Content-Type: {content_type}", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def accept(self, request: RawRequest) -> None:
        """Answer a websocket handshake, for the subprotocol ``""`` (legacy)."""
        key = request.headers.get("sec-websocket-key", "").encode()
        accept = b64encode(sha1(key + _GUID).digest()).decode()  # noqa: S324  # as RFC 6455 wants
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        lines += [f"Sec-WebSocket-Accept: {accept}", "", ""]
        await self.send("\r\n".join(lines).encode())

    async def frame(
        self, data: bytes, *, opcode: int = 2, end: bool = True, length: int | None = None
    ) -> None:
        """Send a websocket frame; ``length`` is what its header says, if not the truth."""
        size = len(data) if length is None else length
        first = bytes([(0x80 if end else 0) | opcode])
        if size < 126:
            header = bytes([size])
        elif size < 65536:
            header = bytes([126]) + size.to_bytes(2, "big")
        else:
            header = bytes([127]) + size.to_bytes(8, "big")
        await self.send(first + header + data)


class Misdeed(Protocol):
    """A kind of misbehaviour."""

    @property
    def on_websockets(self) -> bool:
        """Whether it befalls open websockets, and no other request."""

    async def commit(self, request: RawRequest, wire: Wire) -> None:
        """Answer a request with it. The connection is closed at the end."""


@dataclass(frozen=True, slots=True)
class _OfAnswers:
    @property
    def on_websockets(self) -> bool:
        """See `Misdeed`."""
        return False


@dataclass(frozen=True, slots=True)
class _OfWebsockets:
    @property
    def on_websockets(self) -> bool:
        """See `Misdeed`."""
        return True


# What is too much (answers).


@dataclass(frozen=True, slots=True)
class GzipBomb(_OfAnswers):
    """A small answer that unpacks to ``mib`` MiB of zeros."""

    mib: int = 600
    coding: Literal["gzip", "deflate"] = "gzip"
    status: int = 200

    async def commit(self, request: RawRequest, wire: Wire) -> None:
        """See `Misdeed.commit`."""
        packer = zlib.compressobj(9, zlib.DEFLATED, 31 if self.coding == "gzip" else 15)
        start = packer.compress(bytes(_MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
        # After a full flush a block means the same wherever it stands, and can be sent again.
        block = packer.compress(bytes(_MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
        await wire.head(self.status, Content_Encoding=self.coding)
        await wire.send(start + block * (self.mib - 1))


@dataclass(frozen=True, slots=True)
class EndlessBody(_OfAnswers):
    """An answer that goes on for as long as somebody reads: in a flood, or ``slowly``, a byte at a
    time."""

    status: int = 200
    slowly: bool = False

    async def commit(self, request: RawRequest, wire: Wire) -> None:
        """See `Misdeed.commit`."""
        await wire.head(self.status)
        while True:
            await wire.send(b" " if self.slowly else b" " * _MIB)
            if self.slowly:
                await asyncio.sleep(0.05)


@dataclass(frozen=True, slots=True)
class EndlessHeaders(_OfAnswers):
    """Headers that go on for as long as somebody reads; with ``long`` it is one that does."""

    long: bool = False

    async def commit(self, request: RawRequest, wire: Wire) -> None:
        """See `Misdeed.commit`."""
        await wire.send(b"HTTP/1.1 200 OK\r\nX-0: ")
        number = 0
        while True:
            number += 1
            await wire.send(b"x" * 4096 if self.long else b"x\r\nX-%d: " % number)


@dataclass(frozen=True, slots=True)
class HugeReason(_OfAnswers):
    """A refusal with a reason of ``mib`` MiB, and control characters in it."""

    mib: int = 100
    status: int = 500

    async def commit(self, request: RawRequest, wire: Wire) -> None:
        """See `Misdeed.commit`."""
        await wire.head(self.status)
        await wire.send(b'{"message": "No room. \\u001b[2J\\n ')
        for _ in range(self.mib):
            await wire.send(b"x" * _MIB)
        await wire.send(b'"}')


@dataclass(frozen=True, slots=True)
class MillionModels(_OfAnswers):
    """A list of a million kernels, or of a million kernelspecs, to whoever asks for one."""

    async def commit(self, request: RawRequest, wire: Wire) -> None:
        """See `Misdeed.commit`."""
        await wire.head()
        specs = "kernelspecs" in request.path
        await wire.send(b'{"default": "s0", "kernelspecs": {' if specs else b"[")
        for number in range(1000):
            names = range(number * 1000, number * 1000 + 1000)
            comma = b"," if number else b""
            models = b'"s%d":{"spec":{}}' if specs else b'{"id":"k%d"}'
            await wire.send(comma + b",".join(models % name for name in names))
        await wire.send(b"}}" if specs else b"]")


@dataclass(frozen=True, slots=True)
class ManyLists(_OfAnswers):
    """JSON of some megabytes, which is nothing but ``[],[],[]``: slow to parse, and large after."""

    mib: int = 30

    async def commit(self, request: RawRequest, wire: Wire) -> None:
        """See `Misdeed.commit`."""
        await wire.head()
        await wire.send(b"[[]")
        for _ in range(self.mib):
            await wire.send(b",[]" * (_MIB // 3))
        await wire.send(b"]")


@dataclass(frozen=True, slots=True)
class HugeModel(_OfAnswers):
    """A list, or the model of one kernel, with one text of ``mib`` MiB in it."""

    mib: int = 20

    async def commit(self, request: RawRequest, wire: Wire) -> None:
        """See `Misdeed.commit`."""
        await wire.head(201 if request.method == "POST" else 200)
        if request.path.endswith("/kernelspecs"):
            start, end = b'{"kernelspecs": {"python3": {"spec": {"display_name": "', b'"}}}}'
        elif request.path.endswith("/kernels") and request.method == "GET":
            start, end = b'[{"id": "k1", "reason": "', b'"}]'
        else:
            start, end = b'{"id": "k1", "name": "python3", "spec": {}, "reason": "', b'"}'
        await wire.send(start)
        for _ in range(self.mib):
            await wire.send(b"x" * _MIB)
        await wire.send(end)


# What leads elsewhere.


EVIL_PATHS: Final = (
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    " javascript:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:x",
    "file:///etc/passwd",
    "//other.example/kernelspecs/{name}/x.js",
    "\\\\other.example\\kernelspecs\\{name}\\x.js",
    "https://other.example/kernelspecs/{name}/x.js",
    "https:other.example/x.js",
    "/kernelspecs/../../logout",
    "/kernelspecs/{name}/../../logout",
    "/kernelspecs/{name}/%2e%2e/%2e%2e/logout",
    "/kernelspecs/{name}/.%2E/..%2flogout",
    "/kernelspecs/{name}/%252e%252e/logout",
    "/kernelspecs/{name}/..\\..\\logout",
    "/kernelspecs/{name}/..%5c..%5clogout",
    "/kernelspecs/{name}/x/../../other/x.js",
    "/kernelspecs/other/x.js",
    "/kernelspecs/{name}",
    "/kernelspecs/{name}/",
    "/kernelspecs/{name}//x.js",
    "/kernelspecs/{name}/./x.js",
    "/kernelspecs/{name}/x\r\nSet-Cookie: a=b",
    "/kernelspecs/{name}/x\0.js",
    "/kernelspecs/{name}/x\u202e.js",
    "/api/kernels",
    "kernelspecs/{name}/x.js",
    "/logout?next=/kernelspecs/{name}/x.js",
    "/logout#/kernelspecs/{name}/x.js",
    "/kernelspecs/kernelspecs/{name}/../x",
    "",
)
"""What a kernelspec called ``{name}`` may give as URLs of files, and no page should ever load."""


@dataclass(frozen=True, slots=True)
class EvilUrls(_OfAnswers):
    """Kernelspecs whose files are said to be elsewhere (`EVIL_PATHS`), beside one that is not."""

    async def commit(self, request: RawRequest, wire: Wire) -> None:
        """See `Misdeed.commit`."""
        name = "python3"
        resources = {f"evil-{n}": p.replace("{name}", name) for n, p in enumerate(EVIL_PATHS)}
        resources["logo-64x64"] = f"/kernelspecs/{name}/logo-64x64.png"
        spec = {"name": name, "spec": {"display_name": "P"}, "resources": resources}
        await wire.head()
        listed = {"default": name, "kernelspecs": {name: spec}}
        one = not request.path.endswith("/kernelspecs")
        await wire.send(json.dumps(spec if one else listed).encode())


@dataclass(frozen=True, slots=True)
class RedirectElsewhere(_OfAnswers):
    """A redirect to another host, with what the request carried in the query."""

    status: int = 302

    async def commit(self, request: RawRequest, wire: Wire) -> None:
        """See `Misdeed.commit`."""
        told = quote("".join(request.secrets), safe="")
        await wire.head(self.status, Location=f"http://127.0.0.1:9/{told}?token={told}#{told}")


# What tells secrets.


QUOTINGS: Final[Mapping[str, Callable[[str], str]]] = {
    "plain": str,
    "URL": lambda text: quote(text, safe=""),
    "URL, slashes kept": quote,
    "URL, small digits": lambda text: _small(quote(text, safe="")),
    "URL, twice": lambda text: quote(quote(text, safe=""), safe=""),
    "form": quote_plus,
    "HTML": html.escape,
    "HTML, hexadecimal": lambda text: "".join(f"&#x{ord(sign):x};" for sign in text),
    "HTML, decimal": lambda text: "".join(f"&#{ord(sign)};" for sign in text),
    "HTML, names": lambda text: html.escape(text).replace("/", "&sol;").replace("+", "&plus;"),
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON, slashes escaped": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "JSON, slashes by number": lambda text: json.dumps(text)[1:-1].replace("/", "\\u002f"),
    "C": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
    "base64": lambda text: b64encode(text.encode()).decode(),
    "base64 of user and password": lambda text: b64encode(f"alice:{text}".encode()).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
}
"""Ways in which programs quote a text."""


def _small(text: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), text)


Place = Literal[
    "status line", "no status line", "header", "header name", "chunk size", "reason", "page",
    "text", "behind white space", "traceback", "model",
]  # fmt: skip
"""Where an answer may quote its request."""


@dataclass(frozen=True, slots=True)
class QuotedSecrets(_OfAnswers):
    """An answer that quotes what the request carried to be let in, in each of `QUOTINGS`."""

    place: Place
    status: int = 500

    async def commit(self, request: RawRequest, wire: Wire) -> None:
        """See `Misdeed.commit`."""
        words = [quoting(s) for s in request.secrets for quoting in QUOTINGS.values()]
        told = " ".join(words) or "nothing"
        match self.place:
            case "status line":
                await wire.send(
                    f"HTTP/1.1 {self.status} {told}\r\nConnection: close\r\n\r\n".encode()
                )
            case "no status line":
                await wire.send(f"{told}\r\n\r\n".encode())
            case "header":
                head = f"HTTP/1.1 {self.status} Odd\r\nX-Told: {told}\x01\r\n\r\n"
                await wire.send(head.encode())
            case "header name":
                head = f"HTTP/1.1 {self.status} Odd\r\n{told} (told): x\r\n\r\n"
                await wire.send(head.encode())
            case "chunk size":
                await wire.head(200, Transfer_Encoding="chunked")
                await wire.send(f"{told}\r\n".encode())
            case "reason":
                await wire.head(self.status)
                await wire.send(json.dumps({"reason": told, "message": told}).encode())
            case "page":
                await wire.head(self.status, "text/html")
                await wire.send(f"<title>{html.escape(told)}</title>{told}".encode())
            case "text":
                await wire.head(self.status, "text/plain")
                await wire.send(told.encode())
            case "behind white space":
                await wire.head(self.status, "text/plain")
                await wire.send(b" " * 1180 + told.encode())
            case "traceback":
                await wire.head(self.status)
                trace = f"Traceback (most recent call last):\n  X\nValueError: {told}\n"
                await wire.send(json.dumps({"message": "No.", "traceback": trace}).encode())
            case "model":
                await wire.head(201 if request.method == "POST" else 200)
                await wire.send(json.dumps(self._model(request, words)).encode())

    def _model(self, request: RawRequest, words: list[str]) -> object:
        told = "\x1b[2J\n\u202e" + " ".join(words)
        kernel_id = request.path.rpartition("/")[2]
        if request.method == "POST" and request.body:
            with suppress(ValueError):
                kernel_id = json.loads(request.body).get("kernel_id", kernel_id)
        kernel = {"id": kernel_id, "name": told, "execution_state": told}
        kernel["reason"] = f"{told} {'x' * _MIB if request.path.endswith('/kernels') else ''}"
        spec: dict[str, object] = {"display_name": told, "language": told, "argv": words}
        spec["env"] = {word: word for word in words}
        resources = {word: f"/kernelspecs/python3/{word}" for word in words}
        kernelspec = {"name": "python3", "spec": spec, "resources": resources}
        if request.path.endswith("/kernelspecs"):
            return {"default": told, "kernelspecs": {"python3": kernelspec, told: kernelspec}}
        if "kernelspecs" in request.path:
            return kernelspec
        return [kernel] if request.path.endswith("/kernels") and request.method == "GET" else kernel


# What comes over websockets.


@dataclass(frozen=True, slots=True)
class MillionOffsets(_OfWebsockets):
    """A binary frame that says it has a million parts."""

    parts: int = 1_000_000

    async def commit(self, request: RawRequest, wire: Wire) -> None:
        """See `Misdeed.commit`."""
        await wire.accept(request)
        offset = (4 * (self.parts + 1)).to_bytes(4, "big")
        await wire.frame(self.parts.to_bytes(4, "big") + offset * self.parts)
        await asyncio.sleep(0.2)


@dataclass(frozen=True, slots=True)
class EndlessFragments(_OfWebsockets):
    """A message in fragments, of which ``mib`` MiB come, and never the last."""

    mib: int = 1024

    async def commit(self, request: RawRequest, wire: Wire) -> None:
        """See `Misdeed.commit`."""
        await wire.accept(request)
        await wire.frame(bytes(_MIB), end=False)
        for _ in range(self.mib - 1):
            await wire.frame(bytes(_MIB), opcode=0, end=False)
        await asyncio.sleep(0.2)


@dataclass(frozen=True, slots=True)
class UnreadableFlood(_OfWebsockets):
    """Many frames that are no messages, and that quote what the handshake carried."""

    frames: int = 20_000

    async def commit(self, request: RawRequest, wire: Wire) -> None:
        """See `Misdeed.commit`."""
        await wire.accept(request)
        told = json.dumps({"channel": "".join(request.secrets), "x": "\x1b[2J"}).encode()
        for _ in range(self.frames):
            await wire.frame(told, opcode=1)
        await asyncio.sleep(0.2)


@dataclass(frozen=True, slots=True)
class HugeChannel(_OfWebsockets):
    """A message whose channel has a name of ``mib`` MiB."""

    mib: int = 18

    async def commit(self, request: RawRequest, wire: Wire) -> None:
        """See `Misdeed.commit`."""
        await wire.accept(request)
        name = "".join(request.secrets) + "x" * (self.mib * _MIB)
        header = {"msg_id": "a", "msg_type": "status", "session": "b"}
        message = {"channel": name, "header": header, "parent_header": {}}
        body = {**message, "metadata": {}, "content": {}, "buffers": []}
        await wire.frame(json.dumps(body).encode(), opcode=1)
        await asyncio.sleep(0.2)


@dataclass(frozen=True, slots=True)
class WordyClose(_OfWebsockets):
    """A close frame whose reason quotes what the handshake carried."""

    code: int = 1011

    async def commit(self, request: RawRequest, wire: Wire) -> None:
        """See `Misdeed.commit`."""
        await wire.accept(request)
        told = "".join(request.secrets)[:120].encode()
        await wire.frame(self.code.to_bytes(2, "big") + told, opcode=8)


MISDEEDS: Final[Mapping[str, Misdeed]] = {
    "a gzip bomb": GzipBomb(),
    "a deflate bomb": GzipBomb(coding="deflate"),
    "a gzip bomb as a refusal": GzipBomb(status=500),
    "an endless body": EndlessBody(),
    "an endless body, slowly": EndlessBody(slowly=True),
    "an endless refusal": EndlessBody(status=500),
    "an endless refusal, slowly": EndlessBody(status=500, slowly=True),
    "endless headers": EndlessHeaders(),
    "an endless header": EndlessHeaders(long=True),
    "a huge reason": HugeReason(),
    "a huge reason for a kernel that is not there": HugeReason(status=404),
    "a million models": MillionModels(),
    "many lists": ManyLists(),
    "a huge model": HugeModel(),
    "evil URLs": EvilUrls(),
    "a redirect": RedirectElsewhere(),
    "a redirect that keeps the method": RedirectElsewhere(307),
    "secrets in the status line": QuotedSecrets("status line"),
    "secrets in the status line of a refused token": QuotedSecrets("status line", 403),
    "secrets in place of the status line": QuotedSecrets("no status line"),
    "secrets in a header that cannot be read": QuotedSecrets("header"),
    "secrets as a header's name": QuotedSecrets("header name"),
    "secrets as the size of a chunk": QuotedSecrets("chunk size"),
    "secrets in a reason": QuotedSecrets("reason"),
    "secrets in a reason for a limit": QuotedSecrets("reason", 429),
    "secrets in a page": QuotedSecrets("page", 502),
    "secrets in a page that is a success": QuotedSecrets("page", 200),
    "secrets in a text": QuotedSecrets("text", 409),
    "secrets behind white space": QuotedSecrets("behind white space"),
    "secrets in a traceback": QuotedSecrets("traceback"),
    "secrets in models": QuotedSecrets("model"),
    "a million offsets": MillionOffsets(),
    "endless fragments": EndlessFragments(),
    "a flood of what cannot be read": UnreadableFlood(),
    "a huge name of a channel": HugeChannel(),
    "secrets in a close": WordyClose(),
}
"""Misdeeds by what they are called."""


class HostileGateway:
    """A `FakeGateway` (``fake``) with a wire before it that misbehaves as it is told.

    ``hits`` are the requests that a misdeed has befallen.
    """

    def __init__(self, fake: FakeGateway | None = None) -> None:
        self.fake = fake or FakeGateway()
        self.hits: list[RawRequest] = []
        self._committed: Counter[Misdeed] = Counter()
        self._misdeed: Misdeed | None = None
        self._changes = Changes()
        self._stack = AsyncExitStack()
        self._connections: set[asyncio.Task[None]] = set()
        self._port = 0

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.fake)
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_MIB)
        self._stack.callback(server.close)
        self._port = server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)
        await self._stack.aclose()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._port}{self.fake.base_path}"

    @property
    def token(self) -> str:
        """The token that it wants to be shown."""
        return self.fake.token

    @contextmanager
    def misbehaving(self, misdeed: Misdeed) -> Iterator[None]:
        """Misbehave in this way, until the end of the block."""
        before, self._misdeed = self._misdeed, misdeed
        try:
            yield
        finally:
            self._misdeed = before

    async def wait_until_committed(self, misdeed: Misdeed) -> None:
        """Wait until a misdeed has come to its end: all is sent, or the client has gone."""
        await self._changes.wait_for(lambda: self._committed[misdeed], 30.0)

    def hang_up(self) -> None:
        """Close all connections, those that it misbehaves on and those to websockets."""
        for task in self._connections:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # it is a task that runs this
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        try:
            request = await _read(reader)
            if request is None:
                return
            misdeed = self._misdeed
            if misdeed is None or (misdeed.on_websockets and not request.is_handshake):
                await self._pass_on(request, reader, writer)
            else:
                self.hits.append(request)
                try:
                    await misdeed.commit(request, Wire(writer))
                finally:
                    self._committed[misdeed] += 1
                    self._changes.notify()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has gone
        except asyncio.CancelledError:
            pass  # it is told to hang up; asyncio would log a handler that ends so
        finally:
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _pass_on(
        self, request: RawRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Have the fake gateway answer; for one request, or as long as a websocket is open."""
        parts = urlsplit(self.fake.url)
        far, to = await asyncio.open_connection(parts.hostname, parts.port)
        head = request.head
        if not request.is_handshake:
            head = re.sub(rb"(?i)\r\nconnection:[^\r]*", b"", head)
            head = head.removesuffix(_HEAD_END) + b"\r\nConnection: close" + _HEAD_END
        to.write(head + request.body)
        ways = [asyncio.ensure_future(_pump(far, writer)), asyncio.ensure_future(_pump(reader, to))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            to.close()
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)
            with suppress(OSError):
                await to.wait_closed()


async def _read(reader: asyncio.StreamReader) -> RawRequest | None:
    """Read a request; None where none comes any more."""
    try:
        head = await reader.readuntil(_HEAD_END)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return RawRequest(method, unquote(target.partition("?")[0]), headers, head, body)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_MIB):
            writer.write(data)
            await writer.drain()
