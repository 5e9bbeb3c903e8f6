"""How a gateway is asked: with our credentials, and again where that is safe and may help."""

from __future__ import annotations

import asyncio
import random
from http import HTTPStatus

from jupyter_relay.core.backoff import Backoff
from jupyter_relay.core.settings import GatewaySettings
from jupyter_relay.errors import GatewayTimeout, GatewayUnavailable
from jupyter_relay.gateway.answers import UNAVAILABLE, Refusals, no_kernel
from jupyter_relay.gateway.credentials import request_headers
from jupyter_relay.gateway.transport import HandshakeRefused, Response, Socket, Transport
from jupyter_relay.wire.subprotocol import OFFERED

_RETRIED = frozenset({"GET", "DELETE"})
"""The methods that may be sent twice."""

_BACKOFF = Backoff(base=0.2, cap=5.0)


class Requester:
    """Sends requests and opens websockets; returns what succeeds, and raises our errors.

    ``kernel_id`` is the kernel that a request is about, for the errors.
    """

    def __init__(self, settings: GatewaySettings, transport: Transport) -> None:
        self._settings = settings
        self._transport = transport
        self._refusals = Refusals(settings.name)

    async def request(
        self, method: str, url: str, *, body: bytes | None = None, kernel_id: str | None = None
    ) -> Response:
        """Send a request; return the answer if its status is below 300."""
        headers = {**request_headers(self._settings)}
        if body is not None:
            headers["Content-Type"] = "application/json"
        tries = self._settings.max_request_retries if method in _RETRIED else 0
        for attempt in range(tries + 1):
            try:
                response = await self._transport.request(method, url, headers=headers, body=body)
            except GatewayUnavailable as error:
                if attempt == tries or not error.retryable or isinstance(error, GatewayTimeout):
                    raise  # one who has waited that long is not to wait as long again
            else:
                if response.status < HTTPStatus.MULTIPLE_CHOICES:
                    return response
                if attempt == tries or response.status not in UNAVAILABLE:
                    raise self._refusals.read(response, kernel_id)
            await asyncio.sleep(_BACKOFF.delay(attempt, random.random()))  # noqa: S311  # jitter
        raise AssertionError("the last try returns or raises")

    async def connect(self, url: str, *, kernel_id: str) -> Socket:
        """Open the websocket of a kernel.

        Raises `KernelNotFound` at a 404, which may be a proxy's: a handshake's refusal has no body.
        """
        try:
            return await self._transport.connect(
                url, headers=request_headers(self._settings), subprotocols=OFFERED
            )
        except HandshakeRefused as error:
            if error.response.status == HTTPStatus.NOT_FOUND:
                raise no_kernel(self._settings.name, kernel_id) from error
            raise self._refusals.read(error.response, kernel_id) from error

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()
