"""A process with headless clients: ``python -m bench.worker relay|peer|limit|zmq``.

It reads orders from its standard input, one a line, and answers each with one line of JSON. The
gateway is the one in ``JUPYTER_GATEWAY_URL``. All kinds do the same work: what differs is in the
subclasses of `Kind`.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial
from itertools import pairwise
from queue import Empty
from typing import Any, Final, Protocol, TypeAlias

import aiohttp
import nbformat
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import ensure_async
from nbclient import NotebookClient

from bench.bare import Bare, bare
from bench.gateway import BURST_FRAMES, ROUND_TRIP_FRAMES
from bench.messages import Wire
from bench.orders import orders
from bench.runner import Clock, median_of
from bench.site import Endpoint

Opener: TypeAlias = Callable[[], Awaitable[None]]

_BEAT_SECONDS: Final = 0.0005


class Client(Protocol):
    """A client of one kernel, its websocket open."""

    async def execute(self, code: str, frames_due: int) -> None:
        """Run a cell, and take all messages that it makes."""

    async def wait(self, seconds: float) -> None:
        """Wait for a message, in vain."""

    async def settle(self, seconds: float) -> None:
        """Let what comes unasked come, and forget it."""


class JupyterClient:
    """A client with the interface of jupyter_client, ours or the built-in one."""

    def __init__(self, client: Any) -> None:  # noqa: ANN401  # two classes without a common base
        self._client = client

    async def execute(self, code: str, frames_due: int) -> None:
        """See `Client.execute`."""
        self._client.execute(code)
        for _ in range(frames_due - 1):
            await self._client.iopub_channel.get_msg(timeout=60)
        await self._client.shell_channel.get_msg(timeout=60)

    async def wait(self, seconds: float) -> None:
        """See `Client.wait`."""
        try:
            await self._client.iopub_channel.get_msg(timeout=seconds)
        except Empty:
            return
        raise AssertionError("a message came that nobody asked for")

    async def settle(self, seconds: float) -> None:
        """See `Client.settle`."""
        await asyncio.sleep(seconds)
        for channel in (self._client.iopub_channel, self._client.shell_channel):
            with suppress(Empty):
                while True:
                    await channel.get_msg(timeout=0)


class BareClient(Bare):
    """The limit: it parses each message, as the others have to."""

    async def wait(self, seconds: float) -> None:
        """See `Client.wait`."""
        try:
            async with asyncio.timeout(seconds):
                await self.websocket.receive()
        except TimeoutError:
            return
        raise AssertionError("a message came that nobody asked for")


class Kind(ABC):
    """Makes clients, each with a kernel of its own."""

    @abstractmethod
    async def client(self, stack: AsyncExitStack) -> Client:
        """Start a kernel and return a client that is ready; the stack ends both."""

    @abstractmethod
    async def openers(self, stack: AsyncExitStack, count: int) -> list[Opener]:
        """Start kernels; return what opens their websockets."""


class Jupyter(Kind):
    """Managers and clients of jupyter_client's kind."""

    def __init__(self, kind: str) -> None:
        if kind == "zmq":
            self._manager: Any = AsyncKernelManager
        elif kind == "relay":
            from jupyter_relay.headless.manager import GatewayKernelManager

            self._manager = GatewayKernelManager
        else:
            from jupyter_server.gateway import managers
            from jupyter_server.gateway.gateway_client import GatewayClient

            GatewayClient.instance(url=os.environ["JUPYTER_GATEWAY_URL"])
            self._manager = managers.GatewayKernelManager

    async def client(self, stack: AsyncExitStack) -> Client:
        client = await self._client(stack)
        await ensure_async(client.start_channels())
        stack.callback(client.stop_channels)
        await client.wait_for_ready(timeout=60)
        return JupyterClient(client)

    async def notebook(self, cells: int) -> dict[str, float]:
        """Run a notebook with nbclient; return the seconds for a cell: of all that it takes, with
        its kernel's start and end, and alone, from the end of the one before."""
        ended: list[float] = []
        clock = Clock()
        # The kernel's name is told, since the built-in manager knows no other.
        nbclient = NotebookClient(
            _notebook_of(cells),
            kernel_manager_class=self._manager,
            kernel_name="python3",
            on_cell_executed=lambda **_: ended.append(clock.seconds),
        )
        await nbclient.async_execute()
        whole = clock.seconds / cells
        alone = statistics.median(end - begin for begin, end in pairwise(ended))
        return {"notebook-whole": whole, "notebook-cells": alone}

    async def openers(self, stack: AsyncExitStack, count: int) -> list[Opener]:
        async def start(client: Any) -> None:  # noqa: ANN401  # see above
            await client.start_channels()
            stack.callback(client.stop_channels)
            client.kernel_info()
            await client.shell_channel.get_msg(timeout=60)

        return [partial(start, await self._client(stack)) for _ in range(count)]

    async def _client(self, stack: AsyncExitStack) -> Any:  # noqa: ANN401  # see above
        manager = self._manager()
        await manager.start_kernel()
        stack.push_async_callback(manager.shutdown_kernel, now=True)
        return manager.client()


