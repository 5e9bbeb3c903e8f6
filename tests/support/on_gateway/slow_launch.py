"""A kernel manager for Kernel Gateway whose kernels take their time to start.

It is imported by the gateway's own process, which may have another Jupyter Server than the tests.
"""

from __future__ import annotations

import asyncio

from kernel_gateway.services.kernels.manager import SeedingMappingKernelManager


class SlowLaunch(SeedingMappingKernelManager):  # type: ignore[misc]  # it is untyped
    """Starts a kernel ``KERNEL_LAUNCH_SECONDS`` later, a variable that the client sends with it."""

    async def start_kernel(self, *args: object, **kwargs: object) -> str:
        """Start a kernel, after a while."""
        env = kwargs.get("env")
        seconds = env.get("KERNEL_LAUNCH_SECONDS", 0) if isinstance(env, dict) else 0
        await asyncio.sleep(float(seconds))
        kernel_id: str = await super().start_kernel(*args, **kwargs)
        return kernel_id
