"""What a kernel takes of memory: a server may hold hundreds that nobody has used for hours."""

from __future__ import annotations

import tracemalloc

from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.kernels.kernel import RemoteKernel
from jupyter_relay.rest.models import KernelModel
from tests.support.gateway import settings_for

COUNT = 100
MOST = 3600
"""Bytes for each, a sixth above what was measured with CPython 3.11."""


async def test_kernel_that_nobody_has_used_takes_little_memory() -> None:
    gateway = Gateway(settings_for("http://127.0.0.1:1"))
    models = [KernelModel(id=f"kernel-{number}", name="python3") for number in range(COUNT + 1)]
    kernels = [RemoteKernel(gateway, models.pop())]  # what is made once for all is made with it
    tracemalloc.start()
    try:
        kernels += [RemoteKernel(gateway, model) for model in models]
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken / COUNT < MOST, f"{taken / COUNT:.0f} bytes for each"
    for kernel in kernels:
        await kernel.close()
    await gateway.close()
