"""How a gateway is asked: with our credentials, and again where that is safe and may help."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from math import inf
from typing import Final, Protocol, TypeAlias, TypeVar

import msgspec

from jupyter_relay.backoff import Backoff
from jupyter_relay.credentials.credentials import Credentials, Headers
from jupyter_relay.errors import (
    GatewayRefused,
    GatewayTimeout,
    GatewayUnavailable,
    KernelNotFound,
    KernelSpecNotFound,
    KernelStartFailed,
    RelayError,
)
from jupyter_relay.redact import Quoter
from jupyter_relay.rest.clocks import ClockDifference
from jupyter_relay.rest.failures import no_answer, no_kernel, other_kernel, too_large, unexpected
from jupyter_relay.rest.ids import KernelIds
from jupyter_relay.rest.models import KernelModel, KernelSpecModel, Reading
from jupyter_relay.rest.refusals import UNAVAILABLE, Refusals, is_understood
from jupyter_relay.rest.response import MODEL_BYTES, Response
from jupyter_relay.rest.starts import NO_MODEL, no_kernelspec, refused_start, start_body
from jupyter_relay.rest.urls import Endpoints
from jupyter_relay.rest.users import NotebookUser
from jupyter_relay.settings.settings import GatewaySettings
from jupyter_relay.transport.transport import HandshakeRefused, Request, Share, Socket, Transport
from jupyter_relay.wire.json import Json, ModelError, read_json
from jupyter_relay.wire.subprotocol import OFFERED

T = TypeVar("T")

_log = logging.getLogger(__name__)

_RETRIED = frozenset({"GET", "DELETE"})
"""The methods that may be sent twice."""

_REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
"""The statuses with which a gateway refuses a token. With these nothing was carried out, so that
any request may be sent again."""

_TURN_SECONDS: Final = 0.002
"""For how many seconds an answer is read before others have their turn."""

_BACKOFF = Backoff(base=0.2, cap=5.0)
_TOO_MANY = HTTPStatus.TOO_MANY_REQUESTS
_FORBIDDEN = HTTPStatus.FORBIDDEN


Meaning: TypeAlias = Callable[[GatewayRefused], Awaitable[RelayError]]
"""Takes a refusal; returns what it means, which may be the same error."""


class Requester:
    """Sends requests and opens websockets; returns what succeeds, and raises our errors.

    ``clocks`` hears the dates of the answers. ``unused`` is as in `Credentials`.
    """

    def __init__(
        self, settings: GatewaySettings, transport: Transport, clocks: ClockDifference
    ) -> None:
        self._settings = settings
        self._transport = transport
        self._clocks = clocks
        self._credentials = Credentials(settings.credentials)
        self.unused = self._credentials.unused
        self._refusals = Refusals(settings.name, self._credentials.description)
        self._closing = asyncio.Event()

    async def request(
        self, request: Request, *, kernel_id: str | None = None, meaning: Meaning | None = None
    ) -> Response:
        """Send a request, with our credentials; return the answer if its status is below 300.

        A body is sent as JSON. Raises `UnexpectedAnswer` for an answer of more than ``at_most``
        bytes.

        GET and DELETE are sent again, ``max_request_retries`` times, where the connection fails
        or the answer is 502, 503, 504, or 429 with a ``Retry-After``. The waits are jittered, and
        not shorter than ``Retry-After`` asks. All of it takes no longer than ``request_timeout``:
        a wait that would is not begun, and the failure is raised at once. A request that was not
        answered in time has waited that long, and is not sent again. ``kernel_id`` is the kernel
        that the request is about. ``meaning`` is asked what a refusal means to the caller, where
        the answer does not show that.
        """

        async def ask(shown: Headers) -> Response:
            json = {} if request.body is None else {"Content-Type": "application/json"}
            asked = time.time()
            answer = await self._transport.request(replace(request, headers={**shown, **json}))
            if "Age" not in answer.headers:  # a cache's answer has the date of another hour
                self._clocks.note_date(
                    answer.headers.get("Date"), asked=asked, answered=time.time()
                )
            return answer

        response = await self._last_answer(ask, again=request.method in _RETRIED)
        if response.status < HTTPStatus.MULTIPLE_CHOICES:
            if response.cut and request.at_most is not None:
                raise too_large(self._settings.name, response.status, request.at_most, kernel_id)
            return response
        failure = told = self._refusal(response, kernel_id)
        if meaning is not None and isinstance(failure, GatewayRefused):
            told = await meaning(failure)
        self._log_traceback(response, told)
        raise told from (None if told is failure else failure)

    async def post(
        self,
        url: str,
        value: Mapping[str, object],
        kernel_id: str | None = None,
        *,
        at_most: int | None = None,
        share: Share = Share.ALL,
        on_send: Callable[[], None] | None = None,
        meaning: Meaning | None = None,
    ) -> Response:
        """Send a value as JSON; see `request` and `Request`."""
        body = msgspec.json.encode(value)
        request = Request("POST", url, body=body, at_most=at_most, share=share, on_send=on_send)
        return await self.request(request, kernel_id=kernel_id, meaning=meaning)

    async def read_answer(
        self, response: Response, read: Callable[[Json, Quoter], T], kernel_id: str | None = None
    ) -> T:
        """Read the body of an answer as JSON. Raises `UnexpectedAnswer` if it is none, or if
        ``read`` raises `ModelError`."""

        def steps(body: bytes, quoter: Quoter) -> Reading[T]:
            value = read_json(body)
            yield
            return read(value, quoter)

        return await self.read_in_steps(response, steps, kernel_id)

    async def read_in_steps(
        self,
        response: Response,
        read: Callable[[bytes, Quoter], Reading[T]],
        kernel_id: str | None = None,
    ) -> T:
        """Read the body of an answer that may be long: the event loop goes on in between. Raises
        `UnexpectedAnswer` if ``read`` raises `ModelError`."""
        try:
            return await in_turns(read(response.body, response.quoter))
        except ModelError as error:
            name = self._settings.name
            raise unexpected(error, response, gateway=name, kernel_id=kernel_id) from error

    async def _last_answer(
        self, ask: Callable[[Headers], Awaitable[Response]], *, again: bool
    ) -> Response:
        """Send a request, as often as `request` says, and return the last answer."""
        tries = self._settings.max_request_retries if again else 0
        now = asyncio.get_running_loop().time()
        deadline = now + (self._settings.transport.request_timeout or inf)
        for attempt in range(tries + 1):
            failure: GatewayUnavailable | None = None
            try:
                response = await self._attempt(ask, deadline if tries else inf)
            except GatewayUnavailable as error:
                if not error.retryable or isinstance(error, GatewayTimeout):
                    raise  # one who has waited that long is not to wait as long again
                failure, asked = error, None
            else:
                asked = response.retry_after
                if response.status not in UNAVAILABLE and (
                    response.status != _TOO_MANY or asked is None
                ):
                    return response
            jitter = _BACKOFF.delay(attempt, random.random())  # noqa: S311  # no secret
            # Those who were told the same time must not all come in the same instant.
            delay = jitter + (asked or 0.0)
            if attempt == tries or asyncio.get_running_loop().time() + delay >= deadline:
                break
            with suppress(TimeoutError):  # who closes it ends the wait, and the next try says so
                async with asyncio.timeout(delay):
                    await self._closing.wait()
        if failure is not None:
            raise failure
        return response

    async def _attempt(
        self, ask: Callable[[Headers], Awaitable[Response]], deadline: float
    ) -> Response:
        """Send a request; and again, if our token was refused and there is a fresh one.

        Raises `GatewayTimeout` where no answer comes by the deadline.
        """
        try:
            async with asyncio.timeout_at(deadline if deadline < inf else None) as limit:
                return await self._credentials.authenticate(
                    ask, lambda answer: answer.status in _REFUSED
                )
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise no_answer(self._settings.name) from error

    async def connect(self, url: str, *, kernel_id: str) -> Socket:
        """Open the websocket of a kernel.

        Raises `KernelNotFound` at a 404, which may be a proxy's: a handshake's refusal has no body.
        """

        async def ask(shown: Headers) -> Socket | HandshakeRefused:
            try:
                return await self._transport.connect(url, headers=shown, subprotocols=OFFERED)
            except HandshakeRefused as error:
                return error

        answer = await self._credentials.authenticate(
            ask,
            lambda answer: (
                isinstance(answer, HandshakeRefused) and answer.response.status in _REFUSED
            ),
        )
        if not isinstance(answer, HandshakeRefused):
            return answer
        if answer.response.status == HTTPStatus.NOT_FOUND:
            raise no_kernel(self._settings.name, kernel_id) from answer
        refusal = self._refusal(answer.response, kernel_id)
        self._log_traceback(answer.response, refusal)
        raise refusal from answer

    async def close(self) -> None:
        """Close all connections, for good."""
        self._closing.set()
        await self._transport.close()
        await self._credentials.close()

    def _refusal(self, response: Response, kernel_id: str | None) -> RelayError:
        failure = self._credentials.failure
        return self._refusals.error_of(
            response, kernel_id, credential_failure="" if failure is None else str(failure)
        )

    def _log_traceback(self, response: Response, error: RelayError) -> None:
        """Log the traceback of a refusal, which came to mean this error; at the level of debugging
        if the error says it all."""
        understood = is_understood(error, response)
        level = logging.DEBUG if understood else logging.WARNING
        if _log.isEnabledFor(level):
            lines = self._refusals.new_traceback(response, understood=understood)
            if lines is not None:
                name = self._settings.name
                _log.log(level, "%s answered %d with:\n%s", name, response.status, lines)


async def in_turns(steps: Reading[T]) -> T:
    """Take all steps of a reading; after each `_TURN_SECONDS` the event loop goes on."""
    until = time.monotonic() + _TURN_SECONDS
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: T = end.value
            return found
        if time.monotonic() > until:
            await asyncio.sleep(0)
            until = time.monotonic() + _TURN_SECONDS


class StartingGateway(Protocol):
    """What a start needs of its gateway; see `Gateway`."""

    settings: GatewaySettings
    endpoints: Endpoints
    requester: Requester
    ids: KernelIds

    @property
    def name(self) -> str: ...
    async def kernel(self, kernel_id: str) -> KernelModel: ...
    async def shutdown_kernel(self, kernel_id: str) -> None: ...
    async def kernelspec(self, name: str, user: NotebookUser | None) -> KernelSpecModel: ...
    def forget_listing(self) -> None: ...


@dataclass(frozen=True, slots=True)
class StartRequest:
    """The request that starts a kernel under an id.

    ``env`` is the kernel's environment, as it is sent. ``user`` is who asks through a server.
    ``before`` is awaited before the request goes out.
    """

    kernel_id: str
    name: str | None
    env: Mapping[str, str]
    user: NotebookUser | None
    before: Callable[[], Awaitable[None]] | None

    async def send(self, gateway: StartingGateway, on_send: Callable[[], None]) -> KernelModel:
        """Ask for the kernel, and return its model; ``on_send`` is called when the request goes
        out. Raises what the refusal means, see `refused_start`."""
        if self.before is not None:
            await self.before()

        async def meaning(error: GatewayRefused) -> RelayError:
            refused = refused_start(
                error, gateway=gateway.name, kernel_id=self.kernel_id, name=self.name
            )
            unclear = isinstance(refused, KernelStartFailed) and error.status != _FORBIDDEN
            if unclear and self.name is not None and not await self._has_spec(gateway, self.name):
                status = HTTPStatus.NOT_FOUND
                return no_kernelspec(gateway.name, self.name, status, error.reason)
            return refused

        async def post(body: Mapping[str, object]) -> Response:
            return await gateway.requester.post(
                gateway.endpoints.kernels,
                body,
                share=Share.STARTS,
                at_most=MODEL_BYTES,
                on_send=on_send,
                meaning=meaning,
            )

        body = start_body(self.kernel_id, self.name, self.env)
        try:
            try:
                response = await post(body)
                looked_for = response.body.strip() == NO_MODEL
            except KernelNotFound:
                looked_for = True
            if looked_for:
                # A server whose kernels are on a gateway themselves takes an id for one of those,
                # and has started nothing.
                _log.debug("%s chooses the ids of its kernels itself.", gateway.name)
                del body["kernel_id"]
                response = await post(body)
            model = await gateway.requester.read_answer(response, KernelModel.from_json)
            if model.id != self.kernel_id and gateway.ids.in_use(model.id):
                # A new kernel has a new id: this is the model of one that was there before.
                raise other_kernel(
                    response, gateway=gateway.name, kernel_id=self.kernel_id, answered=model.id
                )
            return model
        finally:
            gateway.forget_listing()

    async def _has_spec(self, gateway: StartingGateway, name: str) -> bool:
        """Return whether the kernelspec exists; gateways answer 500 to the start of one that does
        not."""
        try:
            await gateway.kernelspec(name, self.user)
        except KernelSpecNotFound:
            return False
        except RelayError:  # then the first refusal is the better one to report
            return True
        return True
