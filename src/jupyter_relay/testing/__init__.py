"""Public helpers for testing against gateways, real and scripted.

Real ones are in `jupyter_relay.testing.servers`. The scripted ones are here, and are loaded when
first named: a `FakeGateway` whose kernels and faults a test decides on, a `FaultyProxy` that spoils
the wire to any server, and a `HostileGateway` that breaks the rules. The pytest fixtures
``fake_gateway`` and ``faulty_proxy`` give the first two.
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
    from jupyter_relay.testing.hostile_gateway import (
        EVIL_PATHS,
        MISDEEDS,
        QUOTINGS,
        EndlessBody,
        EndlessFragments,
        EndlessHeaders,
        EvilUrls,
        GzipBomb,
        HostileGateway,
        HugeChannel,
        HugeModel,
        HugeReason,
        ManyLists,
        MillionModels,
        MillionOffsets,
        Misdeed,
        QuotedSecrets,
        RawRequest,
        RedirectElsewhere,
        UnreadableFlood,
        Wire,
        WordyClose,
    )
    from jupyter_relay.testing.kernel_scripts import read_content
    from jupyter_relay.testing.tcp_proxy import Direction, FaultyProxy

__all__ = [
    "EVIL_PATHS",
    "MISDEEDS",
    "QUOTINGS",
    "Answer",
    "Change",
    "Delay",
    "Direction",
    "EndlessBody",
    "EndlessFragments",
    "EndlessHeaders",
    "EvilUrls",
    "FakeGateway",
    "FakeKernel",
    "FakeSocket",
    "FaultRule",
    "FaultyProxy",
    "GzipBomb",
    "Hold",
    "HostileGateway",
    "HugeChannel",
    "HugeModel",
    "HugeReason",
    "ManyLists",
    "MillionModels",
    "MillionOffsets",
    "Misdeed",
    "QuotedSecrets",
    "RawRequest",
    "RedirectElsewhere",
    "Request",
    "Reset",
    "Silence",
    "UnreadableFlood",
    "Wire",
    "WordyClose",
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
    "hostile_gateway": (
        "EVIL_PATHS",
        "EndlessBody",
        "EndlessFragments",
        "EndlessHeaders",
        "EvilUrls",
        "GzipBomb",
        "HostileGateway",
        "HugeChannel",
        "HugeModel",
        "HugeReason",
        "MISDEEDS",
        "ManyLists",
        "MillionModels",
        "MillionOffsets",
        "Misdeed",
        "QUOTINGS",
        "QuotedSecrets",
        "RawRequest",
        "RedirectElsewhere",
        "UnreadableFlood",
        "Wire",
        "WordyClose",
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
