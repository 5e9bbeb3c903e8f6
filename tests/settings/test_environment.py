"""Which environment variables go with a kernel's start: names, patterns, values."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_relay.errors import ConfigurationError, VariableRefused
from jupyter_relay.rest.users import NotebookUser, kernel_environment
from jupyter_relay.settings.environment import PROTECTED, Rules, choose
from jupyter_relay.settings.kinds import Value
from jupyter_relay.settings.settings import GatewaySettings

URL = "http://gpu.example"
LONG = "x" * 4097
UNSAFE = {
    "$": ("a$b", "has a $ in it"),
    "backtick": ("`id`", "has a backtick in it"),
    "CR": ("a\rb", "has a line break in it"),
    "LF": ("a\n", "has a line break in it"),
    "too long": (LONG, "is longer than 4,096 characters"),
}
NEVER: dict[str, tuple[Any, str]] = {
    "NUL": ("a\0b", "has a NUL character in it"),
    "number": (7, "is not a text"),
    "flag": (True, "is not a text"),
    "nothing": (None, "is not a text"),
    "list": (["secret"], "is not a text"),
    "no UTF-8": ("a\udcffb", "is not a text"),
}


def make(environment: dict[str, str] | None = None, /, **given: Value) -> GatewaySettings:
    return GatewaySettings.make({"url": URL, **given}, environment or {})


def rules(*allowed: str, **given: Any) -> Rules:  # noqa: ANN401  # fields
    return Rules(allowed=frozenset(allowed), **given)


# Names and patterns.


def test_choose_takes_kernel_variables_and_those_named_in_full() -> None:
    env = {"KERNEL_X": "1", "A": "2", "B": "3", "XKERNEL_": "4", "a": "5"}
    assert choose(rules("A"), env, {}).sent == {"KERNEL_X": "1", "A": "2"}


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        ("MY_*", {"MY_A", "MY_B"}),
        ("MY_?,OTHER", {"MY_A", "MY_B", "OTHER"}),
        ("*_A", {"MY_A"}),
        ("*", {"MY_A", "MY_B", "OTHER", "lower"}),
        ("my_*", set()),
    ],
)
@pytest.mark.parametrize("source", ["our environment", "request"])
def test_allowed_envs_pattern_matches_names_wherever_they_are_set(
    allowed: str, expected: set[str], source: str
) -> None:
    env = {"MY_A": "1", "MY_B": "2", "OTHER": "3", "lower": "4"}
    if source == "request":
        sent, _ = kernel_environment(make(allowed_envs=allowed).start, env, None)
    else:
        sent = dict(make(env, allowed_envs=allowed).start.kernel_env)
    assert sent.keys() - {"KERNEL_LAUNCH_TIMEOUT"} == expected


@pytest.mark.parametrize(
    "name",
    ["PATH", "Path", "HOME", "PWD", "_", "PYTHONPATH", "LD_LIBRARY_PATH", "CONDA_PREFIX",
     "JUPYTER_GATEWAY_AUTH_TOKEN", "JUPYTER_GATEWAY_URL", "JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN",
     "HTTPS_PROXY", "no_proxy", "KUBERNETES_SERVICE_HOST"],
)  # fmt: skip
def test_allowed_envs_pattern_matches_no_variable_that_describes_this_machine(name: str) -> None:
    env = {name: "value"}
    for allowed in ("*", name[:-1] + "?"):
        assert make(env, allowed_envs=allowed).start.kernel_env.keys() == {"KERNEL_LAUNCH_TIMEOUT"}
        assert kernel_environment(make(allowed_envs=allowed).start, env, None)[0].keys() == {
            "KERNEL_LAUNCH_TIMEOUT"
        }
    assert make(env, allowed_envs=name).start.kernel_env[name] == "value"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MY_TOKEN", "abc"),
        ("AWS_SECRET_ACCESS_KEY", "abc"),
        ("db_password", "abc"),
        ("OPENAI_API_KEY", "abc"),
        ("DATABASE_URL", "postgres://ann:hunter2@db.example/x"),
        ("PLAIN", "the-gateways-token"),
        ("WHERE_IT_COMES_FROM", "abc"),
    ],
)
def test_secret_variable_passes_by_no_pattern_and_is_named_once_without_its_value(
    name: str, value: str
) -> None:
    given = (
        {"auth_token_env": name}
        if name == "WHERE_IT_COMES_FROM"
        else {"auth_token": "the-gateways-token"}
    )
    settings = make({name: value}, allowed_envs="*", **given)
    assert name not in settings.start.kernel_env
    if name != "WHERE_IT_COMES_FROM":
        assert "only a pattern of allowed_envs" in settings.start.left_out[name]
    assert value not in str(settings.start.left_out)
    assert make({name: value}, allowed_envs=f"*, {name}", **given).start.kernel_env[name] == value


def test_options_that_are_no_names_are_refused() -> None:
    for text in ("A=B", "MY VAR", "A;B", "1A", "[A]"):
        for option in ("allowed_envs", "env_whitelist", "protected_envs"):
            with pytest.raises(ConfigurationError, match=option):
                make(**{option: text})


# Names that are none.


@pytest.mark.parametrize(
    "name",
    ["KERNEL_USERNAME ", " KERNEL_USERNAME", "KERNEL_USERNAME\0", "KERNEL_USERNAME\n", "A=B", "",
     "KERNEL_ÜSER", "KERNEL_A-B", "1A", "KERNEL_X\x1b[2J", "x" * 5000, 7],
)  # fmt: skip
@pytest.mark.parametrize("user", [None, NotebookUser("ann")])
@pytest.mark.parametrize("values", ["safe", "any"])
def test_invalid_variable_name_is_refused_and_shown_safely(
    name: Any,  # noqa: ANN401  # whatever an extension has
    user: NotebookUser | None,
    values: str,
) -> None:
    asked = {name: "hunter2"}
    with pytest.raises(VariableRefused, match="cannot be the name of a variable") as caught:
        kernel_environment(make(env_values=values).start, asked, user)
    told = str(caught.value)
    assert told.isprintable()
    assert len(told) < 300
    assert "hunter2" not in told


def test_shell_exports_are_not_refused_as_set_variables() -> None:
    own = {"BASH_FUNC_ls%%": "() { :; }", "A": "1"}
    sent, left_out = kernel_environment(make(own, allowed_envs="*").start, own, NotebookUser("ann"))
    assert sent.keys() == {"A", "KERNEL_LAUNCH_TIMEOUT"}
    assert not left_out


@pytest.mark.parametrize("name", ["kernel_username", "KERNEL_username", "Kernel_Uid"])
def test_capitals_and_small_letters_protect_alike(name: str) -> None:
    settings = make(allowed_envs="*", forward_user=True)
    sent, left_out = kernel_environment(settings.start, {name: "root"}, NotebookUser("ann"))
    assert name not in sent
    assert sent["KERNEL_USERNAME"] == "ann"
    assert "protected_envs" in left_out[name]


def test_protected_envs_may_have_patterns() -> None:
    settings = make(protected_envs="KERNEL_*")
    sent, left_out = kernel_environment(settings.start, {"KERNEL_X": "1"}, NotebookUser("ann"))
    assert sent == {"KERNEL_LAUNCH_TIMEOUT": "40"}
    assert left_out.keys() == {"KERNEL_X"}


# Values.


@pytest.mark.parametrize(("value", "said"), [*UNSAFE.values(), *NEVER.values()])
@pytest.mark.parametrize("name", ["KERNEL_X", "NAMED", "MY_X"])
@pytest.mark.parametrize("user", [None, NotebookUser("ann")])
def test_unsafe_value_is_refused_by_its_name_alone(
    value: Any,  # noqa: ANN401  # whatever an extension has
    said: str,
    name: str,
    user: NotebookUser | None,
) -> None:
    settings = make(allowed_envs="NAMED, MY_*")
    with pytest.raises(VariableRefused, match=name) as caught:
        kernel_environment(settings.start, {name: value}, user)
    assert caught.value.name == name
    assert caught.value.message.endswith(f": its value {said}.")
    if isinstance(value, str):
        assert value not in str(caught.value)
    assert ("env_values" in str(caught.value)) == ((value, said) in UNSAFE.values())


@pytest.mark.parametrize(("value", "said"), UNSAFE.values())
def test_env_values_any_sends_every_text(value: str, said: str) -> None:
    assert kernel_environment(make(env_values="any").start, {"KERNEL_X": value}, None)[0][
        "KERNEL_X"
    ] == (value)
    assert make({"KERNEL_X": value}, env_values="any").start.kernel_env["KERNEL_X"] == value


@pytest.mark.parametrize(("value", "said"), NEVER.values())
def test_env_values_any_sends_nothing_that_no_process_can_have(value: object, said: str) -> None:
    with pytest.raises(VariableRefused, match=said):
        kernel_environment(make(env_values="any").start, {"KERNEL_X": value}, None)  # type: ignore[dict-item]  # an extension may


@pytest.mark.parametrize(("value", "said"), UNSAFE.values())
def test_unsafe_value_of_a_named_variable_of_our_environment_is_an_error_of_configuration(
    value: str, said: str
) -> None:
    for given in ({}, {"allowed_envs": "NAMED"}):
        name = "NAMED" if given else "KERNEL_X"
        with pytest.raises(ConfigurationError, match=name) as caught:
            make({name: value}, **given)
        assert said in str(caught.value)
        assert value not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_unsafe_value_of_our_environment_that_a_pattern_matches_is_left_out() -> None:
    own = {"PROMPT": "$ ", "FINE": "1"}
    settings = make(own, allowed_envs="*")
    assert settings.start.kernel_env.keys() == {"FINE", "KERNEL_LAUNCH_TIMEOUT"}
    assert settings.start.left_out == {"PROMPT": "its value has a $ in it"}
    sent, left_out = kernel_environment(settings.start, own, NotebookUser("ann"))
    assert sent.keys() == {"FINE", "KERNEL_LAUNCH_TIMEOUT"}
    assert left_out == settings.start.left_out


@pytest.mark.parametrize("allowed", ["*", "JPY_SESSION_NAME"])
def test_unsafe_path_of_a_document_keeps_no_kernel_from_starting(allowed: str) -> None:
    settings = make(allowed_envs=allowed)
    sent, left_out = kernel_environment(settings.start, {"JPY_SESSION_NAME": "cost $.ipynb"}, None)
    assert "JPY_SESSION_NAME" not in sent
    if allowed != "*":
        assert left_out == {"JPY_SESSION_NAME": "its value has a $ in it"}


def test_unsafe_name_of_a_logged_in_user_starts_no_kernel_as_another() -> None:
    with pytest.raises(VariableRefused, match="KERNEL_USERNAME"):
        kernel_environment(make(forward_user=True).start, {}, NotebookUser("$(id)"))


def test_unsafe_gateway_user_is_left_out_and_still_logs_in() -> None:
    settings = make(http_user="DOMAIN$svc", http_pwd="x")
    assert "KERNEL_USERNAME" not in settings.start.kernel_env
    assert settings.start.left_out == {"KERNEL_USERNAME": "the user's name has a $ in it"}
    assert settings.credentials.http_user == "DOMAIN$svc"


@pytest.mark.parametrize("name", PROTECTED)
def test_protected_name_with_something_behind_it_never_passes(name: str) -> None:
    for behind in (" ", "\0", "\t", "=", "\n", "\u200b"):
        with pytest.raises(VariableRefused):
            kernel_environment(make().start, {name + behind: "x"}, NotebookUser("ann"))
