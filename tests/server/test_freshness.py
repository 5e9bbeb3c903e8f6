"""A kernel or session that is asked for by itself: what is shown is what the gateway says then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from math import inf
from pathlib import Path

import pytest

from jupyter_relay.server.kernel import GatewayKernelManager
from jupyter_relay.testing import Answer, Delay, FakeGateway, Hold, Reset, Silence
from jupyter_relay.testing.faults import Fault
from tests.server.test_sessions import model_of
from tests.support.server import TestServer, server_on

DEADLINE = 20.0
"""Far less than a request to a silent gateway may take, which is 42 s."""


@pytest.fixture
async def asking(fake_gateway: FakeGateway, tmp_path: Path) -> AsyncIterator[TestServer]:
    """A server for which each answer of its gateway is old at once."""
    argv = ("--GatewayClient.listing_ttl=0",)
    async with server_on(fake_gateway, tmp_path, argv=argv) as running:
        yield running


async def test_session_reopened_with_kernel_gone_gets_another_kernel(
    asking: TestServer, fake_gateway: FakeGateway
) -> None:
    session = (await asking.call("POST", "/api/sessions", model_of())).json
    fake_gateway.lose_kernel(session["kernel"]["id"])
    again = await asking.call("POST", "/api/sessions", model_of())
    assert again.status == 201
    assert again.json["id"] != session["id"]
    assert list(fake_gateway.kernels) == [again.json["kernel"]["id"]]


async def test_session_of_gone_kernel_is_not_found(
    asking: TestServer, fake_gateway: FakeGateway
) -> None:
    session = (await asking.call("POST", "/api/sessions", model_of())).json
    fake_gateway.lose_kernel(session["kernel"]["id"])
    at = f"/api/sessions/{session['id']}"
    for method, body in (("GET", None), ("PATCH", {"name": "b"}), ("DELETE", None)):
        assert (await asking.call(method, at, body)).status == 404
    assert (await asking.call("GET", "/api/sessions")).json == []
    kernel = (await asking.call("GET", f"/api/kernels/{session['kernel']['id']}")).json
    assert kernel["execution_state"] == "dead"
    assert "has no kernel" in kernel["reason"]


@pytest.mark.parametrize("lists", [True, False])
async def test_session_list_with_gone_kernels_omits_their_sessions(
    asking: TestServer, fake_gateway: FakeGateway, lists: bool
) -> None:
    fake_gateway.list_kernels = lists
    gone = (await asking.call("POST", "/api/sessions", model_of("a.ipynb"))).json
    kept = (await asking.call("POST", "/api/sessions", model_of("b.ipynb"))).json
    fake_gateway.lose_kernel(gone["kernel"]["id"])
    assert [s["id"] for s in (await asking.call("GET", "/api/sessions")).json] == [kept["id"]]


async def test_session_created_or_patched_with_gone_kernel_is_refused(
    asking: TestServer, fake_gateway: FakeGateway
) -> None:
    session = (await asking.call("POST", "/api/sessions", model_of())).json
    gone = await asking.start_kernel()
    fake_gateway.lose_kernel(gone)
    made = await asking.call("POST", "/api/sessions", model_of("b.ipynb", id=gone))
    assert made.status == 404
    assert "has no kernel" in made.json["message"]
    at = f"/api/sessions/{session['id']}"
    changed = await asking.call("PATCH", at, {"kernel": {"id": gone}})
    assert changed.status == 400
    assert "has no kernel" in changed.json["message"]
    assert (await asking.call("GET", at)).json["kernel"]["id"] == session["kernel"]["id"]


@pytest.mark.parametrize("state", ["busy", "idle", "starting", "restarting"])
async def test_kernel_model_without_listing_shows_current_state(
    asking: TestServer, fake_gateway: FakeGateway, state: str
) -> None:
    session = (await asking.call("POST", "/api/sessions", model_of())).json
    kernel_id = session["kernel"]["id"]
    fake_gateway.kernels[kernel_id].execution_state = state
    kernel = (await asking.call("GET", f"/api/kernels/{kernel_id}")).json
    assert kernel["execution_state"] == state
    again = (await asking.call("POST", "/api/sessions", model_of())).json
    assert again == session | {"kernel": kernel}
    assert (await asking.call("GET", f"/api/sessions/{session['id']}")).json == again


async def test_kernel_asked_for_concurrently_is_requested_once(
    asking: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel_id = await asking.start_kernel()
    before = len(fake_gateway.requests)
    path = f"/api/kernels/{kernel_id}"
    await asyncio.gather(*(asking.kernels.known.look_again(kernel_id) for _ in range(5)))
    (question,) = fake_gateway.requests[before:]
    assert question.path == path


@pytest.mark.parametrize("lists", [True, False])
async def test_session_list_of_many_kernels_makes_one_request(
    asking: TestServer, fake_gateway: FakeGateway, lists: bool
) -> None:
    paths = ("a.ipynb", "b.ipynb", "c.ipynb")
    sessions = [(await asking.call("POST", "/api/sessions", model_of(path))).json for path in paths]
    ids = [session["kernel"]["id"] for session in sessions]
    fake_gateway.kernels[ids[1]].execution_state = "busy"
    fake_gateway.list_kernels = lists
    before = len(fake_gateway.requests)
    listed = (await asking.call("GET", "/api/sessions")).json
    assert [session["kernel"]["id"] for session in listed] == ids
    assert listed[1]["kernel"]["execution_state"] == "busy"
    one_by_one = [] if lists else [f"/api/kernels/{kernel_id}" for kernel_id in ids]
    asked = sorted(request.path for request in fake_gateway.requests[before:])
    assert asked == sorted(["/api/kernels", *one_by_one])


async def test_kernel_asked_for_within_ttl_is_not_requested_again(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    session = (await server.call("POST", "/api/sessions", model_of())).json
    await server.call("GET", "/api/kernels")
    before = len(fake_gateway.requests)
    for path in (f"/api/sessions/{session['id']}", f"/api/kernels/{session['kernel']['id']}"):
        assert (await server.call("GET", path)).status == 200
    await server.call("POST", "/api/sessions", model_of())
    assert len(fake_gateway.requests) == before


@pytest.mark.parametrize(
    "fault", [Silence(), Reset(), Answer.html("", 500)], ids=["silent", "away", "failing"]
)
async def test_session_reopened_in_outage_is_kept_without_hanging(
    asking: TestServer, fake_gateway: FakeGateway, fault: Fault
) -> None:
    session = (await asking.call("POST", "/api/sessions", model_of())).json
    rule = fake_gateway.fault("GET", "/api/kernels/*", fault)
    async with asyncio.timeout(DEADLINE):
        for _ in range(5):
            again = await asking.call("POST", "/api/sessions", model_of())
            assert (again.status, again.json["id"]) == (201, session["id"])
            one = await asking.call("GET", f"/api/kernels/{session['kernel']['id']}")
            assert one.status == 200
    rule.lift()


def make_old(server: TestServer, kernel_id: str) -> None:
    """Have the gateway's last word on a kernel be one of long ago."""
    kernel = server.kernels.get_kernel(kernel_id)
    assert isinstance(kernel, GatewayKernelManager)
    kernel.running.asked_at = -inf


