"""Requests through the server: how many pass, and what it costs to have many kernels."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

from bench.runner import Better, Clock, Goal, Row, Sample, Scale, Subjects, Work, median_of
from bench.site import Endpoint, Scheme, gateway

_CALLERS = 20
_AT_ONCE = 20


async def start_kernels(endpoint: Endpoint, count: int) -> list[str]:
    """Start many kernels, some at a time; return their ids."""
    turn = asyncio.Semaphore(_AT_ONCE)

    async def start() -> str:
        async with turn:
            return await endpoint.start_kernel()

    return list(await asyncio.gather(*(start() for _ in range(count))))


def _rest(scheme: Scheme) -> Callable[[Scale], AbstractAsyncContextManager[Subjects]]:
    @asynccontextmanager
    async def subjects(scale: Scale) -> AsyncIterator[Subjects]:
        requests = scale.of(25, 10)
        async with gateway() as site, site.servers(scheme) as servers:
            for server in servers.values():
                await server.start_kernel()

            async def rate(server: Endpoint, path: str) -> Sample:
                async def caller() -> None:
                    for _ in range(requests):
                        await server.call("GET", path)

                before = (await site.stats())["connections"]
                clock = Clock()
                await asyncio.gather(*(caller() for _ in range(_CALLERS)))
                seconds = clock.seconds
                opened = (await site.stats())["connections"] - before
                return {
                    f"rest-{scheme}": _CALLERS * requests / seconds,
                    f"rest-{scheme}-connections": opened,
                }

            async def posts(endpoint: Endpoint) -> Sample:
                taken = []
                for _ in range(scale.of(40, 15)):
                    clock = Clock()
                    kernel_id = await endpoint.start_kernel()
                    taken.append(clock.seconds)
                    await endpoint.call("DELETE", f"/api/kernels/{kernel_id}")
                return {f"post-{scheme}": statistics.median(taken) * 1e3}

            async def through(server: Endpoint) -> Sample:
                return {**await rate(server, "/api/kernels"), **await posts(server)}

            async def limit() -> Sample:
                own = await rate(servers["relay"], "/api")
                straight = await posts(site.of(scheme))
                return {f"rest-{scheme}": own[f"rest-{scheme}"], **straight}

            yield {
                **{kind: partial(through, server) for kind, server in servers.items()},
                "limit": limit,
            }

    return subjects


@asynccontextmanager
async def listing(count: int, row: str, times: int) -> AsyncIterator[Subjects]:
    """Servers that have so many kernels each, and are asked for the list of them."""
    # Each server has a gateway of its own, since a listing shows all kernels of a gateway.
    async with (
        gateway() as site,
        gateway() as other,
        site.server("relay", fresh=True) as relay,
        other.server("peer") as peer,
    ):
        for server in (relay, peer):
            await start_kernels(server, count)

        async def ask_for(endpoint: Endpoint) -> Sample:
            async def ask() -> None:
                models = await endpoint.call("GET", "/api/kernels")
                assert len(models) == count

            return {row: await median_of(times, ask) * 1e3}

        yield {
            "relay": partial(ask_for, relay),
            "peer": partial(ask_for, peer),
            "limit": partial(ask_for, site.plain),
        }


@asynccontextmanager
async def _shutdown(scale: Scale) -> AsyncIterator[Subjects]:
    count = scale.of(100, 20)
    async with gateway() as site, site.servers() as servers:

        async def through(server: Endpoint) -> Sample:
            await start_kernels(server, count)
            await site.behave(DELETE=0.1)
            answer = await server.call("POST", "/bench/shutdown_all")
            await site.behave()
            return {"shutdown": answer["seconds"]}

        async def straight() -> Sample:
            kernel_ids = await start_kernels(site.plain, count)
            await site.behave(DELETE=0.1)
            clock = Clock()
            await asyncio.gather(
                *(site.plain.call("DELETE", f"/api/kernels/{kernel}") for kernel in kernel_ids)
            )
            seconds = clock.seconds
            await site.behave()
            return {"shutdown": seconds}

        yield {
            **{kind: partial(through, server) for kind, server in servers.items()},
            "limit": straight,
        }


@asynccontextmanager
async def _recheck(scale: Scale) -> AsyncIterator[Subjects]:
    """The gateway's listing leaves all kernels out, so each is asked for by itself."""
    count = 50
    async with gateway() as site, site.servers(fresh=True) as servers:
        kernel_ids: list[str] = []
        for server in servers.values():
            kernel_ids = await start_kernels(server, count)
        await site.behave(hidden=1, GET=0.02)

        async def through(server: Endpoint) -> Sample:
            clock = Clock()
            assert len(await server.call("GET", "/api/kernels")) == count
            return {"recheck": clock.seconds}

        async def straight() -> Sample:
            clock = Clock()
            await asyncio.gather(
                *(site.plain.call("GET", f"/api/kernels/{kernel}") for kernel in kernel_ids)
            )
            return {"recheck": clock.seconds}

        yield {
            **{kind: partial(through, server) for kind, server in servers.items()},
            "limit": straight,
        }


