"""What pages say is cut and cleaned before it stands in a log or in an error."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from urllib.parse import quote

import pytest

from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.rest.users import NotebookUser
from jupyter_relay.testing import FakeGateway
from tests.support.gateway import settings_for
from tests.support.server import TestServer, server_on

LONG = "A" * 100_000
IN_A_URL = "A" * 50_000
"""Tornado reads no more than 64 KiB of a request's line and headers, and closes the connection."""

CONTROLS = "\x1b[31m\r\n[E evil] \u202e\x00"

MOST = 1_500
"""How many characters a line of the log, or an error, has at the most."""

SESSION = {"path": "a.ipynb", "type": "notebook", "name": ""}
NO_KERNEL = f"/api/kernels/a-b-c-d-{IN_A_URL}"
NO_SESSION = f"/api/sessions/a-b-c-d-{IN_A_URL}"

BY_URL = [
    ("GET", f"/api/kernelspecs/{IN_A_URL}"),
    ("GET", f"/api/kernelspecs/{quote(CONTROLS)}"),
    ("GET", f"/kernelspecs/{IN_A_URL}/logo-64x64.png"),
    ("GET", f"/kernelspecs/{quote(CONTROLS)}/logo-64x64.png"),
    ("GET", f"/kernelspecs/python3/{IN_A_URL}"),
    ("GET", f"/kernelspecs/python3/{'a/' * 25_000}a"),
    ("GET", f"/kernelspecs/python3/{quote(CONTROLS)}"),
    ("GET", f"/api/kernels/{IN_A_URL}"),
    ("GET", NO_KERNEL),
    ("DELETE", NO_KERNEL),
    ("POST", f"{NO_KERNEL}/interrupt"),
    ("POST", f"{NO_KERNEL}/restart"),
    ("GET", f"{NO_KERNEL}/channels"),
    ("GET", NO_SESSION),
    ("DELETE", NO_SESSION),
    ("PATCH", NO_SESSION),
]

BY_BODY = [
    ("POST", "/api/kernels", {"name": LONG}),
    ("POST", "/api/kernels", {"name": CONTROLS}),
    ("POST", "/api/kernels", {"kernel_id": LONG}),
    ("POST", "/api/kernels", {"kernel_id": CONTROLS}),
    ("POST", "/api/sessions", SESSION | {"kernel": {"name": LONG}}),
    ("POST", "/api/sessions", SESSION | {"kernel": {"name": CONTROLS}}),
    ("POST", "/api/sessions", SESSION | {"kernel": {"id": LONG}}),
    ("POST", "/api/sessions", SESSION | {"kernel": {"id": CONTROLS}}),
]

IN_A_HEADER = ("Accept", "Accept-Encoding", "Content-Type", "If-None-Match", "Origin", "Referer",
               "User-Agent", "X-Forwarded-For", "X-Requested-With")  # fmt: skip


def long_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines that are too long; those of Jupyter Server's access log are, with whole URLs."""
    ours = [record for record in caplog.records if record.funcName != "log_request"]
    return [text[:300] for text in map(logging.Formatter().format, ours) if len(text) > MOST]


def dirty_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines of ours with characters in them that a terminal obeys, that break a line, or that
    are not seen."""
    ours = [record for record in caplog.records if "/jupyter_relay/" in record.pathname]
    lines = [record.getMessage() for record in ours]
    return [line[:300] for line in lines if not line.isprintable()]


@pytest.fixture
def logged(server: TestServer, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Everything that the server logs, from its first request on."""
    server.app.log.setLevel(logging.DEBUG)
    logging.getLogger("jupyter_relay").setLevel(logging.DEBUG)
    caplog.set_level(logging.DEBUG)
    caplog.clear()
    return caplog


async def test_request_with_long_or_unclean_name_is_not_found_and_name_is_cut(
    server: TestServer, fake_gateway: FakeGateway, logged: pytest.LogCaptureFixture
) -> None:
    wrong = []
    asked = [(*way, None) for way in BY_URL] + BY_BODY
    for method, path, body in asked:
        sent = {"kernel": {"name": LONG}} if method == "PATCH" else body
        reply = await server.call(method, path, sent)
        # Of a page of HTML most is Jupyter Server's own.
        is_page = reply.headers["Content-Type"].startswith("text/html")
        if reply.status != 404 or len(reply.body) > MOST + 3_000 * is_page:
            wrong.append((method, path[:60], reply.status, len(reply.body), reply.body[:200]))
    assert wrong == []
    assert long_lines(logged) == []
    assert dirty_lines(logged) == []
    assert {request.path for request in fake_gateway.requests} <= {"/api/kernelspecs"}
    assert (await server.call("GET", "/api/kernels")).json == []
    assert await server.start_kernel()


