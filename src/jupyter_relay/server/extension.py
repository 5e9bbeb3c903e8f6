"""The switch: with a gateway configured, the server uses our classes; else it is left alone."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from traitlets import TraitError

from jupyter_relay.errors import ConfigurationError

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp
    from tornado.web import RequestHandler


def _link_jupyter_server_extension(serverapp: ServerApp) -> None:
    """Set the four classes, before the server makes its managers; all of them, or none.

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
    from jupyter_relay.server.classes import OURS, choose
    from jupyter_relay.server.kernels import GatewayKernelManager

    given = {name: getattr(serverapp, name) for name in OURS if _is_set(serverapp, name)}
    choice = choose(given, serverapp.extension_manager.extensions.keys())
    if not choice.ours:
        serverapp.log.warning("%s", choice.line)
        GatewayConfig.withdraw()
        return
    if choice.line:
        serverapp.log.info("%s", choice.line)
    # As the server does with tornado's: what we log looks like what it logs, and goes there.
    ours = logging.getLogger("jupyter_relay")
    ours.parent = serverapp.log
    ours.setLevel(serverapp.log.level)
    for line in unused_options(serverapp.config, (*OURS.values(), GatewayKernelManager)):
        serverapp.log.warning("%s", line)
    for name, value in choice.to_set.items():
        setattr(serverapp, name, value)


def _is_set(serverapp: ServerApp, name: str) -> bool:
    """Whether an option is set: in a configuration, or as an argument."""
    return name in serverapp.config.ServerApp or serverapp.trait_has_value(name)


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
        _decide_for_each_kernel(serverapp.web_app.settings)
    if isinstance(serverapp.kernel_spec_manager, GatewayKernelSpecManager):
        ours += KERNELSPEC_HANDLERS
    base_url = serverapp.web_app.settings["base_url"]
    handlers = [(url_path_join(base_url, pattern), kind) for pattern, kind in ours]
    serverapp.web_app.add_handlers(".*$", handlers)


def _decide_for_each_kernel(settings: dict[str, Any]) -> None:
    """Where pages are joined to kernels by a class that is not ours, leave it to other kernels."""
    from jupyter_relay.server.kernel_connections import KernelConnections
    from jupyter_relay.server.websocket import GatewayWebSocketConnection

    name = "kernel_websocket_connection_class"
    found = settings[name]
    if not (isinstance(found, type) and issubclass(found, GatewayWebSocketConnection)):
        settings[name] = KernelConnections(ours=GatewayWebSocketConnection, others=found)


async def _start_jupyter_server_extension(serverapp: ServerApp) -> None:
    """Do what needs the running event loop: let each signal stop the server in order, and register
    the events that the user has described. And ask for the kernelspecs before the first page does:
    a gateway that is silent is to delay none."""
    from jupyter_relay.server.kernels import GatewayMappingKernelManager
    from jupyter_relay.server.kernelspecs import GatewayKernelSpecManager
    from jupyter_relay.server.signals import stop_at_each_signal

    if isinstance(serverapp.kernel_manager, GatewayMappingKernelManager):
        stop_at_each_signal(serverapp)
        await asyncio.to_thread(serverapp.kernel_manager.register_schemas)
    if isinstance(serverapp.kernel_spec_manager, GatewayKernelSpecManager):
        await serverapp.kernel_spec_manager.refresh()
