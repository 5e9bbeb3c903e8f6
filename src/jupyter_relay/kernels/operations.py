"""Restart, interrupt, delete: what is done to one kernel, and in which order.

=============  ====================================  ==========================================
operation      while the kernel is restarted         while it is deleted
=============  ====================================  ==========================================
a restart      joins that one                        waits, and begins if the deletion fails
a deletion     waits for its end, for some seconds   joins that one
               at most
an interrupt   is refused                            is refused
=============  ====================================  ==========================================

Gateways answer 500 to most of these pairs, and a kernel that is deleted while it is restarted may
leave its new process behind there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from jupyter_relay.errors import (
    GatewayRefused,
    KernelNotFound,
    KernelStarting,
    OperationUnderWay,
    RelayError,
    UnexpectedAnswer,
)
from jupyter_relay.gateway.listing import Shared
from jupyter_relay.kernels.upstream import Upstream
from jupyter_relay.link.life import RESTARTABLE, Life, LifeEvent
from jupyter_relay.rest.failures import no_kernel

RESTART_PATIENCE: Final = 5.0
"""For how many seconds a deletion waits for a restart: longer than a restart takes whose kernel
comes up, and shorter than a person waits for a deletion when it does not."""

NO_PATIENCE: Final = 1.0
"""The same for a deletion that is wanted at once."""


class Operations:
    """The restarts and the deletion of one kernel. For its interrupts see `interrupt`.

    ``close`` closes the `RemoteKernel` once the kernel is deleted. A caller that is cancelled
    leaves the operation to the others that asked for it; the last one cancels it.
    """

    def __init__(self, upstream: Upstream, *, close: Callable[[], Awaitable[None]]) -> None:
        self._upstream = upstream
        self._close = close
        self._restarts: Shared[None, None] = Shared(self._restart_now, 0.0)
        """The restart that is under way, with all its callers."""
        self._deletions: Shared[None, None] = Shared(self._delete_in_turn, 0.0)
        """The deletion that is under way, with all its callers."""
        self._patience_over = asyncio.Event()
        """Set when the deletion that is under way stops waiting for a restart."""

    @property
    def deleting(self) -> bool:
        """True while a deletion is under way, or waits for the end of a restart."""
        return self._deletions.under_way

    @property
    def under_way(self) -> str:
        """What is being done to the kernel, as in "restarted"; empty while that is nothing."""
        if self.deleting:
            return "shut down"
        return "restarted" if self._restarts.under_way else ""

    async def run_restart(self) -> None:
        """Restart the kernel, or take part in the restart that is under way.

        See `RemoteKernel.restart`.
        """
        _check_started(self._upstream)
        await self._deletions.settle()
        await self._restarts.get(None)

    async def delete(self, *, patience: float) -> None:
        """Delete the kernel, or take part in the deletion that is under way.

        See `RemoteKernel.shutdown`.
        """
        if not self.deleting:
            self._patience_over.clear()
        loop = asyncio.get_running_loop()
        timer = loop.call_later(patience, self._patience_over.set)
        try:
            await self._deletions.get(None)
        finally:
            timer.cancel()

    async def _restart_now(self, _: None) -> None:
        upstream = self._upstream
        if upstream.life not in RESTARTABLE:
            raise upstream.absence()
        upstream.advance_life(LifeEvent.RESTART)
        upstream.pause_link()
        restarted = False
        try:
            await upstream.socket_closed()
            with upstream.failure_shown_in_cell("restart"):
                await self._request_restart()
            restarted = True
        except KernelNotFound as error:
            absence = upstream.absence(error.reason)
            upstream.mark_gone(str(absence))
            raise absence from error
        finally:
            upstream.advance_life(LifeEvent.RESTART_DONE)
            upstream.resume_link(restarted=restarted)
        upstream.log.info("restarted on %s.", upstream.gateway.name)

    async def _request_restart(self) -> None:
        upstream = self._upstream
        try:
            await upstream.gateway.restart_kernel(upstream.kernel_id)
        except RelayError as error:
            if upstream.life is Life.ENDED:  # meanwhile: then no other reason counts
                raise upstream.absence() from error
            raise
        if upstream.life is Life.ENDED:
            raise upstream.absence()

    async def _delete_in_turn(self, _: None) -> None:
        waits = [
            asyncio.ensure_future(self._restarts.settle()),
            asyncio.ensure_future(self._patience_over.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.wait(waits)
        await self._delete_now()

    async def _delete_now(self) -> None:
        upstream, gateway = self._upstream, self._upstream.gateway
        if upstream.start is not None:
            upstream.advance_life(LifeEvent.DELETED)
            upstream.start.give_up()
        else:
            await gateway.shutdown_kernel(upstream.kernel_id)
            upstream.advance_life(LifeEvent.DELETED)
            upstream.mark_gone(f"The kernel was shut down on {gateway.name}.")
        await self._close()


async def interrupt(upstream: Upstream, operations: Callable[[], Operations | None]) -> None:
    """See `RemoteKernel.interrupt`.

    ``operations`` returns those of the kernel, None before the first. An interrupt needs none of
    its own: most kernels that are interrupted are never restarted.
    """
    _check_started(upstream)
    _check_interruptible(upstream, operations())
    with upstream.failure_shown_in_cell("interrupt"):
        try:
            await upstream.gateway.interrupt_kernel(upstream.kernel_id)
        except (GatewayRefused, UnexpectedAnswer):
            _check_interruptible(upstream, operations())  # a restart may have begun meanwhile
            raise


def _check_started(upstream: Upstream) -> None:
    """Raise `KernelStarting` or `KernelNotFound` if the kernel has not started."""
    name, kernel_id = upstream.gateway.name, upstream.kernel_id
    if upstream.life is Life.STARTING:
        raise KernelStarting(
            "The kernel is still being started.", gateway=name, kernel_id=kernel_id
        )
    if upstream.life is Life.FAILED:
        raise no_kernel(name, kernel_id, upstream.link.reason)


def _check_interruptible(upstream: Upstream, operations: Operations | None) -> None:
    """Raise `OperationUnderWay` while the kernel is restarted or deleted."""
    if operations is not None and operations.under_way:
        raise OperationUnderWay(
            f"The kernel is being {operations.under_way}, and cannot be interrupted meanwhile.",
            gateway=upstream.gateway.name,
            kernel_id=upstream.kernel_id,
        )
