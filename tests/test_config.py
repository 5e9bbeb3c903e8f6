"""The options in a configuration, on a command line and in the environment."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from jupyter_server.gateway.gateway_client import GatewayClient as BuiltInGatewayClient
from traitlets.config import Application, Config

from jupyter_relay.config import GatewayClient
from jupyter_relay.errors import ConfigurationError
from jupyter_relay.settings.kinds import Kind, Value
from jupyter_relay.settings.options import OPTIONS, Option

SECRET = "hunter2"

GIVEN: dict[Kind, tuple[str, Value]] = {
    Kind.TEXT: ("some text", "some text"),
    Kind.SECONDS: ("7.5", 7.5),
    Kind.COUNT: ("7", 7),
    Kind.FLAG: ("Off", False),
    Kind.HTTP_URL: ("HTTP://gateway.example/Path/", "HTTP://gateway.example/Path/"),
    Kind.WS_URL: ("ws://gateway.example", "ws://gateway.example"),
    Kind.PATH: ("/elsewhere", "/elsewhere"),
    Kind.HEADER: ("X-Token", "X-Token"),
    Kind.HEADERS: ('{"X-A": "b"}', '{"X-A": "b"}'),
    Kind.COMMAND: ("print 'a token'", ("print", "a token")),
    Kind.NAMES: ("A, MY_*", "A, MY_*"),
    Kind.VALUES: ("ANY", "any"),
    Kind.ON_EXIT: ("Keep-Busy", "keep-busy"),
    Kind.CLASS: ("mine.Renewer", "mine.Renewer"),
}
"""A text for each kind of option, and what it means."""

every_option = pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)


def application(*arguments: str) -> Application:
    """An application that reads its command line with the built-in class, as a server does."""
    app = Application(log=logging.getLogger("an-application"))
    app.classes = [BuiltInGatewayClient]
    app.parse_command_line(list(arguments))
    return app


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own settings."""
    for option in OPTIONS:
        if option.variable is not None:
            monkeypatch.delenv(option.variable, raising=False)


# Ways to give an option.


@every_option
def test_option_in_the_environment_is_read(option: Option, monkeypatch: pytest.MonkeyPatch) -> None:
    text, value = GIVEN[option.kind]
    if option.default is False:
        text, value = "ON", True
    assert option.variable is not None
    monkeypatch.setenv(option.variable, text)
    assert getattr(GatewayClient(), option.name) == value != option.default
    configured = GatewayClient(config=Config(GatewayClient={option.name: option.default}))
    assert getattr(configured, option.name) == option.default


@every_option
def test_option_on_the_command_line_is_read(option: Option) -> None:
    text, value = GIVEN[option.kind]
    app = application(f"--GatewayClient.{option.name}={text}")
    assert getattr(GatewayClient(parent=app), option.name) == value


@every_option
def test_option_in_a_configuration_file_is_read(option: Option, tmp_path: Path) -> None:
    text, value = GIVEN[option.kind]
    (tmp_path / "a.py").write_text(f"c.GatewayClient.{option.name} = {value!r}\n")
    (tmp_path / "b.json").write_text(json.dumps({"GatewayClient": {option.name: text}}))
    for name in ("a", "b"):
        app = application()
        app.load_config_file(name, str(tmp_path))
        assert getattr(GatewayClient(parent=app), option.name) == value


@every_option
def test_option_that_is_not_given_has_its_default(option: Option) -> None:
    assert getattr(GatewayClient(), option.name) == option.default


@every_option
def test_option_with_the_text_none_is_none(option: Option, monkeypatch: pytest.MonkeyPatch) -> None:
    app = application(f"--GatewayClient.{option.name}=None")
    assert getattr(GatewayClient(parent=app), option.name) is None
    assert option.variable is not None
    monkeypatch.setenv(option.variable, "None")
    assert getattr(GatewayClient(), option.name) is None


@pytest.mark.parametrize("name", ["validate_cert", "accept_cookies"])
@pytest.mark.parametrize("text", ["0", "false", "no", "off", "False", "FALSE", "No", "OFF"])
def test_flag_with_an_off_value_is_false(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"JUPYTER_GATEWAY_{name.upper()}", text)
    assert getattr(GatewayClient(url="http://gpu").settings({}).transport, name) is False


def test_option_that_a_command_line_gives_twice_is_refused_without_its_values() -> None:
    app = application("--GatewayClient.linger=hunter2", "--GatewayClient.linger=3")
    with pytest.raises(ConfigurationError, match=r"GatewayClient\.linger .* must be") as caught:
        GatewayClient(parent=app)
    assert "hunter2" not in str(caught.value)


def test_deprecated_option_is_read_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("JUPYTER_GATEWAY_ENV_WHITELIST", "A,B")
    options = GatewayClient(parent=application(), url="http://gpu")
    assert options.settings({"A": "1", "C": "2"}).start.kernel_env.keys() == {
        "A",
        "KERNEL_LAUNCH_TIMEOUT",
    }
    (told,) = caplog.messages
    assert told == (
        "GatewayClient.env_whitelist (JUPYTER_GATEWAY_ENV_WHITELIST) is deprecated, use "
        "GatewayClient.allowed_envs."
    )


# Beside the built-in class.

NOT_OURS = {
    "event_logger": "a part of a server, not an option; events go to the server's own logger",
}
OTHER_DEFAULTS = {
    "gateway_token_renewer_class": "none, where the built-in has a class that renews nothing",
    "accept_cookies": "on, so that kernels behind a load balancer work as they come",
    "gateway_retry_max": "goes on as long as anybody waits, so that no cell is lost to an outage",
}


