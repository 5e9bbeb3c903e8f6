"""The options of a gateway: their table, what each takes, and the settings that result."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from jupyter_relay.errors import ConfigurationError
from jupyter_relay.link.settings import LinkSettings
from jupyter_relay.settings.address import EndpointSettings
from jupyter_relay.settings.credentials import CredentialSettings
from jupyter_relay.settings.kinds import Kind, Value
from jupyter_relay.settings.options import OPTIONS, Option
from jupyter_relay.settings.origins import FromOAuth2
from jupyter_relay.settings.settings import GatewaySettings
from jupyter_relay.settings.start import StartSettings
from jupyter_relay.settings.transport import TransportSettings

SECRET = "hunter2"
URL = "http://gpu.example"

NO_VALUES: tuple[object, ...] = ([], ["a"], {}, {"a": "b"}, b"a", ("a",), object())
"""What no option takes."""

BAD: dict[Kind, tuple[object, ...]] = {
    Kind.TEXT: (True, 1.5, "two\nlines", "nul\0"),
    Kind.SECONDS: ("soon", "-1", -0.5, "nan", "inf", float("inf"), True, 10**400),
    Kind.COUNT: ("many", "-1", -1, "1.5", 1.5, float("inf"), float("nan"), True),
    Kind.FLAG: ("perhaps", "2", 2, "truee"),
    Kind.HTTP_URL: ("gpu.example", "ftp://gpu", "http://", "http://a b", "http://gpu:port", 7),
    Kind.WS_URL: ("http://gpu.example", "gpu", "ws://", "wss://:8", "ws://[::1", "ws://u:p@/"),
    Kind.PATH: ("http://gpu/api", "/api?a=1", "/api#a", "/a b", "\\api", True),
    Kind.HEADER: ("X Token", "X-Token:", "Tökèn", "X\nY"),
    Kind.HEADERS: (
        *("{", "[]", '{"a": 1}', "null", "a: b", 7),
        *('{"a b": ""}', '{"": "a"}', '{"a": "b\\r\\nc: d"}'),
    ),
    Kind.COMMAND: ("a 'b", 7, True, [], ["a", 7]),
    Kind.NAMES: ("A=B", "a b", "A;B", "1A", "[A]", "A-B", "two\nlines", True, 1.5),
    Kind.VALUES: ("unsafe", "none", 7, True),
    Kind.ON_EXIT: ("delete", "keep busy", "keepbusy", 7, True),
    Kind.CLASS: ("Renewer", "a b.C", "a..C", 7, ".C"),
}

GOOD: dict[Kind, tuple[tuple[Value, Value], ...]] = {
    Kind.TEXT: (("", ""), ("a b", "a b"), (7, "7"), ("from a file\n", "from a file")),
    Kind.SECONDS: (("1.5", 1.5), (0, 0.0), (3, 3.0), ("1e3", 1000.0)),
    Kind.COUNT: (("7", 7), (0, 0), (3.0, 3), (10**400, 10**400)),
    Kind.FLAG: (
        *((text, True) for text in ("1", "true", "TRUE", "Yes", " on ", 1, True)),
        *((text, False) for text in ("0", "False", "NO", "off", 0, False)),
    ),
    Kind.HTTP_URL: ((" https://gpu/x ", "https://gpu/x"), ("HTTP://gpu:8", "HTTP://gpu:8")),
    Kind.WS_URL: (("wss://gpu/x", "wss://gpu/x"),),
    Kind.PATH: (("/api/kernels", "/api/kernels"), (" a/%20/ ", "a/%20/")),
    Kind.HEADER: (("X-Token", "X-Token"),),
    Kind.HEADERS: (('{"A": "b"}', '{"A": "b"}'),),
    Kind.COMMAND: (("a 'b c'", ("a", "b c")), (["a", "b c"], ("a", "b c"))),
    Kind.NAMES: (("", ""), ("A, b_1 ,,", "A, b_1 ,,"), ("MY_*,*_?", "MY_*,*_?")),
    Kind.VALUES: (("safe", "safe"), (" Any ", "any")),
    Kind.ON_EXIT: (("shutdown", "shutdown"), (" Keep ", "keep"), ("KEEP-BUSY", "keep-busy")),
    Kind.CLASS: ((" mine.Renewer ", "mine.Renewer"), (dict, dict)),
}

VARIABLES = {
    "launch_timeout": "KERNEL_LAUNCH_TIMEOUT",
    "gateway_retry_interval": "JUPYTER_GATEWAY_RETRY_INTERVAL",
    "gateway_retry_interval_max": "JUPYTER_GATEWAY_RETRY_INTERVAL_MAX",
    "gateway_retry_max": "JUPYTER_GATEWAY_RETRY_MAX",
    "gateway_token_renewer_class": "JUPYTER_GATEWAY_TOKEN_RENEWER_CLASS",
}
"""The environment variables of Jupyter Server that are not simply the option's name."""


