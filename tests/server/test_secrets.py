"""No token, password or cookie is in a log, an event, an error, an answer or a `repr`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import traceback
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import quote, quote_plus

import aiohttp
import pytest
from jupyter_server.auth import Authorizer, User
from jupyter_server.base.handlers import JupyterHandler

from jupyter_relay.config import GatewayClient
from jupyter_relay.errors import RelayError
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.kernels.kernel import RemoteKernel
from jupyter_relay.rest.models import KernelModel
from jupyter_relay.settings.settings import GatewaySettings
from jupyter_relay.testing import Answer, FakeGateway, Reset, Silence
from jupyter_relay.testing.faults import Fault
from jupyter_relay.testing.servers import jupyter_server
from jupyter_relay.transport.aiohttp_transport import AiohttpTransport
from jupyter_relay.wire.json import Json
from tests.support.server import TOKEN as SERVER_TOKEN
from tests.support.server import remote_of, server_on

pytestmark = pytest.mark.long

TOKEN = "t0ken/of+the=gateway"
PASSWORD = "passw0rd/of+the=user"
HEADER = "h3ader/of+the=site"
COOKIE = "c00kie-of-the-gateway"
SERVERS_OWN = "own+t0ken/of=the-server"
SECRETS = (TOKEN, PASSWORD, HEADER, COOKIE, SERVERS_OWN)

SHOWN: Mapping[str, Mapping[str, str]] = {
    "token": {"AUTH_TOKEN": TOKEN},
    "password": {"HTTP_USER": "alice", "HTTP_PWD": PASSWORD},
    "bearer": {"AUTH_TOKEN": TOKEN, "AUTH_SCHEME": "Bearer"},
    "password in the URL": {"URL": f"http://alice:{quote(PASSWORD, safe='')}@{{host}}"},
    "token in the URL": {"URL": f"http://{{host}}/?token={quote(TOKEN, safe='')}"},
}
"""What the gateway is shown, as environment variables; ``{host}`` is where it is."""

OWN = {"token": SERVERS_OWN}
GIVES_A_COOKIE = Answer(
    body=b'{"name": "python3", "spec": {}, "resources": {}}',
    headers={"Set-Cookie": f"session={COOKIE}; Path=/"},
)
CONFIG = """
import logging
c.EventLogger.handlers = [logging.FileHandler("events.log")]
everything = {"level": "DEBUG", "handlers": ["console"]}
c.ServerApp.logging_config = {
    "handlers": {"console": {"level": "DEBUG"}}, "loggers": {"": everything}
}
"""


def forms(secret: str) -> Iterator[str]:
    """A secret as it may be written: plain, in a URL, in base64, alone or behind a user."""
    yield from (secret, quote(secret, safe=""), quote(secret), quote_plus(secret))
    for text in (secret, f"alice:{secret}", f"token {secret}", f"Bearer {secret}"):
        yield b64encode(text.encode()).decode().rstrip("=")


def told(text: str, secrets: Sequence[str] = SECRETS) -> list[str]:
    """The lines of a text that tell a secret."""
    wanted = [form for secret in secrets for form in forms(secret)]
    return [line for line in text.splitlines() if any(form in line for form in wanted)]


QUOTED_PASSWORD = f"Basic {b64encode(f'alice:{PASSWORD}'.encode()).decode()} is alice:{PASSWORD}"
QUOTED_TOKEN = f"Authorization: token {TOKEN}; ?token={quote(TOKEN, safe='')}"
QUOTED: Mapping[str, str] = {
    "token": QUOTED_TOKEN,
    "bearer": f"Authorization: Bearer {TOKEN}; {TOKEN}{TOKEN}",
    "password": QUOTED_PASSWORD,
    "password in the URL": f"{QUOTED_PASSWORD}, or alice:{quote(PASSWORD, safe='')}@",
    "token in the URL": QUOTED_TOKEN,
}
"""What a gateway that quotes its request would say of it."""


def failures(quoted: str) -> list[Fault]:
    """Every kind of failure that a gateway can answer with, and quote its request in."""
    quoted += f"; X-Site: {HEADER}"
    trace = f"Traceback (most recent call last):\n  File 'x'\nValueError: {quoted}\n"
    said: dict[str, Json] = {"reason": quoted, "message": quoted, "traceback": trace}
    page = f"<title>{quoted}</title>{trace}".encode()
    to = {"Location": f"https://alice:{quote(PASSWORD, safe='')}@login.example/?t={TOKEN}"}
    return [
        *(Answer.json(said, status) for status in (401, 403, 404, 409, 429, 500, 502, 503, 504)),
        *(Answer(status, page, "text/html") for status in (200, 403, 404, 500, 502)),
        *(Answer(200, body) for body in (b"", b"null", b"[]", b"{}", page)),
        Answer(500, trace.encode(), "text/plain"),
        Answer(302, b"", "text/html", to),
        Answer(429, quoted.encode(), "text/plain", {"Retry-After": quoted}),
        Reset(),
        Silence(),
    ]


@pytest.mark.parametrize("shown", SHOWN)
async def test_server_answers_and_log_with_failures_hold_no_secret(
    fake_gateway: FakeGateway, tmp_path: Path, shown: str
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "jupyter_server_config.py").write_text(CONFIG)
    options = {
        "URL": fake_gateway.url,
        "HEADERS": f'{{"X-Site": "{HEADER}"}}',
        "LAUNCH_TIMEOUT_PAD": "0.3",
        "REQUEST_TIMEOUT": "0.3",
        "CONNECT_TIMEOUT": "0.3",
        "RETRY_INTERVAL": "0.01",
        **SHOWN[shown],
    }
    options["URL"] = options["URL"].format(host=fake_gateway.url.removeprefix("http://"))
    env = {f"JUPYTER_GATEWAY_{name}": value for name, value in options.items()}
    env["KERNEL_LAUNCH_TIMEOUT"] = "0"
    fake_gateway.token = ""
    answers: list[str] = []
    async with (
        jupyter_server(token=SERVERS_OWN, env=env, directory=tmp_path) as server,
        aiohttp.ClientSession(server.url) as http,
    ):

        async def ask(method: str, path: str, model: object = None) -> Json:
            async with http.request(method, path, json=model, params=OWN) as response:
                answers.append(f"{response.headers} {await response.text()}")
                is_json = response.content_type == "application/json"
                value: Json = await response.json() if is_json else None
                return value

        given = fake_gateway.fault("GET", "/api/kernelspecs/*", GIVES_A_COOKIE)
        while not fake_gateway.requests:  # the first one waits for an import, perhaps in vain
            await ask("GET", "/api/kernelspecs/python3")
        given.lift()
        started = await ask("POST", "/api/kernels", {"name": "python3"})
        assert isinstance(started, dict), started
        kernel = f"/api/kernels/{started['id']}"
        assert COOKIE in fake_gateway.requests[-1].headers["Cookie"]
        async with http.ws_connect(f"{kernel}/channels", params=OWN):
            await fake_gateway.wait_for(lambda: fake_gateway.open_sockets)
            for failure in failures(f"{QUOTED[shown]}; Cookie: session={COOKIE}"):
                fault = fake_gateway.fault("*", "/*", failure)
                deep = [fake_gateway.fault("*", "/*" * n, failure) for n in (2, 3, 4)]
                fake_gateway.drop_sockets()
                await asyncio.gather(
                    ask("GET", "/api/kernelspecs"),
                    ask("GET", "/api/kernelspecs/python3"),
                    ask("GET", "/kernelspecs/python3/logo-64x64.png"),
                    ask("GET", "/api/kernels"),
                    ask("POST", "/api/kernels", {"name": "python3"}),
                    ask("POST", "/api/sessions", {"path": "a", "type": "x", "kernel": {}}),
                    ask("POST", f"{kernel}/interrupt"),
                    ask("POST", f"{kernel}/restart"),
                    ask("DELETE", kernel),
                )
                for rule in (fault, *deep):
                    rule.lift()
        fake_gateway.fault("DELETE", "/api/kernels/*", Answer.json({"reason": QUOTED[shown]}, 500))
        await ask("POST", "/api/kernels", {"name": "python3"})
        os.kill(server.pid, signal.SIGTERM)
        assert await asyncio.to_thread(server.process.wait, 30.0)
    log = server.log_path.read_text()
    events = (tmp_path / "work" / "events.log").read_text()
    assert "managed by the Gateway server running at:" in log
    assert f"] {fake_gateway.url}\n" in log
    assert "[D " in log
    assert "[secret]" in log
    assert "jupyter_relay/link" in events
    assert told(log) == []
    assert told(events) == []
    # A page of Jupyter Server has the server's own token in it, for who has shown it.
    assert told("\n".join(answers), SECRETS[:-1]) == []


async def test_objects_and_errors_shown_as_text_hold_no_secret(
    fake_gateway: FakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    address = fake_gateway.url.replace("://", f"://alice:{quote(PASSWORD, safe='')}@")
    given = {
        "url": f"{address}/?token={quote(TOKEN, safe='')}",
        "headers": f'{{"X-Site": "{HEADER}"}}',
    }
    impatient = {"launch_timeout": 0, "launch_timeout_pad": 0, "request_timeout": 0.3}
    settings = GatewaySettings.make(given | impatient | {"max_request_retries": 0}, {})
    assert (settings.credentials.auth_token, settings.credentials.http_pwd) == (TOKEN, PASSWORD)
    transport = AiohttpTransport(settings.transport)
    gateway = Gateway(settings, lambda _: transport)
    remote = RemoteKernel(gateway, KernelModel("k1", "python3"))
    errors: list[RelayError] = []
    asked = (
        gateway.kernelspecs,
        remote.refresh,
        partial(remote._upstream.open_socket, "s"),
        partial(gateway.start_kernel, "x"),
    )
    for failure in failures(QUOTED["token"])[:-1]:
        rules = [fake_gateway.fault("*", "/*" * n, failure) for n in (2, 3, 4)]
        for ask in asked:
            with pytest.raises(RelayError) as caught:
                await ask()
            errors.append(caught.value)
        for rule in rules:
            rule.lift()
    objects = (settings, transport, gateway, remote, GatewayClient(**given), *errors)
    assert told("\n".join(f"{shown!r} {shown}" for shown in objects)) == []
    assert told("\n".join(str(vars(error)) for error in errors)) == []
    assert told("\n".join("".join(traceback.format_exception(error)) for error in errors)) == []
    assert told(caplog.text) == []
    await remote.close()
    await gateway.close()


class RaisesAtOnce(Authorizer):
    """Fails whenever it is asked."""

    def is_authorized(self, _: JupyterHandler, __: User, ___: str, ____: str) -> bool:
        """Fail."""
        raise RuntimeError("nobody has foreseen this")


@pytest.mark.parametrize(
    "path",
    [
        "/api/kernels",
        "/api/kernels/00000000-0000-4000-8000-000000000000",
        "/api/kernels/00000000-0000-4000-8000-000000000000/channels",
        "/api/kernelspecs",
        "/kernelspecs/python3/logo-64x64.png",
        "/api/sessions",
    ],
)
async def test_unforeseen_error_when_logged_omits_server_token(
    fake_gateway: FakeGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    argv = (f"--ServerApp.authorizer_class={__name__}.RaisesAtOnce",)
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        answer = await server.call("GET", f"{path}?token={SERVER_TOKEN}")
    assert answer.status == 500
    assert f"Unexpected error at GET {path}" in caplog.text
    assert "RuntimeError: nobody has foreseen this" in caplog.text
    assert told(caplog.text, [SERVER_TOKEN]) == []


async def test_websocket_refused_when_logged_omits_server_token(
    fake_gateway: FakeGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with server_on(fake_gateway, tmp_path) as server:
        kernel_id = await server.start_kernel()
        remote_of(server, kernel_id).mark_gone("It was culled.")
        path = f"/api/kernels/{kernel_id}/channels"
        answer = await server.call("GET", f"{path}?token={SERVER_TOKEN}")
    assert answer.status == 404
    assert f"404 GET {path}: It was culled." in caplog.text
    assert told(caplog.text, [SERVER_TOKEN]) == []


async def test_kernelspecs_with_client_leaving_midway_log_no_traceback(
    fake_gateway: FakeGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    spec: Json = {"argv": [], "display_name": "x" * 2**20, "language": "python"}
    specs: Json = {f"k{n}": {"name": f"k{n}", "spec": spec} for n in range(24)}
    listed: Json = {"default": "k0", "kernelspecs": specs}
    fake_gateway.fault("GET", "/api/kernelspecs", Answer.json(listed))
    over = asyncio.Event()

    class Watch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "200 GET /api/kernelspecs" in record.getMessage():
                over.set()

    async with server_on(fake_gateway, tmp_path) as server:
        assert server.app.log is not None
        server.app.log.addHandler(watch := Watch())
        host, port = server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=2**10)
        request = f"GET /api/kernelspecs?token={SERVER_TOKEN} HTTP/1.1\r\nHost: {host}\r\n\r\n"
        writer.write(request.encode())
        assert b"200" in await reader.readline()
        writer.transport.abort()
        await over.wait()
        server.app.log.removeHandler(watch)
    assert "Traceback" not in caplog.text
    assert "StreamClosedError" not in caplog.text
    assert told(caplog.text, [SERVER_TOKEN]) == []
