"""The options of the Jupyter classes that ours replace: what each does for a gateway's kernels.

`INHERITED` is the table. The lines that a server logs at its start, and the table in
`docs/compatibility.md`, are made from it. A test compares it with the options of the installed
classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.kernelmanager import (
    AsyncMappingKernelManager,
    ServerKernelManager,
)
from jupyter_server.services.sessions.sessionmanager import SessionManager
from traitlets.config import Config, Configurable

REPLACED: Final[tuple[type[Configurable], ...]] = (
    AsyncMappingKernelManager,
    ServerKernelManager,
    KernelSpecManager,
    SessionManager,
    ZMQChannelsWebsocketConnection,
)
"""The classes that ours replace."""


@dataclass(frozen=True, slots=True)
class InheritedOption:
    """An option of a class that one of ours replaces.

    ``owner`` is the name of the class, from `REPLACED`. ``effect`` is what the option does for
    kernels of a gateway, or, if ``heeded`` is false, why it does nothing.
    """

    owner: str
    name: str
    heeded: bool
    effect: str


_AS_LOCAL = "as for local kernels"
_NO_ZMQ = "no ZeroMQ socket leads to a gateway's kernel"
_GATEWAYS_KERNEL = "the gateway starts, watches and ends the process, by its own setting"
_HTTPS = f"{_NO_ZMQ}; an https `GatewayClient.url` encrypts the connection to the gateway"
_LIMITS = "a slow page is bounded by `GatewayClient.backlog_bytes`; the gateway may limit by itself"


def _table() -> Iterator[InheritedOption]:
    heeded: dict[type[Configurable], dict[str, str]] = {
        AsyncMappingKernelManager: {
            "allow_tracebacks": (
                "if false, error output and error replies show `traceback_replacement_message` "
                "instead of the error's name and text"
            ),
            "allowed_message_types": (
                "a message of another type from a page is skipped, with a warning in the log; "
                "programs inside the server are not restricted"
            ),
            "buffer_offline_messages": (
                "if false, nothing is kept for a page that has left; "
                "else up to `GatewayClient.backlog_bytes` for each"
            ),
            "cull_busy": _AS_LOCAL,
            "cull_connected": "as for local kernels; other clients of the gateway count too",
            "cull_idle_timeout": "as for local kernels; a kernelspec's own is heeded too",
            "cull_interval": _AS_LOCAL,
            "default_kernel_name": "as for local kernels; if it is not set, the gateway's default",
            "kernel_manager_class": (
                "must be a subclass of `jupyter_relay.managers.GatewayKernelManager`; "
                "another one is named in the log and not used"
            ),
            "root_dir": "the folder of a notebook is sent to the gateway as one below it",
            "traceback_replacement_message": _AS_LOCAL,
            "untracked_message_types": (
                "as for local kernels; what the gateway counts as activity counts too, so set it "
                "there as well"
            ),
            "use_pending_kernels": (
                "if true, a start is not awaited; else for up to `GatewayClient.start_grace`"
            ),
        },
        ServerKernelManager: {
            "client_class": "must be a subclass of `jupyter_relay.managers.GatewayKernelClient`",
            "client_factory": "must be a subclass of `jupyter_relay.managers.GatewayKernelClient`",
            "extra_event_schema_paths": _AS_LOCAL,
        },
        KernelSpecManager: {
            "allowed_kernelspecs": "any other kernelspec is neither shown nor started",
            "kernel_spec_class": _AS_LOCAL,
            "whitelist": "the old name of `allowed_kernelspecs`",
        },
        SessionManager: {"database_filepath": _AS_LOCAL},
        ZMQChannelsWebsocketConnection: {
            "kernel_ws_protocol": "as for local kernels, between page and server",
        },
    }
    unused: dict[type[Configurable], dict[str, str]] = {
        AsyncMappingKernelManager: {
            "kernel_info_timeout": ("a silent kernel is not presumed dead: its gateway is asked"),
            "shared_context": _NO_ZMQ,
            "transport_encryption": _HTTPS,
        },
        ServerKernelManager: {
            "autorestart": _GATEWAYS_KERNEL,
            "cache_ports": _NO_ZMQ,
            "connection_file": _NO_ZMQ,
            "control_port": _NO_ZMQ,
            "hb_port": _NO_ZMQ,
            "iopub_port": _NO_ZMQ,
            "ip": _NO_ZMQ,
            "restarter_class": _GATEWAYS_KERNEL,
            "shell_port": _NO_ZMQ,
            "shutdown_wait_time": _GATEWAYS_KERNEL,
            "stdin_port": _NO_ZMQ,
            "transport": _NO_ZMQ,
            "transport_encryption": _HTTPS,
        },
        KernelSpecManager: {
            "ensure_native_kernel": "the server's own Python is no kernel of the gateway",
        },
        ZMQChannelsWebsocketConnection: {
            "iopub_data_rate_limit": _LIMITS,
            "iopub_msg_rate_limit": _LIMITS,
            "limit_rate": _LIMITS,
            "rate_limit_window": _LIMITS,
            "session": "the page chooses the session id",
        },
    }
    for owner in REPLACED:
        for table, is_heeded in ((heeded, True), (unused, False)):
            for name, effect in table.get(owner, {}).items():
                yield InheritedOption(owner.__name__, name, is_heeded, effect)


INHERITED: Final = tuple(_table())
"""Every option of the classes in `REPLACED`."""


def _replaces(ours: type[Configurable], owner: type[Configurable]) -> bool:
    """True if a class replaces another: as its subclass, or by taking options under its name."""
    return issubclass(ours, owner) or owner.__name__ in ours.section_names()


def unused_options(config: Config, ours: Iterable[type[Configurable]] = ()) -> list[str]:
    """Return a sentence for each option that is set in a configuration and does nothing for the
    kernels of a gateway.

    An option may be set under the name of the class that it belongs to, of a base of that class, or
    of the class of ours that replaces it; ``ours`` are those.
    """
    sentences = []
    for owner in REPLACED:
        kinds = [owner, *(kind for kind in ours if _replaces(kind, owner))]
        names = dict.fromkeys(name for kind in kinds for name in kind.section_names())
        sections = [name for name in names if name in config]
        for option in INHERITED:
            if option.heeded or option.owner != owner.__name__:
                continue
            sentences += [
                f"{section}.{option.name} has no effect on kernels of a gateway: {option.effect}."
                for section in sections
                if option.name in config[section]
            ]
    return list(dict.fromkeys(sentences))
