"""A gateway that is down, silent, or lets nobody in: pages load, are told why, and recover."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jupyter_relay.testing import Answer, Delay, FakeGateway, FaultyProxy, Reset, Silence
from jupyter_relay.testing.faults import Fault
from tests.server.test_error_table import At
from tests.server.test_kernelspecs import ALLOW_R
from tests.server.test_sessions import model_of
from tests.support.gateway import TOKEN as GATEWAY_TOKEN
from tests.support.server import TOKEN, TestServer, server_on
from tests.support.server import Answer as Reply

SPECS = "/api/kernelspecs"
DEADLINE = 20.0
"""Far less than a request to a silent gateway may take, which is 42 s."""


def shown(reply: Reply) -> list[str]:
    """The names of kernels as a person sees them."""
    assert reply.status == 200
    return [model["spec"]["display_name"] for model in reply.json["kernelspecs"].values()]


def why_unavailable(reply: Reply) -> str:
    """Why the one kernelspec is a stand-in; nothing of that is in what pages save of it."""
    (model,) = reply.json["kernelspecs"].values()
    assert model["name"] == reply.json["default"]
    assert model["spec"]["display_name"] == model["name"] == "python3"
    assert model["spec"]["language"] == "python"
    reason: str = model["spec"]["metadata"]["unavailable"]
    assert reply.json["unavailable"] == reason
    return reason


async def test_pages_with_silent_gateway_are_not_delayed(
    fake_gateway: FakeGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with FaultyProxy("127.0.0.1", fake_gateway.port) as proxy:
        proxy.stall()
        async with (
            server_on(At(proxy.url), tmp_path) as server,
            asyncio.timeout(DEADLINE),
        ):
            replies = await asyncio.gather(*(server.call("GET", SPECS) for _ in range(8)))
            replies += [await server.call("GET", SPECS) for _ in range(30)]
            for reply in replies:
                assert f"{proxy.url} has not answered for 10 s." in why_unavailable(reply)
                assert "waited for" in reply.json["unavailable"]
            assert proxy.accepted == 1  # one probe at a time
            (line,) = (text for text in caplog.messages if "kernelspecs" in text)
            assert "cannot be listed" in line
            assert f"{proxy.url} has not answered for 10 s." in line
            assert (await server.call("GET", "/api/kernels")).json == []
            assert (await server.call("GET", "/api/sessions")).json == []
            proxy.resume()
            while shown(await server.call("GET", SPECS)) != ["Fake python3"]:
                assert proxy.accepted == 1


@pytest.mark.parametrize("said", ["cannot be reached", "denied access", "a web page came"])
async def test_kernelspecs_after_outage_appear_at_first_question(
    server: TestServer, fake_gateway: FakeGateway, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    faults: dict[str, Fault] = {
        "cannot be reached": Reset(),
        "a web page came": Answer.html("<h1>Sign in</h1>"),
    }
    if said in faults:
        fault = fake_gateway.fault("*", SPECS, faults[said])
    else:
        fake_gateway.token = "another"
    for _ in range(3):
        reason = why_unavailable(await server.call("GET", SPECS))
        assert reason.startswith(f"{fake_gateway.url} ")
        assert said in reason
    if said in faults:
        fault.lift()
    fake_gateway.token = GATEWAY_TOKEN
    reply = await server.call("GET", SPECS)
    assert shown(reply) == ["Fake python3"]
    assert "unavailable" not in reply.json
    assert len([text for text in caplog.messages if "cannot be listed" in text]) == 1


async def test_kernelspecs_known_before_outage_are_kept(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    before = await server.call("GET", SPECS)
    fault = fake_gateway.fault("*", "/*/*", Answer.json({"reason": "No disk"}, 500))
    down = await server.call("GET", SPECS)
    assert down.json["kernelspecs"] == before.json["kernelspecs"]
    assert "No disk" in down.json["unavailable"]
    fault.lift()
    assert (await server.call("GET", SPECS)).json == before.json


@pytest.mark.parametrize("fault", [Silence(), Reset(), Answer.html("", 500)])
async def test_stand_ins_after_server_restart_show_last_known_kernelspecs(
    fake_gateway: FakeGateway, tmp_path: Path, fault: Fault
) -> None:
    fake_gateway.kernelspecs[:] = ["ir", "python3"]
    async with server_on(fake_gateway, tmp_path) as server:
        before = (await server.call("GET", SPECS)).json
    fake_gateway.fault("GET", SPECS, fault)
    async with server_on(fake_gateway, tmp_path) as server:
        down = (await server.call("GET", SPECS)).json
    assert down["default"] == before["default"] == "ir"
    assert list(down["kernelspecs"]) == ["ir", "python3"]
    for name, known in before["kernelspecs"].items():
        model = down["kernelspecs"][name]
        for key in ("display_name", "language"):
            assert model["spec"][key] == known["spec"][key] != ""
        assert model["spec"]["metadata"] == {"unavailable": down["unavailable"]}
        assert model["resources"] == {}
    async with server_on(fake_gateway, tmp_path, argv=(ALLOW_R,)) as server:
        (allowed,) = (await server.call("GET", SPECS)).json["kernelspecs"]
        assert allowed == "r"


@pytest.mark.parametrize("kept", [b"no JSON", b"[]", b"{}", b"\xff"])
async def test_kernelspecs_store_that_is_unreadable_is_logged_once_and_not_used(
    fake_gateway: FakeGateway, tmp_path: Path, kept: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    fake_gateway.kernelspecs[:] = ["ir"]
    async with server_on(fake_gateway, tmp_path) as server:
        await server.call("GET", SPECS)
    file = tmp_path / "data" / "jupyter_relay" / "links.sqlite"
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE kernelspecs SET listed = ?", [kept])
    fake_gateway.fault("GET", SPECS, Answer.html("", 500))
    async with server_on(fake_gateway, tmp_path) as server:
        down = (await server.call("GET", SPECS)).json
        await server.call("GET", SPECS)
    assert list(down["kernelspecs"]) == ["python3"], "as without a store"
    (line,) = (text for text in caplog.messages if "are not used" in text)
    assert f"The kernelspecs of {fake_gateway.url} that are kept in {file}" in line


async def test_kernelspecs_stored_from_another_gateway_are_not_used(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    async with server_on(fake_gateway, tmp_path) as server:
        assert shown(await server.call("GET", SPECS)) == ["Fake python3"]
    async with FakeGateway() as other, server_on(other, tmp_path) as server:
        other.fault("GET", SPECS, Reset())
        assert why_unavailable(await server.call("GET", SPECS))


async def test_kernelspec_files_with_silent_gateway_are_refused(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    logo = "/kernelspecs/python3/logo-64x64.png"
    await server.call("GET", SPECS)
    faults = [fake_gateway.fault("GET", path, Silence()) for path in (SPECS, logo)]
    async with asyncio.timeout(DEADLINE):
        await server.call("GET", SPECS)
        # All wait until it is certain that the gateway is silent; then nobody does.
        waited = await asyncio.gather(*(server.call("GET", logo) for _ in range(5)))
        asked = len(fake_gateway.requests_to("GET", logo))
        at_once = [await server.call("GET", logo) for _ in range(10)]
        assert {reply.status for reply in (*waited, *at_once)} == {504}
    assert len(fake_gateway.requests_to("GET", logo)) == asked
    for fault in faults:
        fault.lift()


@pytest.mark.parametrize("seconds", [2.5, 6.0])
async def test_first_page_with_slow_gateway_waits_for_kernelspecs(
    server: TestServer, fake_gateway: FakeGateway, seconds: float
) -> None:
    logo = "/kernelspecs/python3/logo-64x64.png"
    slow = [fake_gateway.fault("GET", p, Delay(seconds)) for p in (SPECS, f"{SPECS}/*", logo)]
    asked = [server.call("GET", path) for path in (SPECS, f"{SPECS}/python3", logo)]
    listed, one, picture = await asyncio.gather(*asked)
    assert shown(listed) == ["Fake python3"]
    assert "unavailable" not in listed.json
    assert (one.status, picture.status) == (200, 200)
    # From then on what is known is given at once, and what is new is found behind it.
    fake_gateway.kernelspecs.append("ir")
    assert shown(await server.call("GET", SPECS)) == ["Fake python3"]
    assert len(slow) + 1 == len(fake_gateway.requests_to("GET", "/*/*")) + len(
        fake_gateway.requests_to("GET", "/*/*/*")
    )
    for fault in slow:
        fault.lift()
    while shown(reply := await server.call("GET", SPECS)) != ["Fake python3", "Fake ir"]:
        assert "unavailable" not in reply.json


async def test_culling_with_slow_gateway_waits_for_its_answer(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    server.kernels.cull_idle_timeout = 60
    kernel_id = await server.start_kernel()
    fake_gateway.kernels[kernel_id].last_activity = datetime.now(UTC) - timedelta(hours=1)
    fake_gateway.fault("GET", "/api/kernels", Delay(2.0))
    await server.kernels.cull_kernels()
    assert kernel_id not in fake_gateway.kernels


async def test_stand_in_started_after_outage_starts_kernel(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    fault = fake_gateway.fault("*", "/api/*", Answer.json({"reason": "No disk"}, 500))
    (name,) = (await server.call("GET", SPECS)).json["kernelspecs"]
    failed = await server.call("POST", "/api/sessions", model_of(name=name))
    assert "No disk" in failed.json["message"]
    fault.lift()
    assert (await server.call("POST", "/api/sessions", model_of(name=name))).status == 201


async def test_kernel_and_session_lists_in_outage_show_last_known(
    server: TestServer, fake_gateway: FakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    session = (await server.call("POST", "/api/sessions", model_of())).json
    kernel_id = session["kernel"]["id"]
    fault = fake_gateway.fault("GET", "/api/kernels", Silence())
    async with asyncio.timeout(DEADLINE):
        for _ in range(10):
            for path, key in (("/api/kernels", "id"), ("/api/sessions", "id")):
                reply = await server.call("GET", path)
                assert [model[key] for model in reply.json] in ([kernel_id], [session["id"]])
    assert len(fake_gateway.requests_to("GET", "/api/kernels")) == 1
    fault.lift()


async def test_outage_start_and_end_are_each_logged_once(
    server: TestServer, fake_gateway: FakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await server.start_kernel()
    fault = fake_gateway.fault("GET", "/api/kernels", Answer.html("", 500))
    for _ in range(5):
        assert len((await server.call("GET", "/api/kernels")).json) == 1
    fault.lift()
    await server.call("GET", "/api/kernels")
    told = [text for text in caplog.messages if "listed" in text]
    assert len(told) == 2
    assert "answered 500" in told[0]
    assert told[1] == f"The kernels of {fake_gateway.url} can be listed again."


async def test_culling_with_outdated_activity_keeps_kernel(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    server.kernels.cull_idle_timeout = 60
    kernel_id = await server.start_kernel()
    fake_gateway.kernels[kernel_id].last_activity = datetime.now(UTC) - timedelta(hours=1)
    await server.call("GET", "/api/kernels")
    fault = fake_gateway.fault("GET", "/api/kernels", Answer.html("", 500))
    await server.kernels.cull_kernels()
    assert kernel_id in fake_gateway.kernels
    fault.lift()
    await server.kernels.cull_kernels()
    assert kernel_id not in fake_gateway.kernels


async def test_token_valid_again_works_in_open_tabs(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    argv = (
        "--GatewayClient.gateway_retry_interval=3600",
        "--GatewayClient.gateway_retry_interval_max=3600",
    )
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        kernel_id = await server.start_kernel()
        async with server.tab(kernel_id) as tab:
            await tab.run("1")
            fake_gateway.token = "another"
            fake_gateway.drop_sockets()
            await fake_gateway.wait_for(lambda: not fake_gateway.open_sockets)
            assert len((await server.call("GET", "/api/kernels")).json) == 1
            asked = await tab.execute("held")
            fake_gateway.token = GATEWAY_TOKEN
            await server.call("GET", "/api/kernels")  # as JupyterLab does every 10 s
            assert (await tab.reply_to(asked)).content
            assert await tab.run("after") == "after\n"
            await server.start_kernel()


async def test_kernel_and_session_delete_refused_by_gateway_say_kernel_stays(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    session = (await server.call("POST", "/api/sessions", model_of())).json
    kernel_id = session["kernel"]["id"]
    fake_gateway.fault("DELETE", "/api/kernels/*", Answer.json({"reason": "No way"}, 500))
    for path in (f"/api/kernels/{kernel_id}", f"/api/sessions/{session['id']}"):
        reply = await server.call("DELETE", path)
        assert reply.status == 500
        assert f"Kernel {kernel_id} was not shut down, and stays listed" in reply.json["message"]
        assert "No way" in reply.json["message"]
    assert [k["id"] for k in (await server.call("GET", "/api/kernels")).json] == [kernel_id]
    assert (await server.call("GET", "/api/sessions")).json[0]["id"] == session["id"]


async def test_kernel_start_that_fails_is_logged_without_the_query(
    server: TestServer, caplog: pytest.LogCaptureFixture
) -> None:
    reply = await server.call("POST", f"/api/sessions?token={TOKEN}", model_of(name="cobol"))
    assert reply.status == 404
    lines = [text for text in caplog.messages if "cobol" in text]
    assert any(text.startswith("404 POST /api/sessions: ") for text in lines)
    assert not any(text.startswith("500") for text in caplog.messages)
    assert TOKEN not in caplog.text


async def test_kernelspecs_asked_after_shutdown_all_open_no_connection(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    async with (
        FaultyProxy("127.0.0.1", fake_gateway.port) as proxy,
        server_on(At(proxy.url), tmp_path) as server,
    ):
        known = (await server.call("GET", SPECS)).json
        await server.kernels.shutdown_all()
        before = proxy.accepted
        late = (await server.call("GET", SPECS)).json
        assert late["kernelspecs"] == known["kernelspecs"]
        assert "was closed" in late["unavailable"]
        assert (await server.call("GET", "/api/kernels")).json == []
        assert proxy.accepted == before
        await server.start_kernel(name="python3")  # the server goes on, after all
        assert "unavailable" not in (await server.call("GET", SPECS)).json
