"""Real Jupyter servers as child processes on loopback, for tests and demonstrations.

`kernel_gateway`, `enterprise_gateway`, `jupyter_server` and `jupyter_lab` are asynchronous context
managers. Each starts the program with a random token, a free port and folders of its own, waits
until it answers, hands out a `RunningServer`, and at the end stops it and all its kernels::

    async with kernel_gateway() as gateway, jupyter_lab(gateway=gateway) as lab:
        print(lab.url)

Nothing of the user's own Jupyter configuration is read. A server also ends when the process that
started it is killed. `ServerStartError` is raised when one does not come up in time.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import secrets
import socket
import ssl
import sys
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from .processes import ServerProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from os import PathLike

HOST: Final = "127.0.0.1"
START_SECONDS: Final = 60.0
"""How long a server may take to answer its first request."""

BIND_ATTEMPTS: Final = 5
POLL_SECONDS: Final = 0.05
PORT_TAKEN: Final = "no available port could be found"
"""What all four programs print before they end for want of a port."""

# What the parent was told about its own servers and kernels is not meant for the ones started here.
_NOT_INHERITED = ("JUPYTER_", "KERNEL_", "KG_", "EG_", "JPY_", "IPYTHON", "PYTEST_")

# JupyterLab asks about news and looks for updates on its first page; neither belongs into a test.
_LAB_OVERRIDES = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
    },
}


class ServerStartError(RuntimeError):
    """A server ended early or did not answer in time; the message ends with its last log lines."""


class _PortTakenError(ServerStartError):
    """Somebody else took the port between our choice and the server's bind."""


@dataclass(frozen=True)
class ServerTls:
    """The files by which a server speaks TLS, and how to speak with it."""

    certificate: Path
    """Its certificate, and those up to its authority."""

    key: Path
    """The key of its certificate."""

    client: ssl.SSLContext = field(repr=False)
    """The context of a client that it accepts; used to find out whether it is up."""

    client_authority: Path | None = None
    """The authority of its clients' certificates; None asks for none."""


@dataclass(frozen=True)
class RunningServer:
    """A server that answers requests."""

    url: str
    """Its address, without a slash at the end."""

    token: str = field(repr=False)
    """The token every request must carry."""

    pid: int
    """Its process id. Local kernels are its children."""

    log_path: Path
    """Where its output goes."""

    directory: Path
    """The folder it lives in; `directory / "work"` is its working folder and root."""

    process: ServerProcess = field(repr=False, compare=False)

    @property
    def headers(self) -> dict[str, str]:
        """The request header that carries the token, in the one form every server accepts."""
        return {"Authorization": f"token {self.token}"}

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        port = urlsplit(self.url).port
        assert port is not None  # noqa: S101 - every url made here has one
        return port

    async def kill(self) -> None:
        """End the server at once, as a crash would. Kernels are left to notice by themselves."""
        await asyncio.to_thread(self.process.kill)


@dataclass(frozen=True)
class _Program:
    """What to run, and how it is told its port and tells it back."""

    module: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    token: str = field(repr=False)
    port: int | None
    python: str = sys.executable
    port_option: str = "--port={port}"
    reports_port: bool = False
    tls: ServerTls | None = None

    def url(self, port: int) -> str:
        return f"{'https' if self.tls else 'http'}://{HOST}:{port}"


@asynccontextmanager
async def kernel_gateway(
    *,
    list_kernels: bool = True,
    tls: ServerTls | None = None,
    port: int | None = None,
    token: str | None = None,
    env: Mapping[str, str] | None = None,
    extra_args: Sequence[str] = (),
    directory: Path | None = None,
    timeout: float = START_SECONDS,
) -> AsyncIterator[RunningServer]:
    """Run Jupyter Kernel Gateway from this Python environment.

    `list_kernels` allows ``GET /api/kernels``, which it refuses by default. With `tls` it speaks
    https and wss. `port` and `token` are
    chosen at random unless given (give them to bring a gateway back at its old address), `env` and
    `extra_args` are added to what it is started with, and `directory` keeps its files, log and
    all, after the end. ServerStartError if it does not answer within `timeout` seconds.
    """
    token = token or secrets.token_urlsafe(24)
    program = _Program(
        module="kernel_gateway",
        arguments=[
            f"--KernelGatewayApp.ip={HOST}",
            "--port_retries=0",
            *_tls_arguments(tls),
            *extra_args,
        ],
        environment={
            "KG_AUTH_TOKEN": token,
            "KG_LIST_KERNELS": str(list_kernels),
            **(env or {}),
        },
        token=token,
        port=port,
        tls=tls,
    )
    async with _run(program, directory, timeout) as server:
        yield server


