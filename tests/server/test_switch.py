"""The switch: with a gateway configured our classes are in use; without, nothing is changed."""

from __future__ import annotations

import json
import re
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from jupyter_server.serverapp import ServerApp

from jupyter_relay.server.extension import IN_PAGE_CONFIG
from jupyter_relay.testing import FakeGateway
from jupyter_relay.testing.servers import RunningServer, jupyter_lab, jupyter_server
from tests.support.server import server_on

ROLES = (
    "kernel_manager_class",
    "kernel_spec_manager_class",
    "session_manager_class",
    "kernel_websocket_connection_class",
)


def homes(app: ServerApp) -> list[str]:
    """The packages that the four classes of a server come from."""
    return [getattr(app, role).__module__.split(".")[0] for role in ROLES]


async def kernelspecs_of(server: RunningServer) -> dict[str, Any]:
    """The kernelspecs that a server offers, by name."""
    async with (
        aiohttp.ClientSession(headers=server.headers) as http,
        http.get(f"{server.url}/api/kernelspecs") as response,
    ):
        specs: dict[str, Any] = (await response.json())["kernelspecs"]
        return specs


def start(
    way: str, gateway: FakeGateway, directory: Path
) -> AbstractAsyncContextManager[RunningServer]:
    """Start a program that is told of the gateway in one of the ways there are."""
    token = f"--GatewayClient.auth_token={gateway.token}"
    match way:
        case "jupyter lab --gateway-url":
            return jupyter_lab(extra_args=[f"--gateway-url={gateway.url}", token])
        case "jupyter server --gateway-url":
            return jupyter_server(extra_args=[f"--gateway-url={gateway.url}", token])
        case "environment":
            env = {
                "JUPYTER_GATEWAY_URL": gateway.url,
                "JUPYTER_GATEWAY_AUTH_TOKEN": gateway.token,
            }
            return jupyter_server(env=env)
        case _:
            config = directory / "config" / "jupyter_server_config.py"
            config.parent.mkdir(parents=True)
            config.write_text(
                f"c.GatewayClient.url = {gateway.url!r}\n"
                f"c.GatewayClient.auth_token = {gateway.token!r}\n"
            )
            return jupyter_server(directory=directory)


@pytest.mark.parametrize(
    "way",
    [
        "jupyter lab --gateway-url",
        "jupyter server --gateway-url",
        "environment",
        "configuration file",
    ],
)
async def test_gateway_given_in_any_way_is_used(
    way: str, fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    if way.startswith("jupyter lab"):
        pytest.importorskip("jupyterlab", reason="JupyterLab is not among the oldest versions")
    fake_gateway.token = "a-token-of-its-own"
    async with start(way, fake_gateway, tmp_path) as server:
        specs = await kernelspecs_of(server)
        log = server.log_path.read_text()
    assert specs["python3"]["spec"]["display_name"] == "Fake python3"
    assert fake_gateway.token not in log
    assert "Traceback" not in log
    # The built-in client has another user agent.
    assert "aiohttp" in fake_gateway.requests[-1].headers["User-Agent"]


async def page_config_of(server: RunningServer) -> dict[str, Any]:
    """What JupyterLab's page is configured with."""
    async with (
        aiohttp.ClientSession(headers=server.headers) as http,
        http.get(f"{server.url}/lab") as response,
    ):
        page = await response.text()
    found = re.search(r'<script id="jupyter-config-data"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert found
    config: dict[str, Any] = json.loads(found[1])
    return config


@pytest.mark.parametrize("with_gateway", [True, False])
async def test_page_config_with_gateway_only_tells_of_the_relay(
    with_gateway: bool, fake_gateway: FakeGateway
) -> None:
    pytest.importorskip("jupyterlab", reason="JupyterLab is not among the oldest versions")
    env = {
        "JUPYTER_GATEWAY_URL": fake_gateway.url,
        "JUPYTER_GATEWAY_AUTH_TOKEN": fake_gateway.token,
    }
    async with jupyter_lab(env=env if with_gateway else {}) as server:
        config = await page_config_of(server)
    assert config["baseUrl"] == "/"
    assert config.get(IN_PAGE_CONFIG) is (True if with_gateway else None)


async def test_server_with_gateway_uses_our_four_classes(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    async with server_on(fake_gateway, tmp_path) as server:
        assert homes(server.app) == ["jupyter_relay"] * 4


async def test_server_without_gateway_keeps_its_classes_and_handlers(tmp_path: Path) -> None:
    async with server_on(None, tmp_path) as server:
        app = server.app
        assert homes(app) == [
            "jupyter_server",
            "jupyter_client",
            "jupyter_server",
            "jupyter_server",
        ]
        handlers = [
            rule.target for host in app.web_app.default_router.rules
            for rule in getattr(host.target, "rules", [])
        ]  # fmt: skip
        assert handlers
        assert not [kind for kind in handlers if kind.__module__.startswith("jupyter_relay")]
        assert (await server.call("GET", "/api/kernels")).json == []
