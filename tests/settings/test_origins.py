"""Where a token comes from: one place, and a whole one."""

from __future__ import annotations

import pytest

from jupyter_relay.errors import ConfigurationError
from jupyter_relay.settings.kinds import Value
from jupyter_relay.settings.option_names import OptionNames
from jupyter_relay.settings.origins import (
    FromCommand,
    FromFile,
    FromOAuth2,
    FromRenewer,
    FromVariable,
    Origin,
    check_installed,
)
from jupyter_relay.settings.settings import GatewaySettings
from jupyter_relay.settings.transport import TransportSettings

SECRET = "hunter2"
CLIENT: dict[str, Value] = {
    "oauth2_token_url": "https://id.example/token",
    "oauth2_client_id": "relay",
    "oauth2_client_secret": SECRET,
}
ID_SERVER = TransportSettings(
    name="the OAuth2 server id.example",
    url="https://id.example/token",
    accept_cookies=False,
    secrets=frozenset({SECRET}),
    names=OptionNames(given_in={"ca_certs": "GatewayClient.oauth2_ca_certs"}),
)


def renew(key: str, scheme: str | None, token: str) -> str:
    """A renewer that renews nothing."""
    return token


def make(address: str = "http://gpu.example", /, **given: Value) -> GatewaySettings:
    return GatewaySettings.make({"url": address, **given}, {}, renew=renew)


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ({}, None),
        ({"auth_token": "abc"}, None),
        ({"auth_token_env": "TOKEN"}, FromVariable("TOKEN")),
        ({"auth_token_env": "TOKEN", "auth_token": ""}, FromVariable("TOKEN")),
        ({"auth_token_file": "/run/token"}, FromFile("/run/token")),
        ({"auth_token_command": "print 'a b'"}, FromCommand(("print", "a b"))),
        (CLIENT, FromOAuth2(ID_SERVER, "relay", SECRET)),
        (
            {"gateway_token_renewer_class": "mine.Renewer", "auth_token": "abc"},
            FromRenewer(renew, "mine.Renewer", "abc"),
        ),
    ],
)
def test_token_source_is_chosen_by_its_option(
    given: dict[str, Value], origin: Origin | None
) -> None:
    assert make(**given).credentials.token_origin == origin


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"auth_token": "x", "auth_token_env": "TOKEN"}, ("auth_token", "auth_token_env")),
        ({"auth_token_env": "A", "auth_token_file": "b"}, ("auth_token_env", "auth_token_file")),
        (
            {**CLIENT, "auth_token_command": "print"},
            ("auth_token_command", "oauth2_token_url"),
        ),
        (
            {"auth_token_file": "b", "gateway_token_renewer_class": "mine.Renewer"},
            ("auth_token_file", "gateway_token_renewer_class"),
        ),
    ],
)
def test_token_sources_beyond_one_are_refused(
    given: dict[str, Value], names: tuple[str, str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(**given)
    assert all(f"GatewayClient.{name} " in str(caught.value) for name in names)


def test_token_sources_beyond_one_are_named_as_they_were_set() -> None:
    given = {"url": "http://gpu.example", "auth_token": SECRET, "auth_token_file": "/run/token"}
    with pytest.raises(ConfigurationError) as caught:
        GatewaySettings.make(given, {}, variables={"auth_token"})
    assert str(caught.value).startswith(
        "JUPYTER_GATEWAY_AUTH_TOKEN and GatewayClient.auth_token_file are both set;"
    )


def test_token_in_the_url_counts_as_a_source() -> None:
    with pytest.raises(ConfigurationError, match=r"^The token in GatewayClient\.url and Gateway"):
        make(f"http://gpu.example?token={SECRET}", auth_token_env="TOKEN")


@pytest.mark.parametrize(
    ("changed", "option"),
    [
        ({"oauth2_token_url": "http://id.example/token"}, "oauth2_token_url"),
        ({"oauth2_token_url": f"https://relay:{SECRET}@id.example/token"}, "oauth2_token_url"),
        ({"oauth2_client_id": None}, "oauth2_client_id"),
        ({"oauth2_client_secret": None}, "oauth2_client_secret"),
    ],
)
def test_oauth2_client_that_is_incomplete_is_refused(
    changed: dict[str, Value], option: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(**{**CLIENT, **changed})
    assert caught.value.option == option
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("option", ["oauth2_client_id", "oauth2_scope", "oauth2_ca_certs"])
@pytest.mark.parametrize("beside", [{}, {"auth_token": SECRET}])
def test_oauth2_client_without_its_server_is_refused(option: str, beside: dict[str, Value]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(**{option: "relay", **beside})
    assert caught.value.option == "oauth2_token_url"
    assert str(caught.value) == (
        f"GatewayClient.{option} is set, and GatewayClient.oauth2_token_url, without which it "
        "means nothing, is not."
    )


@pytest.mark.parametrize("host", ["127.0.0.1:8", "[::1]", "localhost"])
def test_token_url_of_this_machine_needs_no_tls(host: str) -> None:
    url = f"http://{host}/token"
    assert make(**{**CLIENT, "oauth2_token_url": url}).credentials.token_origin is not None


def test_oauth2_client_with_a_refresh_token_needs_no_secret() -> None:
    given = {**CLIENT, "oauth2_client_secret": None, "oauth2_refresh_token": SECRET}
    assert make(**given).credentials.token_origin is not None


def test_renewer_class_in_plain_settings_is_refused_and_not_ignored() -> None:
    given = {"url": "http://gpu.example", "gateway_token_renewer_class": "mine.Renewer"}
    with pytest.raises(ConfigurationError, match="renewer"):
        GatewaySettings.make(given, {})


@pytest.mark.parametrize("token", ["a\nb", "a\r\nX-Admin: yes", "a\x00b"])
def test_static_token_with_a_control_character_is_refused(token: str) -> None:
    with pytest.raises(ConfigurationError, match=r"auth_token .* must be a text of one line"):
        make(auth_token=token)


def test_token_sources_show_no_secret() -> None:
    given = {**CLIENT, "oauth2_refresh_token": SECRET}
    for settings in (
        make(**given),
        make(auth_token_command=["print", SECRET]),
        make(auth_token=SECRET, gateway_token_renewer_class="mine.Renewer"),
        GatewaySettings.make({"url": "http://gpu.example", "auth_token_env": "T"}, {"T": SECRET}),
    ):
        assert SECRET not in repr(settings)
        assert SECRET not in str(settings.credentials.token_origin)


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        (FromVariable("TOKEN"), "the variable TOKEN (auth_token_env)"),
        (FromFile("/run/token"), "the file /run/token (auth_token_file)"),
        (FromCommand(("print", SECRET)), "the command print (auth_token_command)"),
        (FromOAuth2(ID_SERVER, "relay"), "the OAuth2 server id.example (oauth2_token_url)"),
        (FromRenewer(renew, "mine.Renewer"), "mine.Renewer (gateway_token_renewer_class)"),
    ],
)
def test_token_source_is_called_by_its_option(origin: Origin, said: str) -> None:
    assert str(origin) == said


@pytest.mark.parametrize("installed", [True, False])
def test_oauth2_server_without_oauthlib_is_refused_by_its_option(
    installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = object() if installed else None
    monkeypatch.setattr("jupyter_relay.settings.origins.find_spec", lambda _: found)
    check_installed(FromFile("/run/token"))
    check_installed(None)
    if installed:
        check_installed(FromOAuth2(ID_SERVER, "relay"))
        return
    with pytest.raises(
        ConfigurationError, match=r"^GatewayClient\.oauth2_token_url needs"
    ) as caught:
        check_installed(FromOAuth2(ID_SERVER, "relay"))
    assert caught.value.option == "oauth2_token_url"
