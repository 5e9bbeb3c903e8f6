"""Kernels that take long to start: shown at once, used as if they were there, and cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jupyter_relay.server.kernel import GatewayKernelManager
from jupyter_relay.testing import Answer, FakeGateway, Hold
from tests.support.messages import failures
from tests.support.server import TestServer, server_on
from tests.support.tab import printed, status_of
from tests.support.versions import takes_kernel_ids

KERNELS = "/api/kernels"
SESSION = {"path": "a.ipynb", "name": "a.ipynb", "type": "notebook", "kernel": {"name": "python3"}}


@pytest.fixture(
    params=[
        "--GatewayClient.start_grace=0.05",
        "--GatewayMappingKernelManager.use_pending_kernels=True",
    ]
)
def patience(request: pytest.FixtureRequest) -> str:
    """Either way in which a server does not wait for kernels."""
    given: str = request.param
    return given


@pytest.fixture
async def server(
    fake_gateway: FakeGateway, tmp_path: Path, patience: str
) -> AsyncIterator[TestServer]:
    """A server that does not wait for kernels."""
    async with server_on(fake_gateway, tmp_path, argv=(patience,)) as running:
        yield running


@pytest.fixture
def released(fake_gateway: FakeGateway) -> asyncio.Event:
    """What starts wait for."""
    released = asyncio.Event()
    fake_gateway.fault("POST", KERNELS, Hold(released))
    return released


async def test_slow_start_unanswered_shows_starting_kernel(
    server: TestServer, fake_gateway: FakeGateway, released: asyncio.Event
) -> None:
    answer = await server.call("POST", KERNELS, {"name": "python3"})
    assert (answer.status, answer.json["execution_state"]) == (201, "starting")
    assert "reason" not in answer.json
    kernel_id = answer.json["id"]
    assert (await server.call("GET", KERNELS)).json == [answer.json]
    assert (await server.call("GET", f"{KERNELS}/{kernel_id}")).json == answer.json
    async with server.tab(kernel_id) as tab:
        running = asyncio.create_task(tab.run("early"))
        # All that waits is behind this, which is answered.
        await server.call("GET", f"{KERNELS}/{kernel_id}")
        assert not fake_gateway.kernels
        released.set()
        assert await running == "early\n"
        assert await tab.run("later") == "later\n"
    assert list(fake_gateway.kernels) == [kernel_id]
    (listed,) = (await server.call("GET", KERNELS)).json
    assert (listed["id"], listed["execution_state"]) == (kernel_id, "idle")
    assert (await server.call("DELETE", f"{KERNELS}/{kernel_id}")).status == 204
    assert not fake_gateway.kernels


async def test_session_with_slow_start_is_listed_before_kernel(
    server: TestServer, fake_gateway: FakeGateway, released: asyncio.Event
) -> None:
    answer = await server.call("POST", "/api/sessions", SESSION)
    assert (answer.status, answer.json["kernel"]["execution_state"]) == (201, "starting")
    assert (await server.call("GET", "/api/sessions")).json == [answer.json]
    async with server.tab(answer.json["kernel"]["id"]) as tab:
        released.set()
        assert await tab.run("1") == "1\n"
    assert list(fake_gateway.kernels) == [answer.json["kernel"]["id"]]


async def test_slow_start_that_fails_is_not_culled_and_is_forgotten_after(
    server: TestServer, fake_gateway: FakeGateway, released: asyncio.Event
) -> None:
    server.kernels.cull_idle_timeout = 60
    kernel_id = (await server.call("POST", KERNELS, {"name": "python3"})).json["id"]
    async with server.tab(kernel_id) as tab:
        await server.kernels.cull_kernels()
        assert kernel_id in server.kernels
        server.kernels.farewell_seconds = server.kernels.known.lost_seconds = 0.0
        fake_gateway.kernelspecs.clear()
        released.set()
        await tab.to_the_end()
    for _ in range(2):  # it is found to be lost, and then forgotten
        server.kernels.roster.gateway.forget_listing()
        await server.kernels.cull_kernels()
    assert kernel_id not in server.kernels


async def test_slow_start_that_fails_answers_each_cell_with_reason(
    server: TestServer, fake_gateway: FakeGateway, released: asyncio.Event
) -> None:
    session = (await server.call("POST", "/api/sessions", SESSION)).json
    kernel_id = session["kernel"]["id"]
    async with server.tab(kernel_id) as tab:
        msg_id = await tab.execute("1")
        fake_gateway.kernelspecs.clear()
        released.set()
        output, reply = await tab.until_idle(msg_id)
        (reason,) = failures([reply])
        assert "has no kernelspec 'python3'" in reason
        assert not printed(output)
        for _ in range(2):  # a page that is told `dead`, or loses its websocket, ends no cell
            output, reply = await tab.until_idle(await tab.execute("2"))
            assert failures([reply]) == [reason]
            assert "dead" not in map(status_of, output)
            assert (await server.call("GET", KERNELS)).json == []
            assert (await server.call("GET", "/api/sessions")).json == []
    at = f"{KERNELS}/{kernel_id}"
    model = (await server.call("GET", at)).json
    assert model["execution_state"] == "dead"
    assert model["reason"] == reason.replace(". ", ".\n")  # for a dialog
    answer = await server.call("POST", f"{at}/restart")
    assert answer.status == 404
    assert not fake_gateway.requests_to("GET", at)
    fake_gateway.kernelspecs.append("python3")
    again = await server.call("POST", "/api/sessions", SESSION)
    assert again.status == 201
    assert again.json["kernel"]["id"] != kernel_id
    assert (await server.call("DELETE", at)).status == 204
    assert (await server.call("GET", at)).status == 404


async def test_slow_start_that_fails_closes_websocket_after_delay(
    server: TestServer, fake_gateway: FakeGateway, released: asyncio.Event
) -> None:
    server.kernels.farewell_seconds = 0.0
    kernel_id = (await server.call("POST", KERNELS, {"name": "python3"})).json["id"]
    async with server.tab(kernel_id) as tab:
        fake_gateway.kernelspecs.clear()
        released.set()
        messages = await tab.to_the_end()
        assert "dead" not in map(status_of, messages)
        assert tab.end == "ended: CLOSE 0"


async def test_slow_start_with_kernel_deleted_is_cancelled(
    server: TestServer, fake_gateway: FakeGateway, released: asyncio.Event
) -> None:
    kernel_id = await server.start_kernel(name="python3")
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to("POST", KERNELS))
    async with server.tab(kernel_id) as tab:
        assert (await server.call("DELETE", f"{KERNELS}/{kernel_id}")).status == 204
        while status_of(await tab.receive()) != "dead":
            pass
    assert (await server.call("GET", KERNELS)).json == []
    assert (await server.call("GET", f"{KERNELS}/{kernel_id}")).status == 404
    released.set()
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to("DELETE", f"{KERNELS}/*"))
    await fake_gateway.wait_for(lambda: not fake_gateway.kernels)


async def test_starting_kernel_refuses_restart_and_interrupt(
    server: TestServer, fake_gateway: FakeGateway, released: asyncio.Event
) -> None:
    kernel_id = await server.start_kernel(name="python3")
    for action in ("restart", "interrupt"):
        answer = await server.call("POST", f"{KERNELS}/{kernel_id}/{action}")
        assert answer.status == 409
        assert "still being started" in answer.json["message"]
    assert not fake_gateway.requests_to("POST", f"{KERNELS}/*/*")
    released.set()


async def test_shutdown_all_during_slow_start_leaves_no_kernel(
    fake_gateway: FakeGateway, tmp_path: Path, patience: str, released: asyncio.Event
) -> None:
    async with server_on(fake_gateway, tmp_path, argv=(patience,)) as server:
        async with server.tab(await server.start_kernel(name="python3")) as tab:
            await fake_gateway.wait_for(lambda: fake_gateway.requests_to("POST", KERNELS))
            stopping = asyncio.create_task(server.kernels.shutdown_all())
            await tab.to_the_end()
        released.set()
        await stopping
    assert fake_gateway.requests_to("DELETE", f"{KERNELS}/*")
    assert not fake_gateway.kernels


async def test_slow_start_with_other_id_from_gateway_keeps_shown_id(
    server: TestServer, fake_gateway: FakeGateway, released: asyncio.Event
) -> None:
    fake_gateway.kernel_ids = "ignored"
    session = (await server.call("POST", "/api/sessions", SESSION)).json
    kernel_id = session["kernel"]["id"]
    at = f"{KERNELS}/{kernel_id}"
    async with server.tab(kernel_id) as tab:
        running = asyncio.create_task(tab.run("early"))
        await server.call("GET", at)
        released.set()
        assert await running == "early\n"
        (given,) = fake_gateway.kernels
        assert given != kernel_id
        assert (await server.call("GET", at)).json["id"] == kernel_id
        for _ in range(2):
            (listed,) = (await server.call("GET", KERNELS)).json
            assert (listed["id"], listed["execution_state"]) == (kernel_id, "idle")
            (shown,) = (await server.call("GET", "/api/sessions")).json
            assert shown["kernel"]["id"] == kernel_id
        assert (await server.call("POST", f"{at}/interrupt")).status == 204
        restarted = await server.call("POST", f"{at}/restart")
        assert (restarted.status, restarted.json["id"]) == (200, kernel_id)
        assert await tab.run("later") == "later\n"
        async with server.tab(kernel_id, "second") as second:
            assert await second.run("2") == "2\n"
        assert (await server.call("DELETE", f"/api/sessions/{session['id']}")).status == 204
    assert not fake_gateway.kernels
    assert not [seen for seen in fake_gateway.requests if kernel_id in seen.path]
    assert (await server.call("GET", KERNELS)).json == []


async def test_kernel_with_two_ids_when_culled_is_dead_under_shown_id(
    server: TestServer, fake_gateway: FakeGateway, released: asyncio.Event
) -> None:
    fake_gateway.kernel_ids = "ignored"
    server.kernels.farewell_seconds = 0.0
    kernel_id = await server.start_kernel(name="python3")
    async with server.tab(kernel_id) as tab:
        released.set()
        assert await tab.run("1") == "1\n"
        fake_gateway.lose_kernel(*fake_gateway.kernels, close=1000)
        await tab.to_the_end()
    model = (await server.call("GET", f"{KERNELS}/{kernel_id}")).json
    assert model["execution_state"] == "dead"
    assert f"has no kernel {kernel_id}" in model["reason"]


@takes_kernel_ids
async def test_kernel_with_two_ids_after_server_restart_is_found_by_either(
    fake_gateway: FakeGateway, tmp_path: Path, patience: str, released: asyncio.Event
) -> None:
    fake_gateway.kernel_ids = "ignored"
    async with server_on(fake_gateway, tmp_path, argv=(patience,)) as server:
        kernel_id = await server.start_kernel(name="python3")
        async with server.tab(kernel_id) as tab:
            released.set()
            assert await tab.run("1") == "1\n"
        (given,) = fake_gateway.kernels
        left = server.kernels.remove_kernel(kernel_id)  # it is to outlive this server
        assert left is not None
        await left.cleanup_resources()
    (first_socket,) = fake_gateway.sockets
    for asked, named in ((kernel_id, "first"), (given, "second")):
        async with server_on(fake_gateway, tmp_path, argv=(patience,)) as server:
            model = SESSION | {"path": named, "kernel": {"id": asked}}
            answer = await server.call("POST", "/api/sessions", model)
            assert (answer.status, answer.json["kernel"]["id"]) == (201, kernel_id)
            async with server.tab(kernel_id) as tab:
                assert await tab.run("2") == "2\n"
            assert fake_gateway.sockets[-1].session_id == first_socket.session_id
            other = await server.call("POST", KERNELS, {"kernel_id": given})
            assert other.json["id"] == kernel_id
            assert len((await server.call("GET", KERNELS)).json) == 1
            left = server.kernels.remove_kernel(kernel_id)
            assert left is not None
            await left.cleanup_resources()


async def test_start_that_fails_soon_answers_with_error(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    async with server_on(fake_gateway, tmp_path) as server:
        fake_gateway.fault("POST", KERNELS, Answer.json({"reason": "Out of GPUs."}, 500))
        answer = await server.call("POST", KERNELS, {"name": "python3"})
        assert answer.status == 500
        assert "Out of GPUs" in answer.json["message"]
        assert (await server.call("GET", KERNELS)).json == []


async def test_kernel_model_after_slow_start_shows_current_state(
    server: TestServer, released: asyncio.Event
) -> None:
    kernel_id = (await server.call("POST", KERNELS, {"name": "python3"})).json["id"]
    released.set()
    kernel = server.kernels.get_kernel(kernel_id)
    assert isinstance(kernel, GatewayKernelManager)
    await kernel.running.ready()
    model = (await server.call("GET", f"{KERNELS}/{kernel_id}")).json
    assert model["execution_state"] != "starting"


async def test_slow_start_answered_during_shutdown_all_leaves_no_kernel(
    fake_gateway: FakeGateway, tmp_path: Path, released: asyncio.Event
) -> None:
    async with server_on(fake_gateway, tmp_path) as server:  # one that waits for the start
        starting = asyncio.create_task(server.call("POST", KERNELS, {"name": "python3"}))
        await fake_gateway.wait_for(lambda: fake_gateway.requests_to("POST", KERNELS))
        stopping = asyncio.create_task(server.kernels.shutdown_all())
        await asyncio.sleep(0)
        released.set()
        await stopping
        assert (await starting).status >= 400
        assert not fake_gateway.kernels
        # Who shuts all kernels down need not end the server.
        assert (await server.call("POST", KERNELS, {"name": "python3"})).status == 201
