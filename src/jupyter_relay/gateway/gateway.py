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
from uuid import uuid4

import msgspec

from jupyter_relay.backoff import Backoff
from jupyter_relay.errors import (
    AuthenticationFailed,
    GatewayRefused,
    GatewayUnavailable,
    KernelNotFound,
    KernelNotRunning,
    KernelSpecNotFound,
    KernelStartFailed,
    OtherKernelAnswered,
    RelayError,
    TooManyRequests,
    UnexpectedAnswer,
)
from jupyter_relay.gateway.listing import Listing
from jupyter_relay.gateway.requester import Meaning, Requester
from jupyter_relay.gateway.start import KernelStart, Steps
from jupyter_relay.redact import Quoter
from jupyter_relay.rest.clocks import ClockDifference
from jupyter_relay.rest.failures import (
    closed,
    denies_kernel,
    no_kernel,
    other_kernel,
    quotes_credentials,
    unexpected,
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
from jupyter_relay.rest.urls import Endpoints
from jupyter_relay.rest.users import NotebookUser, kernel_environment, kernel_user
from jupyter_relay.settings.settings import GatewaySettings
from jupyter_relay.settings.transport import TransportSettings
from jupyter_relay.transport.deferred import DeferredTransport
from jupyter_relay.transport.transport import Request, Share, Socket, Transport
from jupyter_relay.wire.json import Json, ModelError, read_json
from jupyter_relay.wire.message import quoted

T = TypeVar("T")

_FAREWELL = 2.0
_AGAIN = Backoff(base=0.2, cap=1.0)
"""When a deletion that has failed is asked for again, by a program that ends."""

_WORKING_DIR = "KERNEL_WORKING_DIR"

_MOST_LEFT_OUT = 1000
"""Of how many variables the log says that they are left out; pages may ask with any number."""

_MOST_NAMED: Final = 10
"""How many of them one line names."""

_NO_MODEL: Final = b"null"
"""The body of the 201 with which Jupyter Server's own gateway client answers a start with an id
that its gateway does not know (seen on jupyter_server 2.21)."""

_LARGE: Final = 256 * 1024
"""How many bytes of a file are searched for what it must not tell."""

_TURN: Final = 0.002
"""For how many seconds an answer is read before others have their turn."""

_log = logging.getLogger(__name__)


class Gateway:
    """One gateway: its kernels and kernelspecs. ``transport`` is what makes its connections.

    A ``kernel_id`` is always the id that the kernel is shown under. ``ids`` has the gateway's own
    id of each kernel that has another there; requests carry that one, and models the one shown.
    ``clocks`` reads by our clock what the gateway dates by its own, as the ``last_activity`` of
    each `KernelModel`.

    Every method raises `GatewayUnavailable` or `GatewayTimeout` where the gateway cannot be
    reached, `AuthenticationFailed` where it does not let us in, `UnexpectedAnswer` where what
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
        self._requester = Requester(settings, transport(settings.transport), self.clocks)
        for remark in self._requester.unused:
            _log.warning("%s: %s", self.name, remark)
        self._endpoints = Endpoints(settings.endpoints)
        self._starts: dict[asyncio.Task[None], KernelStart] = {}
        self._lists = KernelLists()
        self._listing = Listing(
            self._kernels,
            self.kernel,
            seconds=settings.listing_ttl,
            clock=time.monotonic,
        )
        self._retiring: asyncio.Task[None] | None = None
        self._left_out: set[str] = set()
        self._stopped = self._closed = False
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
        if self._stopped:
            raise KernelNotRunning(
                "No kernel is started any more: this program is about to end.", gateway=self.name
            )
        if name is not None:
            self._endpoints.check_kernelspec(name)
        kernel_id = kernel_id or str(uuid4())
        sent = self._environment(env or {}, cwd, user)
        # Enterprise Gateway looks for the id in the environment, the others in the request, and
        # each ignores the other place (seen).
        sent["KERNEL_ID"] = kernel_id
        request: dict[str, object] = {"kernel_id": kernel_id, "env": sent}
        if name is not None:
            request["name"] = name
        return KernelStart(
            kernel_id,
            name or "",
            Steps(
                lambda on_send: self._ask_for_kernel(
                    kernel_id, name, request, user, on_send, before_request
                ),
                self.kernel,
                self.shutdown_kernel,
                lambda model: self._show_as(kernel_id, model),
            ),
            gateway=self.name,
            patience=self.settings.transport.request_timeout,
            track=self._track,
        )

    async def _ask_for_kernel(
        self,
        kernel_id: str,
        name: str | None,
        request: Mapping[str, object],
        user: NotebookUser | None,
        on_send: Callable[[], None],
        before_request: Callable[[], Awaitable[None]] | None,
    ) -> KernelModel:
        async def meaning(error: GatewayRefused) -> RelayError:
            if denies_kernel(error, kernel_id):
                return no_kernel(self.name, kernel_id, error.reason)
            if isinstance(error, AuthenticationFailed | TooManyRequests):
                return error
            if error.status == HTTPStatus.FORBIDDEN:
                return KernelStartFailed(
                    f"{self.name} refuses to start {name or 'its default kernel'}: {error.reason}.",
                    status=error.status,
                    reason=error.reason,
                    hint=error.hint,
                    gateway=self.name,
                )
            if name is not None and not await self._has_spec(name, user):
                return self._no_spec(name, HTTPStatus.NOT_FOUND, error.reason)
            return KernelStartFailed(
                f"{self.name} could not start a {name or 'default'} kernel: "
                f"{error.reason or f'it answered {error.status}'}.",
                status=error.status,
                reason=error.reason,
                hint="The gateway's log has the details.",
                gateway=self.name,
            )

        async def ask(request: Mapping[str, object]) -> Response:
            return await self._post(
                self._endpoints.kernels,
                request,
                share=Share.STARTS,
                at_most=MODEL_BYTES,
                on_send=on_send,
                meaning=meaning,
            )

        if before_request is not None:
            await before_request()
        try:
            try:
                response = await ask(request)
                looked_for = response.body.strip() == _NO_MODEL
            except KernelNotFound:
                looked_for = True
            if looked_for:
                # A server whose kernels are on a gateway themselves takes an id for one of those,
                # and has started nothing.
                _log.debug("%s chooses the ids of its kernels itself.", self.name)
                chosen_there = {key: request[key] for key in request if key != "kernel_id"}
                response = await ask(chosen_there)
            model = await self._read(response, KernelModel.read)
            if model.id != kernel_id and self.ids.in_use(model.id):
                # A new kernel has a new id: this is the model of one that was there before.
                raise self._other_kernel(response, kernel_id, model.id)
            return model
        finally:
            self._listing.forget()

    def _show_as(self, kernel_id: str, model: KernelModel) -> KernelModel:
        self.ids.join(kernel_id, model.id)
        return self.ids.named(model)

    def _no_spec(self, name: str, status: int, reason: str) -> KernelSpecNotFound:
        return KernelSpecNotFound(
            f"{self.name} has no kernelspec {name!r}.",
            status=status,
            reason=reason,
            hint="Choose one of those it lists.",
            gateway=self.name,
        )

    def _track(self, start: KernelStart, task: asyncio.Task[None]) -> None:
        self._starts[task] = start
        task.add_done_callback(self._starts.pop)

    async def kernel(self, kernel_id: str) -> KernelModel:
        """Return the model of one kernel. Raises `KernelNotFound`."""
        url = self._endpoints.kernel(self.ids.given(kernel_id))
        request = Request("GET", url, at_most=MODEL_BYTES, share=self._share)
        response = await self._requester.request(request, kernel_id=kernel_id)
        model = await self._read(response, KernelModel.read, kernel_id)
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
        return await self._listing.find(kernel_ids)

    def forget_listing(self) -> None:
        """Have the next `find_kernels` ask, whatever was answered just now."""
        self._listing.forget()

    async def interrupt_kernel(self, kernel_id: str) -> None:
        """Interrupt a kernel. Raises `KernelNotFound`."""
        url = self._endpoints.kernel(self.ids.given(kernel_id), "interrupt")
        self._check_kernel(await self._post(url, {}, kernel_id), kernel_id)

    async def restart_kernel(self, kernel_id: str) -> None:
        """Restart a kernel. Raises `KernelNotFound`."""
        url = self._endpoints.kernel(self.ids.given(kernel_id), "restart")
        try:
            response = await self._post(url, {}, kernel_id, share=Share.RESTARTS)
            self._check_kernel(response, kernel_id)
        finally:
            self._listing.forget()

    async def shutdown_kernel(self, kernel_id: str) -> None:
        """Delete a kernel; one that does not exist is as good.

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
        url = self._endpoints.kernel(self.ids.given(kernel_id))
        try:
            with suppress(KernelNotFound):
                response = await self._requester.request(
                    Request("DELETE", url, share=self._share), kernel_id=kernel_id
                )
                self._check_kernel(response, kernel_id)
        finally:
            self._listing.forget()

    async def connect(self, kernel_id: str, session_id: str) -> Socket:
        """Open the websocket of a kernel for a session.

        Raises `KernelNotFound` at a 404, which may be a proxy's: a handshake's refusal has no body.
        """
        url = self._endpoints.channels(self.ids.given(kernel_id), session_id)
        return await self._requester.connect(url, kernel_id=kernel_id)

    # Kernelspecs.

    async def kernelspecs(self, user: NotebookUser | None = None) -> KernelSpecs:
        """Return all kernelspecs; those that the user may start, where the gateway filters."""
        url = self._endpoints.kernelspecs(kernel_user(self.settings.start, user))
        response = await self._requester.request(Request("GET", url, at_most=LIST_BYTES))
        return await self._understood(response, KernelSpecs.steps)

    async def kernelspec(self, name: str, user: NotebookUser | None = None) -> KernelSpecModel:
        """Return one kernelspec. Raises `KernelSpecNotFound`."""
        url = self._endpoints.kernelspec(name, kernel_user(self.settings.start, user))
        try:
            response = await self._requester.request(Request("GET", url, at_most=MODEL_BYTES))

            def steps(body: bytes, quoter: Quoter) -> Reading[KernelSpecModel]:
                value = read_json(body)
                yield
                return (yield from KernelSpecModel.steps(value, name, quoter))

            return await self._understood(response, steps)
        except GatewayRefused as error:
            if isinstance(error, KernelSpecNotFound) or error.status != HTTPStatus.NOT_FOUND:
                raise
            raise self._no_spec(name, error.status, error.reason) from error

    async def kernelspec_resource(self, name: str, path: str) -> bytes | None:
        """Return a file of a kernelspec, None where there is no such file.

        Raises `UnexpectedAnswer` for one that quotes, near its beginning, what it was sent.
        """
        try:
            url = self._endpoints.resource(name, path)
            response = await self._requester.request(Request("GET", url, at_most=FILE_BYTES))
        except (GatewayRefused, UnexpectedAnswer) as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        # A proxy's page about the request would be one, and has our token in it.
        beginning = response.body[:_LARGE].decode("latin-1")
        if await _in_turns(response.quoter.search_long(beginning)):
            raise quotes_credentials(self.name, response.status)
        return response.body

    def end_soon(self, seconds: float) -> None:
        """Have it asked for nothing that takes longer than this, since the program ends: all starts
        are given up, and all deletions are asked for at once, and again if they fail."""
        self._ends_at = asyncio.get_running_loop().time() + seconds
        self.stop_starting()

    def stop_starting(self) -> None:
        """Give up all starts that are under way, and begin no more until `reopen`."""
        self._stopped = True
        for start in set(self._starts.values()):
            if start.under_way:
                start.give_up()

    async def close(self) -> None:
        """Close all connections to it; who asks it for anything from now on, or waits for its
        answer, gets `GatewayClosed`.

        Starts that are under way are given up first, and seen to their end for 2 s; a kernel that
        its gateway starts later than that is logged, and stays there.
        """
        self.stop_starting()
        if self._starts:
            await asyncio.wait(tuple(self._starts), timeout=_FAREWELL)
        late = tuple(self._starts)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
        self._closed = True
        await self._requester.close()

    def reopen(self) -> None:
        """Let it be asked again after `close`; one that is open stays as it is."""
        if self._closed:
            transport = self._transport(self.settings.transport)
            self._requester = Requester(self.settings, transport, self.clocks)
            self._stopped = self._closed = False
            self._ends_at = -inf

    async def retire(self) -> None:
        """Close it once the starts that were given up have come to their end.

        Where there are any, this is done in the background, and returns at once.
        """
        if self._starts:
            # One that has just failed, and has told it, ends in this instant.
            await asyncio.wait(tuple(self._starts), timeout=0)
        if not self._starts:
            await self.close()
        elif self._retiring is None:
            self._retiring = asyncio.create_task(self._retire())

    async def _retire(self) -> None:
        try:
            while self._starts:
                await asyncio.wait(tuple(self._starts))
        finally:
            await self.close()

    # Requests.

    @property
    def _share(self) -> Share:
        """What part of the connections a question about kernels may take, or a deletion."""
        return Share.LAST if self._ends_at > -inf else Share.ALL

    def _environment(
        self, asked: Mapping[str, str], cwd: str | None, user: NotebookUser | None
    ) -> dict[str, str]:
        """Return what to send with a start; what is left out is logged once for each variable."""
        sent, left_out = kernel_environment(self.settings.start, asked, user)
        if cwd is not None and _WORKING_DIR not in sent:
            if flaw := self.settings.start.rules.flaw(cwd):
                left_out[_WORKING_DIR] = f"the path of the folder {flaw} (env_values)"
            else:
                sent[_WORKING_DIR] = cwd
        why = {quoted(name): reason for name, reason in left_out.items()}
        new = sorted(why.keys() - self._left_out)[: _MOST_LEFT_OUT - len(self._left_out)]
        self._left_out.update(new)
        for reason in dict.fromkeys(why[name] for name in new):
            names = [name for name in new if why[name] == reason]
            more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
            shown = ", ".join(names[:_MOST_NAMED]) + more
            _log.warning("%s: not sent to kernels, since %s.", shown, reason)
        return sent

    async def _has_spec(self, name: str, user: NotebookUser | None) -> bool:
        """Whether a kernelspec exists; gateways answer 500 to the start of one that does not."""
        try:
            await self.kernelspec(name, user)
        except KernelSpecNotFound:
            return False
        except RelayError:  # then the first refusal is the better one to tell
            return True
        return True

    async def _kernels(self) -> tuple[KernelModel, ...]:
        request = Request("GET", self._endpoints.kernels, at_most=LIST_BYTES, share=self._share)
        response = await self._requester.request(request)
        return self.ids.all_named(await self._understood(response, self._lists.steps))

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

    async def _post(
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
        request = Request(
            "POST",
            url,
            body=msgspec.json.encode(value),
            at_most=at_most,
            share=share,
            on_send=on_send,
        )
        return await self._requester.request(request, kernel_id=kernel_id, meaning=meaning)

    async def _read(
        self, response: Response, read: Callable[[Json, Quoter], T], kernel_id: str | None = None
    ) -> T:
        def steps(body: bytes, quoter: Quoter) -> Reading[T]:
            value = read_json(body)
            yield
            return read(value, quoter)

        return await self._understood(response, steps, kernel_id)

    async def _understood(
        self,
        response: Response,
        read: Callable[[bytes, Quoter], Reading[T]],
        kernel_id: str | None = None,
    ) -> T:
        """Read a body, others having their turn in between."""
        try:
            return await _in_turns(read(response.body, response.quoter))
        except ModelError as error:
            raise unexpected(error, response, gateway=self.name, kernel_id=kernel_id) from error


async def _in_turns(steps: Reading[T]) -> T:
    """Take all steps of a reading; after each `_TURN` whatever else waits has its turn."""
    until = time.monotonic() + _TURN
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: T = end.value
            return found
        if time.monotonic() > until:
            await asyncio.sleep(0)
            until = time.monotonic() + _TURN


def may_pass(error: RelayError) -> bool:
    """Whether a request that failed so may succeed in a moment."""
    if isinstance(error, GatewayUnavailable):
        return error.retryable
    if isinstance(error, GatewayRefused):
        return (
            isinstance(error, TooManyRequests) or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        )
    return False
