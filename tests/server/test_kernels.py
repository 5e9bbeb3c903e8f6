"""Kernels over the REST API: start, attach, model, list, restart, interrupt, delete."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from jupyter_server.services.api import handlers

from jupyter_relay.errors import KernelNotRunning
from jupyter_relay.server.kernel import GatewayKernelManager
from jupyter_relay.server.kernels import GatewayMappingKernelManager
from jupyter_relay.store.store import Store
from jupyter_relay.testing import (
    Answer,
    Change,
    FakeGateway,
    FakeKernel,
    Hold,
    Reset,
    replaced,
    without,
)
from jupyter_relay.wire.json import Json
from jupyter_relay.wire.message import Message
from tests.support.server import TestServer, server_on
from tests.support.tab import printed, status_of
from tests.support.versions import takes_kernel_ids

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def start_of(gateway: FakeGateway, number: int = -1) -> dict[str, object]:
    """What a start of a kernel has sent."""
    body = gateway.requests_to("POST", "/api/kernels")[number].json
    assert isinstance(body, dict)
    return body


def kernel_of(server: TestServer, kernel_id: str) -> GatewayKernelManager:
    """The manager of one kernel."""
    kernel = server.kernels.get_kernel(kernel_id)
    assert isinstance(kernel, GatewayKernelManager)
    return kernel


def env_of(gateway: FakeGateway, number: int = -1) -> dict[str, str]:
    """The environment that a start of a kernel has sent, without the kernel's id."""
    env = start_of(gateway, number)["env"]
    assert isinstance(env, dict)
    return {name: value for name, value in env.items() if name != "KERNEL_ID"}


