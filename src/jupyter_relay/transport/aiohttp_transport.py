"""HTTP requests and websockets by aiohttp. Its errors become ours in `aiohttp_errors`."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, Literal, TypeAlias, TypeVar
from urllib.parse import quote, urlsplit

import aiohttp
from aiohttp.http_websocket import WSMessageTextBytes
from yarl import URL

from jupyter_relay.errors import (
    GatewayClosed,
    GatewayUnavailable,
)
from jupyter_relay.redact import Quoter, secrets_in_headers
from jupyter_relay.rest.failures import closed
from jupyter_relay.rest.response import REASON_BYTES, Response, retry_after
from jupyter_relay.settings.transport import TransportSettings
from jupyter_relay.transport.aiohttp_errors import (
    is_doubtful,
    proxy_refusal,
    safe_cause,
    text_of,
    to_our_error,
)
from jupyter_relay.transport.aiohttp_pools import Pools, TlsContextOutdated
from jupyter_relay.transport.tls import Tls
from jupyter_relay.transport.transport import HandshakeRefused, Request, Socket, SocketClosed
from jupyter_relay.wire.message import Frame

_T = TypeVar("_T")

_Trust: TypeAlias = ssl.SSLContext | Literal[True]
"""A TLS context, or aiohttp's own."""

_TEXT, _BINARY = aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY

_CLOSE_SECONDS: Final = 5.0
"""For how many seconds a peer may take to answer our close; then the connection is dropped."""

_BYTES_IN_ONE_GO: Final = 512 * 1024
"""After how many bytes of a body the event loop runs other tasks."""

_KEPT_IN_PATHS: Final = "/%:@!$&'()*+,;=~"
"""The characters of a path that are not quoted (RFC 3986, section 3.3), and the sign of a quote."""

_TOO_BIG: Final = aiohttp.WSCloseCode.MESSAGE_TOO_BIG

_VIOLATIONS: Final[dict[int, str]] = {_TOO_BIG: "sent a message larger than max_message_bytes"}
_OTHER_VIOLATION: Final = "sent frames that break the websocket protocol"
"""What a peer did when aiohttp ended the websocket, by the close code that aiohttp sent. The text
of its error may quote the frame."""

_QUICKACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)


