"""Kernel Gateway on releases of Jupyter Server that choose the ids of kernels themselves."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

from jupyter_relay.testing.servers import RunningServer, kernel_gateway

OLDER: Final = ("2.12.5", "2.17.0", "2.20.0")
"""The oldest Jupyter Server that Kernel Gateway 3.0.1 runs on, one between, and the last one that
takes no id from a client. The Makefile installs them."""

_MODULES: Final = Path(__file__).parent / "on_gateway"


def slow_kernel_gateway(
    jupyter_server: str | None, *, directory: Path | None = None
) -> AbstractAsyncContextManager[RunningServer]:
    """Run Kernel Gateway on this release of Jupyter Server, None for the one of the tests.

    A start waits for as many seconds as its ``KERNEL_LAUNCH_SECONDS`` says.
    """
    first = [str(_MODULES)]
    if jupyter_server is not None:
        installed = Path(sys.prefix, "older", jupyter_server)
        assert installed.is_dir(), f"no {installed}: run make .venv/installed"
        first.append(str(installed))
    path = os.pathsep.join(filter(None, [*first, os.environ.get("PYTHONPATH")]))
    return kernel_gateway(
        env={"PYTHONPATH": path},
        extra_args=["--KernelGatewayApp.kernel_manager_class=slow_launch.SlowLaunch"],
        directory=directory,
    )