async def test_kernel_start_by_kernelspec_name_starts_that_kernelspec(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    fake_gateway.kernelspecs.append("ir")
    answer = await server.call("POST", "/api/kernels", {"name": "ir"})
    assert answer.status == 201
    assert set(answer.json) == {"id", "name", "last_activity", "execution_state", "connections"}
    assert answer.json["name"] == "ir"
    assert answer.headers["Location"] == f"/api/kernels/{answer.json['id']}"
    assert fake_gateway.kernels[answer.json["id"]].name == "ir"


async def test_kernel_start_for_document_sends_its_working_directory(
    server: TestServer, fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    (tmp_path / "root" / "below").mkdir()
    await server.start_kernel(path="below/a.ipynb")
    assert env_of(fake_gateway)["KERNEL_WORKING_DIR"] == str(tmp_path / "root" / "below")


async def test_kernel_start_with_environment_sends_only_kernel_and_allowed_variables(
    fake_gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERNEL_FLAVOUR", "strawberry")
    monkeypatch.setenv("PROJECT", "x")
    monkeypatch.setenv("SECRET", "no")
    argv = ("--GatewayClient.allowed_envs=PROJECT, JPY_SESSION_NAME",)
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        await server.start_kernel()
        model = {"path": "a.ipynb", "name": "a.ipynb", "type": "notebook"}
        await server.call("POST", "/api/sessions", model)
    alone, in_session = env_of(fake_gateway, 0), env_of(fake_gateway, 1)
    assert alone["KERNEL_FLAVOUR"] == in_session["KERNEL_FLAVOUR"] == "strawberry"
    assert alone["PROJECT"] == "x"
    assert in_session["JPY_SESSION_NAME"].endswith("a.ipynb")
    assert not {"SECRET", "PATH"} & (alone.keys() | in_session.keys())


async def test_kernel_start_with_http_user_sends_it_as_kernel_username(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    argv = ("--GatewayClient.http_user=alice",)
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        await server.start_kernel()
    assert env_of(fake_gateway)["KERNEL_USERNAME"] == "alice"


async def test_kernel_start_without_variables_sends_env_and_leaves_os_environ(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    before = dict(os.environ)
    await server.start_kernel()
    assert env_of(fake_gateway) == {"KERNEL_LAUNCH_TIMEOUT": "40"}
    assert dict(os.environ) == before


@takes_kernel_ids
async def test_kernel_start_with_id_of_running_kernel_attaches_to_it(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel = fake_gateway.start_kernel()
    answer = await server.call("POST", "/api/kernels", {"kernel_id": kernel.id})
    assert (answer.status, answer.json["id"]) == (201, kernel.id)
    assert not fake_gateway.requests_to("POST", "/api/kernels")
    async with server.tab(kernel.id) as tab:
        assert await tab.run("here") == "here\n"


async def test_kernel_model_after_start_equals_the_gateways(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel_id = await server.start_kernel()
    fake_gateway.kernels[kernel_id].execution_state = "busy"
    await server.call("GET", "/api/kernels")
    answer = await server.call("GET", f"/api/kernels/{kernel_id}")
    assert answer.status == 200
    assert answer.json["execution_state"] == "busy"
    date = fake_gateway.kernels[kernel_id].last_activity
    assert answer.json["last_activity"] == date.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def test_kernel_model_after_status_messages_shows_state_and_activity(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    path = "a.ipynb"
    session = {"path": path, "name": path, "type": "notebook", "kernel": {"name": "python3"}}
    made = (await server.call("POST", "/api/sessions", session)).json
    kernel_id = made["kernel"]["id"]
    released = asyncio.Event()

    async def wait(_: Message, __: FakeKernel) -> None:
        await released.wait()

    fake_gateway.kernels[kernel_id].on_execute = wait
    async with server.tab(kernel_id) as tab:
        asked = await tab.execute("1")
        for state in ("busy", "idle"):
            while status_of(message := await tab.receive()) != state:
                pass
            assert message.parent.msg_id == asked
            one = (await server.call("GET", f"/api/kernels/{kernel_id}")).json
            its = (await server.call("GET", f"/api/sessions/{made['id']}")).json["kernel"]
            assert one == its
            assert one["execution_state"] == state
            assert one["last_activity"] > made["kernel"]["last_activity"]
            released.set()
    assert not fake_gateway.requests_to("GET", f"/api/kernels/{kernel_id}")


@pytest.mark.parametrize(
    "edit",
    [
        without("connections"),
        without("last_activity"),
        replaced(last_activity="2026-01-02T03:04:05Z"),
        replaced(last_activity="2026-01-02T03:04:05.678+02:00"),
        replaced(last_activity="yesterday", connections=None),
    ],
    ids=["no connections", "no date", "no microseconds", "an offset", "no date at all"],
)
async def test_kernel_list_with_models_of_other_forms_reads_them(
    server: TestServer, fake_gateway: FakeGateway, edit: object
) -> None:
    fake_gateway.fault("*", "/api/kernels", Change(edit))  # type: ignore[arg-type]
    kernel_id = await server.start_kernel()
    answer = await server.call("GET", "/api/kernels")
    assert answer.status == 200
    assert [model["id"] for model in answer.json] == [kernel_id]
    assert answer.json[0]["connections"] == 0


@pytest.mark.parametrize(
    "strange",
    [
        {"last_activity": "2026-01-02T03:04:05Z"},
        {"last_activity": "2026-01-02T03:04:05+02:00"},
        {"last_activity": "0001-01-01T00:00:00+14:00"},
        {"last_activity": None, "connections": None, "execution_state": None, "name": None},
        {"last_activity": [], "connections": {}, "execution_state": 7, "name": False, "reason": 1},
        {"id": None},
        {"id": ""},
        None,
    ],
)
async def test_kernel_list_with_one_unreadable_model_shows_the_others(
    server: TestServer, fake_gateway: FakeGateway, strange: dict[str, Json] | None
) -> None:
    first, second, third = [await server.start_kernel() for _ in range(3)]
    fake_gateway.kernels[third].execution_state = "busy"

    def spoil(listed: Json) -> Json:
        assert isinstance(listed, list)
        return [
            (strange and {**model, **strange}) if model["id"] == second else model
            for model in listed
        ]

    fake_gateway.fault("GET", "/api/kernels", Change(spoil))
    answer = await server.call("GET", "/api/kernels")
    assert answer.status == 200
    states = {model["id"]: model["execution_state"] for model in answer.json}
    assert set(states) == {first, second, third}
    assert states[third] == "busy"
    server.kernels.cull_idle_timeout = 10**9
    await server.kernels.cull_kernels()
    assert len(fake_gateway.kernels) == 3


async def test_kernel_list_of_running_kernels_equals_their_models(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    argv = ("--GatewayClient.listing_ttl=0", "--GatewayClient.linger=0")
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        kernel_id, other = await server.start_kernel(), await server.start_kernel()
        kernel, fake = kernel_of(server, kernel_id), fake_gateway.kernels[kernel_id]

        async def listed() -> dict[str, Any]:
            models: list[dict[str, Any]] = (await server.call("GET", "/api/kernels")).json
            assert [model["id"] for model in models] == [kernel_id, other]
            for model in models:
                assert model == (await server.call("GET", f"/api/kernels/{model['id']}")).json
            return models[0]

        async def listed_alone() -> dict[str, Any]:
            fake_gateway.fault("GET", "/api/kernels", Answer.html("", 500), times=1)
            fake_gateway.fault("GET", "/api/kernels/*", Answer.html("", 500), times=2)
            return await listed()

        at_first = await listed()
        assert await listed() == at_first
        async with server.tab(kernel_id) as tab:
            assert (await listed_alone())["connections"] == 1
            await tab.run("1")
        await fake_gateway.wait_for(lambda: not fake_gateway.open_sockets)
        used = await listed_alone()
        assert (used["connections"], used["last_activity"] > at_first["last_activity"]) == (0, True)
        await kernel.restart_kernel()
        # What the process before it told says nothing of this one, but it has worked.
        restarted = await listed_alone()
        assert restarted == at_first | {"last_activity": used["last_activity"]}

        rested = await listed()
        later = {"execution_state": "busy", "last_activity": "2100-01-01T00:00:00Z"}
        fault = Answer.json(rested | later)
        fake_gateway.fault("GET", f"/api/kernels/{kernel_id}", fault, times=1)
        await kernel.refresh_model()
        assert await listed_alone() == rested | later
        assert await listed() == rested  # the gateway says again what it said before
        fake.execution_state = "busy"
        assert (await listed())["execution_state"] == "busy"
        fake_gateway.lose_kernel(kernel_id)
        models = (await server.call("GET", "/api/kernels")).json
        assert [model["id"] for model in models] == [other]


async def test_kernel_list_while_link_waits_makes_it_retry_at_once(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    waits = ("gateway_retry_interval=9000", "gateway_retry_interval_max=9000")
    argv = tuple(f"--GatewayClient.{option}" for option in ("listing_ttl=0", *waits))
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        kernel_id = await server.start_kernel()
        await server.call("GET", "/api/kernels")
        channels = f"/api/kernels/{kernel_id}/channels"
        fake_gateway.fault("GET", channels, Answer.html("", 503), times=1)
        async with server.tab(kernel_id) as tab, asyncio.timeout(60):
            await fake_gateway.wait_for(lambda: fake_gateway.requests_to("GET", channels))
            while not fake_gateway.open_sockets:
                await server.call("GET", "/api/kernels")
            assert await tab.run("here") == "here\n"


async def test_kernel_list_after_cleanup_resources_omits_the_kernel(server: TestServer) -> None:
    kernel_id, other = await server.start_kernel(), await server.start_kernel()
    assert len((await server.call("GET", "/api/kernels")).json) == 2
    await kernel_of(server, kernel_id).cleanup_resources()
    for _ in range(2):
        models = (await server.call("GET", "/api/kernels")).json
        assert [model["id"] for model in models] == [other]


async def test_kernel_list_with_kernels_of_others_shows_only_own(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    fake_gateway.start_kernel()
    kernel_id = await server.start_kernel()
    answer = await server.call("GET", "/api/kernels")
    assert [model["id"] for model in answer.json] == [kernel_id]


async def test_kernel_list_with_kernel_missing_at_gateway_asks_for_it_alone(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    there, culled = await server.start_kernel(), await server.start_kernel()
    fake_gateway.fault("GET", "/api/kernels", Answer.json([]))
    fake_gateway.lose_kernel(culled)
    answer = await server.call("GET", "/api/kernels")
    assert [model["id"] for model in answer.json] == [there]
    gone = (await server.call("GET", f"/api/kernels/{culled}")).json
    assert gone["execution_state"] == "dead"


async def test_kernel_list_with_many_missing_asks_for_all_at_once(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel_ids = {await server.start_kernel() for _ in range(5)}
    fake_gateway.list_kernels = False
    released = asyncio.Event()
    fake_gateway.fault("GET", "/api/kernels/*", Hold(released))
    asking = asyncio.create_task(server.call("GET", "/api/kernels"))
    await fake_gateway.wait_for(lambda: len(fake_gateway.requests_to("GET", "/api/kernels/*")) == 5)
    released.set()
    answer = await asking
    assert answer.status == 200
    assert {model["id"] for model in answer.json} == kernel_ids


async def test_kernel_list_with_one_failing_question_shows_the_others(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    first, second = await server.start_kernel(), await server.start_kernel()
    fake_gateway.list_kernels = False
    fake_gateway.fault("GET", f"/api/kernels/{first}", Answer.html("", 500))
    answer = await server.call("GET", "/api/kernels")
    assert {model["id"] for model in answer.json} == {first, second}


async def test_restart_of_running_kernel_keeps_its_id(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel_id = await server.start_kernel()
    async with server.tab(kernel_id) as tab:
        await tab.run("before")
        answer = await server.call("POST", f"/api/kernels/{kernel_id}/restart")
        assert (answer.status, answer.json["id"]) == (200, kernel_id)
        assert fake_gateway.kernels[kernel_id].incarnation == 2
        assert await tab.run("after") == "after\n"


async def test_interrupt_of_running_kernel_reaches_gateway(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    started = asyncio.Event()

    async def run_for_ever(*_: object) -> None:
        started.set()
        await asyncio.Event().wait()

    fake_gateway.on_execute = run_for_ever
    kernel_id = await server.start_kernel()
    async with server.tab(kernel_id) as tab:
        msg_id = await tab.execute("while True: pass")
        await started.wait()
        answer = await server.call("POST", f"/api/kernels/{kernel_id}/interrupt")
        assert answer.status == 204
        assert b"KeyboardInterrupt" in bytes((await tab.reply_to(msg_id)).content)


@pytest.mark.parametrize("action", ["interrupt", "restart"])
async def test_kernel_action_failing_in_outage_is_shown_in_running_cell(
    server: TestServer, fake_gateway: FakeGateway, action: str
) -> None:
    async def run_for_ever(*_: object) -> None:
        await asyncio.Event().wait()

    fake_gateway.on_execute = run_for_ever
    kernel_id = await server.start_kernel()
    async with server.tab(kernel_id) as tab:
        msg_id = await tab.execute("while True: pass")
        while (heard := await tab.receive()).parent.msg_id != msg_id:
            pass
        kernel_session = heard.head.session
        channels = "/api/kernels/*/channels"
        for path in (channels, f"/api/kernels/*/{action}"):
            fake_gateway.fault("*", path, Reset())
        fake_gateway.drop_sockets()
        await fake_gateway.wait_for(lambda: len(fake_gateway.requests_to("GET", channels)) > 1)
        answer = await server.call("POST", f"/api/kernels/{kernel_id}/{action}")
        assert answer.status == 503
        while not (text := printed([told := await tab.receive()])):
            pass
    begin = f"[Jupyter Relay] Cannot {action}: no connection to {fake_gateway.url} since "
    assert text.startswith(begin)
    assert text.endswith(" s.\n")
    assert told.parent.msg_id == msg_id
    assert told.head.session == kernel_session


async def test_kernel_delete_of_running_kernel_removes_it(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel_id = await server.start_kernel()
    assert (await server.call("DELETE", f"/api/kernels/{kernel_id}")).status == 204
    assert not fake_gateway.kernels
    assert (await server.call("GET", "/api/kernels")).json == []


async def test_kernel_delete_when_gone_at_gateway_succeeds(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel_id = await server.start_kernel()
    fake_gateway.lose_kernel(kernel_id)
    assert (await server.call("DELETE", f"/api/kernels/{kernel_id}")).status == 204
    assert kernel_id not in server.kernels


async def test_kernel_delete_when_gateway_refuses_keeps_it_listed(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel_id = await server.start_kernel()
    fault = fake_gateway.fault("DELETE", "/api/kernels/*", Answer.json({"reason": "no"}, 500))
    assert (await server.call("DELETE", f"/api/kernels/{kernel_id}")).status == 500
    assert [model["id"] for model in (await server.call("GET", "/api/kernels")).json] == [kernel_id]
    fault.lift()
    assert (await server.call("DELETE", f"/api/kernels/{kernel_id}")).status == 204


async def test_shutdown_all_with_many_kernels_deletes_concurrently(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    for _ in range(5):
        await server.start_kernel()
    released = asyncio.Event()
    fake_gateway.fault("DELETE", "/api/kernels/*", Hold(released))
    ending = asyncio.create_task(server.kernels.shutdown_all())
    await fake_gateway.wait_for(
        lambda: len(fake_gateway.requests_to("DELETE", "/api/kernels/*")) == 5
    )
    released.set()
    await ending
    assert not fake_gateway.kernels


async def test_shutdown_all_with_one_failing_delete_deletes_the_others(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel_ids = [await server.start_kernel() for _ in range(4)]
    fake_gateway.fault("DELETE", f"/api/kernels/{kernel_ids[0]}", Answer.html("no", 500))
    async with server.tab(kernel_ids[0]) as tab:
        await tab.run("a socket is open")
        await server.kernels.shutdown_all()
    assert list(fake_gateway.kernels) == kernel_ids[:1]
    await fake_gateway.wait_for(lambda: not fake_gateway.open_sockets)


def store_of(server: TestServer) -> Store:
    """The store of a server's session ids."""
    store = server.kernels.roster.store
    assert store is not None
    return store


def kept_in(folder: Path) -> list[str]:
    """Return the kernels whose session ids are kept."""
    with closing(sqlite3.connect(folder / "links.sqlite")) as links:
        return [kernel_id for (kernel_id,) in links.execute("SELECT kernel_id FROM links")]


async def test_session_ids_in_data_folder_last_until_kernel_ends(
    server: TestServer, fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "jupyter_relay"
    deleted, gone, refused, last = [await server.start_kernel() for _ in range(4)]
    await store_of(server).flush()
    assert sorted(kept_in(folder)) == sorted([deleted, gone, refused, last])
    await server.call("DELETE", f"/api/kernels/{deleted}")
    fake_gateway.lose_kernel(gone)
    server.kernels.known.lost_seconds = 0.0
    for _ in range(2):  # it is found gone, and then forgotten
        server.kernels.roster.gateway.forget_listing()
        await server.call("GET", "/api/kernels")
    await store_of(server).flush()
    assert sorted(kept_in(folder)) == sorted([refused, last])
    fake_gateway.fault("DELETE", f"/api/kernels/{refused}", Answer.html("no", 500))
    await server.kernels.shutdown_all()
    assert kept_in(folder) == [refused], "it lives, and is the next server's"


async def test_kernel_start_with_unwritable_data_folder_succeeds(
    server: TestServer, tmp_path: Path
) -> None:
    (tmp_path / "data" / "jupyter_relay").write_text("a file")
    kernel_id = await server.start_kernel()
    async with server.tab(kernel_id) as tab:
        assert await tab.run("1") == "1\n"


async def test_is_alive_after_loss_at_gateway_is_false(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel_id = await server.start_kernel()
    kernel = kernel_of(server, kernel_id)
    assert await kernel.is_alive()
    fake_gateway.lose_kernel(kernel_id)
    assert not await kernel.is_alive()
    assert not await kernel.is_alive()


async def test_is_alive_of_dead_kernel_is_false(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel_id = await server.start_kernel()
    fake_gateway.kernels[kernel_id].die(restarts=False)
    assert not await kernel_of(server, kernel_id).is_alive()


async def test_list_kernels_during_attachment_hides_kernel_from_no_later_list(
    server: TestServer, fake_gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_kernel = GatewayKernelManager.start_kernel

    async def start_and_list(kernel: GatewayKernelManager, **kwargs: object) -> None:
        await start_kernel(kernel, **kwargs)
        assert await server.kernels.list_kernels() == []

    monkeypatch.setattr(GatewayKernelManager, "start_kernel", start_and_list)
    kernel_id = await server.kernels.start_kernel(kernel_id=fake_gateway.start_kernel().id)
    assert [model["id"] for model in await server.kernels.list_kernels()] == [kernel_id]


async def test_remove_kernel_of_unknown_id_raises_nothing(server: TestServer) -> None:
    assert server.kernels.remove_kernel(UNKNOWN) is None
    kernel_id = await server.start_kernel()
    kernel = server.kernels.remove_kernel(kernel_id)
    assert kernel is not None
    assert server.kernels.remove_kernel(kernel_id) is None
    await kernel.shutdown_kernel()


async def test_mapping_manager_beside_another_shares_no_kernels(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    other = GatewayMappingKernelManager(parent=server.app)
    kernel_id = await server.start_kernel()
    assert kernel_id in server.kernels
    assert kernel_id not in other
    assert other.list_kernel_ids() == []
    await other.shutdown_all()
    assert kernel_id in fake_gateway.kernels


async def test_kernel_manager_without_kernel_raises_not_running(server: TestServer) -> None:
    kernel = GatewayKernelManager(parent=server.kernels, relay=server.kernels.relay)
    assert not await kernel.is_alive()
    with pytest.raises(KernelNotRunning):
        _ = kernel.running


@pytest.mark.skipif(
    not hasattr(handlers, "PathResolverHandler"), reason="this Jupyter Server resolves no paths"
)
async def test_resolve_path_with_gateway_kernel_answers_as_without(
    server: TestServer,
) -> None:
    (Path(server.app.root_dir) / "a.ipynb").touch()
    kernel_id = await server.start_kernel()
    local = await server.call("GET", "/api/resolvePath?path=a.ipynb")
    answer = await server.call("GET", f"/api/resolvePath?path=a.ipynb&kernel={kernel_id}")
    assert (answer.status, answer.json) == (200, local.json)


async def test_untracked_types_until_changed_are_one_shared_set(
    server: TestServer,
) -> None:
    kernels = GatewayMappingKernelManager(parent=server.app)
    first = kernels.untracked
    assert first == frozenset(kernels.untracked_message_types)
    assert kernels.untracked is first
    kernels.untracked_message_types = ["x_request"]
    assert kernels.untracked == {"x_request"}
