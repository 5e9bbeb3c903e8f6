"""A TCP proxy that fails on request: cuts, stalls, delays and refuses what passes through it.

::

    async with FaultyProxy("127.0.0.1", gateway.port) as proxy:
        ...                                  # connect to proxy.host, proxy.port
        proxy.stall()                        # a half-open link: nothing arrives, nothing ends
        proxy.resume()
        proxy.forget_connections()           # the same for the open connections alone, for ever
        proxy.cut_after(100, Direction.DOWNSTREAM)
        await proxy.wait_idle()

It knows nothing of what passes. It holds at most one piece of 64 KiB each way, besides what the
sockets of the operating system hold: when a receiver or a stall stops it, it stops reading.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Self, TypeVar

from jupyter_relay.testing.changes import Changes

T = TypeVar("T")

_PIECE_BYTES = 64 * 1024
_RST = struct.pack("ii", 1, 0)
_SLICES_PER_SECOND = 50


class Direction(StrEnum):
    """Towards the target, or back from it."""

    UPSTREAM = "upstream"
    DOWNSTREAM = "downstream"


class _Cut(Exception):
    """The bytes allowed before a cut have passed."""


@dataclass(eq=False)
class _Lane:
    """The state of one direction, for all connections."""

    flowing: asyncio.Event = field(default_factory=asyncio.Event)
    delivered: int = 0
    left_before_cut: int | None = None


@dataclass(eq=False)
class _Passage:
    """One connection: its two ends, and whether it is forgotten."""

    ends: tuple[socket.socket, socket.socket]
    forgotten: bool = False


class FaultyProxy:
    """Passes TCP connections on to a target, as well or as badly as it is told.

    ``accepted`` counts all connections that ever came; ``open`` is how many there are now.
    """

    def __init__(self, target_host: str, target_port: int) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self.accepted = 0
        self._target = (target_host, target_port)
        self._lanes = {direction: _Lane() for direction in Direction}
        self._delay = 0.0
        self._limit: int | None = None
        self._resets_new = False
        self._listener: socket.socket | None = None
        self._connections: dict[asyncio.Task[None], _Passage] = {}
        self._changes = Changes()

    async def __aenter__(self) -> Self:
        self.resume()
        self.accept()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.refuse()
        tasks = list(self._connections)
        for passage in self._connections.values():
            passage.forgotten = False
        self.reset()
        if tasks:
            await asyncio.wait(tasks)

    @property
    def url(self) -> str:
        """Where an HTTP client finds the target, through this proxy."""
        return f"http://{self.host}:{self.port}"

    @property
    def open(self) -> int:
        """How many connections pass through now, forgotten ones not counted."""
        return sum(not passage.forgotten for passage in self._connections.values())

    def delivered(self, direction: Direction) -> int:
        """Return how many bytes have been passed on in one direction."""
        return self._lanes[direction].delivered

    async def wait_for(self, condition: Callable[[], T], timeout: float = 10.0) -> T:
        """Return what ``condition`` says as soon as that is true, looking after every change.

        Raises `TimeoutError` after ``timeout`` seconds.
        """
        return await self._changes.wait_for(condition, timeout)

    async def wait_connected(self, count: int = 1, timeout: float = 10.0) -> None:
        """Return once so many connections are open."""
        await self.wait_for(lambda: self.open >= count, timeout)

    async def wait_idle(self, timeout: float = 10.0) -> None:
        """Return once no connection is open."""
        await self.wait_for(lambda: self.open == 0, timeout)

    def reset(self) -> None:
        """End all connections with RST on both sides."""
        for task, passage in self._remembered():
            for end in passage.ends:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
            task.cancel()

    def close(self) -> None:
        """End all connections with FIN on both sides."""
        for task, passage in self._remembered():
            for end in passage.ends:
                _finish(end)
            task.cancel()

    def forget_connections(self) -> None:
        """Lose all that passes through the open connections from now on, and tell neither side.

        That is what a router does that has forgotten a connection: each side finds out by its own
        pings, and neither sees the other one end it. New connections pass.
        """
        for _, passage in self._remembered():
            passage.forgotten = True
        self._changes.notify()

    def stall(self, *, upstream: bool = True, downstream: bool = True) -> None:
        """Deliver nothing in these directions, on open and new connections; end nothing either."""
        if upstream:
            self._lanes[Direction.UPSTREAM].flowing.clear()
        if downstream:
            self._lanes[Direction.DOWNSTREAM].flowing.clear()

    def resume(self) -> None:
        """Deliver again, first what a stall has held back."""
        for lane in self._lanes.values():
            lane.flowing.set()

    def refuse(self, *, reset: bool = False) -> None:
        """Stop listening; with ``reset``, accept new connections and reset them at once."""
        if reset:
            self.accept()
            self._resets_new = True
        elif self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def accept(self) -> None:
        """Listen (again), always on the same port."""
        self._resets_new = False
        if self._listener is None:
            self._listener = socket.create_server((self.host, self.port))
            self._listener.setblocking(False)
            self.port = self._listener.getsockname()[1]
            asyncio.get_running_loop().add_reader(self._listener, self._accept_waiting)

    def delay(self, seconds: float) -> None:
        """Hold each piece of up to 64 KiB back for so long."""
        self._delay = seconds

    def limit(self, bytes_per_second: int | None) -> None:
        """Pass on no more than this on each connection and direction; None for no limit."""
        self._limit = bytes_per_second

    def cut_after(self, count: int, direction: Direction) -> None:
        """Reset the connection that carries the ``count``-th byte from now in this direction.

        That byte is still delivered, the next is not. Later connections are not affected.
        """
        self._lanes[direction].left_before_cut = count

    def _accept_waiting(self) -> None:
        while self._listener is not None:
            try:
                client, _ = self._listener.accept()
            except BlockingIOError:
                return
            self.accepted += 1
            if self._resets_new:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
                client.close()
                self._changes.notify()
                continue
            target = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            for end in (client, target):
                end.setblocking(False)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            passage = _Passage((client, target))
            task = asyncio.create_task(self._pass(passage), name="proxy connection")
            self._connections[task] = passage
            self._changes.notify()
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        # Here and not in the task, since one cancelled before its first step runs no code at all.
        for end in self._connections.pop(task).ends:
            end.close()
        if not task.cancelled():
            task.result()
        self._changes.notify()

    def _remembered(self) -> list[tuple[asyncio.Task[None], _Passage]]:
        return [item for item in self._connections.items() if not item[1].forgotten]

    async def _pass(self, passage: _Passage) -> None:
        client, target = passage.ends
        try:
            await asyncio.get_running_loop().sock_connect(target, self._target)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(passage, client, target, Direction.UPSTREAM))
                pumps.create_task(self._pump(passage, target, client, Direction.DOWNSTREAM))
        except* (OSError, _Cut):
            for end in (client, target):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)

    async def _pump(
        self,
        passage: _Passage,
        source: socket.socket,
        sink: socket.socket,
        direction: Direction,
    ) -> None:
        loop = asyncio.get_running_loop()
        lane = self._lanes[direction]
        while piece := await loop.sock_recv(source, self._piece_bytes()):
            if self._delay:
                await asyncio.sleep(self._delay)
            await lane.flowing.wait()
            if passage.forgotten:
                break
            left = lane.left_before_cut
            if left is not None:
                piece = piece[:left]
                lane.left_before_cut = left - len(piece)
            await loop.sock_sendall(sink, piece)
            lane.delivered += len(piece)
            self._changes.notify()
            if lane.left_before_cut == 0:
                lane.left_before_cut = None
                raise _Cut
            if self._limit:
                await asyncio.sleep(len(piece) / self._limit)
        await lane.flowing.wait()
        if passage.forgotten:
            with suppress(OSError):
                while await loop.sock_recv(source, _PIECE_BYTES):
                    pass
            return
        _finish(sink)

    def _piece_bytes(self) -> int:
        if self._limit is None:
            return _PIECE_BYTES
        return max(1, min(_PIECE_BYTES, self._limit // _SLICES_PER_SECOND))


def _finish(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_WR)
    except OSError:  # it is not connected, or no longer
        return
