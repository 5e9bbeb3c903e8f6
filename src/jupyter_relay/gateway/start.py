"""Starts of kernels: requested, looked for where the answer was lost, and never left behind.

A start may take minutes, and what answers it may be a proxy that waits for less. So the kernel's id
is chosen here and goes with the request, and what is not known can be found out:

=============================================  =================================================
what comes of the request                      what is done
=============================================  =================================================
the kernel's model                             that is the kernel; if its gateway gave it an id
                                               of its own after ours was shown, it stays shown
                                               under ours
no connection, or a gateway's own 502 or 503   nothing was begun, and the error is raised
a refusal, since there is no kernel of our id  nothing was begun; the gateway is a server whose
                                               kernels are on a gateway themselves, and attaches
                                               by an id: it is asked once more without one
any other refusal                              the error is raised; with 500, only if there is no
                                               such kernel: a proxy may have asked twice
no answer in time, 502, 503, 504, a reset      the kernel is looked for by its id, and taken once
                                               it is there; after a while the error is raised
=============================================  =================================================

A start that is given up ends at once if its request still waits for its first connection. Else it
goes on by itself until its kernel is there and can be deleted, or until it can no longer come. The
request is never sent twice, but after that one refusal: while the first one is under way, Kernel
Gateway and Jupyter Server would start a second process under the same id, and lose the first one
(seen).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final, TypeAlias, TypeVar
from uuid import uuid4

from jupyter_relay.backoff import Backoff
from jupyter_relay.errors import (
    GatewayClosed,
    GatewayRefused,
    GatewayUnavailable,
    KernelNotRunning,
    KernelStartFailed,
    RelayError,
    UnexpectedAnswer,
)
from jupyter_relay.gateway.requester import StartingGateway, StartRequest
from jupyter_relay.log import KernelLog
from jupyter_relay.rest.models import KernelModel
from jupyter_relay.rest.starts import LeftOutVariables, start_environment
from jupyter_relay.rest.users import NotebookUser

T = TypeVar("T")

Outcome: TypeAlias = KernelModel | RelayError
"""What becomes of a start."""

_LOOK_AGAIN: Final = Backoff(base=0.5, cap=3.0)
_DELETE_SECONDS: Final = 1.0
"""How long the deletion may take that is tried when the program ends."""

_log = logging.getLogger(__name__)


class Starts:
    """The starts that are under way on one gateway."""

    def __init__(self, gateway: StartingGateway) -> None:
        self._gateway = gateway
        self._tasks: dict[asyncio.Task[None], KernelStart] = {}
        self._stopped = False
        """Whether no start is begun any more."""
        self._left_out = LeftOutVariables()

    def begin(
        self,
        name: str | None,
        *,
        env: Mapping[str, str] | None,
        cwd: str | None,
        user: NotebookUser | None,
        kernel_id: str | None,
        before_request: Callable[[], Awaitable[None]] | None,
    ) -> KernelStart:
        """See `Gateway.begin_start`."""
        if self._stopped:
            raise KernelNotRunning(
                "No kernel is started any more: this program is about to end.",
                gateway=self._gateway.name,
            )
        if name is not None:
            self._gateway.endpoints.check_kernelspec(name)
        kernel_id = kernel_id or str(uuid4())
        sent, left_out = start_environment(self._gateway.settings.start, env or {}, cwd, user)
        for line in self._left_out.lines(left_out):
            _log.warning("%s", line)
        request = StartRequest(kernel_id, name, sent, user, before_request)
        return KernelStart(request, self._gateway, self._track)

    def stop(self) -> None:
        """Give up all starts, and begin no more until `resume`."""
        self._stopped = True
        for start in set(self._tasks.values()):
            if start.under_way:
                start.give_up()

    def admit(self) -> None:
        """Let starts be begun again."""
        self._stopped = False

    async def wait(self, seconds: float | None = None) -> bool:
        """Wait until all starts have come to their end, for so many seconds at most; return whether
        they have."""
        loop = asyncio.get_running_loop()
        ends_at = None if seconds is None else loop.time() + seconds
        while self._tasks:
            left = None if ends_at is None else max(0.0, ends_at - loop.time())
            await asyncio.wait(tuple(self._tasks), timeout=left)
            if left == 0.0:
                break
        return not self._tasks

    async def cancel(self) -> None:
        """End what is left of all starts; each tries for a second to leave no kernel behind."""
        late = tuple(self._tasks)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    def _track(self, start: KernelStart, task: asyncio.Task[None]) -> None:
        self._tasks[task] = start
        task.add_done_callback(self._tasks.pop)


class KernelStart:
    """A start that is under way; it begins when this is made.

    ``id`` is the kernel's, as it was chosen here. ``track`` is called with each task of the start.
    After a lost answer the kernel is looked for during ``request_timeout``, and then as long again,
    to be deleted, before it is certain not to come.
    """

    def __init__(
        self,
        request: StartRequest,
        gateway: StartingGateway,
        track: Callable[[KernelStart, asyncio.Task[None]], None],
    ) -> None:
        self.id = request.kernel_id
        self._request = request
        self._gateway = gateway
        self._track = track
        self._log = KernelLog(_log, self.id)
        self._patience = gateway.settings.transport.request_timeout
        self._outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._listeners: list[Callable[[Outcome], None]] = []
        """Called with the outcome, once it is known."""
        self._wanted = True
        """Whether a kernel is to come of it: until it is given up."""
        self._shown = False
        """Whether the id that was chosen here was handed out before the gateway's answer."""
        self._left = False
        """Whether it was released: what comes of it stays."""
        self._sent = False
        """Whether the request has gone out."""
        self._found = self.id
        """The gateway's id of the kernel that is to be deleted."""
        self._task = self._spawn(self._start_kernel)

    @property
    def under_way(self) -> bool:
        """True until it is known what becomes of it."""
        return not self._outcome.done()

    async def wait(self, seconds: float | None = None) -> KernelModel:
        """Return the kernel's model once it is there; after so many seconds, that of a kernel
        which is starting, under the id that was chosen.

        Raises what the start failed with. If this is cancelled, nobody has the kernel: the start
        is given up.
        """
        try:
            async with asyncio.timeout(seconds) as limit:
                return await self.decided()
        except TimeoutError:
            if not limit.expired():
                raise  # that is what the start failed with
        except asyncio.CancelledError:
            self.give_up()
            raise
        if not self.under_way:
            return await self.decided()  # in the same instant
        self._shown = True
        return KernelModel(id=self.id, name=self._request.name or "", execution_state="starting")

    async def decided(self) -> KernelModel:
        """Return the kernel's model once it is there, or raise what the start failed with. To be
        cancelled here does not give the start up."""
        outcome = await asyncio.shield(self._outcome)
        if isinstance(outcome, KernelModel):
            return outcome
        raise outcome

    def when_decided(self, listener: Callable[[Outcome], None]) -> None:
        """Call back with what becomes of it, once that is known."""
        if self.under_way:
            self._listeners.append(listener)
        else:
            listener(self._outcome.result())

    def give_up(self) -> None:
        """Let no kernel come of it: one that does is deleted, as soon as that can be done."""
        if not self._wanted:
            return
        self._wanted = False
        if not self.under_way and isinstance(model := self._outcome.result(), KernelModel):
            self._found = model.id
            self._task = self._spawn(self._delete_until_gone)
            return
        self._decide(self._given_up())
        if not self._sent:
            self._task.cancel()

    def when_over(self, callback: Callable[[], None]) -> None:
        """Call back once nothing more can come of it, and nothing of it is left to delete. If its
        tasks are cancelled, as at a program's end, that is never known."""
        if not self._sent or (self._task.done() and not self._task.cancelled()):
            callback()
        else:
            self._task.add_done_callback(lambda task: None if task.cancelled() else callback())

    async def leave_to_gateway(self) -> None:
        """Leave it to its gateway, whatever comes of it."""
        self._listeners.clear()
        self._left = True
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except asyncio.CancelledError:
            self._decide(self._given_up())
            if self._sent and not self._left:
                await self._delete_once()
            raise
        except Exception:  # noqa: BLE001  # whatever is wrong, nobody may wait for ever
            self._log.exception("the start failed in a way that was not foreseen.")
            self._decide(
                KernelStartFailed(
                    f"The start of a kernel on {self._gateway.name} failed (see the log).",
                    status=HTTPStatus.INTERNAL_SERVER_ERROR,
                    gateway=self._gateway.name,
                    kernel_id=self.id,
                )
            )

    async def _start_kernel(self) -> None:
        try:
            model = await self._request.send(self._gateway, self._on_sent)
        except (GatewayUnavailable, GatewayClosed) as error:
            if not error.doubtful:
                self._decide(error)
                return
            self._log.info("is looked for, since %s", error)
            found = await self._find()
            if found is None:
                self._decide(_nothing_came_of(error, self._patience))
                self._wanted = False
                found = await self._find()
            if found is None:
                return
            model = found
        except RelayError as error:
            found = await self._find_despite_refusal(error)
            if found is None:
                self._decide(error)
                return
            model = found
        if not self._wanted:
            self._found = model.id
            await self._delete_until_gone()
        elif self._shown and model.id != self.id:
            self._gateway.ids.join(self.id, model.id)
            self._decide(self._gateway.ids.named(model))
        else:
            self._decide(model)

    def _on_sent(self) -> None:
        self._sent = True

    async def _find(self) -> KernelModel | None:
        """Look for the kernel until it is there; return None if it does not appear in time."""
        try:
            return await self._retry(lambda: self._gateway.kernel(self.id))
        except RelayError:
            return None

    async def _retry(self, step: Callable[[], Awaitable[T]]) -> T:
        """Repeat a step until it succeeds; raise what it failed with last, once ``patience``
        seconds are over."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        attempt = 0
        while True:
            try:
                return await step()
            except RelayError as error:  # nobody to ask, or nothing there yet: both may pass
                if loop.time() >= deadline:
                    raise
                self._log.debug("tried again, since %s", error)
            delay = _LOOK_AGAIN.delay(attempt, random.random())  # noqa: S311  # jitter
            await asyncio.sleep(min(delay, max(0.0, deadline - loop.time())))
            attempt += 1

    async def _find_despite_refusal(self, refusal: RelayError) -> KernelModel | None:
        """Return the kernel if it exists although its start was refused.

        Enterprise Gateway answers 500 where the id is taken, and nobody else can have chosen ours;
        and an answer that cannot be read may have been a success.
        """
        match refusal:
            case GatewayRefused(status=HTTPStatus.INTERNAL_SERVER_ERROR):
                pass
            case UnexpectedAnswer(status=status) if status < HTTPStatus.MULTIPLE_CHOICES:
                pass
            case _:
                return None
        try:
            return await self._gateway.kernel(self.id)
        except RelayError:  # then the refusal is the better one to report
            return None

    async def _delete_until_gone(self) -> None:
        """Delete the kernel that came of a start that was given up."""
        log = KernelLog(_log, self._found)
        try:
            await self._retry(lambda: self._gateway.shutdown_kernel(self._found))
        except RelayError as error:
            log.error("could not be deleted: %s", error)  # noqa: TRY400  # its text is all
        else:
            log.info("deleted; its start was given up.")

    async def _delete_once(self) -> None:
        """Try once more to leave no kernel behind, when the program will not wait."""
        try:
            async with asyncio.timeout(_DELETE_SECONDS):
                await self._gateway.shutdown_kernel(self._found)
        except (RelayError, TimeoutError):
            pass
        KernelLog(_log, self._found).warning(
            "its start was left under way; it may yet appear on %s.", self._gateway.name
        )

    def _decide(self, outcome: Outcome) -> None:
        if not self.under_way:
            return
        self._outcome.set_result(outcome)
        for listener in self._listeners:
            listener(outcome)
        self._listeners.clear()

    def _spawn(self, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._run(work))
        # A task that is cancelled before its first step never decides anything itself.
        task.add_done_callback(lambda _: self._decide(self._given_up()))
        self._track(self, task)
        return task

    def _given_up(self) -> RelayError:
        return KernelNotRunning(
            "The start of the kernel was given up.", gateway=self._gateway.name, kernel_id=self.id
        )


def _nothing_came_of(error: GatewayUnavailable | GatewayClosed, seconds: float) -> RelayError:
    """Return the error of a start whose answer was lost, and of which no kernel has come."""
    return type(error)(
        f"{error.message} No kernel has come of it in {seconds:g} s.",
        hint=error.hint,
        gateway=error.gateway,
        kernel_id=error.kernel_id,
    )
