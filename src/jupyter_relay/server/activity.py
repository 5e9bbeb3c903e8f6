"""What Jupyter Server asks about all kernels to find out what is idle: a kernel, or the server."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from jupyter_relay.kernels.known import KnownKernels
from jupyter_relay.server.jupyter_server_private import OpenMappingKernelManager
from jupyter_relay.server.kernel import GatewayKernelManager


class KernelActivity(OpenMappingKernelManager):
    """The number of kernels, when they last worked, and which of them are culled.

    ``known`` is what the server's roster knows of them.
    """

    if TYPE_CHECKING:
        known: KnownKernels

    @property
    def last_kernel_activity(self) -> datetime:
        """When a kernel of ours last worked, by our clock; that one is culled is no activity.

        It is part of what the server reports as its own activity, to JupyterHub for one. A kernel
        without a page has no link that hears it, so its gateway is asked behind the answer, for the
        next caller.
        """
        self.known.refresh_behind()
        worked = self.known.last_activity()
        return self._last_activity if worked is None else max(worked, self._last_activity)

    @last_kernel_activity.setter
    def last_kernel_activity(self, date: datetime) -> None:
        self._last_activity = date

    def list_kernel_ids(self) -> list[str]:
        """Return the ids of the kernels that are not known to be dead.

        One that is known to be dead is remembered for a while, so that its pages can read why.
        """
        return [
            kernel_id
            for kernel_id, kernel in tuple(self.managers.items())
            if kernel.remote is not None and kernel.remote.model.execution_state != "dead"
        ]

    def __len__(self) -> int:
        """Return how many kernels `list_kernel_ids` lists.

        With ``shutdown_no_activity_timeout`` the server asks this once a minute, and ends if there
        are none. Without pages nobody else asks for the kernels, so the gateway is asked behind the
        answer.
        """
        self.known.refresh_behind()
        return len(self.list_kernel_ids())

    def __bool__(self) -> bool:
        """True: the server shuts down no manager that is false, and an empty one would be."""
        return True

    async def cull_kernels(self) -> None:
        """Cull what is idle for too long, by what the gateway says at this time; a slow answer is
        waited for, since no page waits for this."""
        if await self.known.refresh_fully():
            await super().cull_kernels()

    async def cull_kernel_if_idle(self, kernel_id: str) -> None:
        """Cull a kernel if it is idle, and nobody listens unless ``cull_connected`` says so.

        One that was found gone stays for its pages for a while.
        """
        kernel: GatewayKernelManager | None = self.managers.get(kernel_id)
        if kernel is None or kernel.remote is None or self.known.found_gone(kernel_id):
            return
        self.connection_counts[kernel_id] = kernel.model()["connections"]
        await super().cull_kernel_if_idle(kernel_id)
