"""A gateway that breaks the rules harms nobody: each misdeed, over every route of a server."""

from __future__ import annotations

import asyncio
import html
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from jupyter_relay.testing import MISDEEDS, QUOTINGS, HostileGateway, Misdeed
from jupyter_relay.testing.servers import RunningServer, jupyter_server

pytestmark = pytest.mark.long

TOKEN = "t0ken/of+the=gateway"
MIB = 1024 * 1024

MOST_MEMORY = 400 * MIB
"""What the server may take for a misdeed beyond what it has at rest: six routes are asked at once,
and each may read a list of 64 MiB."""

MOST_ANSWERED = 64 * 1024
MOST_LOGGED = MIB
MOST_IN_A_LINE = 10_000
"""The characters of a line in the log: the end of a gateway's traceback has 8,000."""

WAYS = {
    "GET /api/kernelspecs": None,
    "GET /api/kernelspecs/python3": None,
    "GET /kernelspecs/python3/logo-64x64.png": None,
    "GET /api/kernels": None,
    "GET /api/kernels/{id}": None,
    "POST /api/kernels": {"name": "python3"},
    "GET /api/sessions": None,
    "POST /api/sessions": {"path": "b", "type": "notebook", "name": "", "kernel": {}},
    "POST /api/kernels/{id}/interrupt": None,
    "POST /api/kernels/{id}/restart": None,
    "DELETE /api/kernels/{id}": None,
}
"""The routes, each with what is sent; ``{id}`` is a kernel."""

OPTIONS = {
    "AUTH_TOKEN": TOKEN,
    "LAUNCH_TIMEOUT_PAD": "1.0",
    "REQUEST_TIMEOUT": "1.0",
    "CONNECT_TIMEOUT": "1.0",
    "RETRY_INTERVAL": "0.05",
}


