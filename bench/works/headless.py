"""Programs without a server: what nbclient, papermill and scripts are made of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

from bench.runner import Better, Goal, Row, Sample, Scale, Subjects, Work
from bench.site import Worker, gateway, workers

_KINDS = ("relay", "peer", "limit")

Sizes = Callable[[Scale], tuple[int, ...]]


def _ordered(
    order: str, sizes: Sizes, *, rows: dict[str, str] | None = None, handshake: float = 0
) -> Callable[[Scale], AbstractAsyncContextManager[Subjects]]:
    """Give one order to a worker of each kind; ``rows`` names what is taken of its answer."""

    @asynccontextmanager
    async def subjects(scale: Scale) -> AsyncIterator[Subjects]:
        async with (
            gateway() as site,
            workers(_KINDS, site.plain.url, site.environment) as running,
        ):
            await site.behave(handshake=handshake)

            async def do(worker: Worker) -> Sample:
                measured = await worker.do(order, *sizes(scale))
                if rows is None:
                    return measured
                return {row: measured[name] for name, row in rows.items()}

            yield {kind: partial(do, worker) for kind, worker in running.items()}

    return subjects


WORKS = (
    Work(
        "headless-idle",
        (
            Row(
                "headless-idle",
                "headless: CPU of a client that waits",
                "CPU",
                goals=(Goal(0.001),),
            ),
        ),
        _ordered("idle", lambda scale: (scale.of(4, 1),)),
        warm=False,
    ),
    Work(
        "headless-round-trip",
        (
            Row(
                "headless-round-trip",
                "headless: execute round trip, p50",
                "ms",
                goals=(Goal(0.45),),
            ),
        ),
        _ordered("round-trip", lambda scale: (scale.of(100, 20),)),
    ),
    Work(
        "headless-burst",
        (
            Row(
                "headless-burst",
                "headless: 20,000 small messages (short: 10,000)",
                "msg/s",
                Better.MORE,
                (Goal(80_000),),
            ),
        ),
        _ordered(
            "burst",
            lambda scale: (scale.of(20_000, 10_000), 100),
            rows={"messages": "headless-burst"},
        ),
    ),
    Work(
        "headless-large",
        (
            Row(
                "headless-large",
                "headless: 100 messages of 1 MB (short: 20)",
                "MB/s",
                Better.MORE,
                (Goal(400),),
            ),
        ),
        _ordered(
            "burst",
            lambda scale: (scale.of(100, 20), 1_000_000),
            rows={"megabytes": "headless-large"},
        ),
    ),
    Work(
        "headless-many",
        (
            Row(
                "headless-many",
                "headless: 50 clients × 20 executes (short: 10 × 20)",
                "s",
                goals=(Goal(0.2),),
            ),
            Row("headless-threads", "… their threads", "", goals=(Goal(0),)),
        ),
        _ordered("many", lambda scale: (scale.of(50, 10), 20)),
        warm=False,
    ),
    Work(
        "handshakes",
        (
            Row(
                "handshakes",
                "20 websocket handshakes of 100 ms: longest the loop is blocked",
                "ms",
                goals=(Goal(10),),
            ),
        ),
        _ordered("handshakes", lambda _: (20,), handshake=0.1),
    ),
)
