"""The transport that is used: aiohttp. The one file that knows it, and its errors."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from jupyter_relay.core.backoff import retry_after
from jupyter_relay.core.settings import GatewaySettings
from jupyter_relay.errors import (
    ConfigurationError,
    ConnectionFailed,
    GatewayUnavailable,
    HostNotFound,
    TLSFailed,
)
from jupyter_relay.gateway.answers import no_answer
from jupyter_relay.gateway.transport import HandshakeRefused, Response, Socket, SocketClosed
from jupyter_relay.wire.message import Frame

_CLOSE_TIMEOUT: Final = 5.0
"""How long a peer may take to answer our close; after that the connection is dropped."""

_UNCONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""The errors of a request for which there was no connection; so nothing was sent."""

_QUICKACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)


class AiohttpTransport:
    """A pool of connections to one gateway, made in the event loop that first uses it."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
    ) -> Response:
        """See `Transport.request`."""
        settings = self._settings
        timeout = aiohttp.ClientTimeout(
            total=settings.request_timeout, sock_connect=settings.connect_timeout
        )
        try:
            async with self._open().request(
                method,
                url,
                headers=headers,
                data=body,
                allow_redirects=False,
                timeout=timeout,
            ) as answer:
                return Response(
                    status=answer.status,
                    reason=answer.reason or "",
                    content_type=answer.content_type,
                    retry_after=retry_after(answer.headers.get("Retry-After"), datetime.now(UTC)),
                    body=await answer.read(),
                    headers=answer.headers,
                    sent=answer.request_info.headers,
                )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failure = _translated(error, settings)
        raise failure  # here, without a context: see `_translated`

    async def connect(
        self, url: str, *, headers: Mapping[str, str], subprotocols: tuple[str, ...]
    ) -> Socket:
        """See `Transport.connect`."""
        settings = self._settings
        try:
            async with asyncio.timeout(settings.handshake_timeout or None):
                websocket = await self._open().ws_connect(
                    url,
                    headers=headers,
                    protocols=subprotocols,
                    heartbeat=settings.ping_interval or None,
                    max_msg_size=settings.max_message_bytes,
                    decode_text=False,
                    timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_TIMEOUT),
                )
        except aiohttp.WSServerHandshakeError as error:
            failure: Exception = HandshakeRefused(
                Response(
                    error.status,
                    error.message,
                    headers=error.headers or {},
                    sent=error.request_info.headers,
                )
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failure = _translated(error, settings)
        else:
            return AiohttpSocket(websocket, patience=1.5 * settings.ping_interval)
        raise failure  # here, without a context: see `_translated`

    async def close(self) -> None:
        """See `Transport.close`."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            settings = self._settings
            self._session = aiohttp.ClientSession(
                # Each open websocket holds a connection for its whole life: a pool with a limit
                # would be full of them, and no request would pass any more.
                connector=aiohttp.TCPConnector(limit=0, ssl=_ssl_context(settings)),
                middlewares=(_refuse_redirected_handshake,),
                cookie_jar=_cookie_jar(settings),
                # Without a total, which would cut handshakes short too.
                timeout=aiohttp.ClientTimeout(sock_connect=settings.connect_timeout),
                # Not ``trust_env``: that asks in a thread of its own for each request.
                proxy=settings.proxy,
            )
        return self._session


class AiohttpSocket:
    """An open websocket of aiohttp, with quick acknowledgements.

    Gateways never set TCP_NODELAY, so each small frame of theirs waits for the acknowledgement of
    the one before, and Linux delays those by some 40 ms. TCP_QUICKACK sends them at once. The
    kernel takes the option back as it likes, so it is set again after each batch of reads.

    ``patience`` is after how many seconds without a byte from the peer aiohttp ends it: one
    heartbeat until it pings, and half of one for the answer.
    """

    def __init__(
        self, websocket: aiohttp.ClientWebSocketResponse[bool], *, patience: float
    ) -> None:
        self._websocket = websocket
        self._patience = patience
        self._tcp: socket.socket | None = (
            websocket.get_extra_info("socket") if _QUICKACK is not None else None
        )
        self._arming = False
        self._arm()

    @property
    def subprotocol(self) -> str | None:
        """See `Socket.subprotocol`."""
        return self._websocket.protocol

    async def receive(self) -> Frame:
        """See `Socket.receive`."""
        message = await self._websocket.receive()
        if not self._arming and self._tcp is not None:
            # Frames that came in one read are received without the loop turning: arm once for all.
            self._arming = True
            asyncio.get_running_loop().call_soon(self._arm)
        if message.type is aiohttp.WSMsgType.BINARY:
            return Frame(message.data)
        if message.type is aiohttp.WSMsgType.TEXT:
            return Frame(message.data, text=True)
        raise self._ending()

    async def send(self, frame: Frame) -> None:
        """See `Socket.send`."""
        kind = aiohttp.WSMsgType.TEXT if frame.text else aiohttp.WSMsgType.BINARY
        try:
            await self._websocket.send_frame(frame.data, kind)
        except (aiohttp.ClientError, OSError) as error:
            raise SocketClosed(_told(error)) from error

    async def close(self) -> None:
        """See `Socket.close`."""
        await self._websocket.close()

    def _arm(self) -> None:
        self._arming = False
        if self._tcp is None or _QUICKACK is None or self._websocket.closed:
            return
        try:
            self._tcp.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        except OSError:  # not TCP, or closed in this instant: nothing waits for an ACK then
            self._tcp = None

    def _ending(self) -> SocketClosed:
        code = self._websocket.close_code
        error = self._websocket.exception()
        if isinstance(error, aiohttp.ServerTimeoutError):
            text = f"it has been silent for {self._patience:g} s, even to a ping."
            return SocketClosed(text, code, silent=self._patience)
        if error is not None:
            return SocketClosed(_told(error), code)
        if code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
            return SocketClosed("a message was larger than it takes.", code)
        if code is None or code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE:
            return SocketClosed("it was cut without a word.", code)
        return SocketClosed(f"the gateway closed it (code {code}).", code)


