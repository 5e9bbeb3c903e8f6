"""One kernel of a Jupyter Server whose kernels run on a gateway."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any, TypeAlias

from jupyter_client.kernelspec import KernelSpec
from jupyter_events import EventLogger
from jupyter_server.services.kernels.kernelmanager import emit_kernel_action_event
from traitlets import default

from jupyter_relay.headless.manager import GatewayKernelManager as HeadlessKernelManager
from jupyter_relay.kernels.kernel import RemoteKernel
from jupyter_relay.link.actions import Report
from jupyter_relay.redact import in_lines
from jupyter_relay.rest.models import KernelModel
from jupyter_relay.rest.users import NotebookUser
from jupyter_relay.server.built_in_names import BuiltInServerKernelNames
from jupyter_relay.server.events.links import emit
from jupyter_relay.server.http.http_errors import http_errors
from jupyter_relay.server.jupyter_server_private import OpenKernelManager, isoformat, utcnow
from jupyter_relay.server.relay import Relay

Model: TypeAlias = dict[str, Any]
"""A model of the server's REST API."""


class GatewayKernelManager(BuiltInServerKernelNames, HeadlessKernelManager, OpenKernelManager):
    """Manages one kernel of the server, and emits the server's kernel action events.

    ``relay`` is that of the server; None for a manager that is used without a server.
    """

    _user: NotebookUser = NotebookUser()
    """Who started the kernel."""
    _known: KernelModel | None = None
    """The kernel's model when the traits and `_shown` were last made of it."""
    _active: datetime | None = None
    """When the kernel last worked, at that time."""
    _shown: Model
    """The kernel's model for the REST API, but for the connections."""
    _spec: KernelSpec | None = None
    """The kernelspec as it was last listed."""

    @property
    def ends_kernels(self) -> bool:
        """Whether kernels that were started end with the manager and the program: not those of a
        server, whose roster does that itself."""
        return self.parent is None

    @property
    def dies_with_process(self) -> bool:
        """Whether a kernel whose process was replaced counts as dead: not for a server, whose pages
        go on with it."""
        return self.parent is None

    def __init__(self, *, relay: Relay | None = None, **kwargs: Any) -> None:
        if relay is not None:
            kwargs["roster"] = relay.roster
        self._relay = relay
        super().__init__(**kwargs)

    @default("event_logger")
    def _servers_event_logger(self) -> EventLogger:
        """Return the server's own, which has the schemas; to register them takes longer than to
        start a kernel does, and is left to managers without a server."""
        logger = self._relay.event_logger if self._relay is not None else None
        return logger or self.new_event_logger()

    def register_schemas(self) -> None:
        """Make the schemas that the user has set, ``extra_event_schema_paths``, known to the
        server's logger. It reads files."""
        if self.extra_event_schema_paths:
            self.new_event_logger()

    @property
    def kernel_spec(self) -> KernelSpec:
        """The kernelspec, as its gateway last listed it for who started the kernel; an empty one if
        it never did."""
        specs = self._relay.kernelspecs if self._relay is not None else None
        if specs is not None:
            # Kept here, since the lists of users who ask no more are forgotten.
            self._spec = specs.known_spec(self.kernel_name, self._user) or self._spec
        return self._spec or KernelSpec()

    @emit_kernel_action_event(success_msg="Kernel {kernel_id} was started.")
    async def start_kernel(self, **kwargs: Any) -> None:
        """See `HeadlessKernelManager.start_kernel`. Raises HTTP errors."""
        self._user = kwargs.get("user") or self._user
        if self._relay is None or self._relay.server is None:
            # The schemas of its events, which a server has already, are read from files.
            await asyncio.to_thread(lambda: self.event_logger)
        with http_errors():
            await super().start_kernel(**kwargs)
        self.last_activity = utcnow()
        self._update(self.running)

    @emit_kernel_action_event(success_msg="Kernel {kernel_id} was shutdown.")
    async def shutdown_kernel(self, now: bool = False, restart: bool = False) -> None:
        """See `HeadlessKernelManager.shutdown_kernel`. Raises HTTP errors."""
        with http_errors(f"Kernel {self.kernel_id} was not shut down, and stays listed"):
            await super().shutdown_kernel(now=now, restart=restart)

    @emit_kernel_action_event(success_msg="Kernel {kernel_id} was restarted.")
    async def restart_kernel(self, now: bool = False, **kwargs: Any) -> None:
        """See `HeadlessKernelManager.restart_kernel`. Raises HTTP errors."""
        with http_errors():
            await super().restart_kernel(now=now, **kwargs)

    @emit_kernel_action_event(success_msg="Kernel {kernel_id} was interrupted.")
    async def interrupt_kernel(self) -> None:
        """See `HeadlessKernelManager.interrupt_kernel`. Raises HTTP errors."""
        with http_errors():
            await super().interrupt_kernel()

    def on_kernel_report(self, report: Report) -> None:
        """Emit as an event what happened to the link."""
        remote = self.remote
        if remote is None:
            return
        try:
            emit(self.event_logger, report, gateway=remote.gateway.name, kernel_id=remote.id)
        except Exception:  # whoever listens to events, the link goes on
            self.log.exception("An event of kernel %s could not be emitted.", remote.id)

    def model(self) -> Model:
        """Return the kernel's model for the REST API, its dates by our clock; from then on its
        traits say the same."""
        remote = self.running
        # A trait that stays as it is costs as much as one that changes.
        if remote.model != self._known or remote.last_activity != self._active:
            self._update(remote)
        model = self._shown.copy()
        model["connections"] = remote.connections
        return model

    def _update(self, remote: RemoteKernel) -> None:
        """Make traits and model of what is known of the kernel."""
        known = self._known = remote.model
        self._active = remote.last_activity
        self.execution_state = known.execution_state
        self.last_activity = self._active or self.last_activity
        self.reason = known.reason
        self._shown = {
            "id": known.id,
            "name": known.name or self.kernel_name,
            "last_activity": isoformat(self.last_activity),
            "execution_state": known.execution_state,
        }
        if known.reason:
            self._shown["reason"] = in_lines(known.reason)
