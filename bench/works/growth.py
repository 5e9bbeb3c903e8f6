"""How cost grows: with kernels, with tabs, with the size of a message, and with what is spoken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

from bench.bare import Bare, bare
from bench.gateway import BURST_FRAMES, ROUND_TRIP_FRAMES
from bench.messages import Wire
from bench.runner import Better, Clock, Row, Sample, Scale, Subjects, Work
from bench.site import Endpoint, Scheme, gateway
from bench.tab import Tab
from bench.works.rest import listing

_COUNTS = (1, 10, 100, 1000)
_SIZES = {
    "100 B": 100,
    "1 kB": 1000,
    "10 kB": 10**4,
    "100 kB": 10**5,
    "1 MB": 10**6,
    "10 MB": 10**7,
    "100 MB": 10**8,
}
_PEERS_LARGEST = 10**6
"""The peer drops the gateway at messages of 10 MiB."""

_SCHEMES: tuple[Scheme, ...] = ("http", "https")
_WIRES = tuple(
    (downstream, upstream, scheme)
    for scheme in _SCHEMES
    for downstream in (Wire.V1, Wire.LEGACY)
    for upstream in (Wire.V1, Wire.LEGACY)
)


def _kernels(count: int) -> Callable[[Scale], AbstractAsyncContextManager[Subjects]]:
    return lambda scale: listing(count, f"growth-kernels-{count}", 5)


def _tabs(count: int) -> Callable[[Scale], AbstractAsyncContextManager[Subjects]]:
    """One burst for all tabs of a kernel; what the server pays for a message and tab."""

    @asynccontextmanager
    async def subjects(scale: Scale) -> AsyncIterator[Subjects]:
        messages = max(50, 20_000 // count)
        async with gateway() as site, site.servers() as servers:

            async def opened(server: Endpoint) -> list[Tab]:
                kernel_id = await server.start_kernel()
                before = (await site.stats())["websockets"]
                tabs = [await server.tab(kernel_id) for _ in range(count)]
                # A websocket is open a little before its tab listens: the relay counts those that
                # do, and each of the peer's has one upstream.
                listening = 0
                while listening < count:
                    model = await server.call("GET", f"/api/kernels/{kernel_id}")
                    upstream = (await site.stats())["websockets"] - before
                    listening = max(model["connections"], upstream)
                await tabs[0].execute("hello", ROUND_TRIP_FRAMES)
                await asyncio.gather(*(tab.received(ROUND_TRIP_FRAMES - 1) for tab in tabs[1:]))
                return tabs

            async def burst(server: Endpoint, tabs: list[Tab]) -> Sample:
                before = (await server.state())["cpu"]
                tabs[0].send(f"burst {messages} 100")
                due = [messages + BURST_FRAMES - (tab is not tabs[0]) for tab in tabs]
                await asyncio.gather(*(tab.received(n) for tab, n in zip(tabs, due, strict=True)))
                cpu = (await server.state())["cpu"] - before
                return {f"growth-tabs-{count}": cpu / messages / count * 1e6}

            tabs = {kind: await opened(server) for kind, server in servers.items()}
            yield {kind: partial(burst, server, tabs[kind]) for kind, server in servers.items()}
            for all_of_a_kind in tabs.values():
                for tab in all_of_a_kind:
                    await tab.close()

    return subjects


@asynccontextmanager
async def _sizes(scale: Scale) -> AsyncIterator[Subjects]:
    async with gateway() as site, site.servers() as servers:
        clients: dict[str, Tab | Bare] = {
            kind: await server.tab(await server.start_kernel()) for kind, server in servers.items()
        }

        async def each(name: str) -> Sample:
            sample = {}
            for label, size in _SIZES.items():
                if name == "peer" and size > _PEERS_LARGEST:
                    continue
                count = max(1, min(5000, 10**8 // size))
                clock = Clock()
                await clients[name].execute(f"burst {count} {size}", count + BURST_FRAMES)
                sample[f"growth-size-{label}"] = count * size / clock.seconds / 1e6
            return sample

        async with bare(site.plain, await site.plain.start_kernel()) as straight:
            clients["limit"] = straight
            yield {name: partial(each, name) for name in clients}
        for client in clients.values():
            if isinstance(client, Tab):
                await client.close()


@asynccontextmanager
async def _wires(scale: Scale) -> AsyncIterator[Subjects]:
    """A burst over each pair of legs. The peer has one choice for both: legacy."""
    count = 20_000
    async with (
        gateway() as site,
        site.servers() as plain,
        site.servers("https") as secure,
    ):
        servers: dict[Scheme, dict[str, Endpoint]] = {"http": plain, "https": secure}

        async def each(kind: str) -> Sample:
            sample = {}
            for downstream, upstream, scheme in _WIRES:
                if kind == "peer" and (downstream, upstream) != (Wire.LEGACY, Wire.LEGACY):
                    continue
                server = servers[scheme][kind]
                await site.behave(legacy=upstream is Wire.LEGACY)
                tab = await server.tab(await server.start_kernel(), downstream)
                await tab.execute("hello", ROUND_TRIP_FRAMES)
                clock = Clock()
                await tab.execute(f"burst {count} 100", count + BURST_FRAMES)
                sample[_wire_name(downstream, upstream, scheme)] = count / clock.seconds
                await tab.close()
            await site.behave()
            return sample

        yield {"relay": partial(each, "relay"), "peer": partial(each, "peer")}


def _wire_name(downstream: Wire, upstream: Wire, scheme: Scheme) -> str:
    return f"growth-wire-{downstream.name}-{upstream.name}-{scheme}".lower()


WORKS = (
    *(
        Work(
            f"growth-kernels-{count}",
            (Row(f"growth-kernels-{count}", f"kernels listed: {count:,}", "ms"),),
            _kernels(count),
        )
        for count in _COUNTS
    ),
    *(
        Work(
            f"growth-tabs-{count}",
            (Row(f"growth-tabs-{count}", f"tabs: {count:,}; CPU for a message and tab", "µs"),),
            _tabs(count),
        )
        for count in _COUNTS
    ),
    Work(
        "growth-sizes",
        tuple(
            Row(f"growth-size-{label}", f"messages of {label}", "MB/s", Better.MORE)
            for label in _SIZES
        ),
        _sizes,
    ),
    Work(
        "growth-wires",
        tuple(
            Row(
                _wire_name(downstream, upstream, scheme),
                f"page speaks {downstream.name.lower()}, gateway {upstream.name.lower()}, {scheme}",
                "msg/s",
                Better.MORE,
            )
            for downstream, upstream, scheme in _WIRES
        ),
        _wires,
    ),
)
