"""The classes of Jupyter Server's own ``jupyter_server.gateway.managers``, under their names.

A configuration, or a subclass, that names one of those uses ours by the change of one word,
``jupyter_server.gateway`` to ``jupyter_relay``::

    c.ServerApp.kernel_manager_class = "jupyter_relay.managers.GatewayMappingKernelManager"

Each class is loaded when it is first named. ``GatewayMappingKernelManager``,
``GatewayKernelSpecManager`` and ``GatewaySessionManager`` are parts of a Jupyter Server; where that
is not installed, to name one raises `ImportError`. ``GatewayKernelManager`` is the server's, which
emits the server's events and raises its HTTP errors, as that of Jupyter Server does; where that is
not installed, it is the one that the server's is made from, `jupyter_relay.GatewayKernelManager`.
All others are the same with and without it. What differs from Jupyter Server's own classes is in
``docs/compatibility.md``.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_relay.headless.channels import ChannelQueue, HBChannelQueue
    from jupyter_relay.headless.client import GatewayKernelClient
    from jupyter_relay.server.kernel import GatewayKernelManager
    from jupyter_relay.server.kernels import GatewayMappingKernelManager
    from jupyter_relay.server.kernelspecs import GatewayKernelSpecManager
    from jupyter_relay.server.sessions import GatewaySessionManager

__all__ = [
    "ChannelQueue",
    "GatewayKernelClient",
    "GatewayKernelManager",
    "GatewayKernelSpecManager",
    "GatewayMappingKernelManager",
    "GatewaySessionManager",
    "HBChannelQueue",
]

_MODULES = {
    "ChannelQueue": "headless.channels",
    "GatewayKernelClient": "headless.client",
    "HBChannelQueue": "headless.channels",
}
_SERVER_MODULES = {
    "GatewayKernelManager": "server.kernel",
    "GatewayKernelSpecManager": "server.kernelspecs",
    "GatewayMappingKernelManager": "server.kernels",
    "GatewaySessionManager": "server.sessions",
}
_MODULES_WITHOUT_SERVER = {"GatewayKernelManager": "headless.manager"}


def __getattr__(name: str) -> object:
    """Load a class when it is first named."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    modules = _MODULES
    if name in _SERVER_MODULES:
        installed = find_spec("jupyter_server") is not None
        modules = _SERVER_MODULES if installed else _MODULES_WITHOUT_SERVER
    if name not in modules:
        raise ImportError(
            f"{__name__}.{name} is a part of a Jupyter Server, which is not installed: "
            "install jupyter_server."
        )
    return getattr(import_module(f"jupyter_relay.{modules[name]}"), name)


def __dir__() -> list[str]:
    return __all__
