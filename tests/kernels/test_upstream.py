"""The link to a kernel over a real socket: what happens to it, and what a subscriber receives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from jupyter_relay.errors import GatewayTimeout
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.kernels.kernel import RemoteKernel
from jupyter_relay.link.actions import Happening, Report
from jupyter_relay.link.table import State
from jupyter_relay.testing import (
    Answer,
    FakeGateway,
    FakeKernel,
    Hold,
    Reset,
    Silence,
)
from jupyter_relay.testing.changes import Changes
from jupyter_relay.testing.plugin import ProxyFactory
from jupyter_relay.transport.transport import SocketClosed
from jupyter_relay.wire.message import Channel, Frame, Message
from tests.support.gateway import (
    CHANNELS,
    KERNEL,
    answer_of,
    remote_kernel,
    run,
    settings_for,
    until,
)
from tests.support.messages import failures, notices, request, types

CELL = ["status:busy", "execute_input", "stream", "execute_reply", "status:idle"]


class Journal(list[Report]):
    """What is reported of a kernel."""

    def __init__(self) -> None:
        super().__init__()
        self._changes = Changes()

    def note(self, report: Report) -> None:
        self.append(report)
        self._changes.notify()

    async def first(self) -> Report:
        """Wait for the first report."""
        await self._changes.wait_for(lambda: len(self))
        return self[0]


@asynccontextmanager
async def linked(
    url: str, fake: FakeKernel, **options: float
) -> AsyncIterator[tuple[RemoteKernel, Journal]]:
    """A kernel under settings of its own, and what is reported of it."""
    journal = Journal()
    gateway = Gateway(settings_for(url, **options))
    kernel = remote_kernel(gateway, fake, journal.note)
    try:
        yield kernel, journal
    finally:
        await kernel.close()
        await gateway.close()


class Paused:
    """A cell that prints ``before``, waits for the test, and prints ``after``."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def __call__(self, cell: Message, fake: FakeKernel) -> None:
        fake.print("before", cell)
        await self.go_on.wait()
        fake.print("after", cell)


def executed(fake: FakeKernel) -> list[str]:
    """The ids of the requests to execute that reached the kernel."""
    return [m.head.msg_id for m in fake.received if m.head.msg_type == "execute_request"]


# Drops.


@pytest.mark.parametrize("subprotocols", [("v1.kernel.websocket.jupyter.org",), ()])
async def test_link_dropped_during_a_cell_loses_and_doubles_nothing(
    fake_gateway: FakeGateway,
    fake_kernel: FakeKernel,
    kernel: RemoteKernel,
    subprotocols: tuple[str, ...],
) -> None:
    fake_gateway.subprotocols = subprotocols
    script = fake_kernel.on_execute = Paused()
    listener = kernel.subscribe("tab")
    asked = request(session="tab")
    listener.send(asked)
    early = await until(listener, "stream", of=asked)
    fake_gateway.drop_sockets()
    script.go_on.set()
    late = await answer_of(listener, asked)
    assert sorted(types([*early, *late])) == sorted([*CELL, "stream"])
    assert notices(late) == []
    assert executed(fake_kernel) == [asked.head.msg_id]
    assert len({socket.session_id for socket in fake_gateway.sockets}) == 1


async def test_request_held_for_a_gateway_that_is_closed_is_answered(
    fake_gateway: FakeGateway, gateway: Gateway, kernel: RemoteKernel
) -> None:
    listener = kernel.subscribe("tab")
    await run(listener, request(session="tab"))
    await gateway.close()
    asked = request(session="tab")
    listener.send(asked)
    assert "was closed" in failures(await answer_of(listener, asked))[0]


