"""The names of Jupyter Server that are not public, and that we need. No other file names one."""

from __future__ import annotations

from collections.abc import Set
from typing import Any, Final

from jupyter_events import EventLogger
from jupyter_server._tz import isoformat, utcnow
from jupyter_server.services.kernels.handlers import _kernel_action_regex, _kernel_id_regex
from jupyter_server.services.kernels.kernelmanager import (
    AsyncMappingKernelManager,
    ServerKernelManager,
)
from jupyter_server.services.sessions.handlers import _session_id_regex
from jupyter_server.services.sessions.sessionmanager import SessionManager
from traitlets import Bunch, validate

__all__ = [
    "KERNEL_ACTION_PATTERN",
    "KERNEL_ID_PATTERN",
    "SESSION_ID_PATTERN",
    "OpenKernelManager",
    "OpenMappingKernelManager",
    "OpenSessionManager",
    "isoformat",
    "utcnow",
]

KERNEL_ID_PATTERN: Final[str] = _kernel_id_regex
KERNEL_ACTION_PATTERN: Final[str] = _kernel_action_regex
SESSION_ID_PATTERN: Final[str] = _session_id_regex
"""The regular expressions of a kernel's id, an action and a session's id in Jupyter Server's URLs,
with one named group each."""


class OpenKernelManager(ServerKernelManager):
    """`ServerKernelManager`, with public names for what a subclass needs of it."""

    def new_event_logger(self) -> EventLogger:
        """Return an event logger with the schemas of kernels' events, and with those that the user
        has set. It reads files."""
        logger: EventLogger = self._default_event_logger()
        return logger


class OpenMappingKernelManager(AsyncMappingKernelManager):
    """`AsyncMappingKernelManager`, with public names for what a subclass needs of it."""

    @property
    def managers(self) -> dict[str, Any]:
        """The manager of each kernel, by the kernel's id. It may be changed."""
        managers: dict[str, Any] = self._kernels
        return managers

    @property
    def connection_counts(self) -> dict[str, int]:
        """How many pages each kernel has, by its id, as culling counts them. It may be changed."""
        counts: dict[str, int] = self._kernel_connections
        return counts

    @property
    def culls(self) -> bool:
        """True once `initialize_culler` was called."""
        return bool(self._initialized_culler)

    def check_kernel_id(self, kernel_id: str) -> None:
        """Raise a 404 for a kernel that is none of this server's."""
        self._check_kernel_id(kernel_id)

    def usable_manager_class(self, named: str) -> str:
        """Return the ``kernel_manager_class`` that is used where this one is set."""
        raise NotImplementedError

    # With another name, Jupyter Server's own validation would stay beside ours. traitlets does not
    # validate a class from the configuration that equals the trait's static default: a subclass
    # declares the trait again, with a default that it can use.

    @validate("kernel_manager_class")
    def _validate_kernel_manager_class(self, proposal: Bunch) -> str:
        return self.usable_manager_class(proposal.value)


class OpenSessionManager(SessionManager):
    """`SessionManager`, with public names for what a subclass needs of it."""

    @property
    def columns(self) -> Set[str]:
        """The names of the values that a session can be asked for by."""
        columns: Set[str] = self._columns
        return columns