def _translated(error: Exception, settings: GatewaySettings) -> GatewayUnavailable:
    """The one map from aiohttp's errors, and those beneath it, to ours.

    The error becomes the cause, unless it is one that holds the request, and with it our token.
    """
    failure = _meaning(error, settings.name)
    failure.doubtful = not isinstance(error, _UNCONNECTED)
    failure.__cause__ = None if isinstance(error, aiohttp.ClientResponseError) else error
    return failure


def _meaning(error: Exception, name: str) -> GatewayUnavailable:
    if isinstance(error, TimeoutError):
        return no_answer(name)
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.CertificateError):
        return TLSFailed(
            f"The certificate of {name} cannot be verified: {_told(error)}",
            hint="Set ca_certs to the file of the authority that signed it; one that has expired, "
            "or is for another host, can only be replaced at the gateway.",
            retryable=False,
            gateway=name,
        )
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return TLSFailed(
            f"TLS with {name} failed: {_told(error)}",
            hint="Look whether the URL should begin with http:// instead, and whether the gateway "
            "wants a certificate of ours (client_cert).",
            retryable=False,
            gateway=name,
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return HostNotFound(
            f"The host of {name} is not known: {_told(error)}",
            hint="Look at the host name in the gateway's URL.",
            gateway=name,
        )
    return ConnectionFailed(
        f"{name} cannot be reached: {_told(error)}",
        hint="Look whether the gateway is running, and at its URL.",
        gateway=name,
    )


def _told(error: BaseException) -> str:
    """What an error says, as the end of a sentence."""
    cause = error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
    elif isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return cause.verify_message.rstrip(".") + "."
    if isinstance(cause, aiohttp.ClientResponseError):  # its text has the URL, and a secret in it
        return f"{cause.status} {cause.message}".rstrip(" .") + "."
    if isinstance(cause, ConnectionError) and cause.errno:
        return os.strerror(cause.errno) + "."  # its own text is about a call, and an address
    text = (cause.strerror if isinstance(cause, OSError) else "") or str(cause)
    return (text or type(cause).__name__).rstrip(".") + "."


def _cookie_jar(settings: GatewaySettings) -> aiohttp.abc.AbstractCookieJar:
    if not settings.accept_cookies:
        return aiohttp.DummyCookieJar()
    host = urlsplit(settings.url).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return aiohttp.CookieJar()
    # Without this aiohttp keeps no cookie of a host that is named by its address.
    return aiohttp.CookieJar(unsafe=True)


def _ssl_context(settings: GatewaySettings) -> ssl.SSLContext | bool:
    if not any(url.startswith(("https:", "wss:")) for url in (settings.url, settings.ws_url)):
        return True  # aiohttp's own default, which costs nothing; reading certificates takes long
    try:
        context = ssl.create_default_context(cafile=settings.ca_certs)
        if settings.client_cert:
            context.load_cert_chain(settings.client_cert, settings.client_key)
    except OSError as error:
        files = [settings.ca_certs, settings.client_cert, settings.client_key]
        raise ConfigurationError(
            f"A certificate file of {settings.name} cannot be read "
            f"({', '.join(filter(None, files))}): {_told(error)}",
            option="ca_certs",
        ) from error
    if not settings.validate_cert:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def _refuse_redirected_handshake(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Do not follow a redirect with a handshake, which aiohttp would: our token is in it."""
    response = await handler(request)
    moved = HTTPStatus.MULTIPLE_CHOICES <= response.status < HTTPStatus.BAD_REQUEST
    if moved and "Upgrade" in request.headers:
        response.close()
        raise aiohttp.WSServerHandshakeError(
            response.request_info,
            response.history,
            status=response.status,
            message=response.reason or "",
            headers=response.headers,
        )
    return response