def built_in() -> dict[str, object]:
    """The options of the built-in class and their defaults, where nothing is given."""
    client = BuiltInGatewayClient.instance()
    BuiltInGatewayClient.clear_instance()
    names = set(client.trait_names(config=True)) - NOT_OURS.keys()
    return {name: getattr(client, name) for name in names}


def test_built_in_option_is_one_of_ours_with_its_default() -> None:
    ours = {option.name: option.default for option in OPTIONS}
    # There, an empty text is how nothing is said.
    theirs = {name: None if value == "" else value for name, value in built_in().items()}
    assert len(theirs) == 25
    assert theirs.keys() <= ours.keys()
    differing = {name for name in theirs if ours[name] != theirs[name]}
    assert differing == OTHER_DEFAULTS.keys()
    assert not NOT_OURS.keys() & ours.keys()


def test_built_in_variable_is_that_of_the_same_option() -> None:
    ours = {option.name: option.variable for option in OPTIONS}
    for name in built_in():
        theirs = getattr(BuiltInGatewayClient, f"{name}_env", None)
        if name == "env_whitelist":  # the one whose variable has no attribute
            theirs = "JUPYTER_GATEWAY_ENV_WHITELIST"
        assert ours[name] == theirs, name


def test_settings_page_agrees_with_the_option_table() -> None:
    root = Path(__file__).resolve().parents[1]
    made = subprocess.run(
        [sys.executable, root / "tools" / "settings_page.py"], capture_output=True, check=True
    )
    page = made.stdout.decode()
    assert (root / "docs" / "settings.md").read_text(encoding="utf-8") == page, (
        "docs/settings.md is not what its table says: make settings-page"
    )
    for option in OPTIONS:
        assert page.count(f"| `{option.name}` | `{option.variable}` |") == 1


# What people are told of an option is where they have set it.


@pytest.mark.parametrize(
    ("token", "file", "called"),
    [
        ("a", None, "JUPYTER_GATEWAY_AUTH_TOKEN and JUPYTER_GATEWAY_AUTH_TOKEN_FILE are"),
        ("a", "/run/other", "JUPYTER_GATEWAY_AUTH_TOKEN and GatewayClient.auth_token_file are"),
    ],
)
def test_token_sources_beyond_one_are_called_by_where_they_were_set(
    token: str, file: str | None, called: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_GATEWAY_AUTH_TOKEN", token)
    monkeypatch.setenv("JUPYTER_GATEWAY_AUTH_TOKEN_FILE", "/run/token")
    options = GatewayClient(
        url="http://gateway", **({} if file is None else {"auth_token_file": file})
    )
    with pytest.raises(ConfigurationError, match=f"^{called}"):
        options.settings()


@pytest.mark.parametrize(
    ("environment", "called"),
    [
        ({}, "GatewayClient.auth_token and GatewayClient.auth_token_file are"),
        (
            {"JUPYTER_GATEWAY_AUTH_TOKEN": "a"},
            "JUPYTER_GATEWAY_AUTH_TOKEN and GatewayClient.auth_token_file are",
        ),
    ],
)
def test_settings_name_options_by_the_given_environment(
    environment: dict[str, str], called: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_GATEWAY_AUTH_TOKEN_FILE", "/run/token")
    options = GatewayClient(url="http://gateway", auth_token="a")
    with pytest.raises(ConfigurationError, match=f"^{called}"):
        options.settings(environment)


def test_bad_value_of_a_variable_that_another_way_wins_over_is_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JUPYTER_GATEWAY_LINGER", "soon")
    assert GatewayClient(url="http://gateway", linger=5).settings().link.linger == 5.0


# What nobody knows is told.


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("JUPYTER_GATEWAY_AUTH_TOKENS", "JUPYTER_GATEWAY_AUTH_TOKEN"),
        ("JUPYTER_GATEWAY_ULR", "JUPYTER_GATEWAY_URL"),
        ("JUPYTER_GATEWAY_GATEWAY_RETRY_MAX", "JUPYTER_GATEWAY_RETRY_MAX"),
        ("JUPYTER_GATEWAY_QQQQ", None),
    ],
)
def test_misspelt_variable_is_logged_with_the_nearest_name(
    variable: str,
    meant: str | None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(variable, SECRET)
    GatewayClient(log=logging.getLogger("of-a-test"))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    guess = f" (did you mean {meant}?)" if meant else ""
    assert record.getMessage() == f"No option is set by {variable}{guess}."


def test_misspelt_variables_are_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("AUTH_TOKENS", "ULR", "URL"):
        monkeypatch.setenv(f"JUPYTER_GATEWAY_{name}", "http://gateway")
    GatewayClient(log=logging.getLogger("of-a-test"))
    (record,) = caplog.records
    assert record.getMessage() == (
        "No option is set by JUPYTER_GATEWAY_AUTH_TOKENS (did you mean "
        "JUPYTER_GATEWAY_AUTH_TOKEN?), JUPYTER_GATEWAY_ULR (did you mean JUPYTER_GATEWAY_URL?)."
    )


def test_variable_of_each_option_is_known(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for option in OPTIONS:
        if option.variable is not None and option.instead is None:
            monkeypatch.setenv(option.variable, "")
    GatewayClient(log=logging.getLogger("of-a-test"))
    assert caplog.records == []


# The environment, beside the options.


def test_settings_have_the_proxies_and_do_not_show_a_password() -> None:
    options = GatewayClient(url="http://gateway", ws_url="wss://sockets")
    environment = {f"{name}_PROXY": f"http://{name}:{SECRET}@p:1" for name in ("HTTP", "HTTPS")}
    settings = options.settings(environment)
    assert settings.transport.proxy == f"http://HTTP:{SECRET}@p:1"
    assert settings.transport.ws_proxy == f"http://HTTPS:{SECRET}@p:1"
    assert SECRET not in repr(settings)
