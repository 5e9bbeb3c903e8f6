"""The REST API of one gateway."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from http import HTTPStatus
from math import inf
from typing import Final, TypeVar

from jupyter_relay.backoff import Backoff
from jupyter_relay.errors import (
    GatewayRefused,
    GatewayUnavailable,
    KernelNotFound,
    KernelSpecNotFound,
    OtherKernelAnswered,
    RelayError,
    TooManyRequests,
    UnexpectedAnswer,
)
from jupyter_relay.gateway.listing import KernelFinder
from jupyter_relay.gateway.requester import Requester, in_turns
from jupyter_relay.gateway.start import KernelStart, Starts
from jupyter_relay.redact import Quoter
from jupyter_relay.rest.clocks import ClockDifference
from jupyter_relay.rest.failures import (
    closed,
    other_kernel,
    quotes_credentials,
)
from jupyter_relay.rest.ids import KernelIds
from jupyter_relay.rest.models import (
    KernelLists,
    KernelModel,
    KernelSpecModel,
    KernelSpecs,
    Reading,
)
from jupyter_relay.rest.response import FILE_BYTES, LIST_BYTES, MODEL_BYTES, Response
from jupyter_relay.rest.starts import no_kernelspec
from jupyter_relay.rest.urls import Endpoints
from jupyter_relay.rest.users import NotebookUser, kernel_user
from jupyter_relay.settings.settings import GatewaySettings
from jupyter_relay.settings.transport import TransportSettings
from jupyter_relay.transport.deferred import DeferredTransport
from jupyter_relay.transport.transport import Request, Share, Socket, Transport
from jupyter_relay.wire.json import ModelError, read_json

T = TypeVar("T")

_START_SECONDS: Final = 2.0
"""For how many seconds `Gateway.close` sees starts that are given up to their end."""

_AGAIN = Backoff(base=0.2, cap=1.0)
"""When a deletion that has failed is asked for again, by a program that ends."""


_LARGE: Final = 256 * 1024
"""How many bytes of a file are searched for what it must not tell."""


_log = logging.getLogger(__name__)


class Gateway:
    """One gateway: its kernels and kernelspecs. ``transport`` is what makes its connections.

    A ``kernel_id`` is always the id that the kernel is shown under. ``ids`` has the gateway's own
    id of each kernel that has another there; requests carry that one, and models the one shown.
    ``clocks`` reads by our clock what the gateway dates by its own, as the ``last_activity`` of
    each `KernelModel`.

    Every method raises `GatewayUnavailable` or `GatewayTimeout` where the gateway cannot be
    reached, `AuthenticationFailed` where it refuses our credentials, `UnexpectedAnswer` where what
    answers is no gateway, `OtherKernelAnswered` where the answer is about another kernel than the
    one asked about, and `GatewayRefused` for any other refusal; after `close`, `GatewayClosed`.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        transport: Callable[[TransportSettings], Transport] = DeferredTransport,
    ) -> None:
        self.settings = settings
        self.ids = KernelIds()
        self._transport = transport
        self.clocks = ClockDifference()
        self.requester = Requester(settings, transport(settings.transport), self.clocks)
        for remark in self.requester.unused:
            _log.warning("%s: %s", self.name, remark)
        self.endpoints = Endpoints(settings.endpoints)
        self._starts = Starts(self)
        self._lists = KernelLists()
        self._finder = KernelFinder(
            self._kernels,
            self.kernel,
            seconds=settings.listing_ttl,
            clock=time.monotonic,
        )
        self._closing: asyncio.Task[None] | None = None
        """Closes it once all starts have ended."""
        self._closed = False
        self._ends_at = -inf

    @property
    def name(self) -> str:
        """What people call it."""
        return self.settings.name

    @property
    def closed(self) -> bool:
        """Whether it was closed, and is not open again."""
        return self._closed

    @property
    def address(self) -> str:
        """What programs call it: its URL, without anything that could be a secret."""
        return self.settings.url.partition("?")[0]

    # Kernels.

    async def start_kernel(
        self,
        name: str | None,
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: NotebookUser | None = None,
    ) -> KernelModel:
        """Start a kernel from the kernelspec ``name``, or from the gateway's default one.

        Of ``env``, the ``KERNEL_*`` and the allowed names are sent, over those of our own
        environment; see `kernel_environment`, also for ``user``, who asks through a server.
        ``cwd`` goes as ``KERNEL_WORKING_DIR``, unless its value cannot be sent. The environment is
        always sent: Kernel Gateway 3.0.1 gives a request without one an earlier user's (seen).

        A start whose answer was lost is looked for by the kernel's id, which is chosen here; see
        `KernelStart`. If this is cancelled, the kernel is deleted as soon as it is there.

        Raises `KernelSpecNotFound` or `KernelStartFailed`, too, and `VariableRefused` for what of
        ``env`` cannot be sent.
        """
        return await self.begin_start(name, env=env, cwd=cwd, user=user).wait()

    def begin_start(
        self,
        name: str | None,
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: NotebookUser | None = None,
        kernel_id: str | None = None,
        before_request: Callable[[], Awaitable[None]] | None = None,
    ) -> KernelStart:
        """Begin to start a kernel, as `start_kernel` does, and do not wait for it.

        ``kernel_id`` is the id to start it under, a UUID that is not in use; by default a new one.
        ``before_request`` is awaited before the request goes out.
        """
        if self._closed:
            raise closed(self.name)
        return self._starts.begin(
            name,
            env=env,
            cwd=cwd,
            user=user,
            kernel_id=kernel_id,
            before_request=before_request,
        )

    async def kernel(self, kernel_id: str) -> KernelModel:
        """Return the model of one kernel. Raises `KernelNotFound`."""
        url = self.endpoints.kernel(self.ids.given(kernel_id))
        request = Request("GET", url, at_most=MODEL_BYTES, share=self._share)
        response = await self.requester.request(request, kernel_id=kernel_id)
        model = await self.requester.read_answer(response, KernelModel.from_json, kernel_id)
        if model.id != self.ids.given(kernel_id):
            raise self._other_kernel(response, kernel_id, model.id)
        return self.ids.named(model)

    async def find_kernels(self, kernel_ids: Collection[str]) -> Mapping[str, KernelModel | None]:
        """Return the models of these kernels; None for each that no longer exists.

        One listing answers for all. Where the gateway does not list, as Kernel and Enterprise
        Gateway by default, and for each kernel that a listing leaves out, the kernel itself is
        asked for, many of them at once. All who ask for the same kernels while an answer is under
        way, and for ``listing_ttl`` seconds after it, get the same object. A kernel that cannot be
        asked for just now is left out of the answer, unless that is so for all: then the error is
        raised.
        """
        return await self._finder.find(kernel_ids)

    def forget_listing(self) -> None:
        """Have the next `find_kernels` ask, whatever was answered just now."""
        self._finder.invalidate()

    async def interrupt_kernel(self, kernel_id: str) -> None:
        """Interrupt a kernel. Raises `KernelNotFound`."""
        url = self.endpoints.kernel(self.ids.given(kernel_id), "interrupt")
        self._check_kernel(await self.requester.post(url, {}, kernel_id), kernel_id)

    async def restart_kernel(self, kernel_id: str) -> None:
        """Restart a kernel. Raises `KernelNotFound`."""
        url = self.endpoints.kernel(self.ids.given(kernel_id), "restart")
        try:
            response = await self.requester.post(url, {}, kernel_id, share=Share.RESTARTS)
            self._check_kernel(response, kernel_id)
        finally:
            self._finder.invalidate()

    async def shutdown_kernel(self, kernel_id: str) -> None:
        """Delete a kernel; one that does not exist counts as deleted.

        After `end_soon` it is asked for again, for as long as there is time, where it fails in a
        way that may pass.
        """
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            try:
                return await self._delete_kernel(kernel_id)
            except RelayError as error:
                delay = _AGAIN.delay(attempt, random.random())  # noqa: S311  # jitter
                if isinstance(error, TooManyRequests):
                    delay += error.retry_after or 0.0
                if not may_pass(error) or loop.time() + delay >= self._ends_at:
                    raise
            await asyncio.sleep(delay)
            attempt += 1

    async def _delete_kernel(self, kernel_id: str) -> None:
        url = self.endpoints.kernel(self.ids.given(kernel_id))
        try:
            with suppress(KernelNotFound):
                response = await self.requester.request(
                    Request("DELETE", url, share=self._share), kernel_id=kernel_id
                )
                self._check_kernel(response, kernel_id)
        finally:
            self._finder.invalidate()

    async def connect(self, kernel_id: str, session_id: str) -> Socket:
        """Open the websocket of a kernel for a session.

        Raises `KernelNotFound` at a 404, which may be a proxy's: a handshake's refusal has no body.
        """
        url = self.endpoints.channels(self.ids.given(kernel_id), session_id)
        return await self.requester.connect(url, kernel_id=kernel_id)

    # Kernelspecs.

    async def kernelspecs(self, user: NotebookUser | None = None) -> KernelSpecs:
        """Return all kernelspecs; those that the user may start, where the gateway filters."""
        url = self.endpoints.kernelspecs(kernel_user(self.settings.start, user))
        response = await self.requester.request(Request("GET", url, at_most=LIST_BYTES))
        return await self.requester.read_in_steps(response, KernelSpecs.steps)

    async def kernelspec(self, name: str, user: NotebookUser | None = None) -> KernelSpecModel:
        """Return one kernelspec. Raises `KernelSpecNotFound`."""
        url = self.endpoints.kernelspec(name, kernel_user(self.settings.start, user))
        try:
            response = await self.requester.request(Request("GET", url, at_most=MODEL_BYTES))

            def steps(body: bytes, quoter: Quoter) -> Reading[KernelSpecModel]:
                value = read_json(body)
                yield
                return (yield from KernelSpecModel.steps(value, name, quoter))

            return await self.requester.read_in_steps(response, steps)
        except GatewayRefused as error:
            if isinstance(error, KernelSpecNotFound) or error.status != HTTPStatus.NOT_FOUND:
                raise
            raise no_kernelspec(self.name, name, error.status, error.reason) from error

    async def kernelspec_resource(self, name: str, path: str) -> bytes | None:
        """Return a file of a kernelspec, None where there is no such file.

        Raises `UnexpectedAnswer` for one that quotes, near its beginning, what it was sent.
        """
        try:
            url = self.endpoints.resource(name, path)
            response = await self.requester.request(Request("GET", url, at_most=FILE_BYTES))
        except (GatewayRefused, UnexpectedAnswer) as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        # A proxy's page about the request would be one, and has our token in it.
        beginning = response.body[:_LARGE].decode("latin-1")
        if await in_turns(response.quoter.search_long(beginning)):
            raise quotes_credentials(self.name, response.status)
        return response.body

    def end_soon(self, seconds: float) -> None:
        """Have it asked for nothing that takes longer than this, since the program ends: all starts
        are given up, and all deletions are asked for at once, and again if they fail."""
        self._ends_at = asyncio.get_running_loop().time() + seconds
        self._starts.stop()

    async def close(self) -> None:
        """Close all connections to it; who asks it for anything from now on, or waits for its
        answer, gets `GatewayClosed`.

        Starts that are under way are given up first, and seen to their end for 2 s; a kernel that
        its gateway starts later than that is logged, and stays there.
        """
        self._starts.stop()
        await self._starts.wait(_START_SECONDS)
        await self._starts.cancel()
        self._closed = True
        await self.requester.close()

    def reopen(self) -> None:
        """Let it be asked again after `close`; one that is open stays as it is."""
        if self._closed:
            transport = self._transport(self.settings.transport)
            self.requester = Requester(self.settings, transport, self.clocks)
            self._starts.admit()
            self._closed = False
            self._ends_at = -inf

    async def close_when_idle(self) -> None:
        """Close it once the starts that were given up have come to their end.

        Where there are any, this is done in the background, and returns at once.
        """

        async def close_behind_starts() -> None:
            try:
                await self._starts.wait()
            finally:
                await self.close()

        # A start that has just failed ends in this instant.
        if await self._starts.wait(0.0):
            await self.close()
        elif self._closing is None:
            self._closing = asyncio.create_task(close_behind_starts())

    # Requests.

    @property
    def _share(self) -> Share:
        """What part of the connections a question about kernels may take, or a deletion."""
        return Share.LAST if self._ends_at > -inf else Share.ALL

    async def _kernels(self) -> tuple[KernelModel, ...]:
        request = Request("GET", self.endpoints.kernels, at_most=LIST_BYTES, share=self._share)
        response = await self.requester.request(request)
        return self.ids.all_named(await self.requester.read_in_steps(response, self._lists.steps))

    def _check_kernel(self, response: Response, kernel_id: str) -> None:
        """Raise `OtherKernelAnswered` if an answer, which need not have a body, describes another
        kernel than the one that it is an answer about."""
        if response.cut:
            return  # the beginning of an answer is no model, and to parse it would take its time
        try:
            model = read_json(response.body)
        except ModelError:
            return
        answered = model.get("id") if isinstance(model, dict) else None
        if isinstance(answered, str) and answered != self.ids.given(kernel_id):
            raise self._other_kernel(response, kernel_id, answered)

    def _other_kernel(
        self, response: Response, kernel_id: str, answered: str
    ) -> OtherKernelAnswered:
        return other_kernel(response, gateway=self.name, kernel_id=kernel_id, answered=answered)


def may_pass(error: RelayError) -> bool:
    """Whether a request that failed so may succeed in a moment."""
    if isinstance(error, GatewayUnavailable):
        return error.retryable
    if isinstance(error, GatewayRefused):
        return (
            isinstance(error, TooManyRequests) or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        )
    return False
