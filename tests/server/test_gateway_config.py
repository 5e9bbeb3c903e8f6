"""The options of a server's gateway, as Jupyter Server's own class has them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from jupyter_server.gateway.gateway_client import GatewayClient as BuiltInGatewayClient
from traitlets.config import Config, Configurable

from jupyter_relay.config import GatewayClient
from jupyter_relay.errors import ConfigurationError
from jupyter_relay.server.gateway_config import GatewayConfig, options_of

URL = "http://ada:secret@gateway.example/base?token=secret"


@pytest.fixture(autouse=True)
def no_instance(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test finds the instance of another, nor a variable."""
    for name in ("JUPYTER_GATEWAY_URL", "JUPYTER_GATEWAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    GatewayConfig.withdraw()
    yield
    GatewayConfig.withdraw()


class Server(Configurable):
    """What has a configuration, as a server has one."""

    gateway_config: GatewayConfig | None = None


def server_with(**options: object) -> Server:
    """Return a server with these options of its gateway."""
    return Server(config=Config(GatewayClient=options))


def test_install_with_url_makes_instance_that_jupyter_server_finds() -> None:
    server = server_with(url=URL)
    installed = GatewayConfig.install(server)
    assert BuiltInGatewayClient.instance() is installed
    assert installed.gateway_enabled
    assert installed.options.url == URL


def test_install_with_secrets_in_url_keeps_them_out_of_its_url() -> None:
    config = GatewayConfig.install(server_with(url=URL))
    assert config.url == "http://gateway.example/base"
    assert config.ws_url == "ws://gateway.example/base"
    assert (config.http_user, config.http_pwd) == ("ada", "secret")


def test_install_with_values_refused_by_built_in_class_omits_them() -> None:
    config = GatewayConfig.install(
        server_with(url="http://gateway.example", auth_token_command=["get", "token"])
    )
    assert not config.has_trait("auth_token_command")
    assert config.options.auth_token_command == ("get", "token")  # type: ignore[attr-defined]  # made from the table of options


def test_install_with_invalid_option_raises() -> None:
    with pytest.raises(ConfigurationError):
        GatewayConfig.install(server_with(url="ftp://gateway.example"))


def test_withdraw_after_install_leaves_instance_to_built_in_class() -> None:
    GatewayConfig.install(server_with(url=URL))
    GatewayConfig.withdraw()
    assert type(BuiltInGatewayClient.instance()) is BuiltInGatewayClient


def test_options_of_manager_in_server_are_those_the_server_read() -> None:
    server = server_with(url=URL)
    server.gateway_config = GatewayConfig.install(server)
    assert options_of(Configurable(parent=server)) is server.gateway_config.options


def test_options_of_manager_without_installed_config_are_read() -> None:
    options = options_of(Configurable(parent=server_with(url=URL)))
    assert isinstance(options, GatewayClient)
    assert options.url == URL
