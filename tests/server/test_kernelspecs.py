"""Kernelspecs: those of the gateway, under this server's URLs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from yarl import URL

from jupyter_relay.server.kernel import GatewayKernelManager
from jupyter_relay.server.kernelspecs import GatewayKernelSpecManager
from jupyter_relay.testing import Answer, Change, FakeGateway, Hold, without
from tests.support.server import TestServer, server_on
from tests.support.versions import takes_kernel_ids


async def test_kernelspecs_listed_equal_the_gateways(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    fake_gateway.kernelspecs.append("ir")
    answer = await server.call("GET", "/api/kernelspecs")
    assert answer.status == 200
    assert {name: spec["spec"]["display_name"] for name, spec in answer.json["kernelspecs"].items()}
    assert set(answer.json["kernelspecs"]) == {"python3", "ir"}
    one = await server.call("GET", "/api/kernelspecs/ir")
    assert one.json == answer.json["kernelspecs"]["ir"]
    assert one.json["spec"]["display_name"] == "Fake ir"


async def test_default_kernel_given_by_gateway_becomes_the_servers(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    fake_gateway.kernelspecs[:] = ["ir", "python3"]
    answer = await server.call("GET", "/api/kernelspecs")
    assert answer.json["default"] == "ir"
    started = await server.call("POST", "/api/kernels")
    assert started.json["name"] == "ir"


async def test_default_kernel_not_given_by_gateway_stays_the_servers(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    fake_gateway.fault("GET", "/api/kernelspecs", Change(without("default")))
    answer = await server.call("GET", "/api/kernelspecs")
    assert answer.json["default"] == server.kernels.default_kernel_name == "python3"


async def test_kernelspec_files_with_base_url_are_served_below_it(tmp_path: Path) -> None:
    async with (
        FakeGateway(base_path="/far/away") as gateway,
        server_on(gateway, tmp_path, base_url="/near") as server,
    ):
        spec = (await server.call("GET", "/api/kernelspecs")).json["kernelspecs"]["python3"]
        assert spec["resources"] == {"logo-64x64": "/near/kernelspecs/python3/logo-64x64.png"}
        answer = await server.call("GET", "/kernelspecs/python3/logo-64x64.png")
        assert answer.status == 200
        assert answer.body.startswith(b"\x89PNG")
        assert answer.headers["Content-Type"] == "image/png"
        assert "max-age" in answer.headers["Cache-Control"]
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_kernelspec_of_unknown_name_is_not_found(server: TestServer) -> None:
    answer = await server.call("GET", "/api/kernelspecs/cobol")
    assert (answer.status, answer.json["message"]) == (404, "Kernel spec cobol not found")


async def test_kernelspec_file_that_is_missing_is_not_found(server: TestServer) -> None:
    assert (await server.call("GET", "/kernelspecs/cobol/logo-64x64.png")).status == 404
    assert (await server.call("GET", "/kernelspecs/python3/too/deep.png")).status == 404


async def test_kernelspec_file_asked_by_head_is_answered(server: TestServer) -> None:
    answer = await server.call("HEAD", "/kernelspecs/python3/logo-64x64.png")
    assert (answer.status, answer.body) == (200, b"")


async def test_kernelspec_manager_with_unknown_name_answers_as_base_class(
    server: TestServer,
) -> None:
    specs = server.app.kernel_spec_manager
    assert isinstance(specs, GatewayKernelSpecManager)
    with pytest.raises(KeyError, match="has no kernelspec 'cobol'"):
        await specs.get_kernel_spec("cobol")
    assert await specs.get_kernel_spec_resource("cobol", "logo-64x64.png") is None


async def test_kernelspec_request_with_user_sends_it_escaped_in_query(
    fake_gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERNEL_USERNAME", "al/ice & bob?")
    async with server_on(fake_gateway, tmp_path) as server:
        await server.call("GET", "/api/kernelspecs")
        await server.call("GET", "/api/kernelspecs/python3")
    asked = [request for request in fake_gateway.requests if "kernelspecs" in request.path]
    assert [request.path for request in asked] == [
        "/api/kernelspecs",
        "/api/kernelspecs/python3",
    ]
    assert all(request.query == {"user": "al/ice & bob?"} for request in asked)


async def test_kernelspec_of_kernel_equals_the_gateways(server: TestServer) -> None:
    kernel_id = await server.start_kernel()
    kernel = server.kernels.get_kernel(kernel_id)
    assert isinstance(kernel, GatewayKernelManager)
    assert kernel.kernel_spec.display_name == ""
    await server.call("GET", "/api/kernelspecs")
    assert kernel.kernel_spec.display_name == "Fake python3"


async def test_kernelspecs_with_one_unreadable_show_the_others(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    spec = {"spec": {"display_name": "Good", "language": "x", "argv": []}}
    fake_gateway.fault(
        "GET",
        "/api/kernelspecs",
        Answer.json({"default": "good", "kernelspecs": {"bad": None, "good": spec}}),
    )
    answer = await server.call("GET", "/api/kernelspecs")
    assert list(answer.json["kernelspecs"]) == ["good"]
    assert answer.json["kernelspecs"]["good"]["resources"] == {}


async def test_kernelspecs_asked_during_close_answer_unavailable(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    specs = server.app.kernel_spec_manager
    assert isinstance(specs, GatewayKernelSpecManager)
    fake_gateway.fault("GET", "/api/kernelspecs", Hold(asyncio.Event()))
    asking = asyncio.create_task(specs.list_kernel_specs())
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to("GET", "/api/kernelspecs"))
    closing = asyncio.create_task(specs.close())
    await asyncio.sleep(0)  # it has begun
    late = await specs.list_kernel_specs()
    await closing
    for listed in (late, await asking):
        assert "unavailable" in listed


LEAVING = ("..", "%2e%2e", ".", "..%2f..%2fapi%2fkernels", "a%2F..%2Fb", "a%5Cb", "%2F", "%ff")


@pytest.mark.parametrize(
    "path",
    [
        *(f"/api/kernelspecs/{name}" for name in (*LEAVING, "python3%00", "python3%2F..", "%")),
        *(f"/kernelspecs/{name}/logo-64x64.png" for name in (*LEAVING, "python3%2F..", "%")),
        *(f"/kernelspecs/python3/{name}" for name in LEAVING),
    ],
)
async def test_kernelspec_name_leaving_its_folder_is_not_found(
    path: str, server: TestServer, fake_gateway: FakeGateway
) -> None:
    url = URL(server.url + path, encoded=True)  # else the client takes out the dots
    async with server.http.get(url) as response:
        assert response.status in {400, 404}
    asked = [request.path for request in fake_gateway.requests]
    assert all(one.startswith(("/api/kernelspecs/", "/kernelspecs/")) for one in asked)
    assert not any(".." in one.split("/") for one in asked)


# What the user allows, and chooses.

ALLOW_R = "--KernelSpecManager.allowed_kernelspecs=r"


@pytest.mark.parametrize(
    "option", [ALLOW_R, "--KernelSpecManager.whitelist=r",
               "--GatewayKernelSpecManager.allowed_kernelspecs=r"]
)  # fmt: skip
async def test_allowed_kernelspecs_when_set_hide_others_everywhere(
    option: str, fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    fake_gateway.kernelspecs[:] = ["python3", "r"]
    session = {"path": "a.ipynb", "name": "a.ipynb", "type": "notebook"}
    async with server_on(fake_gateway, tmp_path, argv=(option,)) as server:
        listed = (await server.call("GET", "/api/kernelspecs")).json
        assert list(listed["kernelspecs"]) == ["r"]
        assert listed["default"] == server.kernels.default_kernel_name == "r"
        assert (await server.call("GET", "/api/kernelspecs/r")).status == 200
        assert (await server.call("GET", "/kernelspecs/r/logo-64x64.png")).status == 200
        assert (await server.call("GET", "/api/kernelspecs/python3")).status == 404
        assert (await server.call("GET", "/kernelspecs/python3/logo-64x64.png")).status == 404
        for path, model in (
            ("/api/kernels", {"name": "python3"}),
            ("/api/sessions", {**session, "kernel": {"name": "python3"}}),
        ):
            answer = await server.call("POST", path, model)
            assert answer.status == 404
            assert "'python3' is not allowed on this server" in answer.json["message"]
        assert not fake_gateway.kernels
        assert (await server.call("POST", "/api/kernels")).json["name"] == "r"
        started = (await server.call("POST", "/api/sessions", session)).json
        assert started["kernel"]["name"] == "r"
        change = {"kernel": {"name": "python3", "id": None}}
        changed = await server.call("PATCH", f"/api/sessions/{started['id']}", change)
        assert changed.status == 404
    assert not [r for r in fake_gateway.requests if "python3" in r.path]


@takes_kernel_ids
async def test_attach_to_kernel_of_kernelspec_not_allowed_succeeds(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    kernel = fake_gateway.start_kernel()
    async with server_on(fake_gateway, tmp_path, argv=(ALLOW_R,)) as server:
        assert (await server.call("POST", "/api/kernels", {"kernel_id": kernel.id})).status == 201


@pytest.mark.parametrize(
    "option",
    [f"--{kind}.default_kernel_name=r" for kind in (
        "MappingKernelManager", "AsyncMappingKernelManager", "MultiKernelManager",
        "GatewayMappingKernelManager")] + ["--MappingKernelManager.default_kernel_name=python3"],
)  # fmt: skip
async def test_default_kernel_set_by_user_is_kept(
    option: str, fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    wanted = option.rpartition("=")[2]
    fake_gateway.kernelspecs[:] = ["first", "python3", "r"]
    async with server_on(fake_gateway, tmp_path, argv=(option,)) as server:
        for _ in range(2):
            listed = (await server.call("GET", "/api/kernelspecs")).json
            assert listed["default"] == server.kernels.default_kernel_name == wanted
        assert (await server.call("POST", "/api/kernels")).json["name"] == wanted


async def test_default_kernel_set_by_extension_is_kept(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    fake_gateway.kernelspecs[:] = ["first", "r"]
    assert (await server.call("GET", "/api/kernelspecs")).json["default"] == "first"
    server.kernels.default_kernel_name = "r"
    assert (await server.call("GET", "/api/kernelspecs")).json["default"] == "r"


async def test_default_kernel_not_set_follows_the_gateways(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    for names in (["a", "b"], ["b", "a"]):
        fake_gateway.kernelspecs[:] = names
        assert (await server.call("GET", "/api/kernelspecs")).json["default"] == names[0]
