"""Handshakes: which one gives the socket, and what becomes of the others."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from jupyter_relay.errors import GatewayUnavailable, KernelNotFound
from jupyter_relay.kernels.handshakes import Handshakes
from jupyter_relay.rest.failures import no_kernel
from jupyter_relay.transport.transport import Socket, SocketClosed
from jupyter_relay.wire.message import Frame


class Opened:
    """A socket that was opened; nothing passes over it."""

    subprotocol: str | None = None

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    async def receive(self) -> Frame:
        raise AssertionError

    async def send(self, frame: Frame) -> None:
        raise AssertionError

    async def close(self) -> None:
        self.closed.set()


class Door:
    """Opens sockets when it is told to."""

    def __init__(self) -> None:
        self.asked: dict[str, asyncio.Future[Socket]] = {}
        self.handshakes = Handshakes(self.open_socket)

    async def open_socket(self, session: str) -> Socket:
        self.asked[session] = asyncio.get_running_loop().create_future()
        return await self.asked[session]

    async def begin(self, *others: str) -> asyncio.Task[tuple[Socket, str]]:
        """Wait for the first socket of session "first" and of these others."""
        task = asyncio.create_task(self.handshakes.first_socket("first"))
        await asyncio.sleep(0)
        for session in others:
            self.handshakes.begin_beside(session)
        await asyncio.sleep(0)
        assert len(self.asked) == 1 + len(others)
        return task


def unavailable(text: str) -> GatewayUnavailable:
    return GatewayUnavailable(text, gateway="gpu")


async def test_first_socket_of_one_handshake_is_that_ones() -> None:
    door, socket = Door(), Opened()
    task = await door.begin()
    door.asked["first"].set_result(socket)
    assert await task == (socket, "first")
    assert door.handshakes.are_over


async def test_first_socket_of_one_handshake_that_fails_raises_its_error() -> None:
    door = Door()
    task = await door.begin()
    door.asked["first"].set_exception(unavailable("It is down."))
    with pytest.raises(GatewayUnavailable, match="It is down"):
        await task
    assert door.handshakes.are_over


async def test_first_socket_of_two_is_the_one_answered_first_and_the_other_is_closed() -> None:
    door, late, socket = Door(), Opened(), Opened()
    task = await door.begin("beside")
    door.asked["beside"].set_result(socket)
    assert await task == (socket, "beside")
    assert not door.handshakes.are_over
    door.asked["first"].set_result(late)
    await late.closed.wait()
    assert not socket.closed.is_set()
    await door.handshakes.close()
    assert door.handshakes.are_over


async def test_first_socket_with_one_failure_waits_for_the_other() -> None:
    door, socket = Door(), Opened()
    task = await door.begin("beside")
    door.asked["first"].set_exception(unavailable("It is down."))
    await asyncio.sleep(0)
    door.asked["beside"].set_result(socket)
    assert await task == (socket, "beside")


async def test_first_socket_of_two_that_fail_raises_the_last_error() -> None:
    door = Door()
    task = await door.begin("beside")
    door.asked["beside"].set_exception(unavailable("one"))
    for _ in range(5):
        await asyncio.sleep(0)
    door.asked["first"].set_exception(unavailable("two"))
    with pytest.raises(GatewayUnavailable, match="two"):
        await task


async def test_first_socket_raises_at_once_when_the_kernel_does_not_exist() -> None:
    door = Door()
    task = await door.begin("beside")
    door.asked["beside"].set_exception(no_kernel("gpu", "k1", ""))
    with pytest.raises(KernelNotFound):
        await task
    assert door.asked["first"].cancelled()
    assert door.handshakes.are_over


async def test_first_socket_that_is_cancelled_leaves_no_handshake() -> None:
    door = Door()
    task = await door.begin("beside")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all(asked.cancelled() for asked in door.asked.values())


async def test_first_socket_that_is_cancelled_closes_what_has_just_opened() -> None:
    door, socket = Door(), Opened()
    task = await door.begin()
    door.asked["first"].set_result(socket)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert socket.closed.is_set()


async def test_begin_beside_without_a_first_one_does_nothing() -> None:
    door = Door()
    door.handshakes.begin_beside("beside")
    await asyncio.sleep(0)
    assert not door.asked


async def test_close_cancels_the_handshakes_that_are_not_needed() -> None:
    door, socket = Door(), Opened()
    task = await door.begin("beside")
    door.asked["beside"].set_result(socket)
    await task
    await door.handshakes.close()
    assert door.asked["first"].cancelled()
    assert not socket.closed.is_set()


class SlowlyClosing:
    """A socket that takes its time to close, until `may_close`."""

    subprotocol = None

    def __init__(self) -> None:
        self.closing = asyncio.Event()
        self.may_close = asyncio.Event()
        self.closed = False

    async def receive(self) -> Frame:
        raise SocketClosed("it was closed.")

    async def send(self, frame: Frame) -> None:
        raise SocketClosed("it was closed.")

    async def close(self) -> None:
        self.closing.set()
        await self.may_close.wait()
        self.closed = True


class SlowGateway:
    """What handshakes are made with: each opens when it is let in, or as soon as it is cancelled,
    as one does that was answered in that instant."""

    def __init__(self) -> None:
        self.sockets: list[SlowlyClosing] = []
        self.let_in = asyncio.Event()
        self.asked = asyncio.Event()

    async def connect(self, session: str) -> SlowlyClosing:
        socket = SlowlyClosing()
        self.sockets.append(socket)
        self.asked.set()
        with suppress(asyncio.CancelledError):
            await self.let_in.wait()
        return socket


async def begun(gateway: SlowGateway, handshakes: Handshakes) -> asyncio.Task[object]:
    """Return a task that waits for the first handshake, once that has been sent."""
    waiting = asyncio.ensure_future(handshakes.first_socket("session"))
    await gateway.asked.wait()
    return waiting


async def test_first_socket_after_a_second_cancellation_is_one_of_its_own() -> None:
    gateway = SlowGateway()
    handshakes = Handshakes(gateway.connect)
    cancelled = await begun(gateway, handshakes)
    cancelled.cancel()
    await gateway.sockets[0].closing.wait()
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert not handshakes.are_over

    next_one = asyncio.ensure_future(handshakes.first_socket("session"))
    gateway.sockets[0].may_close.set()
    gateway.let_in.set()
    socket, session = await next_one
    assert gateway.sockets[0].closed
    assert (socket, session) == (gateway.sockets[1], "session")
    assert handshakes.are_over


async def test_first_socket_never_has_two_handshakes_of_one_session_id() -> None:
    gateway = SlowGateway()
    handshakes = Handshakes(gateway.connect)
    cancelled = await begun(gateway, handshakes)
    cancelled.cancel()
    await gateway.sockets[0].closing.wait()
    cancelled.cancel()
    await asyncio.wait([cancelled])

    next_one = asyncio.ensure_future(handshakes.first_socket("session"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(gateway.sockets) == 1
    gateway.sockets[0].may_close.set()
    gateway.let_in.set()
    await next_one


async def test_first_socket_of_a_handshake_that_others_cancel_raises_an_error() -> None:
    async def connect(session: str) -> SlowlyClosing:
        raise asyncio.CancelledError

    with pytest.raises(GatewayUnavailable, match="cancelled"):
        await Handshakes(connect).first_socket("session")


async def test_close_waits_until_what_was_given_up_is_closed() -> None:
    gateway = SlowGateway()
    handshakes = Handshakes(gateway.connect)
    cancelled = await begun(gateway, handshakes)
    cancelled.cancel()
    await gateway.sockets[0].closing.wait()
    cancelled.cancel()
    await asyncio.wait([cancelled])
    gateway.sockets[0].may_close.set()
    await handshakes.close()
    assert gateway.sockets[0].closed