@asynccontextmanager
async def _hostile(scale: Scale) -> AsyncIterator[Subjects]:
    """Another page asks for what costs the server nothing while it reads the longest of lists."""
    async with gateway() as site, site.servers(fresh=True) as servers:
        for server in servers.values():
            await server.start_kernel()  # where there is none, none is listed

        async def through(server: Endpoint) -> Sample:
            await site.behave(hostile=1)
            await server.call("POST", "/bench/held_up")
            taken: list[float] = []
            for _ in range(scale.of(3, 1)):
                for path in ("/api/kernels", "/api/kernelspecs"):
                    taken += await _waits(server, path)
            held = await server.call("GET", "/bench/held_up")
            await site.behave()
            return {"hostile-list": max(taken) * 1e3, "hostile-list-cpu": held["cpu"] * 1e3}

        yield {kind: partial(through, server) for kind, server in servers.items()}


async def _waits(server: Endpoint, path: str) -> list[float]:
    """Ask for a list, and meanwhile for something else; return how long each of that took."""

    async def ask() -> None:
        async with server.http.get(server.url + path) as answer:
            async for _ in answer.content.iter_any():
                pass

    asking = asyncio.create_task(ask())
    waits = []
    while not asking.done():
        clock = Clock()
        await server.call("GET", "/api")
        waits.append(clock.seconds)
    await asking
    return waits


def _rest_work(scheme: Scheme) -> Work:
    return Work(
        f"rest-{scheme}",
        (
            Row(
                f"rest-{scheme}",
                f"REST, {_CALLERS} callers, gateway on {scheme} (limit: the server's own /api)",
                "req/s",
                Better.MORE,
                (Goal(0.8, "limit"),),
            ),
            Row(
                f"rest-{scheme}-connections",
                f"… new connections to the gateway, {scheme}",
                "",
                goals=(Goal(0),),
            ),
            Row(
                f"post-{scheme}",
                f"POST of a kernel, gateway on {scheme}, p50",
                "ms",
                goals=(Goal(1.5),),
            ),
        ),
        _rest(scheme),
    )


WORKS = (
    _rest_work("http"),
    _rest_work("https"),
    Work(
        "list",
        (Row("list", "list with 1,000 kernels", "ms", goals=(Goal(8),)),),
        lambda scale: listing(1000, "list", scale.of(20, 5)),
    ),
    Work(
        "hostile-list",
        (
            Row(
                "hostile-list",
                "longest wait of another request while lists of 60 MiB, or all quotings, are read",
                "ms",
                goals=(Goal(100),),
            ),
            Row(
                "hostile-list-cpu",
                "… the event loop is held up meanwhile, in CPU time",
                "ms",
                goals=(Goal(100),),
            ),
        ),
        _hostile,
    ),
    Work(
        "shutdown",
        (
            Row(
                "shutdown",
                "shutdown_all of 100 kernels, each DELETE 100 ms (short: of 20)",
                "s",
                goals=(Goal(0.3),),
            ),
        ),
        _shutdown,
        warm=False,
    ),
    Work(
        "recheck",
        (
            Row(
                "recheck",
                "50 hidden kernels re-checked, each GET 20 ms",
                "s",
                goals=(Goal(0.1),),
            ),
        ),
        _recheck,
    ),
)
