"""Jupyter Relay: Jupyter kernels that run somewhere else. Nothing lost, no cell silent."""

# The map of the house. Each room may use those below it, and none above.
#
#   server/     the Jupyter Server side: kernels, kernelspecs, sessions, websockets
#   testing/    for tests against us: a fake gateway, a faulty wire, real servers
#   headless/   manager and client for nbclient, papermill and scripts
#   config      traitlets and environment to plain settings
#   gateway/    I/O with gateways: REST, the websocket, a kernel and who listens to it
#   core/       decisions, without I/O: the link, what waits, what was lost, URLs, models
#   wire/       bytes to messages and back
#   errors      every error, drawn at the top of the file

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from jupyter_relay._version import __version__

if TYPE_CHECKING:
    from jupyter_relay.core.settings import GatewaySettings
    from jupyter_relay.errors import RelayError
    from jupyter_relay.gateway.client import Gateway
    from jupyter_relay.gateway.kernel import RemoteKernel
    from jupyter_relay.headless.client import GatewayKernelClient
    from jupyter_relay.headless.manager import GatewayKernelManager

__all__ = [
    "Gateway",
    "GatewayKernelClient",
    "GatewayKernelManager",
    "GatewaySettings",
    "RelayError",
    "RemoteKernel",
    "__version__",
]

_HOMES = {
    "Gateway": "gateway.client",
    "GatewayKernelClient": "headless.client",
    "GatewayKernelManager": "headless.manager",
    "GatewaySettings": "core.settings",
    "RelayError": "errors",
    "RemoteKernel": "gateway.kernel",
}


def __getattr__(name: str) -> object:
    """Load a public name when it is first used: importing the package loads none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Tell Jupyter Server where its extension stands."""
    return [{"module": "jupyter_relay.server.extension", "name": "jupyter_relay"}]