@pytest.fixture
async def short_lived(fake_gateway: FakeGateway, tmp_path: Path) -> AsyncIterator[TestServer]:
    """A server for which an answer of its gateway is old after a moment."""
    argv = ("--GatewayClient.listing_ttl=0.05",)
    async with server_on(fake_gateway, tmp_path, argv=argv) as running:
        yield running


async def test_session_reopened_at_slow_gateway_gets_no_dead_kernel(
    short_lived: TestServer, fake_gateway: FakeGateway
) -> None:
    for path in ("/api/kernels", "/api/kernels/*"):
        fake_gateway.fault("GET", path, Delay(2.0))
    session = (await short_lived.call("POST", "/api/sessions", model_of())).json
    kernel_id = session["kernel"]["id"]
    make_old(short_lived, kernel_id)
    fake_gateway.kernels[kernel_id].execution_state = "busy"
    one = await short_lived.call("GET", f"/api/kernels/{kernel_id}")
    assert one.json["execution_state"] == "busy"
    for _ in range(2):
        await short_lived.call("GET", "/api/kernels")
    fake_gateway.lose_kernel(kernel_id)
    again = await short_lived.call("POST", "/api/sessions", model_of())
    assert again.status == 201
    assert again.json["id"] != session["id"]
    assert list(fake_gateway.kernels) == [again.json["kernel"]["id"]]


async def test_kernel_list_unanswered_vouches_for_no_kernel(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    session = (await server.call("POST", "/api/sessions", model_of())).json
    kernel_id = session["kernel"]["id"]
    make_old(server, kernel_id)
    rule = fake_gateway.fault("GET", "/api/kernels", Silence())
    len(server.kernels)  # puts the question, and waits for nothing
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to("GET", "/api/kernels"))
    fake_gateway.lose_kernel(kernel_id)
    again = await server.call("POST", "/api/sessions", model_of())
    rule.lift()
    assert again.json["id"] != session["id"]


async def test_kernel_list_without_a_kernel_does_not_vouch_for_it(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    fake_gateway.list_kernels = False
    session = (await server.call("POST", "/api/sessions", model_of())).json
    kernel_id = session["kernel"]["id"]
    await server.start_kernel()
    make_old(server, kernel_id)
    fake_gateway.fault("GET", f"/api/kernels/{kernel_id}", Answer.html("", 500), times=1)
    await server.kernels.known.refresh_all()
    fake_gateway.lose_kernel(kernel_id)
    again = await server.call("POST", "/api/sessions", model_of())
    assert again.json["id"] != session["id"]


async def test_kernel_asked_for_just_before_restart_is_requested_again(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel_id = await server.start_kernel()
    at = f"/api/kernels/{kernel_id}"
    fake_gateway.kernels[kernel_id].execution_state = "busy"
    await server.kernels.known.look_again(kernel_id, anew=True)
    restarted = await server.call("POST", f"{at}/restart")
    assert restarted.json["execution_state"] == fake_gateway.kernels[kernel_id].execution_state
    assert restarted.json["execution_state"] != "busy"
    assert len(fake_gateway.requests_to("GET", at)) == 2


async def test_kernel_question_pending_during_restart_is_asked_again(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel_id = await server.start_kernel()
    at = f"/api/kernels/{kernel_id}"
    released = asyncio.Event()
    fake_gateway.fault("GET", at, Hold(released), times=1)
    before = asyncio.create_task(server.kernels.known.look_again(kernel_id, anew=True))
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to("GET", at))
    restarted = await server.call("POST", f"{at}/restart")
    assert restarted.status == 200
    assert len(fake_gateway.requests_to("GET", at)) == 2
    released.set()
    await before
