"""A Jupyter Server with our extension as a process of its own, and its clients."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from jupyter_relay.testing.servers import RunningServer, jupyter_server
from jupyter_relay.wire.json import Json
from jupyter_relay.wire.subprotocol import OFFERED
from tests.support.tab import Tab


@asynccontextmanager
async def relay(
    gateway: RunningServer,
    directory: Path,
    *others: str,
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[RunningServer]:
    """Run a Jupyter Server, whose kernels are on the gateway, with our extension and others."""
    extensions = dict.fromkeys(("jupyter_relay", *others), True)
    enabled = f"--ServerApp.jpserver_extensions={extensions}"
    async with jupyter_server(
        gateway=gateway, directory=directory, env=env, extra_args=[enabled]
    ) as server:
        yield server


async def call(server: RunningServer, method: str, path: str, body: Json = None) -> Json:
    """Make a request that must succeed, and return its answer."""
    async with (
        aiohttp.ClientSession(headers=server.headers) as http,
        http.request(method, server.url + path, json=body) as response,
    ):
        assert response.ok, (response.status, await response.text())
        answer: Json = await response.json()
        return answer


async def open_session(server: RunningServer, kernel: dict[str, Json]) -> str:
    """Open a notebook's session, with a new kernel or one that runs; return the kernel's id."""
    body: Json = {"path": "a.ipynb", "name": "a.ipynb", "type": "notebook", "kernel": kernel}
    answer = await call(server, "POST", "/api/sessions", body)
    kernel_id = json.loads(json.dumps(answer))["kernel"]["id"]
    assert isinstance(kernel_id, str)
    return kernel_id


@asynccontextmanager
async def tab(server: RunningServer, kernel_id: str, session_id: str) -> AsyncIterator[Tab]:
    """Open the websocket of a kernel as a page does."""
    async with (
        aiohttp.ClientSession(headers=server.headers) as http,
        http.ws_connect(
            f"{server.url}/api/kernels/{kernel_id}/channels",
            params={"session_id": session_id},
            protocols=OFFERED,
        ) as websocket,
    ):
        yield Tab(websocket, session_id)