def make(address: str = URL, /, **given: Value) -> GatewaySettings:
    return GatewaySettings.make({"url": address, **given}, {})


# The table.


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_option_has_its_variable_help_and_a_default_that_it_takes_itself(option: Option) -> None:
    assert option.variable == VARIABLES.get(option.name, "JUPYTER_GATEWAY_" + option.name.upper())
    assert option.help.endswith(".")
    assert option.read(option.default) == option.default


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_option_value_of_the_wrong_kind_is_refused_by_the_options_name(option: Option) -> None:
    lists = (["a"], ("a",))
    no_values = [v for v in NO_VALUES if option.kind is not Kind.COMMAND or v not in lists]
    for bad in (*BAD[option.kind], *no_values):
        with pytest.raises(ConfigurationError) as caught:
            option.read(bad)
        assert caught.value.option == option.name
        assert str(caught.value) == (
            f"GatewayClient.{option.name} ({option.variable}) must be {option.kind.value}."
        )


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_option_value_of_the_right_kind_is_read(option: Option) -> None:
    for given, read in GOOD[option.kind]:
        value = option.read(given)
        assert value == read
        assert type(value) is type(read)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_option_without_a_value_has_its_default(option: Option) -> None:
    nothing: tuple[Value, ...] = (None, "None")
    if option.kind not in {Kind.TEXT, Kind.NAMES}:
        nothing = (*nothing, "", "  ")
    for given in nothing:
        assert option.read(given) is None
        if option.name != "url":
            # The one option that has nothing as a choice.
            credentials = replace(make().credentials, auth_scheme=None)
            bare = replace(make(), credentials=credentials)
            expected = bare if option.name == "auth_scheme" else make()
            assert make(**{option.name: given}) == expected


def test_option_error_never_quotes_the_bad_value() -> None:
    for name in ("url", "ws_url", "headers"):
        with pytest.raises(ConfigurationError) as caught:
            make(**{name: f"https//u:{SECRET}@gpu?token={SECRET}"})
        assert SECRET not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


def test_option_table_and_the_settings_agree() -> None:
    """Each option changes something, and each setting is an option or made from some."""
    names = {option.name for option in OPTIONS}
    parts = (EndpointSettings, TransportSettings, CredentialSettings, StartSettings)
    own = {field.name for part in (GatewaySettings, *parts) for field in fields(part)}
    in_link = {
        "gateway_retry_interval",
        "gateway_retry_interval_max",
        "gateway_retry_max",
        "linger",
        "outbox_messages",
        "outbox_bytes",
    }
    in_kernel_env = {"launch_timeout", "launch_timeout_pad"}
    in_token_origin = {
        "auth_token_env",
        "auth_token_file",
        "auth_token_command",
        "oauth2_token_url",
        "oauth2_client_id",
        "oauth2_client_secret",
        "oauth2_refresh_token",
        "oauth2_scope",
        "oauth2_audience",
        "oauth2_ca_certs",
        "gateway_token_renewer_class",
    }
    deprecated = {option.name for option in OPTIONS if option.instead is not None}
    in_rules = {"allowed_envs", "protected_envs", "env_values"}
    assert names - own == in_link | in_kernel_env | in_token_origin | in_rules | deprecated
    assert own - names == {
        "endpoints", "transport", "credentials", "link", "start",
        "name", "gateway", "names", "secrets", "environment",
        "kernel_env", "proxy", "ws_proxy", "token_origin", "rules", "left_out",
    }  # fmt: skip


def test_link_defaults_are_those_of_the_option_table() -> None:
    assert make().link == LinkSettings()


def test_deprecated_option_stands_for_an_existing_option() -> None:
    names = {option.name for option in OPTIONS if option.instead is None}
    assert {option.instead for option in OPTIONS} - {None} <= names