class AiohttpTransport:
    """HTTP requests and websockets to one server, in the event loop that first uses it.

    Once it is closed, all requests raise `GatewayClosed`, also those that are under way.
    """

    def __init__(self, settings: TransportSettings) -> None:
        self._settings = settings
        self._tls = Tls(settings)
        self._quoter = Quoter(settings.secrets)
        self._pools: Pools | None = None
        self._closed = False

    async def request(self, request: Request) -> Response:
        """See `Transport.request`."""

        async def ask(trust: _Trust) -> Response:
            settings, pools = self._settings, self._get_pools()
            timeout = aiohttp.ClientTimeout(
                total=settings.request_timeout, sock_connect=settings.connect_timeout
            )
            try:
                async with pools.session(request.share).request(
                    request.method,
                    _keep_quoting(request.url),
                    headers=request.headers,
                    data=request.body,
                    allow_redirects=False,
                    timeout=timeout,
                    ssl=trust,
                    trace_request_ctx=request.on_send,
                ) as answer:
                    quoter = self._quoter_knowing(answer.request_info.headers)
                    if answer.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
                        raise proxy_refusal(answer.status, settings.name)
                    content, cut = await _read_body(answer, request.at_most)
                    return Response(
                        status=answer.status,
                        reason=answer.reason or "",
                        content_type=answer.content_type,
                        retry_after=retry_after(
                            answer.headers.get("Retry-After"), datetime.now(UTC)
                        ),
                        body=content,
                        cut=cut,
                        headers=answer.headers,
                        quoter=quoter,
                    )
            except asyncio.CancelledError:
                if not self._is_cut_by_close():
                    raise
                failure: Exception = closed(settings.name)
                cause = None
            except (aiohttp.ClientError, OSError, ValueError) as error:
                failure, cause = self._to_our_error(error, request.headers), safe_cause(error)
            raise failure from cause  # here, without a context: see `safe_cause`

        async with self._get_pools().slot(request.share):
            return await self._with_tls_context(ask)

    async def connect(
        self, url: str, *, headers: Mapping[str, str], subprotocols: tuple[str, ...]
    ) -> Socket:
        """See `Transport.connect`."""

        async def ask(trust: _Trust) -> Socket:
            settings, pools = self._settings, self._get_pools()
            cause: Exception | None = None
            try:
                async with asyncio.timeout(settings.handshake_timeout or None):
                    websocket = await pools.sockets.ws_connect(
                        url,
                        headers=headers,
                        protocols=subprotocols,
                        heartbeat=settings.ping_interval or None,
                        max_msg_size=settings.max_message_bytes,
                        decode_text=False,
                        timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_SECONDS),
                        ssl=trust,
                    )
            except aiohttp.WSServerHandshakeError as error:
                quoter = self._quoter_knowing(error.request_info.headers)
                failure: Exception = (
                    proxy_refusal(error.status, settings.name)
                    if error.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED
                    else HandshakeRefused(
                        Response(
                            error.status,
                            error.message,
                            headers=error.headers or {},
                            quoter=quoter,
                        )
                    )
                )
            except asyncio.CancelledError:
                if not self._is_cut_by_close():
                    raise
                failure = closed(settings.name)
            except (aiohttp.ClientError, OSError, ValueError) as error:
                failure, cause = self._to_our_error(error, headers), safe_cause(error)
            else:
                return AiohttpSocket(websocket, patience=1.5 * settings.ping_interval)
            raise failure from cause  # here, without a context: see `safe_cause`

        return await self._with_tls_context(ask)

    async def close(self) -> None:
        """See `Transport.close`."""
        self._closed = True
        pools, self._pools = self._pools, None
        if pools is not None:
            await pools.close()

    async def _with_tls_context(self, ask: Callable[[_Trust], Awaitable[_T]]) -> _T:
        """Call ``ask`` with the TLS context; again, if the certificate files were found to have
        changed before a connection was made.

        A connection of the pool is used as it is: files are checked before a handshake only.
        """
        while True:
            try:
                return await ask(await self._tls.context() or True)
            except TlsContextOutdated:
                continue

    def _get_pools(self) -> Pools:
        if self._closed:
            raise closed(self._settings.name)
        if self._pools is None:
            self._pools = Pools(self._settings, self._tls)
        return self._pools

    def _is_cut_by_close(self) -> bool:
        """True if this task was not cancelled, but waited for a pool that was closed: aiohttp
        cancels what waits for a connection or an address then."""
        task = asyncio.current_task()
        return self._closed and task is not None and not task.cancelling()

    def _quoter_knowing(self, headers: Mapping[str, str]) -> Quoter:
        """Return the quoter, which cuts out what was sent with a request from then on."""
        self._quoter.learn(secrets_in_headers(headers))
        return self._quoter

    def _to_our_error(
        self, error: Exception, headers: Mapping[str, str]
    ) -> GatewayUnavailable | GatewayClosed:
        if self._closed:
            return closed(self._settings.name, doubtful=is_doubtful(error))
        return to_our_error(error, self._settings, self._quoter_knowing(headers))


