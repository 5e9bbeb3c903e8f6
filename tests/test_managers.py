"""`jupyter_relay.managers`: the names of Jupyter Server's own managers, loaded when named."""

from __future__ import annotations

import subprocess
import sys

import jupyter_server.gateway.managers as built_in
import pytest
from traitlets.utils.importstring import import_item

from jupyter_relay import managers
from jupyter_relay.headless.channels import ChannelQueue, HBChannelQueue
from jupyter_relay.headless.client import GatewayKernelClient
from jupyter_relay.managers import GatewayKernelManager
from jupyter_relay.server.kernels import GatewayMappingKernelManager
from jupyter_relay.server.kernelspecs import GatewayKernelSpecManager
from jupyter_relay.server.sessions import GatewaySessionManager

WITHOUT_SERVER = 'import sys; sys.modules["jupyter_server"] = None'


def run(*statements: str) -> str:
    """Return what statements print in an interpreter of their own."""
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(statements)], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_managers_offers_the_seven_classes() -> None:
    assert dir(managers) == managers.__all__
    assert len(managers.__all__) == 7


@pytest.mark.parametrize("name", managers.__all__)
def test_managers_class_has_the_name_and_the_jupyter_bases_of_the_built_in_one(name: str) -> None:
    ours, theirs = getattr(managers, name), getattr(built_in, name)
    assert ours.__name__ == theirs.__name__
    jupyter = [base for base in theirs.__bases__ if base.__module__.startswith("jupyter_")]
    assert all(issubclass(ours, base) for base in jupyter if base is not built_in.ChannelQueue)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("jupyter_relay.headless.channels.ChannelQueue", ChannelQueue),
        ("jupyter_relay.headless.channels.HBChannelQueue", HBChannelQueue),
        ("jupyter_relay.headless.client.GatewayKernelClient", GatewayKernelClient),
        ("jupyter_relay.server.kernels.GatewayKernelManager", GatewayKernelManager),
        ("jupyter_relay.server.kernels.GatewayMappingKernelManager", GatewayMappingKernelManager),
        ("jupyter_relay.server.kernelspecs.GatewayKernelSpecManager", GatewayKernelSpecManager),
        ("jupyter_relay.server.sessions.GatewaySessionManager", GatewaySessionManager),
    ],
)
def test_path_of_a_module_names_the_same_class_in_a_configuration(path: str, kind: type) -> None:
    assert import_item(path) is kind
    assert import_item(f"jupyter_relay.managers.{kind.__name__}") is kind


def test_managers_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = managers.nonsense


def test_managers_import_loads_nothing_until_a_class_is_named() -> None:
    shown = run(
        "import sys, jupyter_relay.managers as managers",
        'wanted = {"traitlets", "jupyter_client", "jupyter_server", "tornado"}',
        "print(sorted(wanted & sys.modules.keys()))",
        "managers.GatewayKernelClient",
        'print("jupyter_server" in sys.modules)',
    )
    assert shown.split("\n") == ["[]", "False"]


def test_managers_without_jupyter_server_offers_what_needs_none() -> None:
    shown = run(
        WITHOUT_SERVER,
        "from jupyter_relay import managers, GatewayKernelManager",
        "print(managers.GatewayKernelManager is GatewayKernelManager)",
        "print(managers.GatewayKernelClient.__name__, managers.HBChannelQueue.__name__)",
    )
    assert shown.split("\n") == ["True", "GatewayKernelClient HBChannelQueue"]


@pytest.mark.parametrize(
    "name", ["GatewayKernelSpecManager", "GatewayMappingKernelManager", "GatewaySessionManager"]
)
def test_managers_without_jupyter_server_names_what_is_missing(name: str) -> None:
    shown = run(
        WITHOUT_SERVER,
        "try:",
        f"    from jupyter_relay.managers import {name}",
        "except ImportError as error:",
        "    print(error)",
    )
    assert shown == (
        f"jupyter_relay.managers.{name} is a part of a Jupyter Server, which is not installed: "
        "install jupyter_server."
    )
