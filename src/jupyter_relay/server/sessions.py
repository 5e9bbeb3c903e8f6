"""The sessions of a Jupyter Server whose kernels run on a gateway."""

from __future__ import annotations

from jupyter_server.services.sessions.sessionmanager import SessionManager
from traitlets import Instance

from jupyter_relay.server.kernels import GatewayMappingKernelManager


class GatewaySessionManager(SessionManager):
    """Sessions that end when their kernel is gone from the gateway."""

    kernel_manager = Instance(GatewayMappingKernelManager)

    async def kernel_culled(self, kernel_id: str) -> bool:
        """Whether a kernel is gone, by what is known: listing the kernels has asked just now.

        One whose start has failed stays until it is deleted, since it shows why.
        """
        if kernel_id not in self.kernel_manager:
            return True
        remote = self.kernel_manager.get_kernel(kernel_id).remote
        return remote is None or (remote.gone and remote.exists)
