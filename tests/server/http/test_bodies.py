"""Bodies of requests that are not what they must be: 400 and a sentence, on every route."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jupyter_relay.testing import FakeGateway
from tests.support.server import Answer, TestServer

KERNELS, SESSIONS = "/api/kernels", "/api/sessions"
SESSION = {"path": "a.ipynb", "type": "notebook", "kernel": {"name": "python3"}}
DEEP = b"[" * 100_000 + b"]" * 100_000


async def send(server: TestServer, method: str, path: str, body: bytes) -> Answer:
    """Make a request with this body."""
    async with server.http.request(method, server.url + path, data=body) as response:
        content = await response.read()
        return Answer(response.status, json.loads(content), content, response.headers)


def assert_refused(answer: Answer, caplog: pytest.LogCaptureFixture, *words: str) -> None:
    """It is a 400 that says these words in a sentence, and no traceback is in the log."""
    assert answer.status == 400, answer
    message = answer.json["message"]
    assert all(word in message for word in words), message
    assert message.endswith(".")
    assert "Traceback" not in caplog.text


@pytest.fixture(params=[("POST", KERNELS), ("POST", SESSIONS), ("PATCH", SESSIONS)], ids=str)
async def route(request: pytest.FixtureRequest, server: TestServer) -> tuple[str, str]:
    """Each route that takes a body."""
    method, path = request.param
    if method == "PATCH":
        session = (await server.call("POST", SESSIONS, SESSION)).json
        path += f"/{session['id']}"
    return method, path


async def test_body_that_is_no_object_is_refused(
    server: TestServer,
    fake_gateway: FakeGateway,
    caplog: pytest.LogCaptureFixture,
    route: tuple[str, str],
) -> None:
    asked = len(fake_gateway.requests)
    for body, words in (
        (b"{", "is not JSON"),
        (b'{"name": "\xff"}', "is not JSON"),
        (b"1" * 10_000, "is not JSON"),
        (DEEP, "nested too deeply"),
        (b'{"name": ' + DEEP + b"}", "nested too deeply"),
        (b"[]", "must be an object, and is a list"),
        (b'"text"', "must be an object, and is a text"),
        (b"0", "must be an object, and is a number"),
        (b"false", "must be an object, and is true or false"),
    ):
        assert_refused(await send(server, *route, body), caplog, words)
    assert len(fake_gateway.requests) == asked


@pytest.mark.parametrize("field", ["name", "path", "type", "kernel_id", "kernel.id", "kernel.name"])
async def test_body_field_that_is_no_text_is_refused(
    server: TestServer,
    fake_gateway: FakeGateway,
    caplog: pytest.LogCaptureFixture,
    route: tuple[str, str],
    field: str,
) -> None:
    asked = len(fake_gateway.requests)
    first, _, second = field.partition(".")
    for value in (7, True, ["x"], {"a": "b"}, "\ud800"):
        body = SESSION | {first: {second: value} if second else value}
        answer = await send(server, *route, json.dumps(body).encode())
        assert_refused(answer, caplog, f"'{second or first}'")
    assert len(fake_gateway.requests) == asked


@pytest.mark.parametrize("field", ["kernel", "notebook"])
async def test_body_field_that_is_no_object_is_refused(
    server: TestServer, caplog: pytest.LogCaptureFixture, route: tuple[str, str], field: str
) -> None:
    for value in (7, "text", ["x"], {"name": 7}):
        body = json.dumps(SESSION | {field: value}).encode()
        assert_refused(await send(server, *route, body), caplog, "The field ")


async def test_body_fields_that_are_null_are_taken_as_missing(server: TestServer) -> None:
    nothing = dict.fromkeys(("name", "path", "kernel_id"))
    assert (await server.call("POST", KERNELS, nothing)).status == 201
    assert (await send(server, "POST", KERNELS, b"null")).status == 201
    assert (await send(server, "POST", KERNELS, b"")).status == 201
    model = SESSION | {"kernel": None, "name": None, "notebook": None}
    session = await server.call("POST", SESSIONS, model)
    assert session.status == 201
    changed = await server.call("PATCH", f"{SESSIONS}/{session.json['id']}", {"kernel": None})
    assert changed.status == 200
    assert changed.json["kernel"]["id"] == session.json["kernel"]["id"]


@pytest.mark.parametrize("path", ["..", "../..", "a/../..", "../{name}", "/../", "../not-there/x"])
async def test_body_path_outside_root_tells_nothing_of_its_files(
    server: TestServer,
    fake_gateway: FakeGateway,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    path: str,
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    path = path.format(name=outside.name)
    answer = await server.call("POST", KERNELS, {"path": path})
    assert_refused(answer, caplog, f"The path {path!r} leads out of this server's files")
    assert not fake_gateway.requests_to("POST", KERNELS)
    of_session = await server.call("POST", SESSIONS, SESSION | {"path": path})
    assert of_session.status in {400, 404}
    missing = await server.call("POST", SESSIONS, SESSION | {"path": "../nowhere"})
    assert of_session.status == missing.status
    assert not fake_gateway.requests_to("POST", KERNELS)


async def test_body_path_within_root_becomes_kernel_working_directory(
    server: TestServer, fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "..dots").mkdir()
    for path, folder in (
        ("a/../a/b", root / "a" / "b"),
        ("a/not-there", root / "a"),
        ("..dots", root / "..dots"),
        ("", root),
        ("\0", root),
    ):
        kernel_id = await server.start_kernel(path=path)
        env = fake_gateway.kernels[kernel_id].env
        assert env["KERNEL_WORKING_DIR"] == str(folder)
