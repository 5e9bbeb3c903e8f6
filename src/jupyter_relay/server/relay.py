"""What a Jupyter Server has of its gateway: made once, and handed to its managers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_core.paths import jupyter_data_dir
from jupyter_server.serverapp import ServerApp
from traitlets.config import LoggingConfigurable

from jupyter_relay.config import GatewayClient
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.kernels.roster import Roster
from jupyter_relay.log import Log
from jupyter_relay.server.gateway_config import GatewayConfig, options_of
from jupyter_relay.settings.settings import GatewaySettings

if TYPE_CHECKING:
    from jupyter_events import EventLogger

    from jupyter_relay.server.kernels import GatewayMappingKernelManager
    from jupyter_relay.server.kernelspecs import GatewayKernelSpecManager


class Relay:
    """The gateway's settings, its `Roster`, and the server that both are for.

    ``server`` is None for managers that are used without a server. ``kernels`` and ``kernelspecs``
    are the server's managers of both; None until the server has made them.
    """

    def __init__(
        self, settings: GatewaySettings, roster: Roster, server: ServerApp | None = None
    ) -> None:
        self.settings = settings
        self.roster = roster
        self.server = server
        self.kernels: GatewayMappingKernelManager | None = None
        self.kernelspecs: GatewayKernelSpecManager | None = None

    @property
    def event_logger(self) -> EventLogger | None:
        """The server's event logger, which has the schemas; None without a server."""
        return self.server.event_logger if self.server is not None else None

    @property
    def base_url(self) -> str:
        """The path below which the server's URLs are."""
        return self.server.base_url if self.server is not None else "/"


def make_relay(options: GatewayClient, server: ServerApp | None, *, log: Log) -> Relay:
    """Make the relay of a server, or of a manager without one, from the gateway's options.

    Raises `ConfigurationError` for a value that makes no sense, or where there is no URL.
    """
    settings = options.settings()
    data_folder = server.data_dir if server is not None else jupyter_data_dir()
    roster = Roster(
        Gateway(settings),
        state_folder=Path(data_folder) / "jupyter_relay",
        for_server=True,
        log=log,
    )
    return Relay(settings, roster, server)


def relay_of(manager: LoggingConfigurable) -> Relay:
    """Return the relay of a manager's server, which was made when our extension was linked; a new
    one for a manager without such a server."""
    server = manager.parent if isinstance(manager.parent, ServerApp) else None
    config = server.gateway_config if server is not None else None
    if isinstance(config, GatewayConfig) and config.relay is not None:
        return config.relay
    return make_relay(options_of(manager), server, log=manager.log)


def relay_for_kernels(kernels: GatewayMappingKernelManager) -> Relay:
    """Return the relay whose kernels a manager is to manage: that of its ``kernel_spec_manager``,
    or else of its server, for the first one that asks; a new one for any other, so that kernels
    are not mixed. In either case it has the kernelspecs whose ``allowed_kernelspecs`` apply."""
    given = getattr(kernels.kernel_spec_manager, "relay", None)
    relay = given if isinstance(given, Relay) else relay_of(kernels)
    if relay.kernels is not None:
        kernelspecs = relay.kernelspecs
        relay = make_relay(options_of(kernels), relay.server, log=kernels.log)
        relay.kernelspecs = kernelspecs
    relay.kernels = kernels
    return relay