async def test_requests_while_the_link_is_down_are_held_in_order(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel, kernel: RemoteKernel
) -> None:
    listener = kernel.subscribe("tab")
    await run(listener, request(session="tab"))
    released = asyncio.Event()
    fake_gateway.fault("GET", CHANNELS, Hold(released))
    fake_gateway.drop_sockets()
    await fake_gateway.wait_for(lambda: len(fake_gateway.requests_to("GET", CHANNELS)) == 2)
    asked = [request(session="tab") for _ in range(3)]
    for message in asked:
        listener.send(message)
    released.set()
    for message in asked:
        assert "execute_reply" in types(await answer_of(listener, message))
    assert executed(fake_kernel)[1:] == [message.head.msg_id for message in asked]


async def test_request_whose_result_no_gateway_kept_is_answered_in_its_place(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel, kernel: RemoteKernel
) -> None:
    fake_kernel.audience = type(fake_kernel.audience)(buffers=False)
    script = fake_kernel.on_execute = Paused()
    listener = kernel.subscribe("tab")
    await run(listener, request("kernel_info_request", {}, session="tab"))
    asked = request(session="tab")
    listener.send(asked)
    await until(listener, "stream", of=asked)
    released = asyncio.Event()
    fake_gateway.fault("GET", CHANNELS, Hold(released))
    fake_gateway.drop_sockets()
    await fake_gateway.wait_for(lambda: not fake_gateway.open_sockets)
    script.go_on.set()
    await fake_gateway.wait_for(lambda: fake_kernel.execution_state == "idle")
    released.set()
    heard = await answer_of(listener, asked)
    assert failures(heard)[0].endswith("this ran, but its result was lost.")
    assert "up to 3 messages were lost" in notices(heard)[0]
    assert executed(fake_kernel) == [asked.head.msg_id]


async def test_request_lost_on_its_way_is_answered_in_its_place_and_not_sent_again(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel, kernel: RemoteKernel
) -> None:
    listener = kernel.subscribe("tab")
    await run(listener, request(session="tab"))
    socket = fake_gateway.sockets[0]
    socket.swallow()
    asked = request(session="tab")
    listener.send(asked)
    await fake_gateway.wait_for(lambda: socket.swallowed)
    socket.drop()
    assert failures(await answer_of(listener, asked))[0].endswith("this never reached the kernel.")
    assert asked.head.msg_id not in executed(fake_kernel)


