"""Tokens of an OAuth2 server, from the server to the gateway."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import trustme
from aiohttp import web

from jupyter_relay.errors import AuthenticationFailed, CredentialsUnavailable
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.settings.kinds import Value
from jupyter_relay.testing import Answer, FakeGateway
from tests.support.gateway import CHANNELS, KERNELS, settings_for
from tests.support.oauth2_server import CLIENT_ID, REFRESH, SECRET, OAuth2Server


@pytest.fixture
async def server(fake_gateway: FakeGateway) -> AsyncIterator[OAuth2Server]:
    """A server; the gateway accepts its latest token."""
    fake_gateway.token = "none yet"

    def accept(token: str) -> None:
        fake_gateway.token = token

    async with OAuth2Server(on_issue=accept) as running:
        yield running


def gateway_of(fake: FakeGateway, server: OAuth2Server, **options: Value) -> Gateway:
    """A gateway whose tokens are that server's."""
    given: dict[str, Value] = {
        "auth_token": None,
        "oauth2_token_url": server.url,
        "oauth2_client_id": CLIENT_ID,
        "oauth2_client_secret": SECRET,
    }
    return Gateway(settings_for(fake.url, **given | options))


async def test_client_credentials(fake_gateway: FakeGateway, server: OAuth2Server) -> None:
    gateway = gateway_of(fake_gateway, server, oauth2_scope="a b", oauth2_audience="gpu")
    await asyncio.gather(*(gateway.kernelspecs() for _ in range(5)))
    await gateway.close()
    assert server.requests == [
        {"grant_type": "client_credentials", "scope": "a b", "audience": "gpu"}
    ]


async def test_oauth2_server_that_wants_the_client_in_the_body_gives_a_token(
    fake_gateway: FakeGateway, server: OAuth2Server
) -> None:
    server.shown_by = "body"
    gateway = gateway_of(fake_gateway, server)
    await gateway.kernelspecs()
    assert ["client_secret" in form for form in server.requests] == [False, True]
    fake_gateway.token = "another"
    await gateway.kernelspecs()
    await gateway.close()
    assert ["client_secret" in form for form in server.requests] == [False, True, True]


async def test_refresh_token_is_replaced_by_its_successors(
    fake_gateway: FakeGateway, server: OAuth2Server
) -> None:
    server.rotates = True
    gateway = gateway_of(fake_gateway, server, oauth2_refresh_token=REFRESH)
    for _ in range(3):
        fake_gateway.token = "another"
        await gateway.kernelspecs()
    await gateway.close()
    used = [form["refresh_token"] for form in server.requests]
    assert used == [REFRESH, "refresh-1", "refresh-2"]


async def test_public_client_with_a_refresh_token_needs_no_secret(
    fake_gateway: FakeGateway, server: OAuth2Server
) -> None:
    server.shown_by = "id"
    gateway = gateway_of(
        fake_gateway, server, oauth2_refresh_token=REFRESH, oauth2_client_secret=None
    )
    await gateway.kernelspecs()
    await gateway.close()
    assert server.requests == [
        {"grant_type": "refresh_token", "refresh_token": REFRESH, "client_id": CLIENT_ID}
    ]


@pytest.mark.parametrize("status", [401, 403])
async def test_start_refused_for_its_token_is_sent_again_with_a_fresh_one(
    status: int, fake_gateway: FakeGateway, server: OAuth2Server
) -> None:
    gateway = gateway_of(fake_gateway, server)
    await gateway.kernelspecs()
    fake_gateway.token, fake_gateway.unauthorized = "another", status
    await gateway.start_kernel("python3")
    await gateway.close()
    starts = fake_gateway.requests_to("POST", KERNELS)
    tokens = [start.headers["Authorization"] for start in starts]
    assert tokens == ["token token-1", "token token-2"]
    assert starts[0].body == starts[1].body
    assert len(fake_gateway.kernels) == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_handshake_refused_for_its_token_is_made_again_with_a_fresh_one(
    status: int, fake_gateway: FakeGateway, server: OAuth2Server
) -> None:
    kernel = fake_gateway.start_kernel()
    gateway = gateway_of(fake_gateway, server)
    await gateway.kernelspecs()
    fake_gateway.token, fake_gateway.unauthorized = "another", status
    socket = await gateway.connect(kernel.id, "me")
    await socket.close()
    await gateway.close()
    handshakes = fake_gateway.requests_to("GET", CHANNELS)
    tokens = [request.headers["Authorization"] for request in handshakes]
    assert tokens == ["token token-1", "token token-2"]


async def test_request_that_stays_forbidden_is_sent_twice_at_most_and_is_an_error(
    fake_gateway: FakeGateway, server: OAuth2Server
) -> None:
    fake_gateway.fault("GET", "/api/kernelspecs", Answer(403))
    gateway = gateway_of(fake_gateway, server)
    for _ in range(4):
        with pytest.raises(AuthenticationFailed):
            await gateway.kernelspecs()
    await gateway.close()
    assert server.issued == 2
    assert len(fake_gateway.requests) == 5


async def test_listing_that_is_forbidden_does_not_keep_a_kernel_from_being_found(
    fake_gateway: FakeGateway, server: OAuth2Server
) -> None:
    fake_gateway.list_kernels = False
    kernel = fake_gateway.start_kernel()
    gateway = gateway_of(fake_gateway, server)
    found = await gateway.find_kernels([kernel.id])
    await gateway.close()
    assert found[kernel.id] is not None


