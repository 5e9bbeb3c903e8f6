"""Jupyter Relay: Jupyter kernels that run somewhere else. Nothing lost, no cell silent."""

# The map of the house. Each room may use those below it, and none above.
#
#   managers      the classes of Jupyter Server's gateway/managers.py, under their names
#   server/       the Jupyter Server side: kernels, kernelspecs, sessions, pages
#   testing/      for tests against us: a fake gateway, a faulty wire, real servers
#   headless/     manager and client for nbclient, papermill and scripts
#   kernels/      the kernels of a gateway that are ours, and who listens to them
#   gateway/      the REST API of one gateway
#   credentials/  what we show a gateway, and how it stays fresh
#   transport/    HTTP requests and websockets to one address
#   config        traitlets and environment to plain settings
#   rest/         pure: URLs, models, what an answer means
#   settings/     pure: the options of a gateway, and what they amount to
#   link/         pure: one link, what waits on it and what was lost
#   wire/         pure: bytes to messages and back
#   store/        what outlives the process
#   backoff       when to try again
#   log           a flood of lines is written as one and a count
#   redact        foreign words, without secrets
#   errors        every error, drawn at the top of the file
#   escapes       undoes the escapes of URLs, HTML and JSON in a text

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from jupyter_relay._version import __version__

if TYPE_CHECKING:
    from jupyter_relay.errors import RelayError
    from jupyter_relay.gateway.gateway import Gateway
    from jupyter_relay.headless.client import GatewayKernelClient
    from jupyter_relay.headless.manager import GatewayKernelManager
    from jupyter_relay.kernels.kernel import RemoteKernel
    from jupyter_relay.settings.settings import GatewaySettings

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
    "Gateway": "gateway.gateway",
    "GatewayKernelClient": "headless.client",
    "GatewayKernelManager": "headless.manager",
    "GatewaySettings": "settings.settings",
    "RelayError": "errors",
    "RemoteKernel": "kernels.kernel",
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
