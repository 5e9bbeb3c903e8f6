"""What extensions and subclasses read from the managers of Jupyter Server's own gateway client, by
its names.

``jupyter_server.gateway.managers`` is where the names come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tornado.websocket import WebSocketHandler
from traitlets.config import Config

from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.headless.built_in_names import BuiltInKernelNames, Model, endpoints_of
from jupyter_relay.rest.users import NotebookUser, kernel_user
from jupyter_relay.server.http.http_errors import http_errors
from jupyter_relay.server.pages.websocket import GatewayWebSocketConnection


class BuiltInServerKernelNames(BuiltInKernelNames):
    """The names of the manager of one kernel."""

    if TYPE_CHECKING:

        def model(self) -> Model: ...

    @property
    def kernel(self) -> Model | None:
        """The kernel's model as the REST API shows it; None without a kernel, as `has_kernel`
        says."""
        return self.model() if self.has_kernel else None

    async def refresh_model(self, model: Mapping[str, Any] | None = None) -> Model | None:
        """See `BuiltInKernelNames.refresh_model`. Raises HTTP errors."""
        with http_errors():
            return await super().refresh_model(model)

    def create_websocket_connection(
        self, websocket_handler: WebSocketHandler, config: Config | None = None
    ) -> GatewayWebSocketConnection:
        """Return what joins the websocket of a page to the kernel.

        It is of the server's own connection class if that is derived from ours. A proposal for
        Jupyter Server (its pull request 1601) has the handler of a websocket call this.
        """
        kind = websocket_handler.settings.get("kernel_websocket_connection_class")
        if kind is None or not issubclass(kind, GatewayWebSocketConnection):
            kind = GatewayWebSocketConnection
        connection: GatewayWebSocketConnection = kind(
            parent=self, websocket_handler=websocket_handler, config=config
        )
        return connection


class BuiltInMappingNames:
    """The names of the manager of all kernels."""

    if TYPE_CHECKING:
        gateway: Gateway

    @property
    def kernels_url(self) -> str:
        """The URL of all kernels on the gateway."""
        return endpoints_of(self.gateway).kernels


class BuiltInKernelSpecNames:
    """The names of the manager of kernelspecs."""

    if TYPE_CHECKING:
        gateway: Gateway

    @property
    def base_endpoint(self) -> str:
        """The URL of all kernelspecs on the gateway, for the user whom ``KERNEL_USERNAME`` or
        ``http_user`` names, if any."""
        user = kernel_user(self.gateway.settings.start, NotebookUser())
        return endpoints_of(self.gateway).kernelspecs(user)

    @property
    def base_resource_endpoint(self) -> str:
        """The URL below which the files of kernelspecs are found on the gateway."""
        return endpoints_of(self.gateway).resources
