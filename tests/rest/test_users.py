"""Who a kernel is started for, and what they may say of its environment."""

from __future__ import annotations

import pytest

from jupyter_relay.rest.users import NotebookUser, kernel_environment, kernel_user
from jupyter_relay.settings.environment import PROTECTED
from jupyter_relay.settings.kinds import Value
from jupyter_relay.settings.settings import GatewaySettings

OWN = {"KERNEL_USERNAME": "service", "KERNEL_FLAVOUR": "vanilla", "KERNEL_LAUNCH_TIMEOUT": "7"}


def make(**given: Value) -> GatewaySettings:
    return GatewaySettings.make({"url": "http://gpu.example", **given}, OWN)


@pytest.mark.parametrize(
    ("forwarded", "user", "expected"),
    [
        (False, NotebookUser("ann"), "service"),
        (True, NotebookUser("ann"), "ann"),
        (True, NotebookUser(), "service"),
        (True, None, "service"),
    ],
)
def test_start_user_is_the_one_of_the_settings(
    forwarded: bool, user: NotebookUser | None, expected: str
) -> None:
    settings = make(forward_user=forwarded)
    assert kernel_user(settings.start, user) == expected
    sent, _ = kernel_environment(settings.start, {}, user)
    assert sent["KERNEL_USERNAME"] == expected


@pytest.mark.parametrize("name", PROTECTED)
@pytest.mark.parametrize("forwarded", [True, False])
def test_notebook_user_sets_no_protected_variable(name: str, forwarded: bool) -> None:
    settings = make(forward_user=forwarded)
    user = NotebookUser("ann")
    sent, refused = kernel_environment(settings.start, {name: "mallory"}, user)
    assert sent == kernel_environment(settings.start, {}, user)[0]
    assert refused.keys() == {name}


def test_notebook_user_sets_other_variables() -> None:
    sent, refused = kernel_environment(
        make().start, {"KERNEL_FLAVOUR": "lemon"}, NotebookUser("ann")
    )
    assert sent["KERNEL_FLAVOUR"] == "lemon"
    assert not refused


def test_program_sets_protected_variables() -> None:
    sent, refused = kernel_environment(
        make(forward_user=True).start, {"KERNEL_USERNAME": "bob"}, None
    )
    assert sent["KERNEL_USERNAME"] == "bob"
    assert not refused


def test_server_environment_with_protected_variables_is_not_refused() -> None:
    _, refused = kernel_environment(make().start, OWN, NotebookUser("ann"))
    assert not refused


def test_protected_names_are_a_setting_and_the_forwarded_user_stands_all_the_same() -> None:
    settings = make(protected_envs="KERNEL_FLAVOUR", forward_user=True)
    asked = {"KERNEL_FLAVOUR": "lemon", "KERNEL_USERNAME": "mallory", "KERNEL_UID": "7"}
    sent, refused = kernel_environment(settings.start, asked, NotebookUser("ann"))
    assert (sent["KERNEL_FLAVOUR"], sent["KERNEL_USERNAME"]) == ("vanilla", "ann")
    assert sent["KERNEL_UID"] == "7"
    assert refused.keys() == {"KERNEL_FLAVOUR"}


HUB = {"JUPYTERHUB_USER": "ann", "JUPYTERHUB_API_TOKEN": "a-hubs-token"}


@pytest.mark.parametrize(
    ("environment", "given", "forwarded"),
    [
        (HUB, {}, True),
        (HUB, {"forward_user": "no"}, False),
        ({"JUPYTERHUB_USER": "ann"}, {}, False),
        ({"JUPYTERHUB_API_TOKEN": "x"}, {}, False),
        ({}, {}, False),
        ({}, {"forward_user": "yes"}, True),
    ],
)
def test_hub_server_forwards_its_user_by_default(
    environment: dict[str, str], given: dict[str, Value], forwarded: bool
) -> None:
    settings = GatewaySettings.make({"url": "http://gpu.example", **given}, environment)
    assert settings.start.forward_user is forwarded


def test_hub_user_is_the_kernels_where_no_other_is_named() -> None:
    def user(environment: dict[str, str], who: NotebookUser | None, **given: Value) -> str | None:
        settings = GatewaySettings.make({"url": "http://gpu.example", **given}, environment)
        assert "a-hubs-token" not in str(settings.start.kernel_env)
        return kernel_environment(settings.start, {}, who)[0].get("KERNEL_USERNAME")

    assert user(HUB, NotebookUser()) == user(HUB, None) == "ann"
    assert user(HUB, NotebookUser("bob")) == "bob"  # such as an administrator
    assert user(HUB | {"KERNEL_USERNAME": "service"}, None) == "service"
    assert user(HUB, None, http_user="proxy") == "proxy"
    assert user(HUB, NotebookUser("bob"), forward_user=False) is None