def _tls_arguments(tls: ServerTls | None) -> list[str]:
    if tls is None:
        return []
    files = {"certfile": tls.certificate, "keyfile": tls.key, "client_ca": tls.client_authority}
    return [f"--KernelGatewayApp.{name}={path}" for name, path in files.items() if path]


@asynccontextmanager
async def enterprise_gateway(
    *,
    python: str | PathLike[str],
    list_kernels: bool = True,
    port: int | None = None,
    token: str | None = None,
    env: Mapping[str, str] | None = None,
    extra_args: Sequence[str] = (),
    directory: Path | None = None,
    timeout: float = START_SECONDS,
) -> AsyncIterator[RunningServer]:
    """Run Jupyter Enterprise Gateway with `python`, the interpreter of an environment that has it.

    Run by root it starts kernels only for clients that send ``KERNEL_USERNAME`` in the ``env``.
    The other parameters and errors are those of `kernel_gateway`.
    """
    token = token or secrets.token_urlsafe(24)
    program = _Program(
        module="enterprise_gateway",
        arguments=[f"--EnterpriseGatewayApp.ip={HOST}", "--port_retries=0", *extra_args],
        environment={
            "EG_AUTH_TOKEN": token,
            "EG_LIST_KERNELS": str(list_kernels),
            **(env or {}),
        },
        token=token,
        port=port,
        python=os.fspath(python),
    )
    async with _run(program, directory, timeout) as server:
        yield server


@asynccontextmanager
async def jupyter_server(
    *,
    gateway: RunningServer | None = None,
    port: int | None = None,
    token: str | None = None,
    env: Mapping[str, str] | None = None,
    extra_args: Sequence[str] = (),
    directory: Path | None = None,
    timeout: float = START_SECONDS,
) -> AsyncIterator[RunningServer]:
    """Run Jupyter Server from this Python environment.

    With `gateway` its kernels run there; without, it has local kernels and is itself a gateway.
    The other parameters and errors are those of `kernel_gateway`.
    """
    program = _server_program("jupyter_server", gateway, port, token, env, extra_args)
    async with _run(program, directory, timeout) as server:
        yield server


@asynccontextmanager
async def jupyter_lab(
    *,
    gateway: RunningServer | None = None,
    port: int | None = None,
    token: str | None = None,
    env: Mapping[str, str] | None = None,
    extra_args: Sequence[str] = (),
    directory: Path | None = None,
    timeout: float = START_SECONDS,
) -> AsyncIterator[RunningServer]:
    """Run JupyterLab from this Python environment, without a browser.

    The parameters and errors are those of `jupyter_server`.
    """
    quiet = ["--LabApp.news_url=None", "--LabApp.extension_manager=readonly"]
    program = _server_program("jupyterlab", gateway, port, token, env, [*quiet, *extra_args])
    async with _run(program, directory, timeout) as server:
        yield server


def _server_program(
    module: str,
    gateway: RunningServer | None,
    port: int | None,
    token: str | None,
    env: Mapping[str, str] | None,
    extra_args: Sequence[str],
) -> _Program:
    token = token or secrets.token_urlsafe(24)
    environment = {"JUPYTER_TOKEN": token}
    if gateway is not None:
        environment["JUPYTER_GATEWAY_URL"] = gateway.url
        environment["JUPYTER_GATEWAY_AUTH_TOKEN"] = gateway.token
    arguments = [
        f"--ServerApp.ip={HOST}",
        "--ServerApp.port_retries=0",
        "--ServerApp.open_browser=False",
        "--ServerApp.allow_root=True",
        *extra_args,
    ]
    return _Program(
        module=module,
        arguments=arguments,
        environment={**environment, **(env or {})},
        token=token,
        port=port,
        port_option="--ServerApp.port={port}",
        reports_port=_jupyter_server_reports_port(),
    )


@asynccontextmanager
async def _run(
    program: _Program, directory: Path | None, timeout: float
) -> AsyncIterator[RunningServer]:
    if directory is None:
        with tempfile.TemporaryDirectory(
            prefix="jupyter-relay-", ignore_cleanup_errors=True
        ) as temporary:
            async with _run(program, Path(temporary), timeout) as server:
                yield server
        return
    server = await _start(program, directory, timeout)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.process.stop)


