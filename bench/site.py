"""The processes of the bench: the gateway, and the servers that stand before it."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Literal
from urllib.parse import urlsplit

import aiohttp
import trustme

from bench.gateway import ROUND_TRIP_FRAMES
from bench.messages import Wire
from bench.tab import BenchError, Tab
from jupyter_relay.testing.servers import RunningServer, jupyter_server

ROOT: Final = Path(__file__).parent.parent

Scheme = Literal["http", "https"]

_KINDS: Final = {"relay": "jupyter_relay.", "peer": "jupyter_server.gateway."}
_OTHERS: Final = ("jupyter_lsp", "jupyter_server_terminals", "jupyterlab", "notebook_shim")


@dataclass
class Endpoint:
    """A gateway, or a server before one: where it is, and how it is asked."""

    url: str
    token: str
    http: aiohttp.ClientSession
    tls: ssl.SSLContext | None = None
    pid: int = 0

    async def call(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401  # what JSON says
        """Make a request; return what is answered. Raises `BenchError` if it is refused."""
        async with self.http.request(method, self.url + path, json=body) as response:
            text = await response.read()
            if response.status >= 300:
                raise BenchError(f"{method} {path} was answered {response.status}: {text[:500]!r}")
            return json.loads(text) if text else None

    async def start_kernel(self) -> str:
        """Start a kernel and return its id."""
        model = await self.call("POST", "/api/kernels", {"name": "python3"})
        kernel_id: str = model["id"]
        return kernel_id

    async def tab(self, kernel_id: str, wire: Wire = Wire.V1) -> Tab:
        """Open the websocket of a kernel, as a browser does."""
        return await Tab.open(self.url, self.token, kernel_id, wire=wire, tls=self.tls)

    async def state(self, *, collect: bool = False) -> Mapping[str, Any]:
        """Return what the probe of a server says."""
        state: Mapping[str, Any] = await self.call(
            "GET", "/bench/state" + ("?collect=1" if collect else "")
        )
        return state


@dataclass(frozen=True)
class Worker:
    """A process that does what it is told (`bench.orders`)."""

    process: asyncio.subprocess.Process
    errors: IO[bytes]

    async def do(self, order: str, *sizes: int) -> Mapping[str, float]:
        """Let it do something; return what it has measured. Raises `BenchError`."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{order} {' '.join(map(str, sizes))}\n".encode())
        line = await self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            told = self.errors.read().decode(errors="replace")
            raise BenchError(f"The process ended while it did {order!r}: {told}")
        measured: Mapping[str, float] = json.loads(line)
        return measured


@dataclass(kw_only=True)
class Pipe(Endpoint):
    """A plain TCP relay (`bench.pipe`): what it is asked, the gateway behind it answers."""

    worker: Worker

    async def state(self, *, collect: bool = False) -> Mapping[str, Any]:
        """Return the CPU seconds that it has used."""
        return await self.worker.do("cpu")


@dataclass
class Gateway:
    """The gateway of the bench, plain and with TLS."""

    plain: Endpoint
    secure: Endpoint
    environment: Mapping[str, str] = field(repr=False)

    def of(self, scheme: Scheme) -> Endpoint:
        """Return the endpoint of a scheme."""
        return self.plain if scheme == "http" else self.secure

    async def stats(self) -> Mapping[str, int]:
        """Return what it has counted."""
        stats: Mapping[str, int] = await self.plain.call("GET", "/bench/stats")
        return stats

    async def behave(self, **manners: float) -> None:
        """Let it answer slowly: seconds for GET, POST, DELETE or handshake; hide its
        kernels; or give the longest lists that are taken (``hostile``)."""
        await self.plain.call("POST", "/bench/manners", manners)

    async def sent(self, written: int) -> None:
        """Wait until it has written that much in all, and what it wrote is received."""
        while True:
            stats = await self.stats()
            if stats["written"] >= written and not stats["unsent"]:
                return
            await asyncio.sleep(0.02)

    @asynccontextmanager
    async def server(
        self, kind: str, scheme: Scheme = "http", *, fresh: bool = False
    ) -> AsyncIterator[Endpoint]:
        """Run a Jupyter Server before it: a ``relay`` or a ``peer``, and that is looked up.

        A ``fresh`` one asks the gateway each time that it is asked for its kernels.
        """
        async with server_on(kind, self.of(scheme).url, self._told(fresh=fresh)) as endpoint:
            yield endpoint

    @asynccontextmanager
    async def servers(
        self, scheme: Scheme = "http", *, fresh: bool = False
    ) -> AsyncIterator[dict[str, Endpoint]]:
        """Run one of each kind."""
        async with servers(self.of(scheme).url, self._told(fresh=fresh)) as both:
            yield both

    @asynccontextmanager
    async def middles(self) -> AsyncIterator[dict[str, Endpoint]]:
        """Run all that can stand before it: a server of each kind, and a ``pipe``."""
        async with self.servers() as both, _pipe(self.plain) as pipe:
            yield {**both, "pipe": pipe}

    def _told(self, *, fresh: bool) -> Mapping[str, str]:
        return {**self.environment, **({"JUPYTER_GATEWAY_LISTING_TTL": "0"} if fresh else {})}


