"""A remote kernel and its subscribers, on one socket."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest

from jupyter_relay.errors import GatewayRefused, KernelNotFound
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.kernels.kernel import RemoteKernel
from jupyter_relay.kernels.subscription import Subscription, SubscriptionEnded
from jupyter_relay.link.actions import Happening, Report
from jupyter_relay.link.life import Life
from jupyter_relay.link.table import State
from jupyter_relay.rest.models import KernelModel
from jupyter_relay.testing import Answer, FakeGateway, FakeKernel, Hold, Reset, read_content
from jupyter_relay.wire.message import Channel, Message
from tests.support.gateway import (
    CHANNELS,
    DEADLINE,
    KERNEL,
    answer_of,
    remote_kernel,
    run,
    settings_for,
    until,
)
from tests.support.messages import failures, request, types


def answered(heard: list[Message], asked: Message) -> bool:
    """Whether the reply and the idle of a request were heard."""
    of_it = [message for message in heard if message.parent.msg_id == asked.head.msg_id]
    return {"execute_reply", "status:idle"} <= set(types(of_it))


CELL = ["status:busy", "execute_input", "stream", "execute_reply", "status:idle"]


@pytest.mark.parametrize("subprotocols", [("v1.kernel.websocket.jupyter.org",), ()])
async def test_cell_over_either_subprotocol_runs(
    fake_gateway: FakeGateway, kernel: RemoteKernel, subprotocols: tuple[str, ...]
) -> None:
    fake_gateway.subprotocols = subprotocols
    listener = kernel.subscribe("tab")
    assert sorted(types(await run(listener, request()))) == sorted(CELL)
    assert fake_gateway.sockets[0].subprotocol.value == (subprotocols or (None,))[0]


async def test_buffers_over_either_subprotocol_arrive(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel, kernel: RemoteKernel
) -> None:
    fake_gateway.subprotocols = ()
    listener = kernel.subscribe("tab")
    asked = request("comm_msg", {})
    listener.send(
        Message(channel=asked.channel, header=asked.header, buffers=(b"\x00\xff", b"two"))
    )
    received = await fake_gateway.wait_for(lambda: fake_kernel.received)
    assert [bytes(part) for part in received[0].buffers] == [b"\x00\xff", b"two"]


async def test_socket_opens_for_the_first_subscriber_with_one_session_id_for_all(
    fake_gateway: FakeGateway, kernel: RemoteKernel
) -> None:
    assert kernel.state is State.IDLE
    tab, console = kernel.subscribe("tab"), kernel.subscribe("console")
    in_tab, in_console = request(session="tab"), request(session="console")
    tab.send(in_tab)
    console.send(in_console)
    heard_by_tab, heard_by_console = await asyncio.gather(
        answer_of(tab, in_tab), answer_of(console, in_console)
    )
    assert "execute_reply" in types(heard_by_tab)
    assert "execute_reply" in types(heard_by_console)
    (socket,) = fake_gateway.sockets
    assert socket.session_id not in {"", "tab", "console"}


async def test_output_goes_to_all_and_a_reply_to_who_asked(kernel: RemoteKernel) -> None:
    tab, console = kernel.subscribe("tab"), kernel.subscribe("console")
    asked = request(session="tab")
    await run(tab, asked)
    heard = await until(console, "status:idle", of=asked)
    assert types(heard) == ["status:busy", "execute_input", "stream", "status:idle"]


async def test_input_request_goes_to_who_runs_the_cell(
    fake_kernel: FakeKernel, kernel: RemoteKernel
) -> None:
    async def ask(cell: Message, fake: FakeKernel) -> None:
        fake.print(await fake.ask_input("name?", cell), cell)

    fake_kernel.on_execute = ask
    listener = kernel.subscribe("tab")
    cell = request(session="tab")
    listener.send(cell)
    await until(listener, "input_request", of=cell)
    listener.send(request("input_reply", {"value": "Ada"}, channel=Channel.STDIN))
    assert read_content((await until(listener, "stream", of=cell))[-1])["text"] == "Ada"


async def test_subscriber_that_comes_back_receives_what_it_missed(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel, kernel: RemoteKernel
) -> None:
    go_on = asyncio.Event()

    async def wait(cell: Message, fake: FakeKernel) -> None:
        await go_on.wait()
        fake.print("late", cell)

    fake_kernel.on_execute = wait
    first = kernel.subscribe("tab")
    witness = kernel.subscribe("console")
    asked = request(session="tab")
    first.send(asked)
    await until(first, "execute_input", of=asked)
    first.leave()
    go_on.set()
    await until(witness, "status:idle", of=asked)
    again = kernel.subscribe("tab")
    assert sorted(types(await answer_of(again, asked))) == [
        "execute_reply",
        "status:idle",
        "stream",
    ]
    assert len(fake_gateway.sockets) == 1


async def test_subscriber_that_left_receives_nothing(kernel: RemoteKernel) -> None:
    listener = kernel.subscribe("tab")
    listener.leave()
    with pytest.raises(SubscriptionEnded):
        await listener.receive()


async def test_subscription_as_an_iterator_gives_each_message_and_ends_with_the_kernel(
    kernel: RemoteKernel,
) -> None:
    subscription = kernel.subscribe("tab")
    asked = request(session="tab")
    subscription.send(asked)
    heard = []
    async for message in subscription:
        heard.append(message)
        if answered(heard, asked):
            await kernel.close()
    assert sorted(types(heard)) == sorted(CELL)
    assert subscription.ended


async def test_subscription_as_a_block_leaves_for_good_at_its_end(kernel: RemoteKernel) -> None:
    witness = kernel.subscribe("witness")
    async with kernel.subscribe("tab") as subscription:
        assert len(kernel.audience) == 2
    assert subscription.ended
    await run(witness, request(session="witness"))
    assert not kernel.audience.has_missed("tab")


async def test_kernel_as_a_block_is_released_at_its_end(
    gateway: Gateway, fake_kernel: FakeKernel, fake_gateway: FakeGateway
) -> None:
    async with remote_kernel(gateway, fake_kernel) as kernel:
        await run(kernel.subscribe("tab"), request(session="tab"))
    assert kernel.life is Life.RELEASED
    assert fake_gateway.kernels == {fake_kernel.id: fake_kernel}


async def test_subscriber_under_an_id_that_is_present_takes_its_place(kernel: RemoteKernel) -> None:
    first = kernel.subscribe("tab")
    waiting = asyncio.create_task(first.receive())
    await asyncio.sleep(0)  # so that it waits
    second = kernel.subscribe("tab")
    asked = request(session="tab")
    second.send(asked)
    with pytest.raises(SubscriptionEnded):
        await waiting
    assert sorted(types(await answer_of(second, asked))) == sorted(CELL)
    first.leave()  # is late, and changes nothing
    assert sorted(types(await run(second, request(session="tab")))) == sorted(CELL)


async def test_subscriber_with_a_callback_is_called_with_each_message(kernel: RemoteKernel) -> None:
    heard: list[Message] = []
    done = asyncio.Event()

    def on_message(message: Message) -> None:
        heard.append(message)
        if types([message]) == ["status:idle"]:
            done.set()

    kernel.subscribe("tab", on_message).send(request(session="tab"))
    async with asyncio.timeout(DEADLINE):
        await done.wait()
    assert types(heard)[0] == "status:busy"


async def test_subscriber_that_fails_harms_neither_the_others_nor_the_link(
    fake_gateway: FakeGateway, kernel: RemoteKernel, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(message: Message) -> None:
        raise RuntimeError("the page is broken")

    kernel.subscribe("broken", fail)
    listener = kernel.subscribe("tab")
    assert sorted(types(await run(listener, request(session="tab")))) == sorted(CELL)
    assert len(fake_gateway.sockets) == 1
    assert "the page is broken" in caplog.text


async def test_subscribers_that_never_come_back_are_forgotten_one_by_one(
    gateway: Gateway, kernel: RemoteKernel
) -> None:
    witness = kernel.subscribe("witness")
    for number in range(9):
        kernel.subscribe(f"page-{number}").leave()
    asked = request(session="witness")
    await run(witness, asked)
    first, last = kernel.subscribe("page-0"), kernel.subscribe("page-8")
    assert first.receive_nowait() is None
    assert last.receive_nowait() is not None


async def test_socket_that_nobody_needs_closes(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    gateway = Gateway(settings_for(fake_gateway.url, linger=0.01))
    kernel = remote_kernel(gateway, fake_kernel)
    listener = kernel.subscribe("tab")
    await run(listener, request(session="tab"))
    listener.leave()
    await fake_gateway.wait_for(lambda: not fake_gateway.open_sockets)
    again = kernel.subscribe("tab")
    assert types(await run(again, request(session="tab")))
    first, second = fake_gateway.sockets
    assert first.session_id == second.session_id
    await kernel.close()
    await gateway.close()


async def test_connections_are_our_subscribers_and_other_clients_of_the_gateway(
    gateway: Gateway, fake_kernel: FakeKernel, kernel: RemoteKernel
) -> None:
    listener = kernel.subscribe("tab")
    kernel.subscribe("console")
    await run(listener, request(session="tab"))
    await kernel.refresh()
    assert kernel.connections == 2


async def test_connections_after_cut_do_not_count_the_link_that_the_gateway_counted(
    fake_gateway: FakeGateway, kernel: RemoteKernel
) -> None:
    listener = kernel.subscribe("tab")
    await run(listener, request(session="tab"))
    await kernel.refresh()
    assert kernel.connections == 1
    fake_gateway.fault("GET", KERNEL, Reset())
    fake_gateway.fault("GET", CHANNELS, Reset())
    fake_gateway.drop_sockets()
    await fake_gateway.wait_for(lambda: kernel.state is not State.OPEN)
    assert kernel.connections == 1
    listener.leave()
    assert kernel.connections == 0


async def test_connections_counted_before_the_link_opened_are_all_of_others(
    fake_kernel: FakeKernel, kernel: RemoteKernel
) -> None:
    kernel.update(KernelModel(id=fake_kernel.id, name=fake_kernel.name, connections=1))
    await run(kernel.subscribe("tab"), request(session="tab"))
    assert kernel.state is State.OPEN
    assert kernel.connections == 2


# The life of the kernel.


async def test_interrupt_ends_the_running_cell(
    fake_kernel: FakeKernel, kernel: RemoteKernel
) -> None:
    async def forever(cell: Message, fake: FakeKernel) -> None:
        await asyncio.Event().wait()

    fake_kernel.on_execute = forever
    listener = kernel.subscribe("tab")
    asked = request(session="tab")
    listener.send(asked)
    await until(listener, "execute_input", of=asked)
    await kernel.interrupt()
    heard = await answer_of(listener, asked)
    assert b"KeyboardInterrupt" in b"".join(bytes(message.content) for message in heard)


async def test_restart_answers_earlier_requests_and_runs_later_ones(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel, kernel: RemoteKernel
) -> None:
    async def forever(cell: Message, fake: FakeKernel) -> None:
        await asyncio.Event().wait()

    script, fake_kernel.on_execute = fake_kernel.on_execute, forever
    listener = kernel.subscribe("tab")
    lost = request(session="tab")
    listener.send(lost)
    await until(listener, "execute_input", of=lost)
    fake_kernel.on_execute = script
    released = asyncio.Event()
    fake_gateway.fault("POST", f"{KERNEL}/restart", Hold(released))
    restarting = asyncio.create_task(kernel.restart())
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to("POST", f"{KERNEL}/restart"))
    await fake_gateway.wait_for(lambda: not fake_gateway.open_sockets)
    held = request(session="tab")
    listener.send(held)
    released.set()
    await restarting
    assert failures(await answer_of(listener, lost)) == ["The kernel was restarted."]
    assert sorted(types(await answer_of(listener, held))) == sorted(CELL)
    assert fake_kernel.incarnation == 2
    assert kernel.restarts == 1


async def test_restart_with_late_messages_of_the_old_process_is_one_restart(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel, kernel: RemoteKernel
) -> None:
    finish = asyncio.Event()

    async def wait(cell: Message, fake: FakeKernel) -> None:
        await finish.wait()

    script, fake_kernel.on_execute = fake_kernel.on_execute, wait
    listener = kernel.subscribe("tab")
    lost = request(session="tab")
    listener.send(lost)
    await until(listener, "execute_input", of=lost)
    released = asyncio.Event()
    fake_gateway.fault("POST", f"{KERNEL}/restart", Hold(released))
    restarting = asyncio.create_task(kernel.restart())
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to("POST", f"{KERNEL}/restart"))
    finish.set()  # into the gateway's buffer
    await fake_gateway.wait_for(lambda: "execute_reply" in types(fake_kernel.audience.buffered))
    fake_kernel.on_execute = script
    released.set()
    await restarting
    heard = await run(listener, request(session="tab"))
    assert sorted(types(heard)) == sorted(CELL)
    assert kernel.restarts == 1


async def test_restart_that_is_refused_leaves_the_link_working(
    fake_gateway: FakeGateway, kernel: RemoteKernel
) -> None:
    listener = kernel.subscribe("tab")
    fake_gateway.fault("POST", f"{KERNEL}/restart", Answer(500))
    with pytest.raises(GatewayRefused):
        await kernel.restart()
    assert sorted(types(await run(listener, request(session="tab")))) == sorted(CELL)


async def test_restart_of_a_kernel_that_is_gone_reports_it_to_all(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel, kernel: RemoteKernel
) -> None:
    listener = kernel.subscribe("tab")
    fake_gateway.lose_kernel(fake_kernel.id)
    with pytest.raises(KernelNotFound):
        await kernel.restart()
    assert kernel.life is Life.GONE
    await until(listener, "status:dead")


async def test_shutdown_ends_the_kernel_and_its_subscriptions(
    fake_gateway: FakeGateway, kernel: RemoteKernel
) -> None:
    listener = kernel.subscribe("tab")
    await run(listener, request(session="tab"))
    await kernel.shutdown()
    assert fake_gateway.kernels == {}
    await fake_gateway.wait_for(lambda: not fake_gateway.open_sockets)
    await until(listener, "status:dead")
    with pytest.raises(SubscriptionEnded):
        await listener.receive()


async def test_shutdown_that_is_refused_changes_nothing(
    fake_gateway: FakeGateway, kernel: RemoteKernel
) -> None:
    listener = kernel.subscribe("tab")
    fake_gateway.fault("DELETE", KERNEL, Answer(500))
    with pytest.raises(GatewayRefused):
        await kernel.shutdown()
    assert kernel.life is Life.RUNNING
    assert sorted(types(await run(listener, request(session="tab")))) == sorted(CELL)


async def test_snapshot_has_the_facts_about_the_link(
    fake_gateway: FakeGateway, kernel: RemoteKernel
) -> None:
    assert (kernel.snapshot().state, kernel.snapshot().held) == (State.IDLE, 0)
    await run(kernel.subscribe("tab"), request())
    snapshot = kernel.snapshot()
    assert (snapshot.state, snapshot.cause, snapshot.lost) == (State.OPEN, "", 0)
    await kernel.close()
    assert kernel.snapshot().state is State.CLOSED
    assert kernel.snapshot().cause == "The connection to the kernel was closed."


async def test_close_leaves_the_kernel_running_and_answers_what_waits(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel, kernel: RemoteKernel
) -> None:
    async def forever(cell: Message, fake: FakeKernel) -> None:
        await asyncio.Event().wait()

    fake_kernel.on_execute = forever
    listener = kernel.subscribe("tab")
    asked = request(session="tab")
    listener.send(asked)
    await until(listener, "execute_input", of=asked)
    await kernel.close()
    assert failures(await answer_of(listener, asked)) == [
        "The connection to the kernel was closed."
    ]
    await fake_gateway.wait_for(lambda: not fake_gateway.open_sockets)
    assert fake_gateway.kernels == {fake_kernel.id: fake_kernel}


async def test_kernel_that_dies_and_is_restarted_is_reported(
    gateway: Gateway, fake_kernel: FakeKernel
) -> None:
    reports: list[Report] = []
    kernel = remote_kernel(gateway, fake_kernel, reports.append)
    listener = kernel.subscribe("tab")
    await run(listener, request(session="tab"))
    fake_kernel.die()
    await until(listener, "status:restarting")
    assert sorted(types(await run(listener, request(session="tab")))) == sorted(CELL)
    assert [report.happening for report in reports] == [Happening.RESTARTED]
    await kernel.close()


async def test_kernel_that_dies_for_good_is_gone(
    fake_kernel: FakeKernel, kernel: RemoteKernel
) -> None:
    listener = kernel.subscribe("tab")
    await run(listener, request(session="tab"))
    fake_kernel.die(restarts=False)
    await until(listener, "status:dead")
    assert kernel.life is Life.GONE
    late = request(session="tab")
    assert failures(await run(listener, late)) == [
        f"{kernel.gateway.name} reports that the kernel died."
    ]


async def test_kernel_that_its_gateway_does_not_know_is_gone(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel, kernel: RemoteKernel
) -> None:
    fake_gateway.lose_kernel(fake_kernel.id)
    listener = kernel.subscribe("tab")
    asked = request(session="tab")
    heard = await run(listener, asked)
    assert "has no kernel" in failures(heard)[0]
    await until(listener, "status:dead")
    assert len(fake_gateway.requests_to("GET", CHANNELS)) == 1


async def test_kernel_whose_websocket_a_proxy_does_not_find_lives_on(
    fake_gateway: FakeGateway, kernel: RemoteKernel
) -> None:
    refused = fake_gateway.fault("GET", CHANNELS, Answer(404, b"<html>", "text/html"), times=2)
    listener = kernel.subscribe("tab")
    heard = await run(listener, request(session="tab"))
    assert sorted(types(heard)) == sorted(CELL)
    assert refused.hits == 2


CULLED = "It was culled or deleted there; start another."
LEFT_OUT = "It was culled or deleted there, or the gateway was restarted without it; start another."


async def test_kernel_gone_after_an_outage_has_a_restarted_gateway_as_a_possible_reason(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel, kernel: RemoteKernel
) -> None:
    listener = kernel.subscribe("tab")
    await run(listener, request(session="tab"))
    fake_gateway.lose_kernel(fake_kernel.id)
    fake_gateway.drop_sockets()
    await until(listener, "status:dead")
    (reason,) = failures(await answer_of(listener, ask(listener)))
    assert reason == f"{fake_gateway.url} has no kernel {kernel.id}. {LEFT_OUT}"
    with pytest.raises(KernelNotFound) as caught:
        await kernel.restart()
    assert caught.value.hint == LEFT_OUT


async def test_kernel_gone_without_an_outage_was_culled_or_deleted(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel, kernel: RemoteKernel
) -> None:
    listener = kernel.subscribe("tab")
    await run(listener, request(session="tab"))
    fake_gateway.lose_kernel(fake_kernel.id)
    with pytest.raises(KernelNotFound) as caught:
        await kernel.refresh()
    assert caught.value.hint == CULLED


def ask(listener: Subscription) -> Message:
    asked = request(session="tab")
    listener.send(asked)
    return asked


async def test_kernel_that_is_gone_is_one_line_of_the_log(
    fake_gateway: FakeGateway,
    fake_kernel: FakeKernel,
    kernel: RemoteKernel,
    caplog: pytest.LogCaptureFixture,
) -> None:
    hang = asyncio.Event()

    async def wait(_: Message, __: FakeKernel) -> None:
        await hang.wait()

    fake_gateway.on_execute = wait
    listener = kernel.subscribe("tab")
    asked = [ask(listener), ask(listener)]
    await fake_gateway.wait_for(lambda: len(fake_kernel.received) == len(asked))
    fake_gateway.lose_kernel(fake_kernel.id)
    with pytest.raises(KernelNotFound) as caught:
        await kernel.refresh()
    for request_ in asked:
        await answer_of(listener, request_)
    (record,) = (record for record in caplog.records if record.levelno >= logging.INFO)
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        f"Kernel {kernel.id}: {caught.value} 2 requests under way have no reply."
    )


async def test_restart_is_one_line_of_the_log(
    fake_kernel: FakeKernel, kernel: RemoteKernel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "jupyter_relay")
    await kernel.restart()
    (record,) = (record for record in caplog.records if record.levelno >= logging.INFO)
    assert record.levelname == "INFO"
    assert record.getMessage() == f"Kernel {kernel.id}: restarted on {kernel.gateway.name}."


async def test_restarts_at_once_are_one_and_close_the_socket_meanwhile(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel, kernel: RemoteKernel
) -> None:
    released = asyncio.Event()
    fake_gateway.fault("POST", f"{KERNEL}/restart", Hold(released), times=1)
    listener = kernel.subscribe("tab")
    both = asyncio.gather(kernel.restart(), kernel.restart())
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to("POST", f"{KERNEL}/restart"))
    assert not fake_gateway.open_sockets
    released.set()
    await both
    assert sorted(types(await run(listener, request(session="tab")))) == sorted(CELL)
    assert fake_kernel.incarnation == 2


async def test_subscriber_that_reads_on_loses_nothing_to_a_burst(fake_gateway: FakeGateway) -> None:
    line, lines = "x" * 10_000, 400

    async def burst(request: Message, kernel: FakeKernel) -> None:
        for _ in range(lines):
            kernel.print(line, request)

    fake_kernel = fake_gateway.start_kernel()
    fake_kernel.on_execute = burst
    gateway = Gateway(settings_for(fake_gateway.url, backlog_bytes=100 * len(line)))
    kernel = remote_kernel(gateway, fake_kernel)
    listener = kernel.subscribe("slow")
    listener.send(request())
    heard: list[Message] = []
    async with asyncio.timeout(DEADLINE):
        while types(heard[-1:]) != ["status:idle"]:
            heard.append(await listener.receive())
            await asyncio.sleep(0)  # the loop turns, and more comes than this one takes
    await kernel.close()
    await gateway.close()
    assert types(heard).count("stream") == lines


async def test_model_has_the_state_that_the_kernel_reported_since_the_gateway_was_asked(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel, kernel: RemoteKernel
) -> None:
    released = asyncio.Event()

    async def wait(_: Message, __: FakeKernel) -> None:
        await released.wait()

    fake_kernel.on_execute = wait
    listener = kernel.subscribe("tab")
    model = await kernel.refresh()
    assert kernel.model == model
    asked = request()
    listener.send(asked)
    await until(listener, "status:busy", of=asked)
    assert kernel.model.execution_state == "busy"
    assert model.last_activity is not None
    assert kernel.model.last_activity is not None
    assert kernel.model.last_activity > model.last_activity
    released.set()
    await until(listener, "status:idle", of=asked)
    assert kernel.model.execution_state == "idle"
    assert len(fake_gateway.requests_to("GET", KERNEL)) == 1
    fake_kernel.execution_state = "busy"  # what another client has it do, unheard by us
    fake_kernel.last_activity += timedelta(seconds=1)
    assert await kernel.refresh() == kernel.model
    assert kernel.model.execution_state == "busy"
