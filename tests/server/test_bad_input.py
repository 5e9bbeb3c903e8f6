"""What is wrong, from either side, is said in one sentence with a fitting status; life goes on."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from jupyter_relay.testing import Answer, FakeGateway, Reset, Silence
from jupyter_relay.testing.faults import Fault
from tests.support.server import Answer as Reply
from tests.support.server import TestServer, server_on

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def assert_says(reply: Reply, status: int, *words: str) -> None:
    """The reply has this status, and a sentence with these words in it."""
    assert reply.status == status, reply
    message = reply.json["message"]
    assert all(word in message for word in words), message
    assert "Unhandled" not in message
    assert "%s" not in message
    assert "%%" not in message
    assert "Traceback" not in message
    assert message.endswith(".")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/kernels/no-id", 404),
        ("GET", "/api/kernels/..%2f..%2fapi", 404),
        ("DELETE", "/api/kernels/no-id", 404),
        ("POST", "/api/kernels/no-id/restart", 404),
        ("GET", f"/api/kernels/{UNKNOWN}", 404),
        ("DELETE", f"/api/kernels/{UNKNOWN}", 404),
        ("POST", f"/api/kernels/{UNKNOWN}/restart", 404),
        ("POST", f"/api/kernels/{UNKNOWN}/interrupt", 404),
        ("GET", "/api/kernelspecs/a%2Fb", 404),
        ("GET", "/api/kernelspecs/..%2f..", 404),
        ("GET", "/api/kernelspecs/%25s", 404),
        ("GET", "/kernelspecs/python3/%2e%2e%2fkernel.json", 404),
        ("GET", "/kernelspecs/python3/..%2f..%2f..%2fetc%2fpasswd", 404),
        ("GET", "/kernelspecs/python3/", 404),
        ("GET", "/kernelspecs/..%2f/logo.png", 404),
    ],
)
async def test_request_with_impossible_name_or_id_is_not_found(
    server: TestServer, fake_gateway: FakeGateway, method: str, path: str, status: int
) -> None:
    reply = await server.call(method, path)
    assert reply.status == status
    assert b"Unhandled" not in reply.body
    assert not [request for request in fake_gateway.requests if ".." in request.path]
    assert await server.start_kernel()


async def test_kernelspec_file_with_name_that_is_no_utf8_is_a_bad_request(
    server: TestServer, caplog: pytest.LogCaptureFixture
) -> None:
    for path in ("/kernelspecs/%ff/x.png", "/kernelspecs/python3/%ff.png"):
        assert (await server.call("GET", path)).status == 400
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("session_id", ["%E2%98%83", "%ff"])
async def test_websocket_with_session_id_that_is_not_ascii_is_a_bad_request(
    server: TestServer, caplog: pytest.LogCaptureFixture, session_id: str
) -> None:
    kernel_id = await server.start_kernel()
    path = f"/api/kernels/{kernel_id}/channels?session_id={session_id}"
    assert (await server.call("GET", path)).status == 400
    assert not [record for record in caplog.records if record.exc_info]
    async with server.tab(kernel_id) as tab:
        assert await tab.run("still here") == "still here\n"


@pytest.mark.parametrize("kernel_id", ["../api", "no id", "a/b", "100%", UNKNOWN])
async def test_attach_to_invalid_or_unknown_kernel_id_is_not_found(
    server: TestServer, fake_gateway: FakeGateway, kernel_id: str
) -> None:
    assert_says(await server.call("POST", "/api/kernels", {"kernel_id": kernel_id}), 404, "kernel")
    assert len(fake_gateway.requests) == (kernel_id == UNKNOWN)
    assert (await server.call("GET", "/api/kernels")).json == []


@pytest.mark.parametrize("name", ["cobol", "a/b", "..", "50% off"])
async def test_start_of_unknown_kernelspec_is_not_found(server: TestServer, name: str) -> None:
    assert_says(await server.call("POST", "/api/kernels", {"name": name}), 404, "kernelspec")
    assert (await server.call("GET", "/api/kernels")).json == []


STARTS = ("POST", "/api/kernels")
READS = ("GET", "/api/kernelspecs/python3")


@pytest.mark.parametrize(
    ("request_", "fault", "status", "words"),
    [
        (READS, Answer.html("<h1>Log in</h1>"), 502, ["does not answer like", "a web page came"]),
        (
            STARTS,
            Answer.html("<h1>Log in</h1>", 200),
            502,
            ["does not answer like", "a web page came"],
        ),
        (READS, Answer(200, b"{nonsense"), 502, ["not JSON"]),
        (STARTS, Answer(201, b"{nonsense"), 502, ["not JSON"]),
        (READS, Answer.json([]), 502, ["kernelspec was expected"]),
        (STARTS, Answer.json({"name": "x"}, 201), 502, ["no id"]),
        (STARTS, Answer(302, headers={"Location": "/login"}), 502, ["302"]),
        (READS, Answer.json({"reason": "Forbidden", "message": ""}, 403), 403, ["token"]),
        (STARTS, Answer.json({"message": "", "reason": None}, 401), 401, ["token"]),
        (STARTS, Answer.json({"message": "quota of 3"}, 429), 429, ["quota of 3"]),
        (STARTS, Answer.html("Bad gateway", 502), 503, ["not available", "502"]),
        (STARTS, Answer.html("Time-out", 504), 504, ["504"]),
        (STARTS, Reset(), 503, ["cannot be reached"]),
        (STARTS, Silence(), 504, ["in time"]),
    ],
    ids=str,
)
async def test_request_with_wrong_gateway_answer_says_what_is_wrong(
    fake_gateway: FakeGateway,
    tmp_path: Path,
    request_: tuple[str, str],
    fault: Fault,
    status: int,
    words: list[str],
) -> None:
    argv = ("--GatewayClient.launch_timeout=0", "--GatewayClient.launch_timeout_pad=0.2",
            "--GatewayClient.request_timeout=0.2",
            "--GatewayClient.max_request_retries=0")  # fmt: skip
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        rule = fake_gateway.fault(*request_, fault)
        body = {"name": "python3"} if request_ is STARTS else None
        assert_says(await server.call(*request_, body), status, fake_gateway.url, *words)
        session = {"path": "a", "type": "notebook", "kernel": {"name": "python3"}}
        if request_ is STARTS:
            assert_says(await server.call("POST", "/api/sessions", session), status, *words)
        rule.lift()
        assert await server.start_kernel()


async def test_request_with_unreachable_gateway_says_so(tmp_path: Path) -> None:
    gateway = FakeGateway()
    with socket.socket() as taken:  # bound and not listening: connecting is refused
        taken.bind(("127.0.0.1", 0))
        gateway._port = taken.getsockname()[1]
        argv = ("--GatewayClient.max_request_retries=0",)
        async with server_on(gateway, tmp_path, argv=argv) as server:
            for method, path, body in ((*READS, None), (*STARTS, {"name": "python3"})):
                reply = await server.call(method, path, body)
                assert_says(reply, 503, gateway.url, "cannot be reached", "running")
            assert (await server.call("GET", "/api/kernels")).json == []
            assert (await server.call("GET", "/api/status")).status == 200


@pytest.mark.parametrize("action", ["restart", "interrupt"])
async def test_kernel_action_on_gone_kernel_is_not_found(
    server: TestServer, fake_gateway: FakeGateway, action: str
) -> None:
    kernel_id = await server.start_kernel()
    fake_gateway.lose_kernel(kernel_id)
    reply = await server.call("POST", f"/api/kernels/{kernel_id}/{action}")
    assert_says(reply, 404, f"has no kernel {kernel_id}")


async def test_restart_that_fails_shows_the_gateways_reason(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel_id = await server.start_kernel()
    fake_gateway.fault(
        "POST", "/api/kernels/*/restart", Answer.json({"reason": "no memory", "message": ""}, 500)
    )
    reply = await server.call("POST", f"/api/kernels/{kernel_id}/restart")
    assert_says(reply, 500, "no memory")


async def test_restart_of_gone_kernel_is_not_found_for_any_gateway_answer(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel_id = await server.start_kernel()
    fake_gateway.lose_kernel(kernel_id)
    fake_gateway.fault("POST", "/api/kernels/*/restart", Answer.html("Internal error", 500))
    reply = await server.call("POST", f"/api/kernels/{kernel_id}/restart")
    assert_says(reply, 404, f"has no kernel {kernel_id}")
    assert (await server.call("GET", f"/api/kernels/{kernel_id}")).json["execution_state"] == "dead"
