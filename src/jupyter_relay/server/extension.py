"""The switch: with a gateway configured, the server uses our classes; else it is left alone."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from traitlets import Bunch, TraitError

from jupyter_relay.errors import ConfigurationError

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp
    from tornado.web import RequestHandler

    from jupyter_relay.server.classes import Classes

IN_PAGE_CONFIG: Final = "jupyterRelay"
"""What a page's configuration has where the kernelspecs are those of a gateway. Without it our
JupyterLab extension does nothing."""


def _link_jupyter_server_extension(serverapp: ServerApp) -> None:
    """Set the four classes, before the server makes its managers; all of them, or none.

    A setting that makes no sense stops the server with one line.
    """
    from jupyter_relay.server.gateway_config import GatewayConfig
    from jupyter_relay.server.inherited_options import unused_options

    _link_others(serverapp)
    try:
        gateway = GatewayConfig.install(serverapp)
    except (ConfigurationError, TraitError) as error:  # ours, or that of the built-in class
        serverapp.log.critical("%s", error)
        serverapp.exit(1)
    if not gateway.gateway_enabled:
        return
    from jupyter_relay.server.classes import OURS, choose
    from jupyter_relay.server.kernel import GatewayKernelManager
    from jupyter_relay.server.relay import make_relay

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
    gateway.relay = make_relay(gateway.options, serverapp, log=serverapp.log)
    _use(serverapp, choice.to_set, given)


def _use(serverapp: ServerApp, to_set: Classes, given: Classes) -> None:
    """Set classes, and set them again when the server returns to those that were ``given``.

    It reads its configuration once more for the application that it was started as, such as
    JupyterLab, after all extensions are linked.
    """

    def set_again(change: Bunch) -> None:
        if change.new is given.get(change.name):
            setattr(serverapp, change.name, to_set[change.name])

    for name, value in to_set.items():
        setattr(serverapp, name, value)
    serverapp.observe(set_again, names=list(to_set))


def _is_set(serverapp: ServerApp, name: str) -> bool:
    """Whether an option is set: in a configuration, or as an argument."""
    return name in serverapp.config.ServerApp or serverapp.trait_has_value(name)


def _link_others(serverapp: ServerApp) -> None:
    """Link all other extensions before the classes are chosen: they set classes when they are
    linked, and applications, such as JupyterLab, bring the options of their configuration files
    only then. An extension that is linked already stays as it is."""
    manager = serverapp.extension_manager
    for name in manager.sorted_extensions:
        if name.partition(".")[0] != __name__.partition(".")[0]:
            manager.link_extension(name)


def _load_jupyter_server_extension(serverapp: ServerApp) -> None:
    """Put our handlers before the server's, and our events beside its own, for what is in use."""
    if not serverapp.gateway_config.gateway_enabled:
        return
    from jupyter_server.utils import url_path_join

    from jupyter_relay.server.classes import replaced_line
    from jupyter_relay.server.events import kernelspecs, links
    from jupyter_relay.server.http.handlers import KERNEL_HANDLERS, KERNELSPEC_HANDLERS
    from jupyter_relay.server.kernels import GatewayMappingKernelManager
    from jupyter_relay.server.kernelspecs import GatewayKernelSpecManager

    line = replaced_line(_in_use(serverapp))
    if line:
        serverapp.log.warning("%s", line)
    ours: list[tuple[str, type[RequestHandler]]] = []
    if isinstance(serverapp.kernel_manager, GatewayMappingKernelManager):
        links.register(serverapp.event_logger)
        ours += KERNEL_HANDLERS
    if isinstance(serverapp.kernel_spec_manager, GatewayKernelSpecManager):
        kernelspecs.register(serverapp.event_logger)
        ours += KERNELSPEC_HANDLERS
        # As JupyterLab and Notebook have it in their pages.
        serverapp.web_app.settings.setdefault("page_config_data", {})[IN_PAGE_CONFIG] = True
    base_url = serverapp.web_app.settings["base_url"]
    handlers = [(url_path_join(base_url, pattern), kind) for pattern, kind in ours]
    serverapp.web_app.add_handlers(".*$", handlers)


def _in_use(serverapp: ServerApp) -> dict[str, type]:
    """The classes that the server has made its managers of, by the options that name them."""
    return {
        "kernel_manager_class": type(serverapp.kernel_manager),
        "kernel_spec_manager_class": type(serverapp.kernel_spec_manager),
        "session_manager_class": type(serverapp.session_manager),
        "kernel_websocket_connection_class": serverapp.web_app.settings[
            "kernel_websocket_connection_class"
        ],
    }


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
