"""The gateway options of a server, read once, also as the class that Jupyter Server expects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_server.gateway.gateway_client import GatewayClient as BuiltInGatewayClient
from traitlets.config import Config, Configurable

from jupyter_relay.config import GatewayClient
from jupyter_relay.settings.options import OPTIONS

if TYPE_CHECKING:
    from jupyter_relay.server.relay import Relay


class GatewayConfig(BuiltInGatewayClient):
    """The ``gateway_config`` of a server: Jupyter Server's own class, with the options that it has.

    It gets only values that it accepts, so that it never refuses one, and the URL without secrets,
    since the server prints it. ``options`` has all options as they were given. Raises
    `ConfigurationError` for a value that makes no sense.
    """

    def __init__(self, *, options: GatewayClient, **kwargs: Any) -> None:
        super().__init__(config=Config(GatewayClient=self._values_for_built_in(options)), **kwargs)
        self.options = options
        self.relay: Relay | None = None
        """What the server has of the gateway; set when the extension is linked, if ours is used."""

    @classmethod
    def install(cls, server: Configurable) -> GatewayConfig:
        """Read the options of a server, and make the instance that the server will find.

        An instance of another server in this process stays that server's.
        """
        options = GatewayClient(parent=server)
        options.check()
        cls.withdraw()
        config: GatewayConfig = cls.instance(parent=server, options=options)
        return config

    @classmethod
    def withdraw(cls) -> None:
        """Remove the instance, so that the server makes one of its own class."""
        for kind in (cls, BuiltInGatewayClient):
            kind.clear_instance()

    @classmethod
    def _values_for_built_in(cls, options: GatewayClient) -> dict[str, object]:
        known = cls.class_traits(config=True)
        values = {
            option.name: getattr(options, option.name)
            for option in OPTIONS
            if option.name in known and option.instead is None
        }
        if options.configured:
            settings = options.settings()
            values |= {
                "url": settings.url.partition("?")[0],
                "ws_url": settings.endpoints.ws_url.partition("?")[0],
                "http_user": settings.credentials.http_user,
                "http_pwd": settings.credentials.http_pwd,
                "auth_token": settings.credentials.auth_token,
                "allowed_envs": ",".join(sorted(settings.start.rules.allowed)),
            }
        return {
            name: value
            for name, value in values.items()
            if value is not None or known[name].allow_none
        }


def options_of(manager: Configurable) -> GatewayClient:
    """Return the options of a manager's server; they are read if the server has not read them."""
    config = getattr(manager.parent, "gateway_config", None)
    if isinstance(config, GatewayConfig):
        return config.options
    return GatewayClient(parent=manager.parent or manager)
