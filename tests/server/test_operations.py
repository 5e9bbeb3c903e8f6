"""Operations on one kernel at the same time, as pages ask for them over the REST API."""

from __future__ import annotations

import asyncio

import pytest

from jupyter_relay.testing import Answer, FakeGateway, Hold
from tests.support.server import TestServer

KERNELS = "/api/kernels"
RESTART = f"{KERNELS}/*/restart"


@pytest.fixture
def released(fake_gateway: FakeGateway) -> asyncio.Event:
    """What the gateway's restarts wait for."""
    released = asyncio.Event()
    fake_gateway.fault("POST", RESTART, Hold(released))
    return released


async def restarting(server: TestServer, fake: FakeGateway, kernel_id: str) -> asyncio.Task[int]:
    """Begin a restart, and return once the gateway was asked for it; the task gives its status."""

    async def restart() -> int:
        return (await server.call("POST", f"{KERNELS}/{kernel_id}/restart")).status

    task = asyncio.create_task(restart())
    await fake.wait_for(lambda: fake.requests_to("POST", RESTART))
    return task


async def test_interrupt_during_restart_is_a_conflict(
    server: TestServer, fake_gateway: FakeGateway, released: asyncio.Event
) -> None:
    kernel_id = await server.start_kernel()
    restart = await restarting(server, fake_gateway, kernel_id)
    answer = await server.call("POST", f"{KERNELS}/{kernel_id}/interrupt")
    assert answer.status == 409
    assert answer.json["message"] == (
        "The kernel is being restarted, and cannot be interrupted meanwhile."
    )
    released.set()
    assert await restart == 200
    assert (await server.call("POST", f"{KERNELS}/{kernel_id}/interrupt")).status == 204


async def test_restart_during_restart_joins_it(
    server: TestServer, fake_gateway: FakeGateway, released: asyncio.Event
) -> None:
    kernel_id = await server.start_kernel()
    first = await restarting(server, fake_gateway, kernel_id)
    second = await restarting(server, fake_gateway, kernel_id)
    # What is asked on the same connections is behind the second restart.
    assert (await server.call("GET", f"{KERNELS}/{kernel_id}")).status == 200
    released.set()
    assert [await first, await second] == [200, 200]
    assert len(fake_gateway.requests_to("POST", RESTART)) == 1


async def test_kernel_delete_during_restart_ends_kernel(
    server: TestServer, fake_gateway: FakeGateway, released: asyncio.Event
) -> None:
    kernel_id = await server.start_kernel()
    restart = await restarting(server, fake_gateway, kernel_id)
    deletion = asyncio.create_task(server.call("DELETE", f"{KERNELS}/{kernel_id}"))
    assert (await server.call("GET", f"{KERNELS}/{kernel_id}")).status == 200
    released.set()
    assert (await deletion).status == 204
    assert await restart in {200, 404}
    assert (await server.call("GET", KERNELS)).json == []
    assert not fake_gateway.kernels


async def test_session_delete_during_restart_ends_its_kernel(
    server: TestServer, fake_gateway: FakeGateway, released: asyncio.Event
) -> None:
    model = {"path": "a.ipynb", "type": "notebook", "kernel": {"name": "python3"}}
    session = (await server.call("POST", "/api/sessions", model)).json
    restart = await restarting(server, fake_gateway, session["kernel"]["id"])
    deletion = asyncio.create_task(server.call("DELETE", f"/api/sessions/{session['id']}"))
    assert (await server.call("GET", "/api/sessions")).status == 200
    released.set()
    assert (await deletion).status == 204
    assert await restart in {200, 404}
    assert (await server.call("GET", "/api/sessions")).json == []
    assert not fake_gateway.kernels


async def test_kernel_delete_asked_twice_deletes_once_and_answers_both(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel_id = await server.start_kernel()
    path = f"{KERNELS}/{kernel_id}"
    answers = await asyncio.gather(*(server.call("DELETE", path) for _ in range(2)))
    assert {answer.status for answer in answers} <= {204, 404}
    assert len(fake_gateway.requests_to("DELETE", path)) == 1
    assert (await server.call("GET", KERNELS)).json == []


async def test_shutdown_all_during_hanging_restart_leaves_no_kernel(
    server: TestServer, fake_gateway: FakeGateway, released: asyncio.Event
) -> None:
    kernel_id = await server.start_kernel()
    restart = await restarting(server, fake_gateway, kernel_id)
    await server.kernels.shutdown_all()
    assert not fake_gateway.kernels
    released.set()
    assert await restart == 404


async def test_kernel_delete_failing_during_restart_keeps_kernel_listed(
    server: TestServer, fake_gateway: FakeGateway, released: asyncio.Event
) -> None:
    kernel_id = await server.start_kernel()
    fake_gateway.fault("DELETE", f"{KERNELS}/*", Answer.json({"reason": "busy"}, 500), times=1)
    restart = await restarting(server, fake_gateway, kernel_id)
    deletion = asyncio.create_task(server.call("DELETE", f"{KERNELS}/{kernel_id}"))
    assert (await server.call("GET", f"{KERNELS}/{kernel_id}")).status == 200
    released.set()
    answer = await deletion
    assert answer.status == 500
    assert "stays listed" in answer.json["message"]
    assert await restart == 200
    (listed,) = (await server.call("GET", KERNELS)).json
    assert listed["id"] == kernel_id
