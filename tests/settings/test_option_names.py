"""What options are called in sentences, whatever the name of their gateway."""

from __future__ import annotations

import pytest

from jupyter_relay.errors import ConfigurationError, VariableRefused
from jupyter_relay.settings.kinds import Value
from jupyter_relay.settings.option_names import GATEWAY_CLIENT, OptionNames
from jupyter_relay.settings.settings import GatewaySettings

GPU = OptionNames.in_dictionary('GatewayFleet.gateways["gpu"]')
CLIENT: dict[str, Value] = {
    "oauth2_token_url": "https://id.example/token",
    "oauth2_client_id": "relay",
    "oauth2_client_secret": "hunter2",
}


def make(**given: Value) -> GatewaySettings:
    return GatewaySettings.make(given, {}, name="gpu", names=GPU)


def test_option_is_called_by_its_trait_or_as_it_was_given() -> None:
    assert GATEWAY_CLIENT.of("url") == "GatewayClient.url"
    assert GATEWAY_CLIENT.given({"url": "JUPYTER_GATEWAY_URL"}).of("url") == "JUPYTER_GATEWAY_URL"
    assert GPU.of("url") == 'GatewayFleet.gateways["gpu"]["url"]'


def test_option_with_a_variable_names_it_in_all_of() -> None:
    assert GATEWAY_CLIENT.all_of("url", "JUPYTER_GATEWAY_URL") == (
        "GatewayClient.url (JUPYTER_GATEWAY_URL)"
    )
    assert GATEWAY_CLIENT.all_of("url", None) == "GatewayClient.url"
    assert GPU.all_of("url", "JUPYTER_GATEWAY_URL") == GPU.of("url")


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({}, "url"),
        ({"url": "gpu.example"}, "url"),
        ({"url": "http://gpu", "linger": "soon"}, "linger"),
        ({"url": "http://gpu", "auth_token": "a\u200bb"}, "auth_token"),
        ({"url": "http://gpu", "auth_token_env": "A", "auth_token_file": "b"}, "auth_token_file"),
        ({"url": "http://gpu", "gateway_token_renewer_class": "mine.Renewer"},
         "gateway_token_renewer_class"),
        ({"url": "http://gpu", "oauth2_client_id": "relay"}, "oauth2_client_id"),
        ({"url": "http://gpu", **CLIENT, "oauth2_token_url": "http://id.example"},
         "oauth2_token_url"),
        ({"url": "http://gpu", **CLIENT, "oauth2_token_url": "https://a:b@id.example"},
         "oauth2_client_secret"),
        ({"url": "http://gpu", **CLIENT, "oauth2_client_id": None}, "oauth2_client_id"),
        ({"url": "http://gpu", **CLIENT, "oauth2_client_secret": None}, "oauth2_refresh_token"),
    ],
)  # fmt: skip
def test_options_of_a_named_gateway_are_called_by_its_dictionary(
    given: dict[str, Value], option: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(**given)
    assert f'GatewayFleet.gateways["gpu"]["{option}"]' in str(caught.value)
    assert "GatewayClient" not in str(caught.value)
    assert "JUPYTER_GATEWAY" not in str(caught.value)


def test_parts_of_a_named_gateway_know_the_names_of_its_options() -> None:
    settings = make(url="http://u@gpu", **CLIENT)
    user = 'the user in GatewayFleet.gateways["gpu"]["url"]'
    for names in (settings.names, settings.transport.names, settings.credentials.names):
        assert names.of("ca_certs") == GPU.of("ca_certs")
        assert names.of("http_user") == user
    with pytest.raises(VariableRefused) as caught:
        settings.start.rules.check("KERNEL_X", "a$b")
    assert caught.value.hint.endswith(f"set {GPU.of('env_values')} to any.")
