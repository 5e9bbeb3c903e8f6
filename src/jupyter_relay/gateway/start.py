"""One kernel's start: asked for, looked for where the answer was lost, and never left behind.

A start may take minutes, and what answers it may be a proxy that waits for less. So the kernel's id
is chosen here and goes with the request, and what is not known can be found out:

=============================================  =================================================
what comes of the request                      what is done
=============================================  =================================================
the kernel's model                             that is the kernel; if its gateway gave it an id
                                               of its own after ours was shown, it stays shown
                                               under ours
no connection, or a gateway's own 502 or 503   nothing was begun, and the error is told
a refusal, since there is no kernel of our id  nothing was begun; the gateway is a server whose
                                               kernels are on a gateway themselves, and attaches
                                               by an id: it is asked once more without one
any other refusal                              the error is told; with 500, only if there is no
                                               such kernel: a proxy may have asked twice
no answer in time, 502, 503, 504, a reset      the kernel is looked for by its id, and taken once
                                               it is there; after a while the error is told
=============================================  =================================================

A start that nobody wants any more ends at once if its request still waits for its first connection.
Else it goes on by itself until its kernel is there and can be deleted, or until it can no longer
come. The request is never sent twice, but after that one refusal: while the first one is under way,
Kernel Gateway and Jupyter Server would start a second process under the same id, and lose the first
(seen).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeAlias, TypeVar

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
from jupyter_relay.log import KernelLog
from jupyter_relay.rest.models import KernelModel

T = TypeVar("T")

Outcome: TypeAlias = KernelModel | RelayError
"""What becomes of a start."""

_LOOK: Final = Backoff(base=0.5, cap=3.0)
"""How long to wait until the kernel is looked for, or deleted, once more."""

_DELETE_SECONDS: Final = 1.0
"""How long the deletion may take that is tried when the program ends."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Steps:
    """The requests of which a start is made, on one gateway.

    ``ask`` requests the kernel, and calls its argument when the request is sent. ``look`` returns
    the model of the kernel with this id, or raises `KernelNotFound`. ``delete`` deletes the kernel
    with this id, and succeeds if there is none. ``show`` takes a model whose id is not the one
    under which the kernel was shown; from then on the kernel has both, and the model is returned
    under the shown one.
    """

    ask: Callable[[Callable[[], None]], Awaitable[KernelModel]]
    look: Callable[[str], Awaitable[KernelModel]]
    delete: Callable[[str], Awaitable[None]]
    show: Callable[[KernelModel], KernelModel]