def extensions(kind: str) -> dict[str, bool]:
    """Return which extensions of a server run: ours in a ``relay``, and no others."""
    return dict.fromkeys(_OTHERS, False) | {"jupyter_relay": kind == "relay"}


def environment(certificates: Path | None = None) -> dict[str, str]:
    """Return what the processes of the bench need to know."""
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    return paths | ({"SSL_CERT_FILE": str(certificates / "ca.pem")} if certificates else {})


@asynccontextmanager
async def servers(url: str, environment: Mapping[str, str]) -> AsyncIterator[dict[str, Endpoint]]:
    """Run a Jupyter Server of each kind before the gateway at a URL."""
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.TaskGroup() as starting:  # one does not wait for the other
                tasks = {
                    kind: starting.create_task(
                        stack.enter_async_context(server_on(kind, url, environment))
                    )
                    for kind in _KINDS
                }
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        yield {kind: task.result() for kind, task in tasks.items()}


@asynccontextmanager
async def server_on(kind: str, url: str, environment: Mapping[str, str]) -> AsyncIterator[Endpoint]:
    """Run a Jupyter Server before the gateway at a URL: a ``relay`` or a ``peer``, which is looked
    up."""
    enabled = extensions(kind) | {"bench.probe": True}
    arguments = [f"--ServerApp.jpserver_extensions={enabled}"]
    async with (
        jupyter_server(
            env={**environment, "JUPYTER_GATEWAY_URL": url}, extra_args=arguments
        ) as server,
        client(server.headers) as http,
    ):
        endpoint = Endpoint(server.url, server.token, http, pid=server.pid)
        classes = (await endpoint.state())["classes"]
        if not all(name.startswith(_KINDS[kind]) for name in classes):
            raise BenchError(f"The {kind} is served by {classes}.")
        await _warm(endpoint, server)
        yield endpoint


@asynccontextmanager
async def workers(
    kinds: Iterable[str], url: str, environment: Mapping[str, str]
) -> AsyncIterator[dict[str, Worker]]:
    """Run a process with a headless client of each kind, on the gateway at a URL."""
    async with AsyncExitStack() as stack:
        env = {**environment, "JUPYTER_GATEWAY_URL": url}
        yield {
            kind: await stack.enter_async_context(_worker("bench.worker", kind, env=env))
            for kind in kinds
        }


@asynccontextmanager
async def _pipe(to: Endpoint) -> AsyncIterator[Pipe]:
    address = urlsplit(to.url)
    async with _worker("bench.pipe", str(address.hostname), str(address.port)) as worker:
        port = int((await worker.do("port"))["port"])
        yield Pipe(f"http://127.0.0.1:{port}", "", to.http, worker=worker)


@asynccontextmanager
async def _worker(
    module: str, *arguments: str, env: Mapping[str, str] | None = None
) -> AsyncIterator[Worker]:
    with tempfile.TemporaryFile() as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **environment(), **(env or {})},
        )
        try:
            yield Worker(process, errors)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()


async def _warm(endpoint: Endpoint, server: RunningServer) -> None:
    """Use each way once: what is imported or made on the first use is no part of the work."""
    kernel_id = await endpoint.start_kernel()
    await endpoint.call("GET", "/api/kernels")
    tab = await endpoint.tab(kernel_id)
    try:
        async with asyncio.timeout(30):
            tab.send("1")
            # A real gateway asks its kernel things when a websocket opens, and the page hears it.
            await tab.at_least(ROUND_TRIP_FRAMES)
    except TimeoutError:
        raise BenchError(f"{server.url} does not answer; see {server.log_path}.") from None
    finally:
        await tab.close()
    await endpoint.call("DELETE", f"/api/kernels/{kernel_id}")


@asynccontextmanager
async def gateway() -> AsyncIterator[Gateway]:
    """Run the gateway."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        certificates = Path(directory)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(certificates / "ca.pem")
        own = authority.issue_cert("127.0.0.1", "localhost")
        own.private_key_pem.write_to_path(certificates / "key.pem")
        own.cert_chain_pems[0].write_to_path(certificates / "cert.pem")
        known = environment(certificates)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bench.gateway",
            str(certificates / "cert.pem"),
            str(certificates / "key.pem"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **known},
            start_new_session=True,  # a Ctrl-C is the bench's; this ends with its standard input
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            ports = json.loads(await process.stdout.readline())
            tls = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
            async with client({}) as plain, client({}, tls) as secure:
                yield Gateway(
                    Endpoint(f"http://127.0.0.1:{ports['http']}", "", plain),
                    Endpoint(f"https://127.0.0.1:{ports['https']}", "", secure, tls),
                    known,
                )
        finally:
            process.stdin.close()
            await process.wait()


def client(headers: Mapping[str, str], tls: ssl.SSLContext | None = None) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        headers=headers,
        connector=aiohttp.TCPConnector(limit=0, ssl=tls or True),
        timeout=aiohttp.ClientTimeout(total=300),
    )