def test_settings_receive_the_value_of_every_option() -> None:
    link = make(
        gateway_retry_interval=2,
        gateway_retry_interval_max=9,
        gateway_retry_max="5",
        linger=7,
        outbox_messages=11,
        outbox_bytes=12,
    ).link
    assert (link.backoff.base, link.backoff.cap, link.retry_max) == (2.0, 9.0, 5)
    assert (link.linger, link.outbox_messages, link.outbox_bytes) == (7.0, 11, 12)
    settings = make(
        validate_cert="no",
        headers='{"X-A": "b"}',
        allowed_envs=" A, B ,,",
        ping_interval="0",
        client_cert="/c.pem",
    )
    assert settings.transport.validate_cert is False
    assert settings.credentials.headers == {"X-A": "b"}
    assert settings.start.rules.allowed == {"A", "B"}
    assert settings.transport.ping_interval == 0.0
    assert settings.transport.client_cert == "/c.pem"


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ({"allowed_envs": "A"}, {"A"}),
        ({"env_whitelist": "B"}, {"B"}),
        ({"allowed_envs": "A", "env_whitelist": "B"}, {"A"}),
        ({"allowed_envs": "", "env_whitelist": "B"}, set()),
        ({}, set()),
    ],
)
def test_deprecated_option_is_used_where_the_other_is_not_given(
    given: dict[str, Value], allowed: set[str]
) -> None:
    assert make(**given).start.rules.allowed == allowed


# Addresses.


@pytest.mark.parametrize("url", [None, "", " "])
def test_settings_without_a_url_have_no_gateway(url: str | None) -> None:
    with pytest.raises(ConfigurationError) as caught:
        GatewaySettings.make({"url": url}, {})
    assert caught.value.option == "url"


@pytest.mark.parametrize(
    ("given", "url", "ws_url"),
    [
        ("http://gpu", "http://gpu", "ws://gpu"),
        ("http://gpu/", "http://gpu", "ws://gpu"),
        ("https://gpu:8443/", "https://gpu:8443", "wss://gpu:8443"),
        ("https://gpu/a/b", "https://gpu/a/b", "wss://gpu/a/b"),
        ("https://gpu/A/B//", "https://gpu/A/B", "wss://gpu/A/B"),
        ("https://gpu//A//B///", "https://gpu//A//B", "wss://gpu//A//B"),
        ("HTTPS://GPU.Example/Http/x", "https://GPU.Example/Http/x", "wss://GPU.Example/Http/x"),
        ("http://http.example/http", "http://http.example/http", "ws://http.example/http"),
        ("http://gpu/?token=t", "http://gpu", "ws://gpu"),
        ("http://gpu/?a=1&token=t", "http://gpu?a=1", "ws://gpu?a=1"),
        (
            "http://gpu?a=%20+%2F&b&c=&tok%65n=t",
            "http://gpu?a=%20+%2F&b&c=",
            "ws://gpu?a=%20+%2F&b&c=",
        ),
        ("http://gpu?token=t&token=u&a=1", "http://gpu?a=1", "ws://gpu?a=1"),
        ("http://u:p@gpu/x#part", "http://gpu/x", "ws://gpu/x"),
        ("http://u:p%40x@gpu:1/%7Eu%2Fv", "http://gpu:1/%7Eu%2Fv", "ws://gpu:1/%7Eu%2Fv"),
        ("http://[::1]:8888/x", "http://[::1]:8888/x", "ws://[::1]:8888/x"),
        ("http://u:p@[2001:DB8::1]/x/", "http://[2001:DB8::1]/x", "ws://[2001:DB8::1]/x"),
    ],
)
def test_addresses(given: str, url: str, ws_url: str) -> None:
    settings = make(given)
    assert (settings.url, settings.endpoints.ws_url) == (url, ws_url)
    assert settings.name == url.partition("?")[0]
    assert "?" not in repr(settings)


@pytest.mark.parametrize(
    ("given", "ws_url"),
    [
        ("WSS://Ws.Example/Path/", "wss://Ws.Example/Path"),
        ("ws://ws.example:81", "ws://ws.example:81"),
        ("ws://u:p@[::1]:81/x?a=%2F&token=t", "ws://[::1]:81/x?a=%2F"),
        ("ws://gpu/http/ws", "ws://gpu/http/ws"),
    ],
)
def test_websockets_may_be_elsewhere(given: str, ws_url: str) -> None:
    settings = make("https://gpu/base", ws_url=given)
    assert (settings.url, settings.endpoints.ws_url) == ("https://gpu/base", ws_url)