class KernelStart:
    """A start that is under way; it begins when this is made.

    ``id`` is the kernel's, as it was chosen here. ``patience`` is for how many seconds the kernel
    is looked for after an answer was lost, and then again, to be deleted, before it is certain not
    to come. ``track`` is given each task of the start.
    """

    def __init__(
        self,
        kernel_id: str,
        name: str,
        steps: Steps,
        *,
        gateway: str,
        patience: float,
        track: Callable[[KernelStart, asyncio.Task[None]], None],
    ) -> None:
        self.id = kernel_id
        self.name = name
        self._steps = steps
        self._gateway = gateway
        self._log = KernelLog(_log, kernel_id)
        self._patience = patience
        self._track = track
        self._outcome: Outcome | None = None
        """What has come of it; None while it is under way."""
        self._decided = asyncio.Event()
        """Set with the outcome."""
        self._listeners: list[Callable[[Outcome], None]] = []
        """Called with the outcome, and forgotten then."""
        self._wanted = True
        """False once it was abandoned: a kernel that comes of it is deleted."""
        self._shown = False
        """True once the kernel was shown as starting, under the id that was chosen."""
        self._left = False
        """True once it was left to its gateway: nothing is deleted then."""
        self._sent = False
        """True once the request was sent, so that a kernel may come of it."""
        self._found = kernel_id
        """The id of the kernel to delete: its gateway may have given it another one."""
        self._task = self._spawn(self._start_kernel)

    @property
    def under_way(self) -> bool:
        """True until it is known what comes of it."""
        return self._outcome is None

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
        return KernelModel(id=self.id, name=self.name, execution_state="starting")

    async def decided(self) -> KernelModel:
        """Return the kernel's model once it is there, or raise what the start failed with; that it
        is waited for decides nothing."""
        await self._decided.wait()
        if isinstance(self._outcome, KernelModel):
            return self._outcome
        assert self._outcome is not None  # noqa: S101  # it was decided
        raise self._outcome

    def when_decided(self, listener: Callable[[Outcome], None]) -> None:
        """Call back with what becomes of it, once that is known."""
        if self._outcome is None:
            self._listeners.append(listener)
        else:
            listener(self._outcome)

    def give_up(self) -> None:
        """Abandon the start. A kernel that comes of it all the same is deleted."""
        if not self._wanted:
            return
        self._wanted = False
        if isinstance(self._outcome, KernelModel):
            self._found = self._outcome.id
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

    async def release(self) -> None:
        """Stop, and leave the kernel to its gateway, if one comes of the start."""
        self._listeners.clear()
        self._left = True
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except asyncio.CancelledError:
            self._decide(self._given_up())
            if self._sent:
                await self._delete_once()
            raise
        except Exception:  # noqa: BLE001  # whatever is wrong, nobody may wait for ever
            self._log.exception("the start failed in a way that was not foreseen.")
            self._decide(
                KernelStartFailed(
                    f"The start of a kernel on {self._gateway} failed (see the log).",
                    status=HTTPStatus.INTERNAL_SERVER_ERROR,
                    gateway=self._gateway,
                    kernel_id=self.id,
                )
            )

    async def _start_kernel(self) -> None:
        try:
            model = await self._steps.ask(self._on_sent)
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
        if self._wanted:
            renamed = self._shown and model.id != self.id
            self._decide(self._steps.show(model) if renamed else model)
        else:
            self._found = model.id
            await self._delete_until_gone()

    def _on_sent(self) -> None:
        self._sent = True

    async def _find(self) -> KernelModel | None:
        """Look for the kernel until it is there; return None if it does not appear in time."""
        try:
            return await self._retry(lambda: self._steps.look(self.id))
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
            delay = _LOOK.delay(attempt, random.random())  # noqa: S311  # jitter
            await asyncio.sleep(min(delay, max(0.0, deadline - loop.time())))
            attempt += 1

    async def _find_despite_refusal(self, refusal: RelayError) -> KernelModel | None:
        """Return the kernel if it exists although the start was refused.

        Enterprise Gateway answers 500 where the id is taken, and nobody else can have chosen ours;
        and what nobody can read may have been a success.
        """
        match refusal:
            case GatewayRefused(status=HTTPStatus.INTERNAL_SERVER_ERROR):
                pass
            case UnexpectedAnswer(status=status) if status < HTTPStatus.MULTIPLE_CHOICES:
                pass
            case _:
                return None
        try:
            return await self._steps.look(self.id)
        except RelayError:  # then the refusal is the better one to tell
            return None

    async def _delete_until_gone(self) -> None:
        """Delete the kernel that came of an abandoned start."""
        log = KernelLog(_log, self._found)
        try:
            await self._retry(lambda: self._steps.delete(self._found))
        except RelayError as error:
            log.error("could not be deleted: %s", error)  # noqa: TRY400  # its text is all
        else:
            log.info("deleted; its start was given up.")

    async def _delete_once(self) -> None:
        """Try once to delete the kernel, for a program that ends and will not wait."""
        if self._left:
            return
        try:
            async with asyncio.timeout(_DELETE_SECONDS):
                await self._steps.delete(self._found)
        except (RelayError, TimeoutError):
            pass
        KernelLog(_log, self._found).warning(
            "its start was left under way; it may yet appear on %s.", self._gateway
        )

    def _decide(self, outcome: Outcome) -> None:
        if self._outcome is not None:
            return
        self._outcome = outcome
        self._decided.set()
        for listener in self._listeners:
            listener(outcome)
        self._listeners.clear()

    def _spawn(self, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._run(work))
        # One that is cancelled before its first step never gets to say so.
        task.add_done_callback(lambda _: self._decide(self._given_up()))
        self._track(self, task)
        return task

    def _given_up(self) -> RelayError:
        return KernelNotRunning(
            "The start of the kernel was given up.", gateway=self._gateway, kernel_id=self.id
        )


def _nothing_came_of(error: GatewayUnavailable | GatewayClosed, seconds: float) -> RelayError:
    """The error of a start whose answer was lost, and of which no kernel has come."""
    return type(error)(
        f"{error.message} No kernel has come of it in {seconds:g} s.",
        hint=error.hint,
        gateway=error.gateway,
        kernel_id=error.kernel_id,
    )