class AiohttpSocket:
    """An open websocket of aiohttp, with quick acknowledgements.

    Gateways never set TCP_NODELAY. So each small frame that they send waits for the acknowledgement
    of the frame before, which Linux delays by some 40 ms. TCP_QUICKACK sends it at once. Linux
    resets the option by itself, so it is set again after each batch of reads.

    ``patience`` is after how many seconds without a byte from the peer aiohttp ends the websocket:
    one heartbeat until it pings, and half of one for the answer.
    """

    def __init__(
        self, websocket: aiohttp.ClientWebSocketResponse[bool], *, patience: float
    ) -> None:
        self._websocket = websocket
        self._patience = patience
        self._tcp: socket.socket | None = (
            websocket.get_extra_info("socket") if _QUICKACK is not None else None
        )
        self._quickack_is_due = False
        self._set_quickack()

    @property
    def subprotocol(self) -> str | None:
        """See `Socket.subprotocol`."""
        return self._websocket.protocol

    async def receive(self) -> Frame:
        """See `Socket.receive`."""
        message = await self._websocket.receive()
        if not self._quickack_is_due and self._tcp is not None:
            # All frames of one read are received before the loop runs again: set it once for all.
            self._quickack_is_due = True
            asyncio.get_running_loop().call_soon(self._set_quickack)
        if message.type is _BINARY:
            return Frame(message.data)
        if message.type is _TEXT:
            return Frame(message.data, text=True)
        raise self._close_of(message)

    async def send(self, frame: Frame) -> None:
        """See `Socket.send`."""
        kind = _TEXT if frame.text else _BINARY
        try:
            await self._websocket.send_frame(frame.data, kind)
        except (aiohttp.ClientError, OSError) as error:
            raise SocketClosed(text_of(error)) from error

    async def close(self) -> None:
        """See `Socket.close`."""
        await self._websocket.close()

    def _set_quickack(self) -> None:
        self._quickack_is_due = False
        if self._tcp is None or _QUICKACK is None or self._websocket.closed:
            return
        try:
            self._tcp.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        except OSError:  # not TCP, or closed in this instant: nothing waits for an ACK then
            self._tcp = None

    def _close_of(self, last: aiohttp.WSMessage | WSMessageTextBytes) -> SocketClosed:
        """Return why the websocket ended. The code of a closing frame counts first: an error of our
        answer to that frame, for which the peer need not have waited, says less."""
        if last.type is aiohttp.WSMsgType.CLOSE and last.data == _TOO_BIG:
            return SocketClosed("a message was larger than it takes.", _TOO_BIG, too_large=True)
        if last.type is aiohttp.WSMsgType.CLOSE and last.data:
            return SocketClosed(f"the gateway closed it (code {last.data}).", last.data)
        error = self._websocket.exception()
        if last.type is aiohttp.WSMsgType.ERROR:
            error = last.data
        code = self._websocket.close_code
        if isinstance(error, aiohttp.ServerTimeoutError):
            text = f"it has been silent for {self._patience:g} s, even to a ping."
            return SocketClosed(text, code, silent=self._patience)
        if isinstance(error, aiohttp.WebSocketError):
            return SocketClosed(f"it {_VIOLATIONS.get(error.code, _OTHER_VIOLATION)}.", code)
        if error is not None:
            return SocketClosed(text_of(error), code)
        if code is None or code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE:
            return SocketClosed("it was cut without a word.", code)
        return SocketClosed(f"the gateway closed it (code {code}).", code)


async def _read_body(answer: aiohttp.ClientResponse, at_most: int | None) -> tuple[bytes, bool]:
    """Read a body of ``at_most`` bytes, as in `Request`; return it, and True if there was more.

    Where there was more the connection is closed, and nothing is returned of a body that was to be
    read whole.

    aiohttp decompresses a body piece by piece, as it is read. Reading what has come does not wait,
    so the event loop is let run other tasks in between.
    """
    if at_most is None or answer.status >= HTTPStatus.MULTIPLE_CHOICES:
        at_most = REASON_BYTES
    pieces: list[bytes] = []
    size = since = 0
    async for piece in answer.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        since += len(piece)
        if size > at_most:
            answer.close()
            return b"".join(pieces)[:at_most] if at_most <= REASON_BYTES else b"", True
        if since > _BYTES_IN_ONE_GO:
            since = 0
            await asyncio.sleep(0)
    return b"".join(pieces), False


def _keep_quoting(url: str) -> URL:
    """Return a URL whose path stays quoted as it is.

    yarl would undo each quote that is not needed. The routes of Jupyter Server and Kernel Gateway
    match kernelspecs with a ~, @ or parentheses in their names only if these are quoted (seen).
    """
    read = URL(url)
    return URL.build(
        scheme=read.scheme,
        authority=read.raw_authority,
        path=quote(urlsplit(url).path, safe=_KEPT_IN_PATHS) or "/",
        query_string=read.raw_query_string,
        encoded=True,
    )
