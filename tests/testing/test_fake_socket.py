"""The websocket side of the fake gateway: kernels, buffering, and what befalls a socket."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from jupyter_relay.testing import (
    Answer,
    FakeGateway,
    FakeKernel,
    Hold,
    Silence,
    read_content,
)
from jupyter_relay.wire.message import Channel, Frame, Message

from .bare_client import BareClient

CHANNELS = "/api/kernels/*/channels"
ONE_CELL = ["status", "execute_input", "stream", "execute_reply", "status"]


@pytest.fixture
async def kernel(fake_gateway: FakeGateway) -> FakeKernel:
    return fake_gateway.start_kernel()


@pytest.mark.parametrize("legacy", [False, True])
async def test_executing(client: BareClient, kernel: FakeKernel, legacy: bool) -> None:
    async with client.socket(kernel, legacy=legacy) as socket:
        msg_id = await socket.execute("1 + 1")
        messages = [await socket.receive() for _ in ONE_CELL]
    assert [message.head.msg_type for message in messages] == ONE_CELL
    assert {message.parent.msg_id for message in messages} == {msg_id}
    assert read_content(messages[2]) == {"name": "stdout", "text": "1 + 1\n"}
    numbers = [message.head.msg_id for message in messages]
    assert numbers == [f"{kernel.session}_{kernel.pid}_{n}" for n in range(len(ONE_CELL))]
    assert [message.head.msg_id for message in kernel.received_on(Channel.SHELL)] == [msg_id]


async def test_fake_gateway_without_subprotocols_speaks_legacy(
    client: BareClient, fake_gateway: FakeGateway, kernel: FakeKernel
) -> None:
    fake_gateway.subprotocols = ()
    async with client.socket(kernel) as socket:
        assert socket.websocket.protocol is None
        await socket.execute("x")
        assert await socket.receive_many(5) == ONE_CELL


async def test_shell_is_in_order_and_control_beside_it(
    client: BareClient, kernel: FakeKernel
) -> None:
    finish = asyncio.Event()

    async def wait(request: Message, kernel: FakeKernel) -> None:
        await finish.wait()

    kernel.on_execute = wait
    async with client.socket(kernel) as socket:
        await socket.execute("wait")
        await socket.send("kernel_info_request")
        beside = await socket.send("kernel_info_request", channel=Channel.CONTROL)
        replies: list[tuple[Channel, str]] = []
        while len(replies) < 3:
            message = await socket.receive()
            if message.channel is not Channel.IOPUB:
                replies.append((message.channel, message.head.msg_type))
                assert replies != [] or message.parent.msg_id == beside
                finish.set()
    assert replies == [
        (Channel.CONTROL, "kernel_info_reply"),
        (Channel.SHELL, "execute_reply"),
        (Channel.SHELL, "kernel_info_reply"),
    ]


async def test_scripts_that_fail_and_that_are_interrupted(
    client: BareClient, kernel: FakeKernel
) -> None:
    async def fail(request: Message, kernel: FakeKernel) -> None:
        raise ZeroDivisionError("by zero")

    async def hang(request: Message, kernel: FakeKernel) -> None:
        await asyncio.Event().wait()

    async with client.socket(kernel) as socket:
        for script, name in ((fail, "ZeroDivisionError"), (hang, "KeyboardInterrupt")):
            kernel.on_execute = script
            await socket.execute("x")
            assert await socket.receive_many(2) == ["status", "execute_input"]
            if script is hang:
                await client.call("POST", f"/api/kernels/{kernel.id}/interrupt")
            error = read_content(await socket.receive())
            reply = read_content(await socket.receive())
            assert error["ename"] == reply["ename"] == name
            assert await socket.receive_many(1) == ["status"]


async def test_input_and_buffers(client: BareClient, kernel: FakeKernel) -> None:
    async def ask(request: Message, kernel: FakeKernel) -> None:
        name = await kernel.ask_input("Name? ", request)
        kernel.publish("display_data", {"data": {"name": name}}, request, [b"\x00" * 100, b""])

    kernel.on_execute = ask
    async with client.socket(kernel) as socket:
        await socket.execute("input()")
        assert await socket.receive_many(2) == ["status", "execute_input"]
        prompt = await socket.receive()
        assert (prompt.channel, prompt.head.msg_type) == (Channel.STDIN, "input_request")
        await socket.send(
            "input_reply",
            {"value": "Ann"},
            channel=Channel.STDIN,
            parent_header=prompt.header,
        )
        shown = await socket.receive()
        assert read_content(shown) == {"data": {"name": "Ann"}}
        assert [bytes(buffer) for buffer in shown.buffers] == [b"\x00" * 100, b""]


async def test_replies_go_to_who_asked_and_outputs_to_all(
    client: BareClient, kernel: FakeKernel
) -> None:
    async with client.socket(kernel, "a") as one, client.socket(kernel, "b") as two:
        await one.execute("x")
        assert await one.receive_many(5) == ONE_CELL
        assert await two.receive_many(4) == ["status", "execute_input", "stream", "status"]
        assert kernel.connections == 2


async def test_fake_kernel_buffer_is_replayed_once_to_the_same_session(
    client: BareClient, fake_gateway: FakeGateway, kernel: FakeKernel
) -> None:
    go = asyncio.Event()

    async def later(request: Message, kernel: FakeKernel) -> None:
        await go.wait()
        kernel.print("done", request)

    kernel.on_execute = later
    async with client.socket(kernel) as socket:
        await socket.execute("x")
        assert await socket.receive_many(2) == ["status", "execute_input"]
    await fake_gateway.wait_for(lambda: kernel.connections == 0)
    go.set()
    await fake_gateway.wait_for(lambda: len(kernel.audience.buffered) == 3)
    async with client.socket(kernel) as socket:
        assert await socket.receive_many(3) == ["stream", "execute_reply", "status"]
    await fake_gateway.wait_for(lambda: kernel.connections == 0)
    kernel.publish("stream", {"name": "stdout", "text": "for me"})
    async with client.socket(kernel, "another"):
        await fake_gateway.wait_for_socket(3)
        assert kernel.audience.buffered == []


async def test_fake_socket_is_closed_by_a_second_socket_of_its_session(
    client: BareClient, fake_gateway: FakeGateway, kernel: FakeKernel
) -> None:
    async with client.socket(kernel) as first, client.socket(kernel) as second:
        with pytest.raises(ConnectionError, match="CLOSE"):
            await first.receive()
        await second.execute("x")
        assert await second.receive_many(5) == ONE_CELL
    await fake_gateway.wait_for(lambda: not fake_gateway.open_sockets)
    assert len(fake_gateway.sockets) == 2


async def test_losing_messages_in_flight(
    client: BareClient, fake_gateway: FakeGateway, kernel: FakeKernel
) -> None:
    async with client.socket(kernel) as socket:
        served = await fake_gateway.wait_for_socket()
        served.drop_after_sending(2, losing=1)
        await socket.execute("x")
        assert await socket.receive_many(2) == ["status", "execute_input"]
        with pytest.raises((ConnectionError, aiohttp.ClientError)):
            await socket.receive()
    buffered = [message.head.msg_type for message in kernel.audience.buffered]
    assert buffered == ["execute_reply", "status"]
    assert served.sent == 2


async def test_dropping_once_a_request_is_with_the_kernel(
    client: BareClient, fake_gateway: FakeGateway, kernel: FakeKernel
) -> None:
    async with client.socket(kernel) as socket:
        (await fake_gateway.wait_for_socket()).drop_after_receiving(2)
        await socket.execute("one")
        assert await socket.receive_many(5) == ONE_CELL
        await socket.execute("two")
        with pytest.raises((ConnectionError, aiohttp.ClientError)):
            await socket.receive()
    await fake_gateway.wait_for(lambda: len(kernel.audience.buffered) == 5)
    assert kernel.execution_count == 2


async def test_requests_that_never_arrive(
    client: BareClient, fake_gateway: FakeGateway, kernel: FakeKernel
) -> None:
    async with client.socket(kernel) as socket:
        served = await fake_gateway.wait_for_socket()
        served.swallow()
        await socket.execute("lost")
        await fake_gateway.wait_for(lambda: served.swallowed)
        served.resume()
        arrived = await socket.execute("arrives")
        assert (await socket.receive()).parent.msg_id == arrived


async def test_fake_socket_that_is_stalled_passes_nothing_until_it_is_resumed(
    client: BareClient, fake_gateway: FakeGateway, kernel: FakeKernel
) -> None:
    async with client.socket(kernel) as socket:
        served = await fake_gateway.wait_for_socket()
        served.stall()
        await socket.execute("x")
        kernel.publish("stream", {"name": "stdout", "text": "waits"})
        with pytest.raises(TimeoutError):
            await socket.websocket.receive(timeout=0.05)
    async with client.socket(kernel) as socket:
        served = await fake_gateway.wait_for_socket(2)
        served.stall()
        await socket.execute("x")
        served.resume()
        assert await socket.receive_many(5) == ONE_CELL


@pytest.mark.parametrize(
    ("how", "code"),
    [
        (lambda socket: socket.close(1012, b"restart"), 1012),
        (lambda socket: socket.close(None), 1000),  # so aiohttp names an empty one
        (lambda socket: socket.hang_up(), 1006),
        (lambda socket: socket.drop(), 1006),
    ],
)
async def test_ends_of_a_socket(
    client: BareClient,
    fake_gateway: FakeGateway,
    kernel: FakeKernel,
    how: object,
    code: int,
) -> None:
    assert callable(how)
    async with client.socket(kernel) as socket:
        how(await fake_gateway.wait_for_socket())
        with pytest.raises((ConnectionError, aiohttp.ClientError)):
            await socket.receive()
        assert socket.websocket.close_code == code
    await fake_gateway.wait_for(lambda: not fake_gateway.open_sockets)


async def test_raw_frames_and_pings(
    client: BareClient, fake_gateway: FakeGateway, kernel: FakeKernel
) -> None:
    async with client.socket(kernel) as socket:
        served = await fake_gateway.wait_for_socket()
        served.send_raw(Frame(b"\x00garbage"))
        served.send_raw(Frame(b"not json", text=True))
        served.ping(times=100)
        assert (await socket.websocket.receive()).data == b"\x00garbage"
        assert (await socket.websocket.receive()).data == "not json"
        await socket.websocket.send_bytes(b"\xff" * 20)
        await socket.execute("x")
        assert await socket.receive_many(5) == ONE_CELL
        await fake_gateway.wait_for(lambda: served.pongs == 100)
        assert served.refused == 1


async def test_handshakes_take_faults(
    client: BareClient, fake_gateway: FakeGateway, kernel: FakeKernel
) -> None:
    fake_gateway.fault("GET", CHANNELS, Answer(503), times=1)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with client.socket(kernel):
            pass
    assert refused.value.status == 503
    fake_gateway.fault("GET", CHANNELS, Silence(), times=1)
    await give_up_on_a_handshake(client, kernel)
    await fake_gateway.wait_for(lambda: fake_gateway.abandoned)
    assert not fake_gateway.sockets


async def test_fake_handshake_that_is_held_and_given_up_is_counted_as_abandoned(
    client: BareClient, fake_gateway: FakeGateway, kernel: FakeKernel
) -> None:
    released = asyncio.Event()
    fake_gateway.fault("GET", CHANNELS, Hold(released), times=2)
    await give_up_on_a_handshake(client, kernel)
    await fake_gateway.wait_for(lambda: fake_gateway.abandoned)

    async def run_a_cell() -> list[str]:
        async with client.socket(kernel) as socket:
            await socket.execute("x")
            return await socket.receive_many(5)

    running = asyncio.create_task(run_a_cell())
    await fake_gateway.wait_for(lambda: len(fake_gateway.requests) == 2)
    assert not fake_gateway.sockets
    released.set()
    assert await running == ONE_CELL
    assert len(fake_gateway.sockets) == 1


async def give_up_on_a_handshake(client: BareClient, kernel: FakeKernel) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05), client.socket(kernel):
            pass


async def test_deaths(client: BareClient, fake_gateway: FakeGateway, kernel: FakeKernel) -> None:
    async with client.socket(kernel) as socket:
        await socket.execute("x")
        assert await socket.receive_many(5) == ONE_CELL
        kernel.die()
        status = await socket.receive()
        assert read_content(status) == {"execution_state": "restarting"}
        assert status.head.session == "me"
        await socket.execute("y")
        assert (await socket.receive()).head.session == kernel.session
        assert await socket.receive_many(4) == ONE_CELL[1:]
        kernel.die(restarts=False)
        assert read_content(await socket.receive()) == {"execution_state": "dead"}
        fake_gateway.lose_kernel(kernel.id, close=1001)
        with pytest.raises(ConnectionError):
            await socket.receive()
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with client.socket(kernel):
            pass
    assert refused.value.status == 404


async def test_nudges(client: BareClient, fake_gateway: FakeGateway, kernel: FakeKernel) -> None:
    fake_gateway.nudges = True
    async with client.socket(kernel) as socket:
        messages = [await socket.receive() for _ in range(2)]
    assert [read_content(message)["execution_state"] for message in messages] == ["busy", "idle"]
    assert messages[0].parent.msg_type == "kernel_info_request"


async def test_subshells(client: BareClient, kernel: FakeKernel) -> None:
    async with client.socket(kernel) as socket:
        await socket.send("create_subshell_request", channel=Channel.CONTROL)
        while (reply := await socket.receive()).channel is not Channel.CONTROL:
            pass
        assert read_content(reply)["subshell_id"]


async def test_waiting_has_a_deadline(fake_gateway: FakeGateway) -> None:
    with pytest.raises(TimeoutError):
        await fake_gateway.wait_for(lambda: fake_gateway.sockets, timeout=0.01)
