"""Every kind of failure: its error, its HTTP status, and a sentence that can be acted on.

Each is met twice: by a program that uses `Gateway`, and by a page that uses the server's REST API.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import trustme

from jupyter_relay.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    GatewayRefused,
    GatewayTimeout,
    GatewayUnavailable,
    HostNotFound,
    KernelNotFound,
    KernelSpecNotFound,
    KernelStartFailed,
    Redirected,
    RelayError,
    TLSFailed,
    TooManyRequests,
    UnexpectedAnswer,
)
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.testing import Answer, FakeGateway, FaultyProxy, Reset
from jupyter_relay.testing.faults import Fault
from jupyter_relay.wire.json import Json
from tests.support.gateway import settings_for
from tests.support.server import server_on

UNKNOWN = "00000000-0000-4000-8000-000000000000"
TRACE = 'Traceback (most recent call last):\n  File "launch.py", line 7\nOSError: a deep place\n'


@dataclass(frozen=True)
class At:
    """A gateway, or what stands in its place."""

    url: str
    token: str = "secret"


Place: TypeAlias = Callable[[], AbstractAsyncContextManager[At]]


def answering(fault: Fault | None) -> Place:
    """A gateway whose REST API has this fault."""

    @asynccontextmanager
    async def place() -> AsyncIterator[At]:
        async with FakeGateway() as gateway:
            if fault is not None:
                for path in ("/api/kernels", "/api/kernels/*", "/api/kernels/*/interrupt"):
                    gateway.fault("*", path, fault)
            yield At(gateway.url)

    return place


def saying(reply: bytes, context: ssl.SSLContext | None = None) -> Place:
    """A server that answers all with these bytes, over TLS with a context."""

    @asynccontextmanager
    async def place() -> AsyncIterator[At]:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(reply)
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            yield At(f"http{'s' if context else ''}://127.0.0.1:{port}")

    return place


def untrusted() -> ssl.SSLContext:
    """TLS with a certificate that nobody trusts."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


@asynccontextmanager
async def nowhere() -> AsyncIterator[At]:
    yield At("http://gateway.invalid")


@asynccontextmanager
async def closed() -> AsyncIterator[At]:
    async with FakeGateway() as gateway:
        url = gateway.url
    yield At(url)


@asynccontextmanager
async def black_hole() -> AsyncIterator[At]:
    async with FakeGateway() as gateway, FaultyProxy("127.0.0.1", gateway.port) as proxy:
        proxy.stall()
        yield At(proxy.url)


@asynccontextmanager
async def no_tls() -> AsyncIterator[At]:
    async with FakeGateway() as gateway:
        yield At(gateway.url.replace("http:", "https:"))


@dataclass(frozen=True)
class Kind:
    """One kind of failure: where it is met, asking for what, and what is then said.

    Where the answer is ``lost``, a start is looked for as long as a request may take.
    """

    name: str
    place: Place
    error: type[RelayError]
    status: int
    said: str
    todo: str
    model: dict[str, str] = field(default_factory=lambda: {"name": "python3"})
    lost: bool = False

    def __str__(self) -> str:
        return self.name


def told(status: int, **headers: str) -> Callable[..., Place]:
    def with_body(**body: Json) -> Place:
        answer = Answer.json(body, status)
        return answering(
            Answer(status, answer.body, answer.content_type, {**answer.headers, **headers})
        )

    return with_body