async def test_link_to_a_gateway_that_comes_back_opens(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    async with linked(fake_gateway.url, fake_kernel) as (kernel, reports):
        listener = kernel.subscribe("tab")
        await run(listener, request(session="tab"))
        fake_gateway.fault("GET", CHANNELS, Answer(503), times=2)
        fake_gateway.fault("GET", CHANNELS, Reset(), times=1)
        fake_gateway.drop_sockets()
        await reports.first()
        assert sorted(types(await run(listener, request(session="tab")))) == sorted(CELL)
        assert len(fake_gateway.requests_to("GET", CHANNELS)) == 5
        assert [r.happening for r in reports] == [Happening.DROPPED, Happening.OPENED]


@pytest.mark.parametrize("code", [None, 1000, 1001, 1009, 1011])
async def test_socket_closed_by_the_gateway_is_opened_again(
    fake_gateway: FakeGateway, kernel: RemoteKernel, code: int | None
) -> None:
    listener = kernel.subscribe("tab")
    await run(listener, request(session="tab"))
    fake_gateway.sockets[0].close(code)
    await fake_gateway.wait_for_socket(2)
    assert sorted(types(await run(listener, request(session="tab")))) == sorted(CELL)


async def test_socket_that_is_half_open_is_replaced(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel, faulty_proxy: ProxyFactory
) -> None:
    proxy = await faulty_proxy("127.0.0.1", fake_gateway.port)
    async with linked(proxy.url, fake_kernel, ping_interval=0.1) as (kernel, reports):
        listener = kernel.subscribe("tab")
        await run(listener, request(session="tab"))
        proxy.stall()
        await proxy.wait_for(lambda: proxy.accepted >= 2)
        proxy.resume()
        assert sorted(types(await run(listener, request(session="tab")))) == sorted(CELL)
        dropped, opened = reports
        assert (dropped.happening, opened.happening) == (Happening.DROPPED, Happening.OPENED)
        assert dropped.seconds == pytest.approx(0.15)
        assert opened.seconds is not None
        assert opened.seconds > 0.15


async def test_outage_by_a_reset_begins_with_the_reset(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel, faulty_proxy: ProxyFactory
) -> None:
    proxy = await faulty_proxy("127.0.0.1", fake_gateway.port)
    async with linked(proxy.url, fake_kernel) as (kernel, reports):
        listener = kernel.subscribe("tab")
        await run(listener, request(session="tab"))
        proxy.reset()
        await fake_gateway.wait_for_socket(2)
        await run(listener, request(session="tab"))
        assert reports[0].happening is Happening.DROPPED
        assert reports[0].seconds is None


# Frames.


@pytest.mark.parametrize(
    "frame",
    [
        Frame(b"not a message"),
        Frame(b"{", text=True),
        Frame(b'{"header": 7, "channel": "iopub"}', text=True),
        Frame(b"\xff" * 64),
    ],
)
async def test_frame_that_is_no_message_is_skipped_and_the_link_lives(
    fake_gateway: FakeGateway,
    kernel: RemoteKernel,
    frame: Frame,
    caplog: pytest.LogCaptureFixture,
) -> None:
    listener = kernel.subscribe("tab")
    socket = await fake_gateway.wait_for_socket()
    socket.send_raw(frame)
    assert sorted(types(await run(listener, request(session="tab")))) == sorted(CELL)
    assert len(fake_gateway.sockets) == 1
    assert "was skipped" in caplog.text


async def test_message_that_legacy_cannot_carry_is_answered_and_the_link_lives(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel, kernel: RemoteKernel
) -> None:
    fake_gateway.subprotocols = ()
    listener = kernel.subscribe("tab")
    good = request(session="tab")
    bad = Message(channel=Channel.SHELL, header=good.header, content=b'{"code": "\xff"}')
    assert "not UTF-8" in failures(await run(listener, bad))[0]
    assert sorted(types(await run(listener, request(session="tab")))) == sorted(CELL)
    assert len(executed(fake_kernel)) == 1


async def test_message_larger_than_the_bound_ends_the_socket_and_not_the_link(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    async def flood(cell: Message, fake: FakeKernel) -> None:
        fake.print("x" * 5000, cell)

    fake_kernel.on_execute = flood
    async with linked(fake_gateway.url, fake_kernel, max_message_bytes=4000) as (kernel, reports):
        listener = kernel.subscribe("tab")
        heard = await run(listener, request(session="tab"))
        assert "execute_reply" in types(heard)
        assert "it sent a message larger than max_message_bytes." in reports[0].text


# Handshakes.


async def test_close_during_a_handshake_leaves_no_socket(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel, kernel: RemoteKernel
) -> None:
    released = asyncio.Event()
    fake_gateway.fault("GET", CHANNELS, Hold(released))
    kernel.subscribe("tab")
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to("GET", CHANNELS))
    assert kernel.state is State.OPENING
    await kernel.close()
    await fake_gateway.wait_for(lambda: fake_gateway.abandoned)
    released.set()
    await fake_gateway.wait_for(lambda: not fake_gateway.open_sockets)
    assert fake_kernel.connections == 0


async def test_restart_during_a_handshake_never_holds_two_sockets(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel, kernel: RemoteKernel
) -> None:
    released = asyncio.Event()
    fake_gateway.fault("GET", CHANNELS, Hold(released), times=1)
    listener = kernel.subscribe("tab")
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to("GET", CHANNELS))
    await kernel.restart()
    assert len(fake_gateway.abandoned) == 1
    assert sorted(types(await run(listener, request(session="tab")))) == sorted(CELL)
    assert fake_kernel.connections == 1
    released.set()


