"""Messages through the server: how long a cell takes, and how much passes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from statistics import median

import aiohttp

from bench.bare import Bare, bare
from bench.gateway import BURST_FRAMES, ROUND_TRIP_FRAMES
from bench.runner import Better, Clock, Goal, Row, Sample, Scale, Subjects, Work, times_within
from bench.site import Endpoint, Gateway, gateway
from bench.tab import Tab

_SMALL = 100
_LARGE = 1_000_000
_RESTED = 20


@asynccontextmanager
async def _tabs_and_bare(scale: Scale) -> AsyncIterator[tuple[dict[str, Tab | Bare], Gateway]]:
    """A tab on each server and on the pipe, one on the gateway itself, and a bare client."""
    async with gateway() as site, site.middles() as middles:
        clients: dict[str, Tab | Bare] = {
            kind: await middle.tab(await middle.start_kernel()) for kind, middle in middles.items()
        }
        kernel_id = await site.plain.start_kernel()
        clients["gateway"] = await site.plain.tab(await site.plain.start_kernel())
        async with bare(site.plain, kernel_id) as straight:
            clients["limit"] = straight
            yield clients, site
        for client in clients.values():
            if isinstance(client, Tab):
                await client.close()


@asynccontextmanager
async def _round_trip(scale: Scale) -> AsyncIterator[Subjects]:
    async with _tabs_and_bare(scale) as (clients, _):

        async def execute(client: Tab | Bare) -> Sample:
            taken = await times_within(
                0.2 if scale.short else 1.0, lambda: client.execute("hello", ROUND_TRIP_FRAMES)
            )
            return {
                "round-trip": median(taken) * 1e3,
                "round-trip-rested": median(taken[:_RESTED]) * 1e3,
            }

        # A tab on the gateway itself would show its own delayed acknowledgements, and no more.
        del clients["gateway"]
        yield {name: partial(execute, client) for name, client in clients.items()}


@asynccontextmanager
async def _burst(scale: Scale) -> AsyncIterator[Subjects]:
    count = 20_000
    async with gateway() as site, site.middles() as middles:
        tabs = {
            kind: await middle.tab(await middle.start_kernel()) for kind, middle in middles.items()
        }
        own = await site.plain.tab(await site.plain.start_kernel())

        async def through(middle: Endpoint, tab: Tab) -> Sample:
            before = (await middle.state())["cpu"]
            rate = await _messages_per_second(tab, count, _SMALL)
            cpu = (await middle.state())["cpu"] - before
            return {"burst": rate, "burst-cpu": cpu * 10_000 / count}

        async def straight(client: Tab | Bare) -> Sample:
            return {"burst": await _messages_per_second(client, count, _SMALL)}

        async with bare(site.plain, await site.plain.start_kernel()) as client:
            yield {
                **{kind: partial(through, middles[kind], tabs[kind]) for kind in middles},
                "limit": partial(straight, client),
                "gateway": partial(straight, own),
            }
        for tab in (*tabs.values(), own):
            await tab.close()


@asynccontextmanager
async def _large(scale: Scale) -> AsyncIterator[Subjects]:
    count = scale.of(100, 30)
    async with _tabs_and_bare(scale) as (clients, _):

        async def execute(client: Tab | Bare) -> Sample:
            rate = await _messages_per_second(client, count, _LARGE)
            return {"large": rate * _LARGE / 1e6}

        yield {name: partial(execute, client) for name, client in clients.items()}


async def _messages_per_second(client: Tab | Bare, count: int, size: int) -> float:
    clock = Clock()
    await client.execute(f"burst {count} {size}", count + BURST_FRAMES)
    return count / clock.seconds


@asynccontextmanager
async def _many(scale: Scale) -> AsyncIterator[Subjects]:
    connections, executes = 50, 20

    async def execute(clients: list[Tab] | list[Bare]) -> Sample:
        async def cells(client: Tab | Bare) -> None:
            for _ in range(executes):
                await client.execute("hello", ROUND_TRIP_FRAMES)

        clock = Clock()
        await asyncio.gather(*(cells(client) for client in clients))
        return {"many": clock.seconds}

    async with gateway() as site, site.middles() as middles:
        tabs = {
            kind: [await middle.tab(await middle.start_kernel()) for _ in range(connections)]
            for kind, middle in middles.items()
        }
        async with _bares(site.plain, connections) as straight:
            yield {
                **{kind: partial(execute, clients) for kind, clients in tabs.items()},
                "limit": partial(execute, straight),
            }
        for clients in tabs.values():
            for tab in clients:
                await tab.close()


@asynccontextmanager
async def _bares(endpoint: Endpoint, count: int) -> AsyncIterator[list[Bare]]:
    if count == 0:
        yield []
        return
    async with (
        bare(endpoint, await endpoint.start_kernel()) as client,
        _bares(endpoint, count - 1) as others,
    ):
        yield [client, *others]


@asynccontextmanager
async def _fan_out(scale: Scale) -> AsyncIterator[Subjects]:
    """What each tab more costs the server, beside the bare write of a frame in the same server.

    Those who only listen are on one kernel with the one who asks.
    """
    listeners, count = 20, scale.of(20_000, 2_000)
    async with gateway() as site, site.servers() as servers:

        async def burst(server: Endpoint, tabs: list[Tab]) -> float:
            before: float = (await server.state())["cpu"]
            tabs[0].send(f"burst {count} {_SMALL}")
            # The reply is for the first one only.
            due = [count + BURST_FRAMES - (tab is not tabs[0]) for tab in tabs]
            await asyncio.gather(*(tab.received(n) for tab, n in zip(tabs, due, strict=True)))
            after: float = (await server.state())["cpu"]
            return after - before

        async def share(server: Endpoint) -> Sample:
            kernel_id = await server.start_kernel()
            sockets = (await site.stats())["websockets"]
            alone = [await server.tab(kernel_id)]
            await alone[0].execute("hello", ROUND_TRIP_FRAMES)
            one = await burst(server, alone)
            tabs = list(alone)
            while len(tabs) < listeners:
                tab = await server.tab(kernel_id)
                # Once it is answered it listens, and those before it have heard the rest.
                await tab.execute("hello", ROUND_TRIP_FRAMES)
                await asyncio.gather(*(other.received(ROUND_TRIP_FRAMES - 1) for other in tabs))
                tabs.append(tab)
            opened = (await site.stats())["websockets"] - sockets
            all_of_them = await burst(server, tabs)
            for tab in tabs:
                await tab.close()
            await server.call("DELETE", f"/api/kernels/{kernel_id}")
            return {
                "fan-out-sockets": opened,
                "fan-out": (all_of_them - one) / (listeners - 1) / count * 1e6,
            }

        async def frame_write() -> Sample:
            server, frames = servers["relay"], 20_000  # enough to fill the socket
            url = f"{server.url}/bench/frames"
            async with server.http.ws_connect(url, max_msg_size=0) as websocket:
                before = (await server.state())["cpu"]
                await websocket.send_str(f"{frames} 600")
                for _ in range(frames):
                    message = await websocket.receive()
                    assert message.type is aiohttp.WSMsgType.BINARY
                cpu = (await server.state())["cpu"] - before
            return {"fan-out": cpu / frames * 1e6}

        yield {
            **{kind: partial(share, server) for kind, server in servers.items()},
            "limit": frame_write,
        }


WORKS = (
    Work(
        "round-trip",
        (
            Row(
                "round-trip",
                "execute round trip, p50",
                "ms",
                goals=(Goal(0.6), Goal(3, "limit")),
            ),
            Row("round-trip-rested", f"… the first {_RESTED} after a rest of seconds", "ms"),
        ),
        _round_trip,
    ),
    Work(
        "burst",
        (
            Row(
                "burst",
                "20,000 small iopub messages",
                "msg/s",
                Better.MORE,
                (Goal(120_000), Goal(4, "peer")),
            ),
            Row("burst-cpu", "server CPU for 10k messages", "s", goals=(Goal(0.07),)),
        ),
        _burst,
    ),
    Work(
        "large",
        (Row("large", "100 messages of 1 MB (short: 30)", "MB/s", Better.MORE, (Goal(1000),)),),
        _large,
    ),
    Work(
        "many",
        (Row("many", "50 connections × 20 executes", "s", goals=(Goal(0.25),)),),
        _many,
    ),
    Work(
        "fan-out",
        (
            Row(
                "fan-out-sockets",
                "20 tabs of one kernel, 20,000 messages (short: 2,000): upstream sockets",
                "",
                goals=(Goal(1),),
            ),
            Row(
                "fan-out",
                "fan-out: CPU for a message and tab (limit: one frame write)",
                "µs",
                goals=(Goal(1.2, "limit"),),
            ),
        ),
        _fan_out,
        warm=False,
    ),
)