KINDS = [
    Kind("DNS", nowhere, HostNotFound, 503, "gateway.invalid is not known", "host name"),
    Kind("refused", closed, ConnectionFailed, 503, "reached: Connection refused.", "is running"),
    Kind(
        "reset", answering(Reset()), ConnectionFailed, 503, "cannot be reached", "is running",
        lost=True,
    ),
    Kind(
        "closed without an answer", saying(b""), ConnectionFailed, 503,
        "cannot be reached: the connection was closed without an answer.", "is running", lost=True,
    ),
    Kind(
        "half an answer", saying(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"),
        ConnectionFailed, 503, "cannot be reached: its answer was cut off, or cannot be read.",
        "is running",
        lost=True,
    ),
    Kind("certificate", saying(b"", untrusted()), TLSFailed, 503, "cannot be verified", "ca_certs"),
    Kind("no TLS", no_tls, TLSFailed, 503, "TLS with", "http://"),
    Kind(
        "timeout", black_hole, GatewayTimeout, 504, "in time", "answers at all", lost=True
    ),
    Kind("401", told(401)(reason="Expired"), AuthenticationFailed, 401, "Expired", "auth_token"),
    Kind("403", told(403)(message="Not you"), AuthenticationFailed, 403, "Not you", "auth_token"),
    Kind(
        "403 about the token", told(403)(message="Token is expired"), AuthenticationFailed, 403,
        "denied access (403): Token is expired", "Look at GatewayClient.auth_token",
    ),
    Kind(
        "403 of a limit", told(403)(reason="Forbidden", message="Resource Limit"),
        KernelStartFailed, 403, "refuses to start python3: Resource Limit.", "Shut down kernels",
    ),
    Kind(
        "403 of a quota", told(403)(message="pods is forbidden: exceeded quota: gpus"),
        KernelStartFailed, 403, "refuses to start python3: pods is forbidden: exceeded quota: gpus",
        "ask who runs the gateway",
    ),
    Kind(
        "403 of a user's limit",
        told(403)(
            message="A max kernels per user limit has been set to 1 and user 'ann' currently has 1 "
            "active and pending kernel."
        ),
        KernelStartFailed, 403, "refuses to start python3: A max kernels per user limit",
        "Shut down kernels",
    ),
    Kind(
        "403 of a prohibited id",
        told(403)(reason="Kernel's UID value of '0' has been denied: uid 0 is prohibited"),
        KernelStartFailed, 403, "refuses to start python3: Kernel's UID", "who runs the gateway",
    ),
    Kind(
        "403 of a user",
        told(403)(
            reason="User 'root' is not authorized to start kernel 'Python 3'. Ensure "
            "KERNEL_USERNAME is set to an appropriate value and retry the request."
        ),
        KernelStartFailed, 403, "refuses to start python3: User 'root' is not authorized",
        "forward_user",
    ),
    Kind(
        "a Hub's stopped server, asked as a page", answering(
            Answer(302, b"", "text/html", {"Location": "/hub/user/ann/api/kernels"})
        ),
        GatewayUnavailable, 503, "server of a JupyterHub, and is stopped (302)", "Hub's page",
    ),
    Kind(
        "a Hub's stopped server", told(424, **{"X-JupyterHub-Version": "5.2.1"})(
            message="JupyterHub server no longer running at /user/ann/"
        ),
        GatewayUnavailable, 503, "is stopped (424): JupyterHub server no longer running",
        "Hub's page",
    ),
    Kind(
        "a Hub's server that has died", answering(
            Answer.html("<title>\n JupyterHub</title><h1>503 : Service Unavailable</h1>", 503)
        ),
        GatewayUnavailable, 503, "is stopped (503)", "Hub's page",
    ),
    Kind(
        "a Hub's login", answering(
            Answer(302, b"", "text/html", {"Location": "/hub/login?next=%2Fhub%2Fuser%2Fann"})
        ),
        Redirected, 502, "redirects to /hub/login (302)", "auth_token",
    ),
    Kind(
        "404 kernel", answering(None), KernelNotFound, 404, f"has no kernel {UNKNOWN}",
        "start another", {"kernel_id": UNKNOWN},
    ),
    Kind(
        "unknown kernelspec", answering(None), KernelSpecNotFound, 404,
        "has no kernelspec 'cobol'", "one of those it lists", {"name": "cobol"},
    ),
    Kind(
        "429", told(429)(message="3 kernels are the most"), TooManyRequests, 429,
        "3 kernels are the most", "Try again later",
    ),
    Kind(
        "429 with a time", told(429, **{"Retry-After": "120"})(), TooManyRequests, 429,
        "is limiting requests", "Try again after 120 s",
    ),
    Kind(
        "quota", told(500)(reason="Quota of 4 GPUs exceeded", message=""), KernelStartFailed, 500,
        "Quota of 4 GPUs exceeded", "gateway's log",
    ),
    Kind(
        "no reason", told(500)(reason=None, message="Unhandled error"), KernelStartFailed, 500,
        "it answered 500", "gateway's log",
    ),
    Kind(
        "traceback", told(500)(reason="Internal Server Error", message=TRACE, traceback=TRACE),
        KernelStartFailed, 500, "it answered 500", "gateway's log",
    ),
    Kind(
        "503 with a reason", told(503)(reason="The cluster is full"), GatewayUnavailable, 503,
        "The cluster is full", "Try again later",
    ),
    Kind(
        "502 of a proxy", answering(Answer.html("<title>Bad&nbsp;\ngateway</title>", 502)),
        GatewayUnavailable, 503, "not available just now (502): Bad gateway", "Try again later",
        lost=True,
    ),
    Kind(
        "504 of a proxy", answering(Answer.html("", 504)), GatewayTimeout, 504,
        "did not wait for its answer (504)", "time-out is shorter", lost=True,
    ),
    Kind(
        "404 of a proxy", answering(Answer(404, b"no such backend", "text/plain")),
        UnexpectedAnswer, 502, "404 Not Found: no such backend", "URL is that of a gateway",
    ),
    Kind(
        "Latin-1 of a proxy",
        saying(
            "HTTP/1.1 403 Zugriff gesperrt für Sie\r\nContent-Type: text/html\r\n\r\n"
            "<title>Gesperrt für Sie</title>".encode("latin-1")
        ),
        AuthenticationFailed, 403, "(403): Gesperrt für Sie", "auth_token",
    ),
    Kind(
        "redirect to a login page",
        answering(
            Answer(302, b"", "text/html", {"Location": "https://u:p@login.example/sso?state=s3cr3t"})
        ),
        Redirected, 502, "redirects to login.example/sso (302)", "auth_token",
    ),
    Kind(
        "200 with HTML", answering(Answer.html("<title>Sign in</title>")), UnexpectedAnswer, 502,
        "a web page came: Sign in", "login page",
    ),
    *(
        Kind(
            f"200 with {body.decode() or 'nothing'}", answering(Answer(200, body)),
            UnexpectedAnswer, 502, said, "login page",
        )
        for body, said in (
            (b"", "the answer is empty"),
            (b"null", "it is null"),
            (b"[]", "it is a list"),
            (b"{}", "it has no id"),
            (b"{nonsense", "is not JSON"),
        )
    ),
]  # fmt: skip


def options(kind: Kind) -> dict[str, Any]:
    seconds = 0.3 if kind.lost else 30.0
    return {
        "launch_timeout": 0,
        "launch_timeout_pad": 0,
        "request_timeout": seconds,
        "max_request_retries": 0,
    }


def assert_told(text: str, kind: Kind, gateway: At) -> None:
    """The text has the gateway's name, what was said, and what to do; and no more than is fit."""
    assert gateway.url in text
    assert kind.said in text
    assert kind.todo in text
    assert text.endswith(".")
    for unfit in ("Traceback", "deep place", "%s", "NoneType", "Unhandled", "\n", "s3cr3t", "None"):
        assert unfit not in text


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_gateway_failing_for_a_program_raises_documented_error(kind: Kind) -> None:
    async with kind.place() as at:
        gateway = Gateway(settings_for(at.url, **options(kind)))
        kernel_id = kind.model.get("kernel_id")
        with pytest.raises(RelayError) as caught:
            await (
                gateway.kernel(kernel_id) if kernel_id else gateway.start_kernel(kind.model["name"])
            )
        await gateway.close()
        assert type(caught.value) is kind.error
        assert caught.value.gateway == at.url
        assert kind.todo in caught.value.hint
        assert_told(str(caught.value), kind, at)


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_server_with_failing_gateway_answers_documented_error(
    kind: Kind, tmp_path: Path
) -> None:
    argv = tuple(f"--GatewayClient.{name}={value}" for name, value in options(kind).items())
    async with kind.place() as at, server_on(at, tmp_path, argv=argv) as server:
        started = await server.call("POST", "/api/kernels", kind.model)
        assert started.status == kind.status, started
        assert_told(started.json["message"], kind, at)
        wanted = {"id": kind.model.get("kernel_id"), "name": kind.model.get("name")}
        session = await server.call(
            "POST", "/api/sessions", {"path": "a", "type": "notebook", "kernel": wanted}
        )
        assert (session.status, session.json["message"]) == (kind.status, started.json["message"])


async def test_traceback_from_gateway_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async with told(500)(message="Failed", traceback=TRACE.splitlines(keepends=True))() as at:
        gateway = Gateway(settings_for(at.url, max_request_retries=0))
        for _ in range(3):
            with pytest.raises(RelayError, match="Failed"):
                await gateway.interrupt_kernel("k1")
        await gateway.close()
    logged = [record for record in caplog.records if "a deep place" in record.getMessage()]
    assert len(logged) == 1
    assert logged[0].levelname == "WARNING"
    assert at.url in logged[0].getMessage()


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        (KernelSpecNotFound, Answer.json({"message": "Failed", "traceback": TRACE}, 500)),
        (AuthenticationFailed, Answer.json({"message": "Failed", "traceback": TRACE}, 403)),
        (TooManyRequests, Answer.json({"message": "Failed", "traceback": TRACE}, 429)),
        (UnexpectedAnswer, Answer(404, TRACE.encode(), "text/plain")),
    ],
)
async def test_traceback_of_understood_error_is_logged_at_debug_level(
    kind: type[RelayError], answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="jupyter_relay.gateway.requester")
    async with FakeGateway() as fake:
        fault = fake.fault("POST", "/api/kernels", answer)
        gateway = Gateway(settings_for(fake.url))
        with pytest.raises(kind):
            await gateway.start_kernel("cobol")
        assert levels(caplog) == ["DEBUG"]
        fault.lift()
        fake.fault("POST", "/api/kernels", Answer.json({"traceback": TRACE}, 500))
        with pytest.raises(KernelStartFailed):
            await gateway.start_kernel("python3")
        await gateway.close()
    assert levels(caplog) == ["DEBUG", "WARNING"]


