"""How long a hostile gateway holds the event loop of a server up, misdeed by misdeed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import aiohttp

from bench.runner import Goal, Row, Sample, Scale, Subjects, Work
from bench.site import Endpoint, environment, server_on
from jupyter_relay.testing import MISDEEDS, HostileGateway, Misdeed

_MOST_MS: Final = 100

_WAYS: Final = (
    ("GET", "/api/kernelspecs", None),
    ("GET", "/api/kernelspecs/python3", None),
    ("GET", "/kernelspecs/python3/logo-64x64.png", None),
    ("GET", "/api/kernels", None),
    ("GET", "/api/kernels/{id}", None),
    ("POST", "/api/kernels", {"name": "python3"}),
    ("GET", "/api/sessions", None),
    ("POST", "/api/kernels/{id}/interrupt", None),
    ("POST", "/api/kernels/{id}/restart", None),
)
"""What is asked for at once; ``{id}`` is a kernel."""

_TOLD: Final = {
    "JUPYTER_GATEWAY_AUTH_TOKEN": "t0ken/of+the=gateway",
    "JUPYTER_GATEWAY_LAUNCH_TIMEOUT_PAD": "1.0",
    "JUPYTER_GATEWAY_REQUEST_TIMEOUT": "1.0",
    "JUPYTER_GATEWAY_CONNECT_TIMEOUT": "1.0",
    "JUPYTER_GATEWAY_RETRY_INTERVAL": "0.05",
    "KERNEL_LAUNCH_TIMEOUT": "0",
}


def _row_of(name: str) -> str:
    return "hostile-" + re.sub(r"\W+", "-", name.lower())


@asynccontextmanager
async def _hostile(_: Scale) -> AsyncIterator[Subjects]:
    async with HostileGateway() as gateway:
        gateway.fake.token = _TOLD["JUPYTER_GATEWAY_AUTH_TOKEN"]
        async with server_on("relay", gateway.url, {**environment(), **_TOLD}) as server:

            async def suffer_all() -> Sample:
                sample: dict[str, float] = {}
                latest = 0.0
                for name, misdeed in MISDEEDS.items():
                    held = await _suffer(server, gateway, misdeed)
                    sample[_row_of(name)] = held["cpu"] * 1e3
                    latest = max(latest, held["late"])
                sample["hostile-late"] = latest * 1e3
                return sample

            yield {"relay": suffer_all}


async def _suffer(server: Endpoint, gateway: HostileGateway, misdeed: Misdeed) -> dict[str, float]:
    """Have a gateway do it to all routes at once; return how long the loop was held up at most."""
    kernel_ids = [await server.start_kernel() for _ in _WAYS]
    page = asyncio.create_task(_listen(server, kernel_ids[0]))
    await gateway.fake.wait_for(lambda: gateway.fake.open_sockets)
    await server.call("POST", "/bench/held_up")
    with gateway.misbehaving(misdeed):
        gateway.hang_up()  # so that the page's link opens its websocket anew
        await asyncio.gather(
            *(
                _ask(server, method, path.format(id=kernel_id), body)
                for (method, path, body), kernel_id in zip(_WAYS, kernel_ids, strict=True)
            )
        )
        await gateway.wait_until_committed(misdeed)
    held: dict[str, float] = await server.call("GET", "/bench/held_up")
    page.cancel()
    await asyncio.wait([page])
    gateway.hang_up()
    for kernel_id in kernel_ids:
        await _ask(server, "DELETE", f"/api/kernels/{kernel_id}", None)
    return held


async def _ask(server: Endpoint, method: str, path: str, body: object) -> None:
    async with server.http.request(method, server.url + path, json=body) as response:
        async for _ in response.content.iter_any():
            pass


async def _listen(server: Endpoint, kernel_id: str) -> None:
    """Have a page listen to a kernel until it is cancelled or its websocket ends."""
    url = f"{server.url}/api/kernels/{kernel_id}/channels?session_id=page"
    with suppress(aiohttp.ClientError):
        async with server.http.ws_connect(url, max_msg_size=0) as page:
            async for _ in page:
                pass


WORKS = (
    Work(
        "hostile",
        (
            *(
                Row(
                    _row_of(name),
                    f"{name}: the event loop is held up, in CPU time",
                    "ms",
                    goals=(Goal(_MOST_MS),),
                )
                for name in MISDEEDS
            ),
            Row(
                "hostile-late", "… the longest of all by the clock, which other load adds to", "ms"
            ),
        ),
        _hostile,
    ),
)
