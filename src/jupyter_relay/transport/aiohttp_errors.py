"""The errors of aiohttp and of the system, as ours.."""

from __future__ import annotations

import os
import ssl
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from jupyter_relay.errors import ConnectionFailed, GatewayUnavailable, HostNotFound, TLSFailed
from jupyter_relay.redact import Quoter
from jupyter_relay.rest.failures import no_answer
from jupyter_relay.settings.transport import TransportSettings

_UNCONNECTED = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
)
"""The errors of a request that had no connection, so that nothing was sent."""

_TEXTS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (aiohttp.ServerDisconnectedError, "the connection was closed without an answer."),
    (aiohttp.ClientConnectionError, "the connection was closed."),
    (aiohttp.ClientPayloadError, "its answer was cut off, or cannot be read."),
    (aiohttp.ClientResponseError, "its answer is no HTTP that can be read."),
    (aiohttp.InvalidURL, "its URL is none."),
)
"""Texts for errors whose own texts are about transports and payloads, or quote the URL or what a
parser could not read."""


def to_our_error(
    error: Exception, settings: TransportSettings, quoter: Quoter
) -> GatewayUnavailable:
    """The one map from aiohttp's errors, and those beneath it, to ours."""
    return _proxy_error(error, settings, quoter) or _gateway_error(error, settings.name)


def is_doubtful(error: Exception) -> bool:
    """True if a request that failed so may have been carried out."""
    return not isinstance(error, _UNCONNECTED)


def safe_cause(error: Exception) -> Exception | None:
    """Return what may stand as the cause of our error: an error of the operating system.

    Others hold the request, and with it our token, or what a parser could not read, which may
    quote it.
    """
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return error.certificate_error
        case aiohttp.ClientConnectorError():
            return error.os_error
        case OSError():
            return error
    return None


def _proxy_error(
    error: Exception, settings: TransportSettings, quoter: Quoter
) -> GatewayUnavailable | None:
    """Return our error for an error of the proxy; None for one of the gateway."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return proxy_refusal(error.status, settings.name, quoter.quote(error.message))
    proxies = {urlsplit(url).hostname for url in (settings.proxy, settings.ws_proxy) if url}
    if isinstance(error, aiohttp.ClientProxyConnectionError) or (
        isinstance(error, aiohttp.ClientConnectorDNSError) and error.host in proxies
    ):
        return GatewayUnavailable(
            f"The proxy on the way to {settings.name} cannot be reached: {text_of(error)}",
            hint="Look at HTTP_PROXY, HTTPS_PROXY and NO_PROXY in the environment.",
            doubtful=False,
            gateway=settings.name,
        )
    return None


def proxy_refusal(status: int, name: str, said: str = "") -> GatewayUnavailable:
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return GatewayUnavailable(
            f"The proxy on the way to {name} requires a user and a password, or other ones (407).",
            hint="Put them into the proxy's URL in the environment: http://user:password@host:port",
            retryable=False,
            doubtful=False,
            gateway=name,
        )
    return GatewayUnavailable(
        f"The proxy on the way to {name} refuses to connect us ({status} {said}".rstrip() + ").",
        hint="Look at the proxy's log, or name the gateway in NO_PROXY.",
        retryable=status >= HTTPStatus.INTERNAL_SERVER_ERROR,
        doubtful=False,
        gateway=name,
    )


def _gateway_error(error: Exception, name: str) -> GatewayUnavailable:
    doubtful = is_doubtful(error)
    if isinstance(error, TimeoutError):
        return no_answer(name, doubtful=doubtful)
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.CertificateError):
        return TLSFailed(
            f"The certificate of {name} cannot be verified: {text_of(error)}",
            hint="Set ca_certs to the file of the authority that signed it; one that has expired, "
            "or is for another host, can only be replaced at the gateway.",
            retryable=False,
            doubtful=doubtful,
            gateway=name,
        )
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return TLSFailed(
            f"TLS with {name} failed: {text_of(error)}",
            hint="Check whether the URL should begin with http:// instead, and whether the gateway "
            "wants a certificate of ours (client_cert).",
            retryable=False,
            doubtful=doubtful,
            gateway=name,
        )
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return HostNotFound(
            f"The host of {name} is not known: {text_of(error)}",
            hint="Look at the host name in the gateway's URL.",
            doubtful=doubtful,
            gateway=name,
        )
    return ConnectionFailed(
        f"{name} cannot be reached: {text_of(error)}",
        hint="Check that the gateway is running, and look at its URL.",
        doubtful=doubtful,
        gateway=name,
    )


def text_of(error: BaseException) -> str:
    """Return the text of an error as the end of a sentence."""
    cause = error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
    elif isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return cause.verify_message.rstrip(".") + "."
    if isinstance(cause, ConnectionError) and cause.errno:
        return os.strerror(cause.errno) + "."  # its own text is about a system call and an address
    for kind, said in _TEXTS:
        if isinstance(cause, kind) and not getattr(cause, "errno", None):
            return said
    text = (cause.strerror if isinstance(cause, OSError) else "") or ""
    if not text and isinstance(cause, OSError | aiohttp.WebSocketError):  # others quote what came
        text = str(cause)
    return (text or type(cause).__name__).rstrip(".") + "."
