"""What the server holds: for kernels that do nothing, and for a page that does not read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import psutil

from bench.gateway import ROUND_TRIP_FRAMES
from bench.runner import Goal, Row, Sample, Scale, Subjects, Work
from bench.site import Endpoint, gateway
from bench.works.rest import start_kernels

_MIB = 2**20
_KERNELS = 500
"""Also in the short form: asyncio keeps a hundred timers that were cancelled, with the requests
that they belong to, and this megabyte is none of the kernels'."""

_BOUND_MIB = 64
"""``GatewayClient.backlog_bytes``, as it is by default."""


@asynccontextmanager
async def _kernels(_: Scale) -> AsyncIterator[Subjects]:
    async with gateway() as site, site.servers() as servers:

        async def hold(server: Endpoint) -> Sample:
            before = (await server.state(collect=True))["uss"]
            await start_kernels(server, _KERNELS)
            after = (await server.state(collect=True))["uss"]
            return {"kernel-memory": (after - before) / _KERNELS / 1024}

        yield {kind: partial(hold, server) for kind, server in servers.items()}


@asynccontextmanager
async def _stalled(scale: Scale) -> AsyncIterator[Subjects]:
    count, size = 200, 1_000_000
    async with gateway() as site, site.servers() as servers:

        async def stall(server: Endpoint) -> Sample:
            kernel_id = await server.start_kernel()
            tab = await server.tab(kernel_id)
            await tab.execute("hello", ROUND_TRIP_FRAMES)
            process = psutil.Process(server.pid)
            await server.state(collect=True)
            before = most = process.memory_info().rss
            tab.stall()
            written = (await site.stats())["written"] + count * size
            tab.send(f"burst {count} {size}")
            sent = asyncio.create_task(site.sent(written))
            while not sent.done():
                await asyncio.sleep(0.01)
                most = max(most, process.memory_info().rss)
            await sent
            most = max(most, process.memory_info().rss)
            await tab.close()
            await server.call("DELETE", f"/api/kernels/{kernel_id}")
            return {"stalled": (most - before) / _MIB}

        yield {kind: partial(stall, server) for kind, server in servers.items()}


WORKS = (
    Work(
        "kernel-memory",
        (Row("kernel-memory", "memory for each idle kernel held", "KiB", goals=(Goal(12),)),),
        _kernels,
    ),
    Work(
        "stalled",
        (
            Row(
                "stalled",
                f"a reader stalled behind 200 MB: most memory added (bound {_BOUND_MIB} MiB)",
                "MiB",
                goals=(Goal(_BOUND_MIB + 16),),
            ),
        ),
        _stalled,
    ),
)