def levels(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return at which levels the traceback was logged."""
    return [r.levelname for r in caplog.records if "a deep place" in r.getMessage()]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(404, b"404 Not Found", "text/plain"), "answered 404 Not Found, not as"),
        (Answer(404, b"404: Not Found", "text/plain"), "answered 404 Not Found, not as"),
        (
            Answer(404, b"404 page not found\n", "text/plain"),
            "404 Not Found: page not found, not as",
        ),
        (Answer.html("<title>404 Not Found</title>", 404), "answered 404 Not Found, not as"),
        (Answer.html("<title>Not Found</title>", 404), "answered 404 Not Found, not as"),
        (Answer.html("<title>409 Conflict</title>", 409), "answered 409 Conflict. The gateway's"),
        (Answer.html("<title>502 Bad Gateway</title>", 502), "just now (502): Bad Gateway."),
        (Answer.html("<title>403 Forbidden</title>", 403), "denied access (403): Forbidden."),
        (Answer.json({"message": "5000 kernels run."}, 500), "Error: 5000 kernels run."),
    ],
)
async def test_error_text_with_repeated_status_says_it_once(answer: Answer, said: str) -> None:
    async with answering(answer)() as at:
        gateway = Gateway(settings_for(at.url, max_request_retries=0))
        with pytest.raises(RelayError) as caught:
            await gateway.find_kernels(["k1"])
        await gateway.close()
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "quote",
    ["You sent {token}.", "Authorization: token {token}", "?token={token}&x", "{token}{token}"],
)
async def test_error_text_with_quoted_secret_hides_it(
    quote: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = "s3cr3t/+tok=en"
    said = quote.format(token=token)
    async with told(500)(reason=said, traceback=TRACE + said)() as at:
        gateway = Gateway(settings_for(at.url, auth_token=token, max_request_retries=0))
        with pytest.raises(GatewayRefused) as caught:
            await gateway.interrupt_kernel("k1")
        await gateway.close()
    assert token not in str(caught.value) + caught.value.reason + caplog.text
    assert "[secret]" in str(caught.value)


async def test_traceback_with_long_or_control_text_is_cut_and_cleaned(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with told(500)(traceback=TRACE + "y" * 50_000 + "\n\x1b[2J the end")() as at:
        gateway = Gateway(settings_for(at.url, max_request_retries=0))
        with pytest.raises(RelayError):
            await gateway.interrupt_kernel("k1")
        await gateway.close()
    (record,) = [record for record in caplog.records if "answered 500 with" in record.getMessage()]
    assert record.getMessage().endswith("[2J the end")
    assert "\x1b" not in record.getMessage()
    assert len(record.getMessage()) < 25_000


async def test_error_text_with_long_or_control_text_is_cut_and_cleaned() -> None:
    async with told(500)(reason="\x1b[31mred\x00 " + "x" * 10_000)() as at:
        gateway = Gateway(settings_for(at.url, max_request_retries=0))
        with pytest.raises(RelayError) as caught:
            await gateway.interrupt_kernel("k1")
        await gateway.close()
    assert "[31mred x" in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600