def test_url_with_credentials_is_stored_without_them() -> None:
    settings = make("http://ann%40x:p%3Aw@gpu/?token=t%2B1&a=")
    assert settings.url == "http://gpu?a="
    assert (
        settings.credentials.http_user,
        settings.credentials.http_pwd,
        settings.credentials.auth_token,
    ) == ("ann@x", "p:w", "t+1")


def test_options_win_over_the_address() -> None:
    settings = make("http://u:p@gpu?token=t", http_user="ann", http_pwd="pw", auth_token="option")
    assert (
        settings.credentials.http_user,
        settings.credentials.http_pwd,
        settings.credentials.auth_token,
    ) == ("ann", "pw", "option")


def test_settings_with_a_name_name_the_gateway() -> None:
    assert GatewaySettings.make({"url": URL}, {}, name="gpu").name == "gpu"


# Secrets.


def test_secrets_do_not_show() -> None:
    settings = make(
        f"http://u:{SECRET}@gpu?token={SECRET}",
        headers=f'{{"Authorization": "{SECRET}"}}',
        auth_token=SECRET,
        http_pwd=SECRET,
        ws_url=f"ws://u:{SECRET}@gpu?token={SECRET}",
    )
    kept = GatewaySettings.make({"url": URL}, {"KERNEL_PASSWORD": SECRET})
    assert SECRET not in repr(settings) + repr(kept)


# Time-outs and what kernels are told.


@pytest.mark.parametrize(
    ("launch", "request_", "pad", "told", "waits"),
    [
        (40, 42, 2, "40", 42.0),
        (100, 42, 2, "100", 102.0),
        (40, 100, 2, "98", 100.0),
        (40, 20, 0, "40", 40.0),
    ],
)
def test_request_timeout_is_as_long_as_the_launch_timeout_and_its_pad(
    launch: float, request_: float, pad: float, told: str, waits: float
) -> None:
    settings = make(launch_timeout=launch, request_timeout=request_, launch_timeout_pad=pad)
    assert settings.start.kernel_env["KERNEL_LAUNCH_TIMEOUT"] == told
    assert settings.transport.request_timeout == waits


def test_kernels_are_told_what_may_travel() -> None:
    environment = {"KERNEL_A": "1", "HOME": "/h", "PROXY": "p", "KERNEL_LAUNCH_TIMEOUT": "7"}
    settings = GatewaySettings.make({"url": URL, "allowed_envs": "PROXY"}, environment)
    assert settings.start.kernel_env == {
        "KERNEL_A": "1",
        "PROXY": "p",
        "KERNEL_LAUNCH_TIMEOUT": "40",
    }
    assert environment["KERNEL_LAUNCH_TIMEOUT"] == "7"


def test_http_user_is_the_kernels_user_unless_the_environment_names_another() -> None:
    assert make(http_user="ann").start.kernel_env["KERNEL_USERNAME"] == "ann"
    other = GatewaySettings.make({"url": URL, "http_user": "ann"}, {"KERNEL_USERNAME": "bob"})
    assert other.start.kernel_env["KERNEL_USERNAME"] == "bob"
    assert "KERNEL_USERNAME" not in make().start.kernel_env


# Proxies.


def test_settings_of_a_plain_dictionary_have_the_proxies_of_the_environment() -> None:
    environment = {"HTTP_PROXY": "http://http.example:1", "HTTPS_PROXY": "https.example:2"}
    given: dict[str, Value] = {
        "url": URL,
        "ws_url": "wss://gpu.example",
        "oauth2_token_url": "https://id.example/token",
        "oauth2_client_id": "relay",
        "oauth2_client_secret": SECRET,
    }
    settings = GatewaySettings.make(given, environment)
    assert settings.transport.proxy == "http://http.example:1"
    assert settings.transport.ws_proxy == "http://https.example:2"
    origin = settings.credentials.token_origin
    assert isinstance(origin, FromOAuth2)
    assert origin.transport.proxy == "http://https.example:2"
    direct = GatewaySettings.make(given, environment | {"NO_PROXY": "*"})
    assert direct.transport.proxy is direct.transport.ws_proxy is None


def test_transport_secrets_are_those_of_its_credentials_and_urls() -> None:
    environment = {"HTTP_PROXY": "http://ann:of-the-proxy@proxy.example"}
    settings = make("http://ann:password@gpu?key=in-the-url", auth_token="a-token")
    assert settings.transport.secrets == {
        "a-token", "password", "ann:password", "in-the-url"
    }  # fmt: skip
    settings = GatewaySettings.make({"url": URL}, environment)
    assert settings.transport.secrets == {"of-the-proxy", "ann:of-the-proxy"}
