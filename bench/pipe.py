"""A plain TCP relay: ``python -m bench.pipe HOST PORT``, in a process of its own.

It moves bytes between two sockets and looks at none of them: the least that a Python process in the
middle does. Towards the gateway it acknowledges at once what it reads, as the relay does; towards
the page asyncio sets TCP_NODELAY.

The orders are ``port``, where it listens, and ``cpu``, the seconds that it has used.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections.abc import Callable, Mapping

from bench.orders import orders


class _Leg(asyncio.Protocol):
    """One of the two sockets: what it reads, the other one writes."""

    def __init__(self, other: _Leg | None = None) -> None:
        self._other = other
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._tcp: socket.socket = transport.get_extra_info("socket")

    def data_received(self, data: bytes) -> None:
        assert self._other is not None
        self._other.transport.write(data)
        self._tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def pause_writing(self) -> None:
        assert self._other is not None
        self._other.transport.pause_reading()

    def resume_writing(self) -> None:
        assert self._other is not None
        self._other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._other is not None:
            self._other.transport.close()


class _Page(_Leg):
    """The socket of a page: the one to the gateway is opened when it comes."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self._gateway = host, port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.pause_reading()
        self._opening = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        _, self._other = await asyncio.get_running_loop().create_connection(
            lambda: _Leg(self), *self._gateway
        )
        self.transport.resume_reading()


async def _serve(host: str, port: int) -> None:
    server = await asyncio.get_running_loop().create_server(
        lambda: _Page(host, port), "127.0.0.1", 0, backlog=2048
    )
    answers: Mapping[str, Callable[[], float]] = {
        "port": lambda: server.sockets[0].getsockname()[1],
        "cpu": time.process_time,
    }
    async for (order,) in orders():
        print(json.dumps({order: answers[order]()}), flush=True)


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2])))
