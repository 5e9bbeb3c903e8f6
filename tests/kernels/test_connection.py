"""The connection that drives a link, over sockets that are scripted."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from jupyter_relay.backoff import Backoff
from jupyter_relay.errors import GatewayUnavailable, KernelNotFound
from jupyter_relay.kernels.connection import Connection
from jupyter_relay.link.actions import Probe, Report
from jupyter_relay.link.link import Link
from jupyter_relay.link.settings import LinkSettings
from jupyter_relay.link.table import State
from jupyter_relay.rest.models import KernelModel
from jupyter_relay.transport.transport import Socket, SocketClosed
from jupyter_relay.wire.message import Frame, Message
from tests.support.messages import request


class ScriptedSocket:
    """A socket that says nothing until it is closed; ``failure`` is what sending raises."""

    subprotocol: str | None = None

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.closed = asyncio.Event()
        self.written = asyncio.Event()

    async def receive(self) -> Frame:
        await self.closed.wait()
        raise SocketClosed("it was closed.")

    async def send(self, frame: Frame) -> None:
        self.written.set()
        if self.failure is not None:
            raise self.failure

    async def close(self) -> None:
        self.closed.set()


async def _never() -> KernelModel:
    await asyncio.Event().wait()
    raise AssertionError


class Driven:
    """A connection and all that it did. ``sockets`` are handed out one after another."""

    def __init__(self, *sockets: ScriptedSocket | Exception) -> None:
        numbers = itertools.count()
        self.sockets = iter(sockets)
        self.probes = 0
        self.answer: Callable[[], Awaitable[KernelModel]] = _never
        self.delivered: list[Message] = []
        self.reports: list[Report] = []
        self.skipped: list[str] = []
        self.link = Link(
            LinkSettings(backoff=Backoff(base=0.0, cap=0.0)),
            gateway="gpu",
            session="upstream",
            clock=lambda: datetime.now(UTC),
            new_id=lambda: f"relay-{next(numbers)}",
            chance=lambda: 1.0,
            seconds=time.time,
        )
        self.connection = Connection(
            self.link,
            host=self,
            audience=self,
            throttle_every_bytes=2**30,
        )

    async def open_socket(self, session: str) -> Socket:
        socket = next(self.sockets)
        if isinstance(socket, Exception):
            raise socket
        return socket

    async def probe(self) -> KernelModel:
        self.probes += 1
        return await self.answer()

    def deliver(self, message: Message, to: str | None) -> None:
        self.delivered.append(message)

    async def throttle(self) -> None:
        raise AssertionError

    def on_session(self, session: str) -> None:
        """Nobody keeps it."""

    def on_report(self, report: Report) -> None:
        self.reports.append(report)

    def on_unreadable_frame(self, why: str) -> None:
        self.skipped.append(why)


async def test_connection_releases_the_message_that_a_socket_was_cut_in() -> None:
    broken = ScriptedSocket(SocketClosed("it was cut."))
    driven = Driven(broken)
    message = request()
    held_by_the_test = sys.getrefcount(message)
    driven.connection.perform(driven.link.attach("tab"))
    driven.connection.perform(driven.link.accept("tab", message))
    await asyncio.wait_for(broken.closed.wait(), 5)
    await driven.connection.close("The end.")
    broken.failure = None  # its traceback holds the frames that it passed
    assert sys.getrefcount(message) == held_by_the_test


@pytest.mark.parametrize("failure", [SocketClosed("it was cut."), RuntimeError("unforeseen")])
async def test_connection_whose_socket_cannot_be_written_replaces_it(failure: Exception) -> None:
    broken, well = ScriptedSocket(failure), ScriptedSocket()
    driven = Driven(broken, well)
    driven.connection.perform(driven.link.attach("tab"))
    driven.connection.perform(driven.link.accept("tab", request()))
    await asyncio.wait_for(well.written.wait(), 5)  # the barrier
    assert broken.closed.is_set()
    await driven.connection.close("The end.")
    assert well.closed.is_set()


async def test_connection_that_fails_unforeseen_tries_again_and_logs_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    well = ScriptedSocket()
    driven = Driven(RuntimeError("unforeseen"), well)
    driven.connection.perform(driven.link.accept("tab", request()))
    await asyncio.wait_for(well.written.wait(), 5)
    assert "unforeseen" in caplog.text
    await driven.connection.close("The end.")


async def test_probe_without_an_answer_keeps_no_other_waiting_and_ends_with_the_link() -> None:
    driven = Driven()
    driven.connection.perform([Probe()])
    await asyncio.sleep(0)  # so that it runs
    driven.connection.perform([Probe(), Probe()])
    await asyncio.sleep(0)
    assert driven.probes == 3
    await driven.connection.close("The end.")


async def test_probe_that_finds_no_kernel_ends_the_link() -> None:
    socket = ScriptedSocket()
    driven = Driven(socket)

    async def find_nothing() -> KernelModel:
        raise KernelNotFound("It was culled.", status=404)

    driven.answer = find_nothing
    driven.connection.perform(driven.link.accept("tab", request()))
    await asyncio.wait_for(socket.written.wait(), 5)
    driven.connection.perform([Probe()])
    await asyncio.wait_for(socket.closed.wait(), 5)
    assert driven.link.state is State.GONE
    await driven.connection.close("The end.")


async def test_probe_that_finds_no_gateway_changes_nothing() -> None:
    socket = ScriptedSocket()
    driven = Driven(socket)
    asked = asyncio.Event()

    async def find_no_gateway() -> KernelModel:
        asked.set()
        raise GatewayUnavailable("It is away.")

    driven.answer = find_no_gateway
    driven.connection.perform(driven.link.accept("tab", request()))
    await asyncio.wait_for(socket.written.wait(), 5)
    driven.connection.perform([Probe()])
    await asyncio.wait_for(asked.wait(), 5)
    assert driven.link.state is State.OPEN
    await driven.connection.close("The end.")
