"""The connections of aiohttp: how many there are, their proxies, cookies and XSRF headers."""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from http import HTTPMethod, HTTPStatus
from http.cookies import CookieError
from types import SimpleNamespace
from typing import Final

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from jupyter_relay.settings.transport import TransportSettings
from jupyter_relay.transport.aiohttp_private import OwnConnector
from jupyter_relay.transport.tls import Tls
from jupyter_relay.transport.transport import Share
from jupyter_relay.transport.tunnel import TunnelRefused, open_tunnel

_KEEP_ALIVE_SECONDS: Final = 50.0
"""For how many seconds an idle connection stays in the pool: pages ask every 10 s, and common
proxies close connections that have been idle for 60 s."""

_KEEP_ALIVE_OPTIONS: Final = (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
"""TCP keep-alive: a connection whose peer is gone leaves the pool after 50 s. The system's own
default is two hours."""


_MAX_LAST_REQUESTS: Final = 500
"""How many requests of a program that ends may be under way at once. Many systems let a process
have 1024 files and sockets open."""


class Pools:
    """The pools of connections to one gateway, made in the current event loop.

    Each open websocket holds a connection for its whole life, and would use up a pool with a bound.
    So ``requests`` has a pool with a bound, ``sockets`` one without, and both the same cookies.
    Of the bound, starts may use half and restarts a quarter, but at least one connection each. The
    requests of a program that ends have a pool of their own.
    """

    def __init__(self, settings: TransportSettings, tls: Tls) -> None:
        self._settings = settings
        self._tls = tls
        self._jar = _CookieJar() if settings.accept_cookies else aiohttp.DummyCookieJar()
        self._middlewares = (_refuse_redirected_handshake, *_xsrf_pairs(settings))
        size, proxy = settings.pool_size, settings.ws_proxy
        pool = aiohttp.TCPConnector(
            limit=size, keepalive_timeout=_KEEP_ALIVE_SECONDS, socket_factory=_tcp_socket
        )
        self.requests = self._session(pool, settings.proxy)
        self._last: aiohttp.ClientSession | None = None
        if proxy and settings.ws_url.startswith("ws:"):
            self.sockets = self._session(_TunnelConnector(proxy), None)
        else:
            direct = aiohttp.TCPConnector(limit=0, socket_factory=_tcp_socket)
            self.sockets = self._session(direct, proxy)
        self._slots = (
            {
                Share.STARTS: asyncio.Semaphore(max(1, size // 2)),
                Share.RESTARTS: asyncio.Semaphore(max(1, size // 4)),
            }
            if size
            else {}
        )

    def slot(self, share: Share) -> AbstractAsyncContextManager[None]:
        """Wait until it is the slot of a request; it lasts as long as the request is under way."""
        return self._slots.get(share) or nullcontext()

    def session(self, share: Share) -> aiohttp.ClientSession:
        """Return the session that makes requests of this share."""
        if share is not Share.LAST:
            return self.requests
        if self._last is None:
            pool = aiohttp.TCPConnector(limit=_MAX_LAST_REQUESTS, socket_factory=_tcp_socket)
            self._last = self._session(pool, self._settings.proxy)
        return self._last

    async def close(self) -> None:
        """Close all connections."""
        await self.requests.close()
        if self._last is not None:
            await self._last.close()
        await self.sockets.close()

    def _session(self, connector: aiohttp.TCPConnector, proxy: str | None) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            middlewares=self._middlewares,
            cookie_jar=self._jar,
            trace_configs=[self._trace_config()],
            # Without a total, which would cut handshakes short too.
            timeout=aiohttp.ClientTimeout(sock_connect=self._settings.connect_timeout),
            # Not ``trust_env``: that asks in a thread of its own for each request.
            proxy=proxy,
        )

    def _trace_config(self) -> aiohttp.TraceConfig:
        """Return callbacks that check the certificate files before each TLS handshake, and call
        the ``on_send`` of a request once it has a connection."""

        async def remember(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
            context.tls = self._tls.current

        async def check(
            session: aiohttp.ClientSession, context: SimpleNamespace, _: object
        ) -> None:
            if context.tls is not None and await self._tls.is_outdated(context.tls):
                raise TlsContextOutdated
            if session.closed:  # meanwhile; aiohttp checks that only after it has connected
                raise aiohttp.ClientConnectionError("Session is closed.")

        async def report(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
            if context.trace_request_ctx is not None:
                context.trace_request_ctx()

        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(remember)
        trace.on_connection_create_start.append(check)
        trace.on_connection_create_end.append(report)
        trace.on_connection_reuseconn.append(report)
        return trace


class TlsContextOutdated(Exception):  # not an error: the request starts again
    """There is a new TLS context, and no connection was made with the old one."""


class _CookieJar(aiohttp.CookieJar):
    """Sends each value back exactly as it came (RFC 6265, 5.2 and 5.4): a load balancer does not
    recognise its cookie if quotes were added or removed."""

    def __init__(self) -> None:
        # ``unsafe`` only means that cookies of hosts named by their address are kept, too.
        super().__init__(unsafe=True, quote_cookie=False)

    def update_cookies_from_headers(self, headers: Sequence[str], response_url: URL) -> None:
        """Keep cookies, with their values as they were sent, quotes included."""
        super().update_cookies_from_headers(headers, response_url)
        for morsel in self:
            with suppress(CookieError):  # aiohttp takes more names than the standard library
                morsel.set(morsel.key, morsel.coded_value, morsel.coded_value)


class _TunnelConnector(OwnConnector):
    """Goes through a proxy by CONNECT for ws://, too, as RFC 6455 (4.1) wants it.

    aiohttp does so for wss:// only; it sends a plain handshake as an ordinary request, of which a
    proxy takes the Upgrade away.
    """

    def __init__(self, proxy: str) -> None:
        super().__init__(limit=0)
        self._through = proxy

    async def open_connection(
        self, request: aiohttp.ClientRequest, timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        """Return a protocol that is connected through the proxy."""
        trust = request.ssl if isinstance(request.ssl, ssl.SSLContext) else None
        host, port = request.url.host or "", request.url.port or 80
        try:
            async with asyncio.timeout(timeout.sock_connect or None):
                return await open_tunnel(self._through, host, port, self.new_protocol(), trust)
        except TunnelRefused as error:
            raise aiohttp.ClientHttpProxyError(
                request.request_info, (), status=error.status, message=error.reason
            ) from None
        except OSError as error:
            raise aiohttp.ClientProxyConnectionError(request.connection_key, error) from error


def _tcp_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """Make a socket with TCP keep-alive."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE_OPTIONS:
        if (option := getattr(socket, name, None)) is not None:  # not everywhere
            made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made


def _xsrf_pairs(settings: TransportSettings) -> tuple[aiohttp.ClientMiddlewareType, ...]:
    """Return the middleware that adds an XSRF cookie, and a header of the same value, to each
    request that changes something.

    Jupyter Server requires them for requests without a token, some hosted gateways always, and both
    accept any value. So a pair of ours is sent until the gateway sets the cookie. The pair is to
    stop browsers from being misused; for a program it proves nothing.
    """
    if not settings.accept_cookies:
        return ()
    ours = secrets.token_hex(16)

    async def pair(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if request.method not in {HTTPMethod.GET, HTTPMethod.HEAD}:
            headers = request.headers
            cookies = [part.strip() for part in headers.get("Cookie", "").split(";")]
            given = (part.partition("=")[2] for part in cookies if part.startswith("_xsrf="))
            if value := next(given, "").strip('"'):
                headers["X-XSRFToken"] = value
            elif "X-XSRFToken" not in headers:
                headers["Cookie"] = "; ".join(filter(None, [*cookies, f"_xsrf={ours}"]))
                headers["X-XSRFToken"] = ours
        return await handler(request)

    return (pair,)


async def _refuse_redirected_handshake(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Refuse to follow the redirect of a handshake: aiohttp would send our token along."""
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
