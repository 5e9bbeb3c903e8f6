"""A TCP connection through an HTTP proxy, by CONNECT (RFC 9110, 9.3.6)."""

from __future__ import annotations

import asyncio
import ssl
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import unquote, urlsplit

from jupyter_relay.rest.headers import basic_authentication
from jupyter_relay.settings.proxies import DEFAULT_PORTS

_P = TypeVar("_P", bound=asyncio.Protocol)

_MAX_HEAD: Final = 64 * 1024


class TunnelRefused(Exception):  # an answer of the proxy
    """The proxy refuses to connect us; ``status`` and ``reason`` are those of its answer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason


async def open_tunnel(
    proxy: str, host: str, port: int, protocol: _P, trust: ssl.SSLContext | None
) -> _P:
    """Connect a protocol to a host through a proxy, and return it.

    The proxy's URL may hold a user and a password. If it begins with https://, ``trust`` is the
    context by which the proxy is verified. Raises `TunnelRefused`, or `OSError` if the proxy cannot
    be reached or is no proxy.
    """
    parts = urlsplit(proxy)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_MAX_HEAD)
    transport, _ = await loop.create_connection(
        lambda: asyncio.StreamReaderProtocol(reader),
        parts.hostname or "",
        parts.port or DEFAULT_PORTS[parts.scheme],
        ssl=trust if parts.scheme == "https" else None,
        happy_eyeballs_delay=0.25,
    )
    try:
        transport.write(_request(proxy, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"))
        status, reason = _status(await reader.readuntil(b"\r\n\r\n"))
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        transport.abort()
        raise ConnectionError("it does not answer as an HTTP proxy does") from error
    except BaseException:
        transport.abort()
        raise
    if status != HTTPStatus.OK:
        transport.abort()
        raise TunnelRefused(status, reason)
    # Nothing can have come behind the head: in a tunnel the client sends first.
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    return protocol


def _request(proxy: str, target: str) -> bytes:
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    parts = urlsplit(proxy)
    if parts.username is not None:
        basic = basic_authentication(unquote(parts.username), unquote(parts.password or ""))
        lines.append(f"Proxy-Authorization: {basic}")
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def _status(head: bytes) -> tuple[int, str]:
    """Return the status and reason of an answer. Raises `ValueError`."""
    version, status, *reason = head.partition(b"\r\n")[0].decode("latin-1").split(" ", 2)
    if not version.startswith("HTTP/1."):
        raise ValueError(version)
    return int(status), "".join(reason)
