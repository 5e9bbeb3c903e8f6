"""The switch: with a gateway configured our classes are in use; without, nothing is changed."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from jupyter_server.gateway.gateway_client import GatewayClient as BuiltInGatewayClient
from jupyter_server.serverapp import ServerApp
from jupyter_server.services.sessions.sessionmanager import SessionManager

from jupyter_relay.config import GatewayClient
from jupyter_relay.core.options import OPTIONS, Option
from jupyter_relay.server.extension import _link_jupyter_server_extension
from jupyter_relay.testing import FakeGateway
from jupyter_relay.testing.servers import RunningServer, jupyter_lab, jupyter_server
from tests.support.server import server_on

VALID = "--gateway-url=http://gateway.example"

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
async def test_a_gateway_is_used_however_it_is_given(
    way: str, fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    fake_gateway.token = "a-token-of-its-own"
    async with start(way, fake_gateway, tmp_path) as server:
        specs = await kernelspecs_of(server)
        log = server.log_path.read_text()
    assert specs["python3"]["spec"]["display_name"] == "Fake python3"
    assert fake_gateway.token not in log
    assert "Traceback" not in log
    # The built-in client has another user agent.
    assert "aiohttp" in fake_gateway.requests[-1].headers["User-Agent"]


async def test_all_four_classes_are_ours(fake_gateway: FakeGateway, tmp_path: Path) -> None:
    async with server_on(fake_gateway, tmp_path) as server:
        assert homes(server.app) == ["jupyter_relay"] * 4


async def test_without_a_gateway_the_server_is_as_it_was(tmp_path: Path) -> None:
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
    BuiltInGatewayClient.clear_instance()


async def test_a_class_that_the_user_has_set_is_left_alone(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    chosen = "jupyter_client.kernelspec.KernelSpecManager"
    argv = (f"--ServerApp.kernel_spec_manager_class={chosen}",)
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        assert homes(server.app)[1] == "jupyter_client"
        kernel_id = await server.start_kernel()
        assert kernel_id in fake_gateway.kernels
        listed = await server.call("GET", "/api/kernelspecs")
        assert listed.status == 200
        assert not fake_gateway.requests_to("GET", "/api/kernelspecs")


@pytest.mark.parametrize(
    ("arguments", "environment", "option"),
    [
        (["--gateway-url=ftp://gateway.example"], {}, "url"),
        ([], {"JUPYTER_GATEWAY_URL": "gateway.example"}, "url"),
        (["--gateway-url=http://gateway.example:port"], {}, "url"),
        ([VALID], {"JUPYTER_GATEWAY_REQUEST_TIMEOUT": "soon"}, "request_timeout"),
        ([VALID, "--GatewayClient.ping_interval=-1"], {}, "ping_interval"),
        ([VALID, "--GatewayClient.headers=none"], {}, "headers"),
        ([VALID], {"JUPYTER_GATEWAY_VALIDATE_CERT": "perhaps"}, "validate_cert"),
    ],
)  # fmt: skip
async def test_a_value_that_makes_no_sense_stops_the_start_with_one_line(
    arguments: list[str], environment: dict[str, str], option: str, tmp_path: Path
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "jupyter_server", "--ServerApp.allow_root=True", "--no-browser",
        "--port=0", *arguments,
        env={**os.environ, "JUPYTER_CONFIG_DIR": str(tmp_path), **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(30):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 1
    lines = output.decode().splitlines()
    assert [line for line in lines if f"GatewayClient.{option}" in line and "must be" in line]
    assert "Traceback" not in output.decode()
    assert len([line for line in lines if "C " in line[:3]]) == 1


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.variable], ids=lambda o: o.name)
def test_each_option_is_read_from_its_variable(
    option: Option, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "HTTP_URL": "http://gateway.example",
        "WS_URL": "ws://gateway.example",
        "FLAG": "0",
        "HEADERS": '{"X-A": "b"}',
        "SECONDS": "7.5",
        "COUNT": "7",
        "TEXT": "some text",
    }[option.kind.name]
    assert option.variable is not None
    monkeypatch.setenv(option.variable, given)
    assert getattr(GatewayClient(), option.name) == option.read(given) != option.default
    assert (
        GatewayClient(**{option.name: option.default}).trait_values()[option.name] == option.default
    )


def test_a_class_given_as_an_argument_is_left_alone(tmp_path: Path) -> None:
    class Mine(SessionManager):
        """A user's own."""

    app = ServerApp(session_manager_class=Mine, root_dir=str(tmp_path))
    app.config.GatewayClient.url = "http://127.0.0.1:1"
    _link_jupyter_server_extension(app)
    assert app.session_manager_class is Mine
    assert app.kernel_manager_class.__module__ == "jupyter_relay.server.kernels"
