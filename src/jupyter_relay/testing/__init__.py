"""Public helpers for testing against gateways, real and scripted.

Real ones are in `jupyter_relay.testing.servers`. The scripted ones are here, and are loaded when
first named: a `FakeGateway` whose kernels and faults a test decides on, and a `FaultyProxy` that
spoils the wire to any server. The pytest fixtures ``fake_gateway`` and ``faulty_proxy`` give both.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_relay.testing.fake_api import Request
    from jupyter_relay.testing.fake_gateway import FakeGateway
    from jupyter_relay.testing.fake_kernel import FakeKernel
    from jupyter_relay.testing.fake_socket import FakeSocket
    from jupyter_relay.testing.faults import (
        Answer,
        Change,
        Delay,
        FaultRule,
        Hold,
        Reset,
        Silence,
        replaced,
        without,
    )
    from jupyter_relay.testing.kernel_scripts import read_content
    from jupyter_relay.testing.tcp_proxy import Direction, FaultyProxy

__all__ = [
    "Answer",
    "Change",
    "Delay",
    "Direction",
    "FakeGateway",
    "FakeKernel",
    "FakeSocket",
    "FaultRule",
    "FaultyProxy",
    "Hold",
    "Request",
    "Reset",
    "Silence",
    "read_content",
    "replaced",
    "without",
]

_MODULES = {
    "fake_api": ("Request",),
    "fake_gateway": ("FakeGateway",),
    "fake_kernel": ("FakeKernel",),
    "fake_socket": ("FakeSocket",),
    "faults": (
        "Answer",
        "Change",
        "Delay",
        "FaultRule",
        "Hold",
        "Reset",
        "Silence",
        "replaced",
        "without",
    ),
    "kernel_scripts": ("read_content",),
    "tcp_proxy": ("Direction", "FaultyProxy"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value
