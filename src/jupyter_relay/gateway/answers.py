"""What a gateway's refusal means: HTTP statuses and error bodies to typed errors, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from jupyter_relay.core.models import Json, ModelError, read_json
from jupyter_relay.errors import (
    AuthenticationFailed,
    GatewayRefused,
    GatewayTimeout,
    GatewayUnavailable,
    KernelNotFound,
    RelayError,
    UnexpectedAnswer,
)
from jupyter_relay.gateway.transport import Response

UNAVAILABLE = frozenset({502, 503, 504})
"""The statuses with which a proxy, or a gateway, says that it cannot answer just now."""


def refusal(response: Response, *, gateway: str, kernel_id: str | None = None) -> RelayError:
    """Return the error that an answer of status 400 or more, or a refused handshake, stands for."""
    status = response.status
    said = _said(response)
    quoted = f": {said}" if said else ""
    if status in {401, 403}:
        return AuthenticationFailed(
            f"{gateway} does not let us in ({status}){quoted}.",
            status=status,
            reason=said,
            hint="Look at the token (auth_token), and at what its user may do.",
            gateway=gateway,
            kernel_id=kernel_id,
        )
    if status == HTTPStatus.NOT_FOUND and kernel_id is not None:
        if _is_api(response):
            return no_kernel(gateway, kernel_id, said)
        return GatewayUnavailable(
            f"A proxy in front of {gateway} does not find it (404).",
            hint="Try again later; if it stays so, look at the gateway's URL.",
            gateway=gateway,
            kernel_id=kernel_id,
        )
    if status < HTTPStatus.BAD_REQUEST or (
        status == HTTPStatus.NOT_FOUND and not _is_api(response)
    ):
        return UnexpectedAnswer(
            f"{gateway} answered {status} {response.reason}, as no Jupyter gateway does.",
            status=status,
            hint="Look whether the URL is that of a gateway, and not of a page or a login.",
            gateway=gateway,
            kernel_id=kernel_id,
        )
    if status == HTTPStatus.GATEWAY_TIMEOUT:
        return GatewayTimeout(
            f"A proxy in front of {gateway} did not wait for its answer (504){quoted}.",
            hint="The proxy's time-out is shorter than a kernel's start.",
            gateway=gateway,
            kernel_id=kernel_id,
        )
    if status in UNAVAILABLE:
        return GatewayUnavailable(
            f"{gateway} is not available just now ({status}){quoted}.",
            hint="Try again later.",
            gateway=gateway,
            kernel_id=kernel_id,
        )
    return GatewayRefused(
        f"{gateway} answered {status} {response.reason}{quoted}.",
        status=status,
        reason=said,
        gateway=gateway,
        kernel_id=kernel_id,
    )


def no_kernel(gateway: str, kernel_id: str, reason: str = "") -> KernelNotFound:
    """Return the error for a kernel that its gateway does not have."""
    return KernelNotFound(
        f"{gateway} has no kernel {kernel_id}.",
        status=HTTPStatus.NOT_FOUND,
        reason=reason,
        hint="It was culled or deleted there; start another.",
        gateway=gateway,
        kernel_id=kernel_id,
    )


def unexpected(
    error: ModelError, response: Response, *, gateway: str, kernel_id: str | None = None
) -> UnexpectedAnswer:
    """Return the error for an answer that is not what the Jupyter API would say."""
    shown = " It is a web page." if response.content_type == "text/html" else ""
    return UnexpectedAnswer(
        f"{gateway} does not answer like a Jupyter gateway: {error}.{shown}",
        status=response.status,
        hint="Look at the gateway's URL, and whether a proxy or a login page stands before it.",
        gateway=gateway,
        kernel_id=kernel_id,
    )


def _is_api(response: Response) -> bool:
    """Whether a refusal is a gateway's own words, and not those of a proxy on the way."""
    return not _words(response).keys().isdisjoint({"message", "reason"})


def _said(response: Response) -> str:
    """What an error body gives as its reason: ``reason``, else ``message``, on one line.

    Tracebacks, and pages of proxies, are not for people.
    """
    words = _words(response)
    for key in ("reason", "message"):
        said = words.get(key)
        if isinstance(said, str) and said.strip() and "Traceback" not in said:
            return " ".join(said.split()).rstrip(".")
    return ""


def _words(response: Response) -> Mapping[str, Json]:
    """The JSON object of an error body; empty if it is none."""
    try:
        body = read_json(response.body)
    except ModelError:
        return {}
    return body if isinstance(body, dict) else {}
