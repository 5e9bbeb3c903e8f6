"""The connections of aiohttp: how many, by which way, and what each request carries."""

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

_KEEP_ALIVE: Final = 50.0
"""How long an idle connection stays in the pool, in seconds: pages ask every 10 s, and common
proxies end what has been idle for 60 s."""

_PROBES: Final = (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
"""TCP keep-alive: a connection whose peer is gone is out of the pool after 50 s. The system's own
default is two hours."""


_MAX_LAST_REQUESTS: Final = 500
"""How many requests of a program that ends are under way at once. A process may often have no more
than 1024 files and sockets open."""


class Pools:
    """The pools of connections to one gateway, made in the current event loop.

    Each open websocket holds a connection for its whole life: in a pool with a bound no request
    would pass any more. So ``requests`` has one with a bound, and ``sockets`` one without; their
    cookies are the same. Of that bound, starts take half at most and restarts a quarter, but
    each of them one. What is asked last, by a program that ends, has a pool of its own.
    """

    def __init__(self, settings: TransportSettings, tls: Tls) -> None:
        self._settings = settings
        self._tls = tls
        self._jar = _CookieJar() if settings.accept_cookies else aiohttp.DummyCookieJar()
        self._middlewares = (_refuse_redirected_handshake, *_xsrf_pairs(settings))
        size, proxy = settings.pool_size, settings.ws_proxy
        pool = aiohttp.TCPConnector(
            limit=size, keepalive_timeout=_KEEP_ALIVE, socket_factory=_tcp_socket
        )
        self.requests = self._session(pool, settings.proxy)
        self._last: aiohttp.ClientSession | None = None
        if proxy and settings.ws_url.startswith("ws:"):
            self.sockets = self._session(_TunnelConnector(proxy), None)
        else:
            direct = aiohttp.TCPConnector(limit=0, socket_factory=_tcp_socket)
            self.sockets = self._session(direct, proxy)
        self._turns = (
            {
                Share.STARTS: asyncio.Semaphore(max(1, size // 2)),
                Share.RESTARTS: asyncio.Semaphore(max(1, size // 4)),
            }
            if size
            else {}
        )

    def turn(self, share: Share) -> AbstractAsyncContextManager[None]:
        """Wait until it is the turn of a request; it lasts as long as the request is under way."""
        return self._turns.get(share) or nullcontext()

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
            trace_configs=[self._watched()],
            # Without a total, which would cut handshakes short too.
            timeout=aiohttp.ClientTimeout(sock_connect=self._settings.connect_timeout),
            # Not ``trust_env``: that asks in a thread of its own for each request.
            proxy=proxy,
        )

    def _watched(self) -> aiohttp.TraceConfig:
        """Look at the certificate files before each handshake, and at no other time; tell who asks
        that there is a connection for the request."""

        async def note(_: aiohttp.ClientSession, noted: SimpleNamespace, __: object) -> None:
            noted.used = self._tls.current

        async def look(session: aiohttp.ClientSession, noted: SimpleNamespace, _: object) -> None:
            if noted.used is not None and await self._tls.renewed(noted.used):
                raise Renewed
            if session.closed:  # meanwhile; aiohttp looks only once it is connected
                raise aiohttp.ClientConnectionError("Session is closed.")

        async def tell(_: aiohttp.ClientSession, noted: SimpleNamespace, __: object) -> None:
            if noted.trace_request_ctx is not None:
                noted.trace_request_ctx()

        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(note)
        trace.on_connection_create_start.append(look)
        trace.on_connection_create_end.append(tell)
        trace.on_connection_reuseconn.append(tell)
        return trace


class Renewed(Exception):  # an event, not an error
    """There is a new TLS context; no connection was made with the old one."""


class _CookieJar(aiohttp.CookieJar):
    """Sends each value back as it came: quoted anew, or no more, a load balancer does not know it
    for its own (RFC 6265, 5.2 and 5.4)."""

    def __init__(self) -> None:
        # ``unsafe`` keeps cookies of hosts that are named by their address, too, and no more.
        super().__init__(unsafe=True, quote_cookie=False)

    def update_cookies_from_headers(self, headers: Sequence[str], response_url: URL) -> None:
        """Keep cookies, with the values that were sent in place of those that were meant."""
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
    """Make a socket whose connection the system looks after while nobody uses it."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _PROBES:
        if (option := getattr(socket, name, None)) is not None:  # not everywhere
            made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made


def _xsrf_pairs(settings: TransportSettings) -> tuple[aiohttp.ClientMiddlewareType, ...]:
    """Return what gives each request that changes something a cookie and a header that agree.

    Jupyter Server wants them where no token lets us in, some hosted gateways always, and neither
    cares what they say: so there is a pair of ours until the gateway sets the cookie. The pair is
    to stop browsers from being misused; a program proves nothing by it.
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
