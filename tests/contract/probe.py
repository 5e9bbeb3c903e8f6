"""The least client of a real gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from jupyter_relay.testing.servers import RunningServer
from jupyter_relay.wire.subprotocol import OFFERED
from tests.support.enterprise import KERNEL_ENV
from tests.support.tab import Tab


class Probe:
    """REST and websockets of one gateway, as they are. ``kernels`` are those it has started."""

    def __init__(self, http: aiohttp.ClientSession, gateway: RunningServer) -> None:
        self.http = http
        self.gateway = gateway
        self.kernels: list[str] = []

    async def call(
        self, method: str, path: str, json: object = None, *, token: str | None = None
    ) -> tuple[int, Any]:
        """Make a request; return its status, and its body if that is JSON."""
        headers = {"Authorization": f"token {token or self.gateway.token}"}
        async with self.http.request(
            method, self.gateway.url + path, json=json, headers=headers
        ) as response:
            is_json = response.content_type == "application/json" and response.status != 204
            return response.status, await response.json() if is_json else await response.read()

    async def start_kernel(self, **env: str) -> str:
        """Start a kernel and return its id."""
        status, model = await self.call(
            "POST", "/api/kernels", {"name": "python3", "env": KERNEL_ENV | env}
        )
        assert status == 201, model
        kernel_id: str = model["id"]
        self.kernels.append(kernel_id)
        return kernel_id

    @asynccontextmanager
    async def socket(
        self,
        kernel_id: str,
        session_id: str = "probe",
        *,
        protocols: tuple[str, ...] = OFFERED,
        token: str | None = None,
    ) -> AsyncIterator[Tab]:
        """Open a websocket to a kernel."""
        async with self.http.ws_connect(
            f"{self.gateway.url}/api/kernels/{kernel_id}/channels",
            params={"session_id": session_id},
            headers={"Authorization": f"token {token or self.gateway.token}"},
            protocols=protocols,
            max_msg_size=0,
        ) as websocket:
            yield Tab(websocket, session_id)
