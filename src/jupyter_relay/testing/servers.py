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
import json
import os
import secrets
import ssl
import sys
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict, Unpack
from urllib.parse import urlsplit

from jupyter_relay.testing.processes import (
    HOST,
    ServerProcess,
    answers,
    environment_of,
    free_port,
    make_folders,
    reports_port,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from os import PathLike

START_SECONDS: Final = 60.0
"""How long a server may take to answer its first request."""

BIND_ATTEMPTS: Final = 5
POLL_SECONDS: Final = 0.05
PORT_TAKEN: Final = "no available port could be found"
"""What all four programs print before they end for want of a port."""


class ServerStartError(RuntimeError):
    """A server ended early or did not answer in time; the message ends with its last log lines."""


class ServerOptions(TypedDict, total=False):
    """What all four servers can be started with.

    `port` and `token` are chosen at random unless given (give them to bring a gateway back at its
    old address). `env` and `extra_args` are added to what it is started with. `directory` keeps its
    files, log and all, after the end. `timeout` is for how many seconds its first answer is waited
    for.
    """

    port: int | None
    token: str | None
    env: Mapping[str, str] | None
    extra_args: Sequence[str]
    directory: Path | None
    timeout: float


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
    environment: Mapping[str, str] = field(repr=False)
    token: str = field(repr=False)
    options: ServerOptions = field(repr=False)
    python: str
    port_option: str
    reports_port: bool
    tls: ServerTls | None

    @classmethod
    def started_with(
        cls,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        options: ServerOptions,
        *,
        variable: str,
        python: str = sys.executable,
        port_option: str = "--port={port}",
        reports_port: bool = False,
        tls: ServerTls | None = None,
    ) -> _Program:
        """Return a program with what it is started with; its token is in ``variable``."""
        token = options.get("token") or secrets.token_urlsafe(24)
        return cls(
            module=module,
            arguments=[*arguments, *options.get("extra_args", ())],
            environment={variable: token, **environment, **(options.get("env") or {})},
            token=token,
            options=options,
            python=python,
            port_option=port_option,
            reports_port=reports_port,
            tls=tls,
        )

    @property
    def port(self) -> int | None:
        """The port that it must take; None for any."""
        return self.options.get("port")

    def url(self, port: int) -> str:
        return f"{'https' if self.tls else 'http'}://{HOST}:{port}"


@asynccontextmanager
async def kernel_gateway(
    *,
    list_kernels: bool = True,
    tls: ServerTls | None = None,
    **options: Unpack[ServerOptions],
) -> AsyncIterator[RunningServer]:
    """Run Jupyter Kernel Gateway from this Python environment.

    `list_kernels` allows ``GET /api/kernels``, which it refuses by default. With `tls` it speaks
    https and wss. The others are `ServerOptions`. ServerStartError if it does not answer in time.
    """
    program = _Program.started_with(
        "kernel_gateway",
        [f"--KernelGatewayApp.ip={HOST}", "--port_retries=0", *_tls_arguments(tls)],
        {"KG_LIST_KERNELS": str(list_kernels)},
        options,
        variable="KG_AUTH_TOKEN",
        tls=tls,
    )
    async with _run(program) as server:
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
    **options: Unpack[ServerOptions],
) -> AsyncIterator[RunningServer]:
    """Run Jupyter Enterprise Gateway with `python`, the interpreter of an environment that has it.

    Run by root it starts kernels only for clients that send ``KERNEL_USERNAME`` in the ``env``.
    The other parameters and errors are those of `kernel_gateway`.
    """
    program = _Program.started_with(
        "enterprise_gateway",
        [f"--EnterpriseGatewayApp.ip={HOST}", "--port_retries=0"],
        {"EG_LIST_KERNELS": str(list_kernels)},
        options,
        variable="EG_AUTH_TOKEN",
        python=os.fspath(python),
    )
    async with _run(program) as server:
        yield server


@asynccontextmanager
async def jupyter_server(
    *,
    gateway: RunningServer | None = None,
    **options: Unpack[ServerOptions],
) -> AsyncIterator[RunningServer]:
    """Run Jupyter Server from this Python environment.

    With `gateway` its kernels run there; without, it has local kernels and is itself a gateway.
    The other parameters and errors are those of `kernel_gateway`.
    """
    async with _run(_server_program("jupyter_server", gateway, [], options)) as server:
        yield server


@asynccontextmanager
async def jupyter_lab(
    *,
    gateway: RunningServer | None = None,
    **options: Unpack[ServerOptions],
) -> AsyncIterator[RunningServer]:
    """Run JupyterLab from this Python environment, without a browser.

    The parameters and errors are those of `jupyter_server`.
    """
    quiet = ["--LabApp.news_url=None", "--LabApp.extension_manager=readonly"]
    async with _run(_server_program("jupyterlab", gateway, quiet, options)) as server:
        yield server


def _server_program(
    module: str,
    gateway: RunningServer | None,
    arguments: Sequence[str],
    options: ServerOptions,
) -> _Program:
    environment = {}
    if gateway is not None:
        environment["JUPYTER_GATEWAY_URL"] = gateway.url
        environment["JUPYTER_GATEWAY_AUTH_TOKEN"] = gateway.token
    return _Program.started_with(
        module,
        [
            f"--ServerApp.ip={HOST}",
            "--ServerApp.port_retries=0",
            "--ServerApp.open_browser=False",
            "--ServerApp.allow_root=True",
            *arguments,
        ],
        environment,
        options,
        variable="JUPYTER_TOKEN",
        port_option="--ServerApp.port={port}",
        reports_port=reports_port(),
    )


@asynccontextmanager
async def _run(program: _Program) -> AsyncIterator[RunningServer]:
    directory = program.options.get("directory")
    if directory is None:
        with tempfile.TemporaryDirectory(
            prefix="jupyter-relay-", ignore_cleanup_errors=True
        ) as temporary:
            async with _run_in(Path(temporary), program) as server:
                yield server
    else:
        async with _run_in(directory, program) as server:
            yield server


@asynccontextmanager
async def _run_in(directory: Path, program: _Program) -> AsyncIterator[RunningServer]:
    timeout = program.options.get("timeout", START_SECONDS)
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
        port = 0 if program.reports_port else free_port()
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
    tls = program.tls.client if program.tls else None
    while True:
        if await asyncio.to_thread(process.wait, POLL_SECONDS):
            port_taken = PORT_TAKEN in await asyncio.to_thread(process.log_tail)
            raise _PortTakenError if port_taken else ServerStartError
        url = await asyncio.to_thread(find_url)
        if url is not None and await asyncio.to_thread(answers, url, program.token, tls):
            return url


async def _stopped(process: ServerProcess, program: _Program, message: str) -> str:
    await asyncio.to_thread(process.stop)
    tail = await asyncio.to_thread(process.log_tail)
    return f"{message}; its log ends with:\n{tail.replace(program.token, '<token>')}"


def _spawn(program: _Program, directory: Path, port: int) -> ServerProcess:
    make_folders(directory)
    return ServerProcess.spawn(
        program.python,
        program.module,
        [program.port_option.format(port=port), *program.arguments],
        environment={**environment_of(program.python, directory), **program.environment},
        directory=directory / "work",
        log_path=directory / "server.log",
    )
