"""Kernels that a program has started, and that must not outlive it.

A local kernel ends with the process that started it. One on a gateway is deleted by its manager, or
here, if the program ends without that: by an exception, ``sys.exit``, Ctrl-C, SIGTERM or SIGHUP.
Nothing can be done at SIGKILL and ``os._exit``.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final, TypeVar

from jupyter_relay.errors import KernelNotFound, RelayError
from jupyter_relay.gateway.gateway import Gateway, may_pass
from jupyter_relay.gateway.start import KernelStart, Outcome
from jupyter_relay.log import KernelLog
from jupyter_relay.rest.models import KernelModel
from jupyter_relay.settings.settings import GatewaySettings

T = TypeVar("T")

_SECONDS: Final = 5.0
"""How long the end of a program waits for its kernels to be deleted, all at once."""

_LOOK_SECONDS: Final = 0.5
"""After how many seconds a kernel is looked for again that may be about to start."""

_SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""The signals that end a Python program without running anything of it."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class StartedKernel:
    """A kernel to be deleted at the program's end; ``settled`` says that its start is over."""

    settings: GatewaySettings
    kernel_id: str
    settled: bool = False


class StartedKernels:
    """The kernels that this process has started and not deleted.

    The end of the process deletes them, at most 5 s long. For a signal that would end it at once a
    handler stands while there is such a kernel, if the program has none and this is the main
    thread. After the deletions the signal ends the process as if there were no handler.
    """

    def __init__(self) -> None:
        self._kernels: dict[StartedKernel, int] = {}
        self._handled: list[int] = []

    def add(self, kernel: StartedKernel) -> None:
        """Have a kernel deleted at the end."""
        if not self._kernels:
            atexit.register(self._at_exit)
            self._handle_signals()
        self._kernels[kernel] = os.getpid()

    def add_start(self, start: KernelStart, gateway: Gateway) -> StartedKernel:
        """Have the kernel of a start deleted at the end; return the mark of it."""
        started = StartedKernel(gateway.settings, start.id)

        def settle(outcome: Outcome) -> None:
            if isinstance(outcome, KernelModel):
                started.kernel_id = gateway.ids.given(outcome.id)
                started.settled = True
            else:
                start.when_over(lambda: self.remove(started))

        self.add(started)
        start.when_decided(settle)
        return started

    def remove(self, kernel: StartedKernel) -> None:
        """Leave a kernel as it is at the end. One that was not added is no error."""
        if self._kernels.pop(kernel, None) is not None and not self._kernels:
            atexit.unregister(self._at_exit)
            self._leave_signals()

    def _handle_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, self._at_signal)
                self._handled.append(number)

    def _leave_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # then the handler stays, and finds nothing to do
        for number in self._handled:
            if signal.getsignal(number) == self._at_signal:
                signal.signal(number, signal.SIG_DFL)
        self._handled.clear()

    def _at_exit(self) -> None:
        self._delete()

    def _at_signal(self, number: int, _: FrameType | None) -> None:
        if self._ours():  # the main thread may have an event loop under way
            thread = threading.Thread(target=self._delete, name="jupyter_relay-exit", daemon=True)
            thread.start()
            thread.join(_SECONDS + 1)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _ours(self) -> list[StartedKernel]:
        """The kernels of this process; a forked one has those of its parent in its memory."""
        return [kernel for kernel, process in self._kernels.items() if process == os.getpid()]

    def _delete(self) -> None:
        kernels = self._ours()
        if not kernels:
            return
        loop = asyncio.new_event_loop()
        loop.set_default_executor(_AtOnce())
        try:
            loop.run_until_complete(_delete_all(kernels))
        finally:
            loop.close()


STARTED: Final = StartedKernels()
"""Those of this process: it ends once, so that there is one list."""


class _AtOnce(ThreadPoolExecutor):
    """Does what it is given in the thread that gives it: an interpreter that ends starts none."""

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Return the result, which is there."""
        future: Future[T] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  # it is the future's
            future.set_exception(error)
        return future


async def _delete_all(kernels: Iterable[StartedKernel]) -> None:
    from jupyter_relay.transport.aiohttp_transport import AiohttpTransport

    gateways: dict[int, Gateway] = {}
    for kernel in kernels:
        key = id(kernel.settings)
        if key not in gateways:
            gateways[key] = Gateway(kernel.settings, AiohttpTransport)
            gateways[key].end_soon(_SECONDS)  # so that what fails is tried again until then
    await asyncio.gather(
        *(_delete_in_time(gateways[id(kernel.settings)], kernel) for kernel in kernels)
    )
    for gateway in gateways.values():
        await gateway.close()


async def _delete_in_time(gateway: Gateway, kernel: StartedKernel) -> None:
    log = KernelLog(_log, kernel.kernel_id)
    try:
        async with asyncio.timeout(_SECONDS):
            await _delete(gateway, kernel)
    except (RelayError, TimeoutError) as error:
        why = str(error) or f"{gateway.name} has not answered for {_SECONDS:g} s."
        log.warning("was not deleted at the end of its program: %s", why)
    else:
        log.info("deleted at the end of its program.")


async def _delete(gateway: Gateway, kernel: StartedKernel) -> None:
    while not kernel.settled:
        try:
            await gateway.kernel(kernel.kernel_id)
            break
        except KernelNotFound:
            pass
        except RelayError as error:
            if not may_pass(error):
                raise
        await asyncio.sleep(_LOOK_SECONDS)
    await gateway.shutdown_kernel(kernel.kernel_id)