async def test_session_patched_with_long_or_unclean_kernel_id_cuts_it(
    server: TestServer, logged: pytest.LogCaptureFixture
) -> None:
    session = (await server.call("POST", "/api/sessions", SESSION)).json
    for kernel_id in (LONG, CONTROLS):
        path = f"/api/sessions/{session['id']}"
        reply = await server.call("PATCH", path, {"kernel": {"id": kernel_id}})
        assert (reply.status, len(reply.body) < MOST) == (400, True), reply.body[:300]
    assert long_lines(logged) == []
    assert dirty_lines(logged) == []


async def test_session_with_long_document_texts_is_made_and_they_are_not_logged(
    server: TestServer, logged: pytest.LogCaptureFixture
) -> None:
    """Jupyter Server's own sessions take any."""
    for field in ("path", "name", "type"):
        model = SESSION | {"path": field} | {field: LONG}
        reply = await server.call("POST", "/api/sessions", model)
        assert (reply.status, reply.json[field]) == (201, LONG)
    reply = await server.call("POST", "/api/kernels", {"path": LONG, "env": {"KERNEL_A": LONG}})
    assert reply.status == 201
    assert long_lines(logged) == []


@pytest.mark.parametrize("header", IN_A_HEADER)
async def test_request_with_long_header_does_not_log_it(
    server: TestServer, logged: pytest.LogCaptureFixture, header: str
) -> None:
    given = {header: IN_A_URL}
    async with server.http.get(f"{server.url}/api/kernels/a-b-c-d-e", headers=given) as response:
        assert response.status < 500
        assert len(await response.read()) < MOST
    assert long_lines(logged) == []


@pytest.mark.parametrize("legacy", [True, False])
async def test_websocket_with_long_or_unclean_message_logs_it_cut(
    server: TestServer, logged: pytest.LogCaptureFixture, legacy: bool
) -> None:
    kernel_id = await server.start_kernel()
    head = {"msg_id": LONG, "msg_type": LONG, "session": LONG, "username": LONG}
    parts = {"header": head, "parent_header": {}, "metadata": {}, "content": {}, "buffers": []}
    texts: list[str] = [LONG, CONTROLS, json.dumps(LONG), json.dumps(CONTROLS)]
    texts += [json.dumps(parts | {"channel": said}) for said in (LONG, CONTROLS, "shell", "stdin")]
    headers: list[object] = [LONG, [], {}]
    texts += [json.dumps(parts | {"channel": "shell", "header": header}) for header in headers]
    for number, said in enumerate(texts):  # in each websocket the first one is logged
        async with server.tab(kernel_id, f"{number}{IN_A_URL}", legacy=legacy) as tab:
            await tab.websocket.send_str(said)
            await tab.websocket.send_bytes(said.encode())
            await tab.run("1")
    assert any("was skipped" in record.getMessage() for record in logged.records)
    assert long_lines(logged) == []
    assert dirty_lines(logged) == []


async def test_websocket_with_long_type_not_allowed_logs_it_cut(
    fake_gateway: FakeGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    argv = ("--MappingKernelManager.allowed_message_types=execute_request",)
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        kernel_id = await server.start_kernel()
        parts = {"parent_header": {}, "metadata": {}, "content": {}, "channel": "shell"}
        for msg_type in (LONG, CONTROLS):
            async with server.tab(kernel_id, legacy=True) as tab:
                head = {"msg_id": "1", "msg_type": msg_type, "session": "a"}
                await tab.websocket.send_json(parts | {"header": head})
                await tab.run("1")
    assert "is not among the allowed_message_types" in caplog.text
    assert long_lines(caplog) == []
    assert dirty_lines(caplog) == []


async def test_kernel_start_with_long_protected_variables_logs_names_cut(
    fake_gateway: FakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = Gateway(settings_for(fake_gateway.url, protected_envs="KERNEL_*"))
    env = {f"KERNEL_{number}{said}": "1" for number in range(500) for said in (LONG, CONTROLS)}
    await gateway.start_kernel("python3", env=env, user=NotebookUser("ann"))
    await gateway.close()
    assert "and 990 more: not sent to kernels" in caplog.text
    assert long_lines(caplog) == []
    assert dirty_lines(caplog) == []


async def test_websocket_with_unknown_subprotocol_does_not_log_it(
    server: TestServer, logged: pytest.LogCaptureFixture
) -> None:
    kernel_id = await server.start_kernel()
    url = f"{server.url}/api/kernels/{kernel_id}/channels"
    async with server.http.ws_connect(url, protocols=(IN_A_URL,)) as websocket:
        assert websocket.protocol is None
    assert long_lines(logged) == []
