"""One order for the operations on one kernel that get in each other's way.

=============  ====================================  ==========================================
asked for      while the kernel is restarted         while it is deleted
=============  ====================================  ==========================================
a restart      is the one that is under way          waits, and begins if the kernel stays
a deletion     waits for the restart's end, and      is the one that is under way
               begins without it if that takes long
an interrupt   is refused                            is refused
=============  ====================================  ==========================================

Gateways answer 500 to most of these pairs, and a kernel that is deleted while it is restarted may
leave its new process behind there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from jupyter_relay.gateway.shared import Shared

RESTART_PATIENCE: Final = 5.0
"""The seconds for which a deletion waits for a restart: longer than a restart takes whose kernel
comes up, and shorter than a person waits for a deletion when it does not."""

NO_PATIENCE: Final = 1.0
"""The same for a deletion that is wanted at once."""


class Operations:
    """The restarts and the deletion of one kernel. ``restart`` and ``delete`` carry one out.

    Whoever is cancelled leaves the operation to the others who asked for it; the last one cancels
    it.
    """

    def __init__(
        self, restart: Callable[[], Awaitable[None]], delete: Callable[[], Awaitable[None]]
    ) -> None:
        self._delete = delete
        self._restarts: Shared[None, None] = Shared(lambda _: restart(), 0.0)
        self._deletions: Shared[None, None] = Shared(self._delete_in_turn, 0.0)
        self._no_more_waiting = asyncio.Event()

    @property
    def deleting(self) -> bool:
        """Whether a deletion is under way, or waits for a restart's end."""
        return self._deletions.under_way

    async def restart(self) -> None:
        """Restart the kernel, or take part in the restart that is under way. Raises what that
        raises."""
        await self._deletions.settle()
        await self._restarts.get(None)

    async def delete(self, *, patience: float = RESTART_PATIENCE) -> None:
        """Delete the kernel, or take part in the deletion that is under way. Raises what that
        raises.

        A restart that is under way is waited for, ``patience`` seconds at most.
        """
        if not self.deleting:
            self._no_more_waiting.clear()
        loop = asyncio.get_running_loop()
        timer = loop.call_later(patience, self._no_more_waiting.set)
        try:
            await self._deletions.get(None)
        finally:
            timer.cancel()

    async def _delete_in_turn(self, _: None) -> None:
        waits = [
            asyncio.ensure_future(self._restarts.settle()),
            asyncio.ensure_future(self._no_more_waiting.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.wait(waits)
        await self._delete()