async def _start(program: _Program, directory: Path, timeout: float) -> RunningServer:
    attempts = 1 if program.port is not None or program.reports_port else BIND_ATTEMPTS
    for attempt in range(1, attempts + 1):
        try:
            return await _start_once(program, directory, timeout)
        except _PortTakenError:
            if attempt == attempts:
                raise
    raise AssertionError("unreachable")


async def _start_once(program: _Program, directory: Path, timeout: float) -> RunningServer:
    port = program.port
    if port is None:
        port = 0 if program.reports_port else _free_port()
    process = await asyncio.to_thread(_spawn, program, directory, port)
    info = directory / "runtime" / f"jpserver-{process.pid}.json"

    def find_url() -> str | None:
        if not program.reports_port:
            return program.url(port)
        try:
            return program.url(json.loads(info.read_text(encoding="utf-8"))["port"])
        except (OSError, ValueError):  # not there yet, or half written
            return None

    try:
        async with asyncio.timeout(timeout):
            url = await _answering(process, find_url, program)
    except TimeoutError:
        message = f"{program.module} did not answer within {timeout:g} s"
        raise ServerStartError(await _stopped(process, program, message)) from None
    except _PortTakenError:
        message = f"{program.module} found port {port} taken"
        raise _PortTakenError(await _stopped(process, program, message)) from None
    except ServerStartError:
        message = f"{program.module} ended with exit status {process.exit_code}"
        raise ServerStartError(await _stopped(process, program, message)) from None
    except BaseException:
        await asyncio.to_thread(process.stop)
        raise
    return RunningServer(
        url=url,
        token=program.token,
        pid=process.pid,
        log_path=process.log_path,
        directory=directory,
        process=process,
    )


async def _answering(
    process: ServerProcess, find_url: Callable[[], str | None], program: _Program
) -> str:
    """Wait until the server answers a request that carries its token; return its address."""
    while True:
        if await asyncio.to_thread(process.wait, POLL_SECONDS):
            port_taken = PORT_TAKEN in await asyncio.to_thread(process.log_tail)
            raise _PortTakenError if port_taken else ServerStartError
        url = await asyncio.to_thread(find_url)
        if url is not None and await asyncio.to_thread(_answers, url, program):
            return url


async def _stopped(process: ServerProcess, program: _Program, message: str) -> str:
    await asyncio.to_thread(process.stop)
    tail = await asyncio.to_thread(process.log_tail)
    return f"{message}; its log ends with:\n{tail.replace(program.token, '<token>')}"


def _answers(url: str, program: _Program) -> bool:
    # Not urllib: a proxy from the environment must not stand between us and loopback.
    port = urlsplit(url).port
    connection = (
        http.client.HTTPSConnection(HOST, port, timeout=5, context=program.tls.client)
        if program.tls
        else http.client.HTTPConnection(HOST, port, timeout=5)
    )
    try:
        connection.request("GET", "/api", headers={"Authorization": f"token {program.token}"})
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _spawn(program: _Program, directory: Path, port: int) -> ServerProcess:
    for name in ("config/labconfig", "data", "runtime", "ipython", "work"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    overrides = directory / "config" / "labconfig" / "default_setting_overrides.json"
    overrides.write_text(json.dumps(_LAB_OVERRIDES), encoding="utf-8")
    return ServerProcess.spawn(
        program.python,
        program.module,
        [program.port_option.format(port=port), *program.arguments],
        environment={**_environment(program.python, directory), **program.environment},
        directory=directory / "work",
        log_path=directory / "server.log",
    )


def _environment(python: str, directory: Path) -> dict[str, str]:
    """This process's environment without its Jupyter settings, and with folders of its own."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)
    }
    loopback = f"{HOST},localhost"
    for name in ("NO_PROXY", "no_proxy"):
        environment[name] = ",".join(filter(None, [environment.get(name), loopback]))
    # A kernelspec may name its interpreter just "python", and means the one beside the server.
    environment["PATH"] = os.pathsep.join([str(Path(python).parent), environment.get("PATH", "")])
    return environment | {
        "JUPYTER_CONFIG_DIR": str(directory / "config"),
        "JUPYTER_DATA_DIR": str(directory / "data"),
        "JUPYTER_RUNTIME_DIR": str(directory / "runtime"),
        "IPYTHONDIR": str(directory / "ipython"),
        "PYTHONNOUSERSITE": "1",
    }


def _jupyter_server_reports_port() -> bool:
    """Whether the one that is installed writes the port that it found; older ones write 0."""
    major, minor = version("jupyter_server").split(".")[:2]
    return (int(major), int(minor)) >= (2, 20)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