async def test_handshake_may_take_longer_than_a_request(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    released = asyncio.Event()
    fake_gateway.fault("GET", CHANNELS, Hold(released), times=1)
    fake_gateway.fault("GET", KERNEL, Silence())
    options = {"request_timeout": 0.05, "launch_timeout": 0, "launch_timeout_pad": 0}
    async with linked(fake_gateway.url, fake_kernel, max_request_retries=0, **options) as (
        kernel,
        _,
    ):
        listener = kernel.subscribe("tab")
        await fake_gateway.wait_for(lambda: fake_gateway.requests_to("GET", CHANNELS))
        for _ in range(2):  # so that more than the time for a request has passed
            with pytest.raises(GatewayTimeout):
                await kernel.refresh()
        released.set()
        assert sorted(types(await run(listener, request(session="tab")))) == sorted(CELL)
        assert len(fake_gateway.requests_to("GET", CHANNELS)) == 1


async def test_handshake_without_an_answer_is_cancelled_and_tried_again(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    fake_gateway.fault("GET", CHANNELS, Silence(), times=1)
    async with linked(fake_gateway.url, fake_kernel, handshake_timeout=0.05) as (kernel, reports):
        listener = kernel.subscribe("tab")
        assert sorted(types(await run(listener, request(session="tab")))) == sorted(CELL)
        assert "did not answer in time" in reports[0].text


async def test_handshake_without_a_token_is_tried_again_and_its_reason_reported(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    fake_gateway.fault("GET", CHANNELS, Answer(403), times=1)
    async with linked(fake_gateway.url, fake_kernel) as (kernel, reports):
        listener = kernel.subscribe("tab")
        assert sorted(types(await run(listener, request(session="tab")))) == sorted(CELL)
        assert "denied access (403)" in reports[0].text


# A silent kernel.


async def test_kernel_culled_behind_an_open_socket_is_found_gone(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel, kernel: RemoteKernel
) -> None:
    listener = kernel.subscribe("tab")
    await run(listener, request(session="tab"))
    fake_gateway.lose_kernel(fake_kernel.id)
    asked = request(session="tab")
    listener.send(asked)
    with pytest.raises(KeyError):
        await kernel.refresh()  # what a probe does
    assert "has no kernel" in failures(await answer_of(listener, asked))[0]
    await fake_gateway.wait_for(lambda: not fake_gateway.open_sockets)


# Ends.


# The fixture for all tests looks for tasks and sockets that are left.


async def test_close_of_an_unused_kernel_leaves_nothing(kernel: RemoteKernel) -> None:
    await kernel.close()
    assert kernel.state is State.CLOSED


async def test_close_of_an_open_link_leaves_nothing(kernel: RemoteKernel) -> None:
    await run(kernel.subscribe("tab"), request(session="tab"))
    await kernel.close()
    await kernel.close()
    assert kernel.state is State.CLOSED


async def test_close_of_a_waiting_link_leaves_nothing(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    fake_gateway.fault("GET", CHANNELS, Answer(503))
    async with linked(
        fake_gateway.url, fake_kernel, gateway_retry_interval=60, gateway_retry_interval_max=60
    ) as (kernel, reports):
        kernel.subscribe("tab")
        await reports.first()
        assert kernel.state is State.WAITING


async def test_drop_while_sending_is_reported_in_plain_words(
    gateway: Gateway, fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    socket = await gateway.connect(fake_kernel.id, "me")
    fake_gateway.drop_sockets()
    with pytest.raises(SocketClosed) as received:
        await socket.receive()
    with pytest.raises(SocketClosed) as sent:
        await socket.send(Frame(b"{}", text=True))
    await socket.close()
    assert str(received.value) in {"the connection was closed.", "it was cut without a word."}
    assert str(sent.value) == "the connection was closed."
