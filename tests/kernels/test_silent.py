"""A websocket that opens and is deaf, while its gateway answers requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.kernels.kernel import RemoteKernel
from jupyter_relay.kernels.roster import Roster
from jupyter_relay.testing import FakeGateway, FakeKernel, Hold, Silence
from jupyter_relay.testing.plugin import ProxyFactory
from tests.support.gateway import (
    CHANNELS,
    KERNEL,
    answer_of,
    remote_kernel,
    run,
    settings_for,
)
from tests.support.messages import failures, notices, request


@asynccontextmanager
async def impatient(url: str, fake: FakeKernel) -> AsyncIterator[RemoteKernel]:
    """A kernel whose link asks for it after a moment of silence."""
    settings = settings_for(url)
    gateway = Gateway(replace(settings, link=replace(settings.link, probe_after=0.2)))
    kernel = remote_kernel(gateway, fake)
    try:
        yield kernel
    finally:
        await kernel.close()
        await gateway.close()


@pytest.mark.parametrize("state", ["starting", "busy", "unknown", "idle"])
async def test_deaf_websocket_is_replaced_whatever_state_the_gateway_reports(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel, state: str
) -> None:
    async with impatient(fake_gateway.url, fake_kernel) as kernel:
        listener = kernel.subscribe("tab")
        socket = await fake_gateway.wait_for_socket()
        socket.swallow()
        fake_kernel.execution_state = state
        lost = request(session="tab")
        listener.send(lost)
        heard = await answer_of(listener, lost)
        assert len(failures(heard)) == 1
        told = [text for text in notices(heard) if "has sent nothing for this" in text]
        assert len(told) == (state != "idle")
        assert len(fake_gateway.sockets) == 2
        assert failures(await run(listener, request(session="tab"))) == []


async def test_deaf_websocket_is_replaced_though_an_earlier_probe_hangs(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    fake_gateway.fault("GET", KERNEL, Silence(), times=3)
    async with impatient(fake_gateway.url, fake_kernel) as kernel:
        listener = kernel.subscribe("tab")
        (await fake_gateway.wait_for_socket()).swallow()
        lost = request(session="tab")
        listener.send(lost)
        assert len(failures(await answer_of(listener, lost))) == 1


async def test_probe_answered_after_the_next_one_began_counts(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    released = asyncio.Event()
    fake_gateway.fault("GET", KERNEL, Hold(released), times=1)
    fake_gateway.fault("GET", KERNEL, Silence())
    async with impatient(fake_gateway.url, fake_kernel) as kernel:
        listener = kernel.subscribe("tab")
        (await fake_gateway.wait_for_socket()).swallow()
        lost = request(session="tab")
        listener.send(lost)
        await fake_gateway.wait_for(lambda: len(fake_gateway.requests_to("GET", KERNEL)) >= 2)
        released.set()
        assert len(failures(await answer_of(listener, lost))) == 1


async def test_handshake_that_is_never_answered_is_tried_again_when_the_gateway_answers_probes(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    fake_gateway.fault("GET", CHANNELS, Silence(), times=1)
    async with impatient(fake_gateway.url, fake_kernel) as kernel:
        assert failures(await run(kernel.subscribe("tab"), request(session="tab"))) == []


async def test_handshake_on_a_forgotten_connection_is_tried_again(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel, faulty_proxy: ProxyFactory
) -> None:
    proxy = await faulty_proxy("127.0.0.1", fake_gateway.port)
    proxy.stall()
    async with impatient(proxy.url, fake_kernel) as kernel:
        listener = kernel.subscribe("tab")
        await proxy.wait_connected()
        proxy.forget_connections()
        proxy.resume()
        assert failures(await run(listener, request(session="tab"))) == []


async def test_handshake_lost_while_the_kernel_starts_is_replaced_by_one_beside_it(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    fake_kernel.execution_state = "starting"
    fake_gateway.fault("GET", CHANNELS, Silence(), times=1)
    async with impatient(fake_gateway.url, fake_kernel) as kernel:
        assert failures(await run(kernel.subscribe("tab"), request(session="tab"))) == []
        first = fake_gateway.requests_to("GET", CHANNELS)[0]
        assert first not in fake_gateway.abandoned, "the gateway may hold it"
    await fake_gateway.wait_for(lambda: first in fake_gateway.abandoned)


@pytest.mark.parametrize("answered_first", [0, 1])
async def test_handshakes_of_which_two_are_held_give_the_socket_that_is_answered_first(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel, answered_first: int
) -> None:
    fake_kernel.execution_state = "starting"
    held = [asyncio.Event(), asyncio.Event()]
    for released in held:
        fake_gateway.fault("GET", CHANNELS, Hold(released), times=1)
    async with impatient(fake_gateway.url, fake_kernel) as kernel:
        listener = kernel.subscribe("tab")
        await fake_gateway.wait_for(lambda: len(fake_gateway.requests_to("GET", CHANNELS)) == 2)
        first, second = fake_gateway.requests_to("GET", CHANNELS)
        assert first.query["session_id"] != second.query["session_id"]
        held[answered_first].set()
        assert failures(await run(listener, request(session="tab"))) == []
        held[1 - answered_first].set()
        await fake_gateway.wait_for_socket(2)
        await fake_gateway.wait_for(lambda: fake_kernel.connections == 1)
        assert failures(await run(listener, request(session="tab"))) == []


async def test_next_process_has_the_session_id_of_the_handshake_that_was_answered(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel, tmp_path: Path
) -> None:
    fake_kernel.execution_state = "starting"
    fake_gateway.fault("GET", CHANNELS, Silence(), times=1)
    settings = settings_for(fake_gateway.url)
    settings = replace(settings, link=replace(settings.link, probe_after=0.2))
    for _ in range(2):
        roster = Roster(Gateway(settings), state_folder=tmp_path)
        kernel = await roster.attach(fake_kernel.id)
        await run(kernel.subscribe("tab"), request(session="tab"))
        await roster.release(kernel)
        await roster.close()
    first, *_ = fake_gateway.requests_to("GET", CHANNELS)
    answered, of_the_next = [socket.session_id for socket in fake_gateway.sockets]
    assert answered != first.query["session_id"]
    assert of_the_next == answered


@pytest.mark.parametrize("answered", [False, True])
async def test_close_cancels_all_handshakes(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel, answered: bool
) -> None:
    fake_kernel.execution_state = "starting"
    released = asyncio.Event()
    fake_gateway.fault("GET", CHANNELS, Hold(released), times=1)
    fake_gateway.fault("GET", CHANNELS, Silence(), times=1)
    async with impatient(fake_gateway.url, fake_kernel) as kernel:
        listener = kernel.subscribe("tab")
        await fake_gateway.wait_for(lambda: len(fake_gateway.requests_to("GET", CHANNELS)) == 2)
        first, second = fake_gateway.requests_to("GET", CHANNELS)
        if answered:
            released.set()
            await run(listener, request(session="tab"))
    await fake_gateway.wait_for(lambda: second in fake_gateway.abandoned)
    await fake_gateway.wait_for(lambda: answered or first in fake_gateway.abandoned)
    released.set()
    await fake_gateway.wait_for(lambda: fake_kernel.connections == 0)


async def test_probe_during_a_handshake_does_not_count_against_the_websocket(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    let_in, answer = asyncio.Event(), asyncio.Event()
    fake_gateway.fault("GET", CHANNELS, Hold(let_in), times=1)
    fake_gateway.fault("GET", KERNEL, Hold(answer), times=1)
    async with impatient(fake_gateway.url, fake_kernel) as kernel:
        listener = kernel.subscribe("tab")
        await fake_gateway.wait_for(lambda: fake_gateway.requests_to("GET", KERNEL))
        let_in.set()
        (await fake_gateway.wait_for_socket()).swallow()
        listener.send(request(session="tab"))
        answer.set()
        await fake_gateway.wait_for_socket(2)
        assert len(fake_gateway.requests_to("GET", KERNEL)) >= 2, "it was asked anew"
