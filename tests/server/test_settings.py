"""Options as a person gives them to a real server: what comes of them, and what its log says."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest
from jupyter_server.gateway.gateway_client import GatewayClient as BuiltInGatewayClient
from jupyter_server.serverapp import ServerApp
from traitlets.config import Config, Configurable

from jupyter_relay.headless.manager import GatewayKernelManager as HeadlessKernelManager
from jupyter_relay.server.gateway_config import GatewayConfig, options_of
from jupyter_relay.testing import FakeGateway
from jupyter_relay.testing.servers import RunningServer, jupyter_lab, jupyter_server
from tests.support.server import server_on

SECRET = "hunter2"
URL = "http://gateway.example"
GIVEN_URL = f"--gateway-url={URL}"


class Ended(NamedTuple):
    """A program that has ended: its exit status, and all that it printed."""

    status: int | None
    output: str


def configured(directory: Path, text: str, name: str = "jupyter_server_config.py") -> Path:
    """Write a configuration file, and return the folder for a server that is to read it."""
    path = directory / "config" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return directory


async def ended(
    directory: Path, *arguments: str, environment: dict[str, str] | None = None
) -> Ended:
    """Start a server that is to refuse its settings, and wait for its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "jupyter_server", "--ServerApp.allow_root=True", "--no-browser",
        "--port=0", *arguments,
        env={
            **os.environ,
            "JUPYTER_CONFIG_DIR": str(directory / "config"),
            "JUPYTER_RUNTIME_DIR": str(directory),
            **(environment or {}),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Ended(process.returncode, output.decode())


async def log_after_a_start(server: RunningServer) -> str:
    """Start a kernel on a server, and return its log."""
    async with (
        aiohttp.ClientSession(headers=server.headers) as http,
        http.post(f"{server.url}/api/kernels", json={}) as response,
    ):
        assert response.status == 201, await response.text()
    return server.log_path.read_text()


# What is given arrives, and the log says nothing of it that it should not.


def with_secrets(url: str) -> str:
    """A URL with all the secrets that one can hold."""
    return f"{url.replace('://', f'://ann:{SECRET}@')}/?token={SECRET}"


OWN = {"linger": "5", "gateway_retry_max": "None", "outbox_messages": "7"}
"""Options that the built-in class does not have, or values that it refuses."""


@pytest.mark.parametrize("way", ["command line", "server's file", "lab's file", "environment"])
async def test_log_with_options_set_in_any_way_has_no_complaint_or_secret(
    way: str, fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    fake_gateway.token = SECRET
    url = with_secrets(fake_gateway.url)
    file = f"c.GatewayClient.url = {url!r}\n" + "".join(
        f"c.GatewayClient.{name} = {value}\n" for name, value in OWN.items()
    )
    match way:
        case "command line":
            own = [f"--GatewayClient.{name}={value}" for name, value in OWN.items()]
            running = jupyter_server(extra_args=[f"--gateway-url={url}", *own])
        case "server's file":
            running = jupyter_server(directory=configured(tmp_path, file))
        case "lab's file":
            folder = configured(tmp_path, file, "jupyter_lab_config.py")
            running = jupyter_lab(directory=folder)
        case _:
            env = {"JUPYTER_GATEWAY_" + k.removeprefix("gateway_").upper(): OWN[k] for k in OWN}
            running = jupyter_server(env={"JUPYTER_GATEWAY_URL": url, **env})
    async with running as server:
        log = await log_after_a_start(server)
    assert "Kernels will be managed by the Gateway server" in log
    assert fake_gateway.url in log
    for unwanted in (SECRET, "not recognized", "Traceback", "[E ", "[C "):
        assert unwanted not in log
    (warning,) = [line for line in log.splitlines() if line.startswith("[W ")]
    assert " is sent, and not the user in " in warning  # the token: both need one header
    assert {request.headers["Authorization"] for request in fake_gateway.requests} == {
        f"token {SECRET}"
    }


async def test_command_line_with_option_in_application_file_wins(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    folder = configured(
        tmp_path,
        "c.GatewayClient.url = 'http://nowhere.example'\nc.GatewayClient.auth_token = 'wrong'\n",
        "jupyter_lab_config.py",
    )
    given = [
        f"--gateway-url={fake_gateway.url}",
        f"--GatewayClient.auth_token={fake_gateway.token}",
    ]
    async with jupyter_lab(directory=folder, extra_args=given) as server:
        assert fake_gateway.url in await log_after_a_start(server)


async def test_options_of_program_within_server_are_its_own(tmp_path: Path) -> None:
    own = Config(GatewayClient={"url": "http://own.example", "linger": 7})
    argv = (GIVEN_URL, "--GatewayClient.linger=5")
    async with server_on(None, tmp_path, argv=argv) as server:
        with_own = HeadlessKernelManager(config=own).gateway.settings
        with_parent = HeadlessKernelManager(parent=server.app).gateway.settings
    assert (with_own.url, with_own.link.linger) == ("http://own.example", 7.0)
    assert (with_parent.url, with_parent.link.linger) == (URL, 5.0)


async def test_options_given_on_command_line_all_arrive(tmp_path: Path) -> None:
    argv = (
        GIVEN_URL, "--GatewayClient.linger=5", "--GatewayClient.gateway_retry_max=None",
        "--GatewayClient.auth_scheme=None", "--GatewayClient.accept_cookies=OFF",
        "--GatewayClient.validate_cert=no", "--GatewayClient.request_timeout=1e3",
    )  # fmt: skip
    async with server_on(None, tmp_path, argv=argv) as server:
        settings = server.kernels.roster.gateway.settings
    assert settings.link.linger == 5.0
    assert settings.link.retry_max is None
    assert settings.credentials.auth_scheme is None
    assert settings.transport.accept_cookies is settings.transport.validate_cert is False
    assert settings.transport.request_timeout == 1000.0


# What makes no sense, or is unknown, is told.

REFUSED: list[tuple[str, str, str]] = [
    ("url", "['http://gateway.example']", "a URL that begins with http:// or https://"),
    ("ws_url", f"'http://u:{SECRET}@gateway.example'", "a URL that begins with ws:// or wss://"),
    ("auth_token", f"b'{SECRET}'", "a text of one line"),
    ("headers", f"{{'X-Key': '{SECRET}'}}", "a JSON object of header names and texts"),
    ("request_timeout", "[1]", "a number of seconds, 0 or more"),
    ("gateway_retry_max", "1.5", "a whole number, 0 or more"),
    ("linger", "{}", "a number of seconds, 0 or more"),
]


def the_line(ended: Ended, option: str, takes: str) -> None:
    """Check that a server has ended, and that one line of all that it said, says why."""
    assert ended.status == 1, ended.output
    assert "Traceback" not in ended.output
    assert SECRET not in ended.output
    lines = [line for line in ended.output.splitlines() if "GatewayClient" in line]
    assert len(lines) == 1, ended.output
    assert lines[0].startswith("[C ")
    assert f" GatewayClient.{option} (JUPYTER_GATEWAY_" in lines[0]
    assert lines[0].endswith(f" must be {takes}.")


@pytest.mark.parametrize(("option", "value", "takes"), REFUSED)
async def test_wrong_value_in_file_stops_start_with_one_line(
    option: str, value: str, takes: str, tmp_path: Path
) -> None:
    text = f"c.GatewayClient.url = {URL!r}\nc.GatewayClient.{option} = {value}\n"
    the_line(await ended(configured(tmp_path, text)), option, takes)


@pytest.mark.parametrize(
    ("arguments", "option", "takes"),
    [
        (["--gateway-url=ftp://gateway.example"], "url", REFUSED[0][2]),
        ([GIVEN_URL, "--GatewayClient.request_timeout=soon"], "request_timeout", REFUSED[4][2]),
        (
            [GIVEN_URL, f"--GatewayClient.linger={SECRET}", "--GatewayClient.linger=2"],
            "linger",
            REFUSED[6][2],
        ),
    ],
)
async def test_wrong_value_on_command_line_stops_start_with_one_line(
    arguments: list[str], option: str, takes: str, tmp_path: Path
) -> None:
    the_line(await ended(tmp_path, *arguments), option, takes)


@pytest.mark.parametrize(
    ("variable", "value", "option", "takes"),
    [
        ("JUPYTER_GATEWAY_URL", f"gateway.example?token={SECRET}", "url", REFUSED[0][2]),
        ("JUPYTER_GATEWAY_RETRY_MAX", "often", "gateway_retry_max", REFUSED[5][2]),
    ],
)
async def test_wrong_value_in_environment_stops_start_with_one_line(
    variable: str, value: str, option: str, takes: str, tmp_path: Path
) -> None:
    environment = {"JUPYTER_GATEWAY_URL": URL, variable: value}
    the_line(await ended(tmp_path, environment=environment), option, takes)


UNLOADABLE = {
    "nonsense.Renewer": "nonsense.Renewer cannot be imported (ModuleNotFoundError",
    "os.path.Renewer": "os.path.Renewer cannot be imported (ImportError",
    "raising.Renewer": "cannot be imported (OSError: no vault, since it is sealed).",
    "os.path.join": "must be a class with a method get_token",
    "stranger.Renewer": "expected a subclass of",
}
MODULES = {
    "raising": "raise OSError('no vault,\\n  since it is sealed')",
    "stranger": "class Renewer:\n    def get_token(self, *args):\n        return 'x'\n",
}


@pytest.mark.parametrize("way", ["environment", "command line", "server's file"])
@pytest.mark.parametrize("name", UNLOADABLE)
async def test_token_renewer_that_cannot_be_loaded_stops_start_with_one_line(
    name: str, way: str, tmp_path: Path
) -> None:
    for module, text in MODULES.items():
        (tmp_path / f"{module}.py").write_text(text)
    environment = {"PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}{os.pathsep}{tmp_path}"}
    arguments = [GIVEN_URL]
    match way:
        case "environment":
            environment["JUPYTER_GATEWAY_TOKEN_RENEWER_CLASS"] = name
        case "command line":
            arguments.append(f"--GatewayClient.gateway_token_renewer_class={name}")
        case _:
            configured(tmp_path, f"c.GatewayClient.gateway_token_renewer_class = {name!r}\n")
    found = await ended(tmp_path, *arguments, environment=environment)
    assert found.status == 1
    assert "Traceback" not in found.output
    last = found.output.splitlines()[-1]
    assert last.startswith("[C ")
    assert "gateway_token_renewer_class" in last
    assert UNLOADABLE[name] in last
    assert found.output.count("gateway_token_renewer_class") == 1


@pytest.mark.parametrize(
    "variable", ["KERNEL_LAUNCH_TIMEOUT", "JUPYTER_GATEWAY_MAX_REQUEST_RETRIES"]
)
async def test_variable_read_by_jupyter_server_first_ends_start_with_traceback(
    variable: str, tmp_path: Path
) -> None:
    """A limit that the page of settings tells of."""
    found = await ended(tmp_path, environment={variable: "soon"})
    assert found.status == 1
    assert found.output.splitlines()[-1].startswith("ValueError: invalid literal for int()")


async def test_unsafe_variable_in_environment_stops_start_with_one_line(
    tmp_path: Path,
) -> None:
    environment = {"JUPYTER_GATEWAY_URL": URL, "KERNEL_EXTRA_SPARK_OPTS": f"${SECRET}"}
    found = await ended(tmp_path, environment=environment)
    assert found.status == 1
    assert "Traceback" not in found.output
    assert SECRET not in found.output
    (line,) = [line for line in found.output.splitlines() if "KERNEL_EXTRA_SPARK_OPTS" in line]
    assert line.startswith("[C ")
    assert line.endswith("set GatewayClient.env_values to any.")


@pytest.mark.parametrize("url", [URL, None])
async def test_unknown_option_is_logged_once(
    url: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = (f"--gateway-url={url}",) if url else ()
    argv = ("--GatewayClient.ulr=http://elsewhere", "--GatewayClient.env_whitelist=A", *given)
    async with server_on(None, tmp_path, argv=argv) as server:
        if url:
            assert server.kernels.roster.gateway.settings.start.rules.allowed == {"A"}
    log = capsys.readouterr().err
    unknown, deprecated = [line for line in log.splitlines() if "GatewayC" in line]
    assert unknown.endswith(
        " Config option `ulr` not recognized by `GatewayClient`.  Did you mean `url`?"
    )
    assert deprecated.endswith(
        " GatewayClient.env_whitelist (JUPYTER_GATEWAY_ENV_WHITELIST) is deprecated, "
        "use GatewayClient.allowed_envs."
    )


# What Jupyter Server's own class is told.


def app_with(**options: object) -> ServerApp:
    """An application that has configuration, and has done nothing yet."""
    app = ServerApp()
    app.config.GatewayClient.update(options)
    return app


def test_built_in_class_on_install_gets_values_it_knows_and_takes() -> None:
    app = app_with(
        url=f"http://ann:{SECRET}@gpu/x?key={SECRET}",
        env_whitelist="B,A",
        request_timeout="50",
        auth_scheme=None,
        gateway_retry_max=None,
        linger=5,
        headers=' {"X-A": "b"}',
    )
    config = GatewayConfig.install(app)
    try:
        found = BuiltInGatewayClient.instance()
        assert found is config
        assert (found.url, found.ws_url) == ("http://gpu/x", "ws://gpu/x")
        assert (found.http_user, found.http_pwd) == ("ann", SECRET)
        assert found.allowed_envs == "A,B"
        assert found.request_timeout == 50.0
        assert found.auth_scheme is None
        assert found.headers == '{"X-A": "b"}'
        assert config.options.settings().url == f"http://gpu/x?key={SECRET}"
    finally:
        GatewayConfig.clear_instance()


def test_options_of_two_servers_are_each_its_own() -> None:
    first, second = app_with(url="http://one"), app_with(url="http://two")
    first.gateway_config = GatewayConfig.install(first)
    second.gateway_config = GatewayConfig.install(second)
    GatewayConfig.clear_instance()
    assert options_of(Configurable(parent=first)).settings().url == "http://one"
    assert options_of(Configurable(parent=second)).settings().url == "http://two"


def test_options_of_server_that_did_not_read_them_are_read() -> None:
    app = app_with(url="http://one")
    app.gateway_config = BuiltInGatewayClient.instance(parent=app)
    BuiltInGatewayClient.clear_instance()
    assert options_of(Configurable(parent=app)).settings().url == "http://one"
