"""Methods of jupyter_client's kernel manager that are about a process of this machine."""

from __future__ import annotations

from typing import Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from jupyter_relay.errors import NotPossibleOnGateway


class LocalMethods(AsyncKernelManager):
    """What is asked of a manager about its kernel's process, and what a gateway's kernel has in its
    place: nothing, or a refusal."""

    @property
    def ipykernel(self) -> bool:
        """False: how a remote kernel is launched is its gateway's business."""
        return False

    @property
    def kernel_spec(self) -> KernelSpec:
        """An empty kernelspec: the gateway has the real one."""
        return KernelSpec()

    async def finish_shutdown(self, *_: Any, **__: Any) -> None:
        """Do nothing: the gateway has answered once the kernel is deleted."""

    def resolve_path(self, path: str) -> str | None:
        """Return None: which file a kernel means by a path is not known for one of a gateway."""
        return None

    async def _launched_by_gateway(self, *_: Any, **__: Any) -> Any:
        """Refuse to do a part of a start. Raises `NotPossibleOnGateway`."""
        raise NotPossibleOnGateway(
            "The gateway launches the kernel: start_kernel is the only way to start one."
        )

    pre_start_kernel = _launched_by_gateway
    post_start_kernel = _launched_by_gateway
