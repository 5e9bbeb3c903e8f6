"""A real Kernel Gateway with a real ipykernel, beside the same kernel over ZeroMQ."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

from bench.gateway import ROUND_TRIP_FRAMES
from bench.runner import Goal, Row, Sample, Scale, Subjects, Work, median_of
from bench.site import Worker, environment, servers, workers
from bench.tab import Tab
from jupyter_relay.testing.servers import kernel_gateway

_NO_TOKEN = {"KG_AUTH_TOKEN": ""}
"""The built-in headless client shows its websocket's gateway none."""

_CELL = "1"
"""Answered like the bench's own ``hello``: busy, execute_input, execute_result, reply, idle."""


@asynccontextmanager
async def _straight(scale: Scale) -> AsyncIterator[Subjects]:
    async with (
        kernel_gateway(env=_NO_TOKEN) as real,
        workers(("relay", "peer", "limit", "zmq"), real.url, environment()) as running,
    ):

        async def do(worker: Worker) -> Sample:
            measured = await worker.do("round-trip", scale.of(50, 20))
            return {"real-straight": measured["headless-round-trip"]}

        yield {kind: partial(do, worker) for kind, worker in running.items()}


@asynccontextmanager
async def _through(scale: Scale) -> AsyncIterator[Subjects]:
    times = scale.of(50, 20)
    async with (
        kernel_gateway(env=_NO_TOKEN) as real,
        workers(("limit", "zmq"), real.url, environment()) as running,
        servers(real.url, environment()) as before_it,
    ):
        tabs: dict[str, Tab] = {}
        for kind, server in before_it.items():
            tabs[kind] = await server.tab(await server.start_kernel())
            # What a gateway asks its kernel when a websocket opens is heard by the page, too.
            tabs[kind].send(_CELL)
            await tabs[kind].at_least(ROUND_TRIP_FRAMES)
            await tabs[kind].settle(1)

        async def tab(client: Tab) -> Sample:
            seconds = await median_of(times, lambda: client.execute(_CELL, ROUND_TRIP_FRAMES))
            return {"real-server": seconds * 1e3}

        async def do(worker: Worker) -> Sample:
            measured = await worker.do("round-trip", times)
            return {"real-server": measured["headless-round-trip"]}

        yield {
            **{kind: partial(tab, client) for kind, client in tabs.items()},
            **{kind: partial(do, worker) for kind, worker in running.items()},
        }
        for client in tabs.values():
            await client.close()


@asynccontextmanager
async def _notebook(scale: Scale) -> AsyncIterator[Subjects]:
    async with (
        kernel_gateway(env=_NO_TOKEN) as real,
        workers(("relay", "peer", "zmq", "limit"), real.url, environment()) as running,
    ):
        cells = scale.of(100, 10)
        bare = running.pop("limit")

        async def do(worker: Worker) -> Sample:
            return await worker.do("notebook", cells)

        async def round_trip() -> Sample:
            measured = await bare.do("round-trip", cells)
            return {"notebook-cells": measured["headless-round-trip"]}

        yield {kind: partial(do, worker) for kind, worker in running.items()} | {
            "limit": round_trip
        }


def _row(name: str, title: str, times: float) -> Row:
    return Row(name, f"real Kernel Gateway: {title}", "ms", goals=(Goal(times, "zmq"),))


def _work(
    name: str,
    subjects: Callable[[Scale], AbstractAsyncContextManager[Subjects]],
    *rows: Row,
) -> Work:
    # Each repetition has a kernel of its own, and one is a fifth slower than another.
    return Work(name, rows, subjects, warm=False, repetitions=15)


WORKS = (
    _work(
        "real-straight",
        _straight,
        _row("real-straight", "execute round trip, p50, headless", 1.3),
    ),
    _work(
        "real-server",
        _through,
        _row("real-server", "execute round trip, p50, through the server", 2),
    ),
    _work(
        "notebook",
        _notebook,
        _row("notebook-whole", "nbclient, a notebook of 100 cells (short: 10), for each", 1.2),
        _row("notebook-cells", "nbclient, a cell alone (limit: a bare round trip)", 1.2),
    ),
)
