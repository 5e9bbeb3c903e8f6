"""A websocket that opens and is deaf, while its gateway answers requests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jupyter_relay.gateway.client import Gateway
from jupyter_relay.testing import FakeGateway, FakeKernel
from tests.gateway.support import answer_of, remote_kernel, run, settings_for
from tests.support.messages import failures, notices, request


@pytest.mark.parametrize("state", ["starting", "busy", "unknown", "idle"])
async def test_a_deaf_websocket_is_replaced_whatever_the_gateway_says_of_the_kernel(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel, state: str
) -> None:
    settings = settings_for(fake_gateway.url)
    settings = replace(settings, link=replace(settings.link, probe_after=0.2))
    gateway = Gateway(settings)
    kernel = remote_kernel(gateway, fake_kernel)
    listener = kernel.subscribe("tab")
    socket = await fake_gateway.wait_for_socket()
    socket.swallow()
    fake_kernel.execution_state = state
    lost = request(session="tab")
    listener.send(lost)
    heard = await answer_of(listener, lost)
    assert len(failures(heard)) == 1
    told = [text for text in notices(heard) if "Nothing was heard of this" in text]
    assert len(told) == (state != "idle")
    assert len(fake_gateway.sockets) == 2
    assert failures(await run(listener, request(session="tab"))) == []
    await kernel.close()
    await gateway.close()