@dataclass
class Site:
    """A server whose gateway is hostile."""

    gateway: HostileGateway
    server: RunningServer
    http: aiohttp.ClientSession
    wrong: list[str] = field(default_factory=list)

    async def ask(self, way: str, body: object = None) -> tuple[int, bytes, str]:
        """Ask the server; return status, body, and all that was told."""
        method, path = way.split(" ", 1)
        async with self.http.request(method, path, json=body) as response:
            data = await response.read()
            return response.status, data, f"{response.headers} {data.decode(errors='replace')}"

    async def start(self) -> str:
        """Start a kernel, while the gateway behaves."""
        status, body, _ = await self.ask("POST /api/kernels", {"name": "python3"})
        assert status == 201, body
        return str(json.loads(body)["id"])

    def memory(self, key: str) -> int:
        """The server's memory: ``VmRSS`` is what it has, ``VmHWM`` the most since `forget_most`."""
        lines = Path(f"/proc/{self.server.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(key)).split()[1]) * 1024

    def forget_most(self) -> None:
        """Count the most memory from here."""
        Path(f"/proc/{self.server.pid}/clear_refs").write_text("5")


@asynccontextmanager
async def site(directory: Path) -> AsyncIterator[Site]:
    env = {"KERNEL_LAUNCH_TIMEOUT": "0"}
    (directory / "config").mkdir()
    (directory / "config" / "jupyter_server_config.py").write_text(
        'everything = {"level": "DEBUG", "handlers": ["console"]}\n'
        'console = {"console": {"level": "DEBUG"}}\n'
        'c.ServerApp.logging_config = {"handlers": console, "loggers": {"": everything}}\n'
    )
    async with HostileGateway() as gateway:
        gateway.fake.token = TOKEN
        env |= {f"JUPYTER_GATEWAY_{name}": value for name, value in OPTIONS.items()}
        env["JUPYTER_GATEWAY_URL"] = gateway.url
        async with (
            jupyter_server(env=env, directory=directory) as server,
            aiohttp.ClientSession(server.url, headers=server.headers) as http,
        ):
            yield Site(gateway, server, http)


def quotations(text: str) -> list[str]:
    """The ways in which a text tells the token."""
    return [name for name, quoting in QUOTINGS.items() if quoting(TOKEN) in text]


def is_sentence(body: bytes, gateway: str) -> bool:
    """Whether an error of the server says what is wrong, and with what."""
    if body.startswith(b"<!DOCTYPE HTML>"):  # the server's own page of an error
        page = html.unescape(body.decode())
        return gateway in page or "404 : Not Found" in page
    try:
        said = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        return False
    about_it = gateway in said or "python3" in said
    return about_it and len(said) < 1500


def faults(way: str, status: int, body: bytes, told: str, gateway: str) -> list[str]:
    """What is wrong with an answer of the server."""
    found = [f"tells the token: {name}" for name in quotations(told)]
    if len(body) > MOST_ANSWERED:
        found.append(f"answers with {len(body)} bytes")
    if status >= 400 and not is_sentence(body, gateway):
        found.append(f"answers {status} without a sentence: {body[:300]!r}")
    elif "/api/kernelspecs" in way and status < 400:
        found += [f"passes a URL on: {url}" for url in urls(json.loads(body)) if not is_own(url)]
    return [f"{way} {fault}" for fault in found]


def urls(model: object) -> Iterator[str]:
    """All URLs of files in a model, or a list, of kernelspecs."""
    if isinstance(model, dict):
        for key, value in model.items():
            yield from value.values() if key == "resources" else urls(value)


def is_own(url: str) -> bool:
    return url == "/kernelspecs/python3/logo-64x64.png"


async def listen(at: Site, kernel_id: str) -> None:
    """Have a page listen to a kernel until it is cancelled or its websocket ends."""
    path = f"/api/kernels/{kernel_id}/channels?session_id=page"
    with suppress(aiohttp.ClientError):
        async with at.http.ws_connect(path, max_msg_size=0) as page:
            async for message in page:
                at.wrong += [f"the page hears the token: {n}" for n in quotations(message.data)]


async def test_server_with_hostile_gateway_survives_and_tells_no_secret(tmp_path: Path) -> None:
    wrong: dict[str, list[str]] = {}
    async with site(tmp_path) as at:
        for name, misdeed in MISDEEDS.items():
            wrong[name] = await suffer(at, misdeed)
        log = at.server.log_path.read_text()
    assert {name: found for name, found in wrong.items() if found} == {}
    assert "[D " in log
    assert [line[:500] for line in log.splitlines() if quotations(line)] == []
    assert [line[:500] for line in log.splitlines() if len(line) > MOST_IN_A_LINE] == []


async def suffer(at: Site, misdeed: Misdeed) -> list[str]:
    """Have a gateway do it to every route at once; return what has gone wrong."""
    gateway, log = at.gateway, at.server.log_path
    kernels = {way: await at.start() for way in WAYS if "{id}" in way}
    heard = await at.start()
    page = asyncio.create_task(listen(at, heard))
    await gateway.fake.wait_for(lambda: gateway.fake.open_sockets)
    at.forget_most()
    rest, logged = at.memory("VmRSS"), log.stat().st_size
    found = []
    with gateway.misbehaving(misdeed):
        gateway.hang_up()  # so that the page's link opens its websocket anew
        answers = await asyncio.gather(
            *(at.ask(way.format(id=kernels.get(way)), sent) for way, sent in WAYS.items())
        )
        for way, answer in zip(WAYS, answers, strict=True):
            found += faults(way, *answer, gateway.url)
        await gateway.wait_until_committed(misdeed)
    page.cancel()
    await asyncio.wait([page])
    if not page.cancelled():
        page.result()  # raises what has gone wrong in it
    gateway.hang_up()
    if (more := at.memory("VmHWM") - rest) > MOST_MEMORY:
        found.append(f"takes {more / MIB:.0f} MiB")
    if (more := log.stat().st_size - logged) > MOST_LOGGED:
        found.append(f"logs {more / MIB:.1f} MiB")
    status, body, _ = await at.ask("GET /api/kernelspecs")
    if status != 200 or "unavailable" in json.loads(body):
        found.append(f"has not come back: {body[:300]!r}")
    for kernel_id in {*kernels.values(), heard}:
        await at.ask(f"DELETE /api/kernels/{kernel_id}")
    found += at.wrong
    at.wrong.clear()
    return found
