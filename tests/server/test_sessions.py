"""Sessions: documents and their kernels."""

from __future__ import annotations

from jupyter_relay.testing import Answer, FakeGateway
from tests.support.server import TestServer
from tests.support.versions import takes_kernel_ids

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def model_of(path: str = "a.ipynb", **kernel: str) -> dict[str, object]:
    return {"path": path, "name": path, "type": "notebook", "kernel": kernel}


async def test_session_created_with_kernelspec_starts_kernel(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    fake_gateway.kernelspecs.append("ir")
    answer = await server.call("POST", "/api/sessions", model_of(name="ir"))
    assert answer.status == 201
    assert answer.json["path"] == "a.ipynb"
    assert fake_gateway.kernels[answer.json["kernel"]["id"]].name == "ir"
    assert (await server.call("GET", "/api/sessions")).json == [answer.json]
    assert (await server.call("POST", "/api/sessions", model_of())).json == answer.json


@takes_kernel_ids
async def test_session_created_with_running_kernel_id_attaches_to_it(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel = fake_gateway.start_kernel()
    answer = await server.call("POST", "/api/sessions", model_of(id=kernel.id))
    assert (answer.status, answer.json["kernel"]["id"]) == (201, kernel.id)
    assert not fake_gateway.requests_to("POST", "/api/kernels")


@takes_kernel_ids
async def test_session_created_with_unknown_kernel_id_is_an_error(server: TestServer) -> None:
    answer = await server.call("POST", "/api/sessions", model_of(id=UNKNOWN))
    assert answer.status == 404
    assert answer.json["message"].endswith(
        f"has no kernel {UNKNOWN}. It was culled or deleted there; start another."
    )
    assert (await server.call("GET", "/api/sessions")).json == []


async def test_session_created_with_unknown_kernelspec_is_an_error(server: TestServer) -> None:
    answer = await server.call("POST", "/api/sessions", model_of(name="cobol"))
    assert answer.status == 404
    assert "has no kernelspec 'cobol'." in answer.json["message"]


async def test_session_patched_with_path_and_name_is_moved_and_renamed(server: TestServer) -> None:
    session = (await server.call("POST", "/api/sessions", model_of())).json
    at = f"/api/sessions/{session['id']}"
    answer = await server.call("PATCH", at, {"path": "below/b.ipynb", "name": "b.ipynb"})
    assert answer.status == 200
    assert (answer.json["path"], answer.json["name"]) == ("below/b.ipynb", "b.ipynb")
    assert answer.json["kernel"]["id"] == session["kernel"]["id"]


async def test_session_patched_with_kernel_changes_its_kernel(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    fake_gateway.kernelspecs.append("ir")
    session = (await server.call("POST", "/api/sessions", model_of())).json
    answer = await server.call(
        "PATCH", f"/api/sessions/{session['id']}", {"kernel": {"name": "ir"}}
    )
    assert answer.status == 200
    assert [kernel.name for kernel in fake_gateway.kernels.values()] == ["ir"]
    assert answer.json["kernel"]["id"] in fake_gateway.kernels


async def test_session_patched_with_unknown_kernelspec_keeps_its_kernel(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    session = (await server.call("POST", "/api/sessions", model_of())).json
    at = f"/api/sessions/{session['id']}"
    answer = await server.call("PATCH", at, {"kernel": {"name": "cobol"}})
    assert answer.status == 404
    assert "has no kernelspec 'cobol'." in answer.json["message"]
    assert list(fake_gateway.kernels) == [session["kernel"]["id"]]
    assert (await server.call("GET", at)).json["kernel"]["id"] == session["kernel"]["id"]


async def test_session_deleted_deletes_its_kernel(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    session = (await server.call("POST", "/api/sessions", model_of())).json
    assert (await server.call("DELETE", f"/api/sessions/{session['id']}")).status == 204
    assert not fake_gateway.kernels
    assert (await server.call("GET", "/api/sessions")).json == []


async def test_session_whose_kernel_is_culled_ends_without_request(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    culled = (await server.call("POST", "/api/sessions", model_of())).json
    kept = (await server.call("POST", "/api/sessions", model_of("b.ipynb"))).json
    fake_gateway.lose_kernel(culled["kernel"]["id"])
    await server.call("GET", "/api/kernels")
    asked = len(fake_gateway.requests)
    sessions = (await server.call("GET", "/api/sessions")).json
    assert [session["id"] for session in sessions] == [kept["id"]]
    assert (await server.call("GET", f"/api/sessions/{culled['id']}")).status == 404
    assert len(fake_gateway.requests) == asked


async def test_session_whose_kernel_link_finds_gone_ends(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    server.kernels.farewell_seconds = 0.0
    session = (await server.call("POST", "/api/sessions", model_of())).json
    async with server.tab(session["kernel"]["id"]) as tab:
        await tab.run("1")
        fake_gateway.lose_kernel(session["kernel"]["id"], close=1001)
        await tab.to_the_end()
    assert (await server.call("GET", "/api/sessions")).json == []


async def test_session_while_gateway_is_down_is_kept(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    session = (await server.call("POST", "/api/sessions", model_of())).json
    fake_gateway.fault("*", "/api/*", Answer.html("", 503))
    sessions = (await server.call("GET", "/api/sessions")).json
    assert [listed["id"] for listed in sessions] == [session["id"]]
