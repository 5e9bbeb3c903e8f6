"""Chooses a server's classes: all four of ours, or those that the user has set.

The four belong together: each uses methods that only the others of ours have.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from jupyter_server.gateway.managers import GatewaySessionManager as BuiltInGatewaySessionManager

from jupyter_relay.server.kernels import GatewayMappingKernelManager
from jupyter_relay.server.kernelspecs import GatewayKernelSpecManager
from jupyter_relay.server.pages.websocket import GatewayWebSocketConnection
from jupyter_relay.server.sessions import GatewaySessionManager

Classes: TypeAlias = Mapping[str, type]
"""Classes by the option of ServerApp that holds them."""

OURS: Final[Classes] = {
    "kernel_manager_class": GatewayMappingKernelManager,
    "kernel_spec_manager_class": GatewayKernelSpecManager,
    "session_manager_class": GatewaySessionManager,
    "kernel_websocket_connection_class": GatewayWebSocketConnection,
}

_BUILT_IN: Final = frozenset(
    {
        "jupyter_server.gateway.managers.GatewayMappingKernelManager",
        "jupyter_server.gateway.managers.GatewayKernelSpecManager",
        "jupyter_server.gateway.managers.GatewaySessionManager",
        "jupyter_server.gateway.connections.GatewayWebSocketConnection",
    }
)
"""Jupyter Server's own classes for a gateway, which it uses if no other class is set."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Whether our classes are used, which to set for that, and a line for the log, or none."""

    ours: bool
    to_set: Classes
    line: str = ""


def choose(given: Classes, extensions: Collection[str]) -> Choice:
    """Choose the classes of a server whose kernels are on a gateway.

    ``given`` are the classes that are set, ``extensions`` the packages of the server's extensions.

    A subclass of ours stays. A class of Jupyter Server's own gateway client counts as not set. A
    session manager of an extension is combined with ours, as its first base. The connection class
    of an extension is replaced by ours: all kernels are on the gateway, to which it does not
    connect. With any other class, none of ours is used.
    """
    to_set: dict[str, type] = {}
    built_in: list[str] = []
    foreign: list[str] = []
    replaced = ""
    for option, ours in OURS.items():
        kind = given.get(option)
        if kind is None or _name(kind) in _BUILT_IN:
            to_set[option] = ours
            built_in += [option] if kind is not None else []
        elif issubclass(kind, ours):
            continue
        elif kind.__module__.partition(".")[0] not in extensions:
            foreign.append(f"ServerApp.{option} = {_name(kind)}")
        elif option == "session_manager_class" and not issubclass(
            kind, BuiltInGatewaySessionManager
        ):
            to_set[option] = type(kind.__name__, (kind, ours), {"__module__": kind.__module__})
        elif option == "kernel_websocket_connection_class":
            to_set[option] = ours
            replaced = (
                f"ServerApp.{option} = {_name(kind)} is not used: jupyter_relay's own joins pages "
                "to kernels on a gateway."
            )
        else:
            foreign.append(f"ServerApp.{option} = {_name(kind)}")
    if foreign:
        return Choice(
            ours=False, to_set={},
            line="jupyter_relay is not used, and all classes stay as they are set: its own do not "
            f"work together with {', '.join(foreign)}.",
        )  # fmt: skip
    if built_in:
        names = ", ".join(f"ServerApp.{option}" for option in built_in)
        return Choice(
            ours=True, to_set=to_set,
            line=f"{names}: jupyter_relay's classes are used in the place of Jupyter Server's own "
            f"gateway classes. {replaced}".rstrip(),
        )  # fmt: skip
    return Choice(ours=True, to_set=to_set, line=replaced)


def replaced_line(used: Classes) -> str:
    """Return a line for the log if only some of the classes in use are ours, else an empty text."""
    others = [
        f"ServerApp.{option} = {_name(used[option])}"
        for option, ours in OURS.items()
        if not issubclass(used[option], ours)
    ]
    if not others or len(others) == len(OURS):
        return ""
    return (
        f"{', '.join(others)}: in use beside classes of jupyter_relay, with which it does not work "
        "together. Kernels on the gateway may not start, be shown or answer. Disable the extension "
        "that sets it, or jupyter_relay."
    )


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