class Straight(Kind):
    """Bare clients of aiohttp."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._endpoint = Endpoint(os.environ["JUPYTER_GATEWAY_URL"], "", http)

    async def client(self, stack: AsyncExitStack) -> Client:
        kernel_id = await self._endpoint.start_kernel()
        opened = await stack.enter_async_context(bare(self._endpoint, kernel_id, Wire.LEGACY))
        return BareClient(opened.websocket, Wire.LEGACY, parse=True)

    async def openers(self, stack: AsyncExitStack, count: int) -> list[Opener]:
        async def start(kernel_id: str) -> None:
            await stack.enter_async_context(bare(self._endpoint, kernel_id))

        return [partial(start, await self._endpoint.start_kernel()) for _ in range(count)]


def _notebook_of(cells: int) -> Any:  # noqa: ANN401  # nbformat's own
    cell: dict[str, object] = {
        "cell_type": "code",
        "source": "1",
        "metadata": {},
        "outputs": [],
        "execution_count": None,
    }
    text = {"cells": [cell] * cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
    return nbformat.reads(json.dumps(text), as_version=4)  # type: ignore[no-untyped-call]  # theirs


async def _idle(kind: Kind, seconds: int) -> dict[str, float]:
    """Which share of a CPU one client takes that waits for a message."""
    async with AsyncExitStack() as stack:
        client = await kind.client(stack)
        cpu, clock = time.process_time(), Clock()
        await client.wait(seconds)
        return {"headless-idle": (time.process_time() - cpu) / clock.seconds}


async def _round_trip(kind: Kind, times: int) -> dict[str, float]:
    async with AsyncExitStack() as stack:
        client = await kind.client(stack)
        await client.execute("1", ROUND_TRIP_FRAMES)
        await client.settle(0.2)
        seconds = await median_of(times, lambda: client.execute("1", ROUND_TRIP_FRAMES))
        return {"headless-round-trip": seconds * 1e3}


async def _burst(kind: Kind, count: int, size: int) -> dict[str, float]:
    async with AsyncExitStack() as stack:
        client = await kind.client(stack)
        clock = Clock()
        await client.execute(f"burst {count} {size}", count + BURST_FRAMES)
        seconds = clock.seconds
        return {"messages": count / seconds, "megabytes": count * size / seconds / 1e6}


async def _many(kind: Kind, count: int, executes: int) -> dict[str, float]:
    threads = threading.active_count()
    async with AsyncExitStack() as stack:
        clients = [await kind.client(stack) for _ in range(count)]

        async def cells(client: Client) -> None:
            for _ in range(executes):
                await client.execute("hello", ROUND_TRIP_FRAMES)

        clock = Clock()
        await asyncio.gather(*(cells(client) for client in clients))
        return {
            "headless-many": clock.seconds,
            "headless-threads": threading.active_count() - threads,
        }


async def _notebook(kind: Kind, cells: int) -> dict[str, float]:
    assert isinstance(kind, Jupyter)
    return {row: seconds * 1e3 for row, seconds in (await kind.notebook(cells)).items()}


async def _handshakes(kind: Kind, count: int) -> dict[str, float]:
    """How long the loop stands still, at most, while websockets open."""
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            clock = Clock()
            await asyncio.sleep(_BEAT_SECONDS)
            longest = max(longest, clock.seconds - _BEAT_SECONDS)

    async with AsyncExitStack() as stack:
        openers = await kind.openers(stack, count)
        heart = asyncio.create_task(beat())
        await asyncio.gather(*(opener() for opener in openers))
        heart.cancel()
        return {"handshakes": longest * 1e3}


_ORDERS: Mapping[str, Callable[..., Awaitable[dict[str, float]]]] = {
    "idle": _idle,
    "round-trip": _round_trip,
    "burst": _burst,
    "many": _many,
    "notebook": _notebook,
    "handshakes": _handshakes,
}


async def _obey(name: str) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        kind = Straight(http) if name == "limit" else Jupyter(name)
        async for order, *sizes in orders():
            measured = await _ORDERS[order](kind, *map(int, sizes))
            print(json.dumps(measured), flush=True)


if __name__ == "__main__":
    asyncio.run(_obey(sys.argv[1]))
