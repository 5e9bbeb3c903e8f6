"""The three kinds of gateway a JupyterLab can be put in front of."""

from __future__ import annotations

from contextlib import asynccontextmanager
from enum import StrEnum
from typing import TYPE_CHECKING

from jupyter_relay.testing.servers import (
    enterprise_gateway,
    jupyter_lab,
    jupyter_server,
    kernel_gateway,
)
from tests.support.enterprise import KERNEL_ENV, needs_enterprise_gateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from jupyter_relay.testing.servers import RunningServer


class GatewayKind(StrEnum):
    """Which program is the gateway."""

    KERNEL_GATEWAY = "Kernel Gateway"
    ENTERPRISE_GATEWAY = "Enterprise Gateway"
    JUPYTER_SERVER = "Jupyter Server"


def gateway_of(kind: GatewayKind) -> AbstractAsyncContextManager[RunningServer]:
    """Run a gateway of this kind; skips the test where it cannot be had."""
    match kind:
        case GatewayKind.KERNEL_GATEWAY:
            return kernel_gateway()
        case GatewayKind.ENTERPRISE_GATEWAY:
            return enterprise_gateway(python=needs_enterprise_gateway())
        case GatewayKind.JUPYTER_SERVER:
            return jupyter_server()


@asynccontextmanager
async def lab_on(kind: GatewayKind) -> AsyncIterator[RunningServer]:
    """Run JupyterLab with all its kernels on a gateway of this kind."""
    async with (
        gateway_of(kind) as gateway,
        jupyter_lab(gateway=gateway, env=KERNEL_ENV) as lab,
    ):
        yield lab
