"""A percent sign in what an error says is shown as one, in an answer of JSON and on a page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest

from jupyter_relay.testing import Answer, FakeGateway
from tests.support.server import Answer as Answered
from tests.support.server import TestServer, remote_of

Ask: TypeAlias = Callable[[TestServer, FakeGateway], Awaitable[Answered]]

SAID = "100% of 5%d"
REFUSED = Answer.json({"reason": SAID}, 403)


async def refused_kernel(server: TestServer, gateway: FakeGateway) -> Answered:
    gateway.fault("POST", "/api/kernels", REFUSED)
    return await server.call("POST", "/api/kernels", {"name": "python3"})


async def refused_file(server: TestServer, gateway: FakeGateway) -> Answered:
    gateway.fault("GET", "/kernelspecs/*/*", REFUSED)
    return await server.call("GET", "/kernelspecs/python3/logo-64x64.png")


async def missing_kernelspec(server: TestServer, _: FakeGateway) -> Answered:
    return await server.call("GET", "/api/kernelspecs/100%25%20of%205%25d")


async def path_outside(server: TestServer, _: FakeGateway) -> Answered:
    return await server.call("POST", "/api/kernels", {"name": "x", "path": f"../../{SAID}"})


async def lost(server: TestServer) -> str:
    """Lose a kernel, for a reason with percent signs in it."""
    kernel_id = await server.start_kernel()
    remote_of(server, kernel_id).mark_gone(SAID)
    return kernel_id


async def session_of_a_lost_kernel(server: TestServer, _: FakeGateway) -> Answered:
    body = {"path": "a.ipynb", "type": "notebook", "kernel": {"id": await lost(server)}}
    return await server.call("POST", "/api/sessions", body)


ASKED: tuple[Ask, ...] = (
    refused_kernel,
    refused_file,
    missing_kernelspec,
    path_outside,
    session_of_a_lost_kernel,
)


@pytest.mark.parametrize("ask", ASKED, ids=lambda ask: ask.__name__)
async def test_answer_with_percent_sign_in_reason_shows_it_once(
    server: TestServer, fake_gateway: FakeGateway, ask: Ask
) -> None:
    answer = await ask(server, fake_gateway)
    shown = answer.json["message"] if answer.json else answer.body.decode()
    assert answer.status >= 400
    assert SAID in shown, shown
