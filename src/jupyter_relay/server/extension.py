"""The switch: with a gateway configured, the server uses our classes; else it is left alone."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from traitlets import TraitError

from jupyter_relay.errors import ConfigurationError

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp
    from tornado.web import RequestHandler

_CLASSES = {
    "kernel_manager_class": "jupyter_relay.server.kernels.GatewayMappingKernelManager",
    "kernel_spec_manager_class": "jupyter_relay.server.kernelspecs.GatewayKernelSpecManager",
    "session_manager_class": "jupyter_relay.server.sessions.GatewaySessionManager",
    "kernel_websocket_connection_class": (
        "jupyter_relay.server.websocket.GatewayWebSocketConnection"
    ),
}


def _link_jupyter_server_extension(serverapp: ServerApp) -> None:
    """Set the four classes, before the server makes its managers; those set by the user stay.

    A setting that makes no sense stops the server with one line.
    """
    from jupyter_relay.server.gateway_config import GatewayConfig
    from jupyter_relay.server.inherited_options import unused_options

    _link_applications(serverapp)
    try:
        gateway = GatewayConfig.install(serverapp)
    except (ConfigurationError, TraitError) as error:  # ours, or that of the built-in class
        serverapp.log.critical("%s", error)
        serverapp.exit(1)
    if not gateway.gateway_enabled:
        return
    # As the server does with tornado's: what we log looks like what it logs, and goes there.
    ours = logging.getLogger("jupyter_relay")
    ours.parent = serverapp.log
    ours.setLevel(serverapp.log.level)
    for line in unused_options(serverapp.config):
        serverapp.log.warning("%s", line)
    for name, value in _CLASSES.items():
        if name not in serverapp.config.ServerApp and not serverapp.trait_has_value(name):
            setattr(serverapp, name, value)


def _link_applications(serverapp: ServerApp) -> None:
    """Link the applications among the extensions, such as JupyterLab: they bring the options of
    their own configuration files only then."""
    manager = serverapp.extension_manager
    for name, applications in manager.extension_apps.items():
        if applications:
            manager.link_extension(name)


def _load_jupyter_server_extension(serverapp: ServerApp) -> None:
    """Put our handlers before the server's, and our events beside its own, for what is in use."""
    if not serverapp.gateway_config.gateway_enabled:
        return
    from jupyter_server.utils import url_path_join

    from jupyter_relay.server.handlers import KERNEL_HANDLERS, KERNELSPEC_HANDLERS
    from jupyter_relay.server.kernels import GatewayMappingKernelManager
    from jupyter_relay.server.kernelspecs import GatewayKernelSpecManager
    from jupyter_relay.server.link_events import register

    ours: list[tuple[str, type[RequestHandler]]] = []
    if isinstance(serverapp.kernel_manager, GatewayMappingKernelManager):
        register(serverapp.event_logger)
        ours += KERNEL_HANDLERS
    if isinstance(serverapp.kernel_spec_manager, GatewayKernelSpecManager):
        ours += KERNELSPEC_HANDLERS
    base_url = serverapp.web_app.settings["base_url"]
    handlers = [(url_path_join(base_url, pattern), kind) for pattern, kind in ours]
    serverapp.web_app.add_handlers(".*$", handlers)


async def _start_jupyter_server_extension(serverapp: ServerApp) -> None:
    """Register what the user wants to be emitted, and ask for the kernelspecs before the first page
    does: a gateway that is silent delays none."""
    from jupyter_relay.server.kernels import GatewayMappingKernelManager
    from jupyter_relay.server.kernelspecs import GatewayKernelSpecManager

    if isinstance(serverapp.kernel_manager, GatewayMappingKernelManager):
        await asyncio.to_thread(serverapp.kernel_manager.register_schemas)
    if isinstance(serverapp.kernel_spec_manager, GatewayKernelSpecManager):
        await serverapp.kernel_spec_manager.refresh()
