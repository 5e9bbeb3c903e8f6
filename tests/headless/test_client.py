"""The client on its own: channels, messages, requests, attaching."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from queue import Empty
from typing import Any

import pytest
from jupyter_client.asynchronous.client import AsyncKernelClient

from jupyter_relay.errors import ConfigurationError, GatewayUnavailable, KernelNotRunning
from jupyter_relay.headless.client import GatewayKernelClient
from jupyter_relay.headless.manager import GatewayKernelManager
from jupyter_relay.testing import Answer, FakeGateway, FakeKernel, Reset, read_content
from jupyter_relay.wire.message import Channel, Message


@asynccontextmanager
async def running(fake: FakeGateway) -> AsyncIterator[tuple[GatewayKernelClient, FakeKernel]]:
    """Start a kernel; give a client of it whose channels run, and the kernel."""
    manager = GatewayKernelManager()
    await manager.start_kernel()
    kernel = fake.kernels[manager.running.id]
    client = manager.client()
    client.start_channels()
    await client.wait_for_ready(timeout=10)
    try:
        yield client, kernel
    finally:
        client.stop_channels()
        await manager.shutdown_kernel()


async def ask_name(request: Message, kernel: FakeKernel) -> None:
    kernel.print(f"Hello, {await kernel.ask_input('Name: ', request)}!", request)


async def test_code_runs_and_its_reply_comes(fake: FakeGateway) -> None:
    heard: list[str] = []

    def hear(msg: dict[str, Any]) -> None:
        heard.append(msg["msg_type"])

    async with running(fake) as (client, _):
        reply = await client.execute_interactive("1 + 1", output_hook=hear, timeout=10)
    assert reply["content"]["status"] == "ok"
    assert heard == ["status", "execute_input", "stream", "status"]


async def test_client_answers_a_question_on_stdin(fake: FakeGateway) -> None:
    lines: list[str] = []

    def hear(msg: dict[str, Any]) -> None:
        lines.append(msg["content"].get("text", ""))

    async with running(fake) as (client, kernel):
        kernel.on_execute = ask_name

        def answer(msg: dict[str, Any]) -> None:
            assert msg["content"]["prompt"] == "Name: "
            client.input("Ada")

        await client.execute_interactive(
            "input()", allow_stdin=True, stdin_hook=answer, output_hook=hear, timeout=10
        )
        assert [message.head.msg_type for message in kernel.received_on(Channel.STDIN)] == [
            "input_reply"
        ]
        shell = {message.head.msg_type for message in kernel.received_on(Channel.SHELL)}
    assert "".join(lines) == "Hello, Ada!"
    assert shell == {"kernel_info_request", "execute_request"}


async def test_client_sends_a_control_request_on_control(fake: FakeGateway) -> None:
    async with running(fake) as (client, kernel):
        msg = client.session.msg("interrupt_request")
        client.control_channel.send(msg)
        reply = await client.get_control_msg(timeout=10)
        assert reply["parent_header"]["msg_id"] == msg["header"]["msg_id"]
        assert [message.head.msg_type for message in kernel.received_on(Channel.CONTROL)] == [
            "interrupt_request"
        ]


async def test_interrupt_that_fails_in_an_outage_is_reported_in_the_running_cell(
    fake: FakeGateway,
) -> None:
    async def run_for_ever(*_: object) -> None:
        await asyncio.Event().wait()

    manager = GatewayKernelManager()
    await manager.start_kernel()
    fake.kernels[manager.kernel_id].on_execute = run_for_ever
    client = manager.client()
    client.start_channels()
    msg_id = client.execute("while True: pass")
    while (await client.get_iopub_msg(timeout=10))["msg_type"] != "execute_input":
        pass
    fake.fault("*", "/api/kernels/*/interrupt", Reset())
    fake.fault("*", "/api/kernels/*/channels", Reset())
    fake.drop_sockets()
    with pytest.raises(GatewayUnavailable):
        await manager.interrupt_kernel()
    while (told := await client.get_iopub_msg(timeout=10))["msg_type"] != "stream":
        pass
    assert told["content"]["text"].startswith("[Jupyter Relay] Cannot interrupt: ")
    assert told["parent_header"]["msg_id"] == msg_id
    client.stop_channels()
    await manager.shutdown_kernel()


async def test_hooks_may_be_coroutines(fake: FakeGateway) -> None:
    heard: list[str] = []
    async with running(fake) as (client, kernel):
        kernel.on_execute = ask_name

        async def answer(_: dict[str, Any]) -> None:
            client.input("Bob")

        async def hear(msg: dict[str, Any]) -> None:
            heard.append(msg["msg_type"])

        await client.execute_interactive(
            "", allow_stdin=True, stdin_hook=answer, output_hook=hear, timeout=10
        )
    assert "stream" in heard


class Spoilt(Exception):
    """What a hook raises."""


@pytest.mark.parametrize("hook", ["output_hook", "stdin_hook"])
async def test_client_passes_an_error_of_a_hook_to_the_caller_unchanged(
    fake: FakeGateway, hook: str
) -> None:
    def spoil(_: object) -> None:
        raise Spoilt

    def ignore(_: object) -> None:
        pass

    hooks: dict[str, Any] = {"output_hook": ignore, "stdin_hook": ignore, hook: spoil}
    async with running(fake) as (client, kernel):
        kernel.on_execute = ask_name
        with pytest.raises(Spoilt):
            await client.execute_interactive("", allow_stdin=True, timeout=10, **hooks)


async def test_client_request_that_takes_too_long_is_a_timeout(fake: FakeGateway) -> None:
    async with running(fake) as (client, kernel):

        async def never(*_: object) -> None:
            await asyncio.Event().wait()

        kernel.on_execute = never
        with pytest.raises(TimeoutError, match="Timeout waiting for output"):
            await client.execute_interactive("", timeout=0.1)


async def test_channel_getter_obeys_a_positional_timeout(fake: FakeGateway) -> None:
    loop = asyncio.get_running_loop()
    async with running(fake) as (client, _):
        for ask in (client.get_iopub_msg, client.get_shell_msg, client.get_stdin_msg):
            before = loop.time()
            with pytest.raises(Empty):
                await ask(0.2)
            assert loop.time() - before >= 0.19
            with pytest.raises(Empty):
                await ask(timeout=0)


async def test_dates_are_datetimes(fake: FakeGateway) -> None:
    async with running(fake) as (client, _):
        msg_id = client.execute("1")
        reply = await client.get_shell_msg(timeout=10)
        output = await client.get_iopub_msg(timeout=10)
    for message in (reply, output):
        assert message["parent_header"]["msg_id"] == msg_id
        for header in ("header", "parent_header"):
            assert isinstance(message[header]["date"], datetime)
            assert message[header]["date"].tzinfo is not None


async def test_buffers_pass_both_ways(fake: FakeGateway) -> None:
    async def echo(request: Message, kernel: FakeKernel) -> None:
        kernel.publish("comm_msg", {}, request, request.buffers)

    async with running(fake) as (client, kernel):
        kernel.handlers["comm_msg"] = echo
        msg = client.session.msg("comm_msg", {"comm_id": "x", "data": {}})
        msg["buffers"] = [b"\xff\x00", memoryview(b"view")]
        client.shell_channel.send(msg)
        while (came := await client.get_iopub_msg(timeout=10))["msg_type"] != "comm_msg":
            pass
    assert [bytes(buffer) for buffer in came["buffers"]] == [b"\xff\x00", b"view"]


async def test_channels_can_be_stopped_before_they_are_started_and_again(fake: FakeGateway) -> None:
    client = GatewayKernelManager().client()
    client.stop_channels()
    assert not client.channels_running
    attached = GatewayKernelClient(kernel_id=fake.start_kernel().id)
    attached.stop_channels()
    async with running(fake) as (running_client, _):
        assert running_client.channels_running
        running_client.stop_channels()
        running_client.stop_channels()
        assert not running_client.channels_running


def test_channels_can_be_stopped_where_no_loop_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_GATEWAY_URL", "http://gateway.example")
    GatewayKernelClient(kernel_id="some-id").stop_channels()


async def test_starting_and_stopping_may_be_awaited(fake: FakeGateway) -> None:
    client = GatewayKernelClient(kernel_id=fake.start_kernel().id)
    await client.start_channels()
    await client.wait_for_ready(timeout=10)
    await client.stop_channels()
    await client.stop_channels()
    await fake.wait_for(lambda: not fake.open_sockets)


async def test_channels_that_were_stopped_can_be_started_again(fake: FakeGateway) -> None:
    client = GatewayKernelClient(kernel_id=fake.start_kernel().id)
    for _ in range(2):
        await client.start_channels()
        await client.wait_for_ready(timeout=10)
        await client.stop_channels()
    assert len(fake.sockets) == 2


async def test_client_with_a_kernel_id_attaches_to_that_kernel(fake: FakeGateway) -> None:
    kernel = fake.start_kernel()
    client = GatewayKernelClient(kernel_id=kernel.id)
    client.start_channels()
    await client.wait_for_ready(timeout=10)
    assert await client.is_alive()
    reply = await client.execute_interactive("1", output_hook=lambda _: None, timeout=10)
    assert reply["content"]["status"] == "ok"
    await client.stop_channels()
    assert kernel.id in fake.kernels
    assert not fake.open_sockets


async def test_attaching_to_a_kernel_that_is_not_there_says_so(fake: FakeGateway) -> None:
    client = GatewayKernelClient(kernel_id="00000000-0000-4000-8000-000000000000")
    client.start_channels()
    with pytest.raises(KernelNotRunning, match="has no kernel 00000000"):
        await client.wait_for_ready(timeout=10)
    assert not await client.is_alive()
    await client.stop_channels()


async def test_client_with_a_kernel_id_and_no_valid_gateway_is_a_configuration_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("JUPYTER_GATEWAY_URL", raising=False)
    with pytest.raises(ConfigurationError, match=r"GatewayClient\.url"):
        GatewayKernelClient(kernel_id="some-id")
    monkeypatch.setenv("JUPYTER_GATEWAY_URL", "ftp://gateway.example")
    with pytest.raises(ConfigurationError, match=r"GatewayClient\.url"):
        GatewayKernelClient(kernel_id="some-id")


async def test_client_that_was_not_started_is_started_by_its_first_use(fake: FakeGateway) -> None:
    manager = GatewayKernelManager()
    await manager.start_kernel()
    client = manager.client()
    await client.wait_for_ready(timeout=10)
    reply = await client.execute_interactive("1", output_hook=lambda _: None, timeout=10)
    assert reply["content"]["status"] == "ok"
    client.stop_channels()
    with pytest.raises(KernelNotRunning):
        client.kernel_info()
    unused = manager.client()
    unused.stop_channels()
    with pytest.raises(KernelNotRunning):
        unused.kernel_info()
    await manager.shutdown_kernel()


async def test_client_without_a_kernel_raises_an_error_that_says_so() -> None:
    client = GatewayKernelManager().client()
    with pytest.raises(KernelNotRunning, match="No kernel is running!"):
        client.start_channels()
    with pytest.raises(KernelNotRunning):
        client.kernel_info()
    assert not await client.is_alive()


async def test_clients_of_one_kernel_share_its_socket(fake: FakeGateway) -> None:
    async with running(fake) as (client, kernel):
        manager = client.parent
        assert isinstance(manager, GatewayKernelManager)
        second = manager.client()
        second.start_channels()
        await second.wait_for_ready(timeout=10)
        msg_id = client.execute("1")
        reply = await client.get_shell_msg(timeout=10)
        assert reply["parent_header"]["msg_id"] == msg_id
        with pytest.raises(Empty):
            await second.get_shell_msg(timeout=0.05)
        second.stop_channels()
        assert kernel.connections == 1


async def test_client_whose_kernel_is_not_ready_in_time_raises_an_error(fake: FakeGateway) -> None:
    fake.fault("GET", "/api/kernels/*/channels", Answer(503))
    manager = GatewayKernelManager()
    await manager.start_kernel()
    client = manager.client()
    client.start_channels()
    with pytest.raises(RuntimeError, match=r"Kernel didn't respond in 0\.2 seconds"):
        await client.wait_for_ready(timeout=0.2)
    client.stop_channels()
    await manager.shutdown_kernel()


async def test_client_requests_before_the_socket_is_open_wait_for_it(fake: FakeGateway) -> None:
    manager = GatewayKernelManager()
    await manager.start_kernel()
    client = manager.client()
    client.start_channels()
    msg_ids = [client.execute(f"line {number}") for number in range(20)]
    replies = [await client.get_shell_msg(timeout=10) for _ in msg_ids]
    assert [reply["parent_header"]["msg_id"] for reply in replies] == msg_ids
    codes = [read_content(message)["code"] for message in fake.kernels[manager.running.id].received]
    assert codes == [f"line {number}" for number in range(20)]
    client.stop_channels()
    await manager.shutdown_kernel()


async def test_client_starts_no_thread(fake: FakeGateway) -> None:
    before = set(threading.enumerate())
    async with running(fake) as (client, _):
        await client.execute_interactive("1", output_hook=lambda _: None, timeout=10)
        async with asyncio.timeout(10):  # the thread that has imported aiohttp may still be ending
            while set(threading.enumerate()) != before:  # noqa: ASYNC110  # a thread sets no event
                await asyncio.sleep(0.01)


def test_client_is_an_instance_of_jupyter_clients_class() -> None:
    assert issubclass(GatewayKernelClient, AsyncKernelClient)


async def unanswered(request: Message, kernel: FakeKernel) -> None:
    """Do what ipykernel does with a request that it does not know."""


async def usage(request: Message, kernel: FakeKernel) -> None:
    kernel.reply(request, {"pid": 7})


async def test_usage_request_that_the_kernel_does_not_know_is_answered_as_not_supported(
    fake: FakeGateway,
) -> None:
    async with running(fake) as (client, kernel):
        kernel.handlers["usage_request"] = unanswered
        for _ in range(2):
            asked = client.session.msg("usage_request", {})
            client.control_channel.send(asked)
            reply = await client.control_channel.get_msg(timeout=10)
            assert reply["msg_type"] == "usage_reply"
            assert reply["parent_header"]["msg_id"] == asked["header"]["msg_id"]
            assert reply["content"]["reason"] == "not_supported"


async def test_usage_request_that_the_kernel_knows_has_its_reply_and_no_other(
    fake: FakeGateway,
) -> None:
    async with running(fake) as (client, kernel):
        kernel.handlers["usage_request"] = usage
        for _ in range(2):
            client.control_channel.send(client.session.msg("usage_request", {}))
            reply = await client.control_channel.get_msg(timeout=10)
            assert reply["content"]["pid"] == 7
        client.control_channel.send(client.session.msg("debug_request", {}))
        reply = await client.control_channel.get_msg(timeout=10)
        assert reply["msg_type"] == "debug_reply"