async def test_token_of_unknown_life_is_renewed_when_it_is_refused(
    fake_gateway: FakeGateway, server: OAuth2Server
) -> None:
    server.life = None
    gateway = gateway_of(fake_gateway, server)
    await gateway.kernelspecs()
    fake_gateway.token = "another"
    await gateway.kernelspecs()
    await gateway.close()
    assert server.issued == 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (web.json_response({"error": "invalid_scope"}, status=400), "refused (400): invalid_scope"),
        (web.Response(text="<h1>Welcome</h1>"), "without a JSON object"),
        (web.Response(status=302, headers={"Location": "/other"}), "answered 302"),
        (web.json_response([]), "without a JSON object"),
        (web.json_response({"token_type": "Bearer"}), "refused (200): missing_token"),
        (web.json_response({"access_token": 7, "token_type": "Bearer"}), "without a token"),
        (web.json_response({"access_token": "a\nb", "token_type": "Bearer"}), "line break"),
        (web.json_response({"access_token": "a", "expires_in": {}}), "none of OAuth2"),
    ],
    ids=str,
)
async def test_oauth2_server_that_gives_no_token_is_an_error(
    fake_gateway: FakeGateway, answer: web.Response, said: str
) -> None:
    async with OAuth2Server() as server:
        server.broken = answer
        gateway = gateway_of(fake_gateway, server)
        with pytest.raises(CredentialsUnavailable) as caught:
            await gateway.kernelspecs()
        await gateway.close()
    assert said in str(caught.value)
    assert fake_gateway.url in str(caught.value)
    assert "(oauth2_token_url)" in str(caught.value)
    assert fake_gateway.requests == []


async def test_oauth2_server_that_does_not_know_the_client_is_named_without_the_secret(
    fake_gateway: FakeGateway, server: OAuth2Server, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = gateway_of(fake_gateway, server, oauth2_client_id="somebody else")
    with pytest.raises(CredentialsUnavailable, match="invalid_client") as caught:
        await gateway.kernelspecs()
    await gateway.close()
    assert "oauth2_client_id" in caught.value.hint
    assert "is not good enough" in caplog.text
    assert SECRET not in caplog.text


async def test_oauth2_server_that_quotes_the_secret_in_another_form_is_named_without_it(
    fake_gateway: FakeGateway, server: OAuth2Server, caplog: pytest.LogCaptureFixture
) -> None:
    forms = [
        SECRET,
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        b64encode(SECRET.encode()).decode(),
    ]
    words = {"error": "invalid_grant", "error_description": "; ".join(forms) + "\x1b[2J"}
    server.broken = web.json_response(words, status=400)
    gateway = gateway_of(fake_gateway, server)
    with pytest.raises(CredentialsUnavailable) as caught:
        await gateway.kernelspecs()
    await gateway.close()
    told = f"{caught.value} {caplog.text}"
    assert "It said: [secret]; [secret]; [secret]; [secret]" in told
    assert [form for form in forms if form in told] == []


async def test_oauth2_server_that_answers_without_end_gives_no_token(
    fake_gateway: FakeGateway, server: OAuth2Server
) -> None:
    body = b'{"access_token": "a", "x": "' + b"x" * 1024 * 1024 + b'"}'
    server.broken = web.Response(body=body, content_type="application/json")
    gateway = gateway_of(fake_gateway, server)
    with pytest.raises(CredentialsUnavailable, match="far more than a token"):
        await gateway.kernelspecs()
    await gateway.close()


async def test_oauth2_server_that_is_away_is_an_error_and_is_used_once_it_returns(
    fake_gateway: FakeGateway, server: OAuth2Server
) -> None:
    gateway = gateway_of(fake_gateway, server)
    server.broken = web.Response(status=503)
    with pytest.raises(CredentialsUnavailable, match="answered 503"):
        await gateway.kernelspecs()
    server.broken = None
    await gateway.kernelspecs()
    await gateway.close()


async def test_refusal_after_a_failed_renewal_gives_the_reason_of_the_failure(
    fake_gateway: FakeGateway, server: OAuth2Server
) -> None:
    gateway = gateway_of(fake_gateway, server)
    await gateway.kernelspecs()
    fake_gateway.token = "another"
    server.broken = web.json_response({"error": "invalid_grant"}, status=400)
    with pytest.raises(AuthenticationFailed) as caught:
        await gateway.kernelspecs()
    await gateway.close()
    assert caught.value.status == 401
    assert "refused (400): invalid_grant" in caught.value.hint


@pytest.mark.parametrize("trusted", [True, False])
async def test_oauth2_server_is_verified_by_certificates_of_its_own(
    trusted: bool, fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    fake_gateway.token = "token-1"
    options: dict[str, Value] = {"validate_cert": False}  # of the gateway alone
    if trusted:
        options["oauth2_ca_certs"] = str(tmp_path / "ca.pem")
    async with OAuth2Server(tls=context) as server:
        gateway = gateway_of(fake_gateway, server, **options)
        if trusted:
            await gateway.kernelspecs()
        else:
            with pytest.raises(CredentialsUnavailable, match="cannot be verified"):
                await gateway.kernelspecs()
        await gateway.close()
    assert server.issued == trusted


def test_oauth2_without_oauthlib_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['oauthlib'] = None\n"
        "from jupyter_relay.config import GatewayClient\n"
        "options = GatewayClient(url='http://gpu', oauth2_token_url='https://id/token',"
        " oauth2_client_id='a', oauth2_client_secret='b')\n"
        "try: options.settings()\n"
        "except ValueError as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ConfigurationError")
    assert "jupyter-relay[oauth2]" in done.stdout
