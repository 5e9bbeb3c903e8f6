"""What we show a gateway, and that nobody else sees it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from jupyter_relay.errors import GatewayRefused, Redirected
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.settings.kinds import Value
from jupyter_relay.settings.settings import GatewaySettings
from jupyter_relay.testing import (
    Answer,
    FakeGateway,
    Reset,
    Silence,
)
from jupyter_relay.testing.faults import Fault
from tests.support.errors import shown
from tests.support.gateway import CHANNELS, settings_for

KERNELSPECS = "/api/kernelspecs"


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        ({}, "Authorization", "token secret"),
        ({"auth_scheme": "Bearer"}, "Authorization", "Bearer secret"),
        ({"auth_scheme": None}, "Authorization", "secret"),
        ({"auth_header_key": "X-Token"}, "X-Token", "token secret"),
        ({"headers": '{"authorization": "mine"}'}, "Authorization", "mine"),
        ({"auth_token": None, "http_user": "u", "http_pwd": "p"}, "Authorization", "Basic dTpw"),
        ({"headers": '{"X-More": "yes"}'}, "X-More", "yes"),
    ],
)
async def test_headers(
    fake_gateway: FakeGateway, options: dict[str, str | None], name: str, value: str
) -> None:
    fake_gateway.token = ""
    gateway = Gateway(settings_for(fake_gateway.url, **options))
    await gateway.kernelspecs()
    await gateway.close()
    assert fake_gateway.requests[0].headers[name] == value


PASSWORD = {"http_user": "u", "http_pwd": "p"}
BASIC = "Basic dTpw"


@pytest.mark.parametrize("source", ["static", "file", "url"])
@pytest.mark.parametrize("asked", ["request", "handshake"])
async def test_token_in_a_header_of_its_own_is_sent_beside_user_and_password(
    source: str,
    asked: str,
    fake_gateway: FakeGateway,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fake_gateway.token = ""
    (tmp_path / "token").write_text("secret")
    options: dict[str, Value] = {"auth_header_key": "X-Token", **PASSWORD}
    url = fake_gateway.url
    match source:
        case "file":
            options |= {"auth_token": None, "auth_token_file": str(tmp_path / "token")}
        case "url":
            url = url.replace("://", "://u:p@") + "?token=secret"
            options = {"auth_header_key": "X-Token", "auth_token": None}
    gateway = Gateway(settings_for(url, **options))
    if asked == "handshake":
        socket = await gateway.connect(fake_gateway.start_kernel().id, "a")
        await socket.close()
    else:
        await gateway.kernelspecs()
    await gateway.close()
    headers = fake_gateway.requests[0].headers
    assert (headers["X-Token"], headers["Authorization"]) == ("token secret", BASIC)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_refusal_names_the_token_and_the_password_where_both_are_shown(
    fake_gateway: FakeGateway,
) -> None:
    fake_gateway.fault("GET", KERNELSPECS, Answer(401))
    gateway = Gateway(settings_for(fake_gateway.url, auth_header_key="X-Token", **PASSWORD))
    with pytest.raises(GatewayRefused) as caught:
        await gateway.kernelspecs()
    await gateway.close()
    assert (
        "Look at GatewayClient.auth_token and GatewayClient.http_user and GatewayClient.http_pwd,"
        in caught.value.hint
    )
    assert "dTpw" not in shown(caught.value)


@pytest.mark.parametrize(
    ("options", "sent", "said"),
    [
        (
            PASSWORD,
            "token secret",
            (
                "GatewayClient.auth_token is sent, and not GatewayClient.http_user and "
                "GatewayClient.http_pwd; both need the header Authorization, unless "
                "GatewayClient.auth_header_key names another for the token."
            ),
        ),
        (
            {"headers": '{"authorization": "mine"}', "auth_token": None, **PASSWORD},
            "mine",
            (
                "The header Authorization in GatewayClient.headers is sent, and not "
                "GatewayClient.http_user and GatewayClient.http_pwd."
            ),
        ),
        (
            {"headers": '{"authorization": "mine"}'},
            "mine",
            (
                "The header Authorization in GatewayClient.headers is sent, and not the token of "
                "GatewayClient.auth_token."
            ),
        ),
        (
            {"headers": '{"authorization": "mine"}', "auth_token": None, "auth_token_env": "T"},
            "mine",
            (
                "The header Authorization in GatewayClient.headers is sent, and not the token "
                "of the variable T (auth_token_env)."
            ),
        ),
        (
            {"http_pwd": "p"},
            "token secret",
            "GatewayClient.http_pwd is not sent, since GatewayClient.http_user is not set.",
        ),
    ],
)
async def test_setting_that_is_set_and_not_sent_is_logged_in_one_line(
    options: dict[str, Value],
    sent: str,
    said: str,
    fake_gateway: FakeGateway,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fake_gateway.token = ""
    gateway = Gateway(settings_for(fake_gateway.url, **options))
    await gateway.kernelspecs()
    await gateway.kernelspecs()
    await gateway.close()
    assert {r.headers["Authorization"] for r in fake_gateway.requests} == {sent}
    lines = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert lines == [f"{gateway.name}: {said}"]


HEADERS = '{"authorization": "mine"}'
RENEWER = "mine.Renewer"
VARIABLE = {"MY_TOKEN": "not-it"}


def renew(key: str, scheme: str | None, token: str) -> str:
    """A renewer that has one token."""
    return "not-it"


@pytest.mark.parametrize(
    ("given", "variables", "named"),
    [
        ({"auth_token": "not-it"}, (), "Look at GatewayClient.auth_token, and"),
        ({"auth_token": "not-it"}, ("auth_token",), "Look at JUPYTER_GATEWAY_AUTH_TOKEN, and"),
        ({"url": "?token=not-it"}, (), "Look at the token in GatewayClient.url, and"),
        ({"url": "?token=not-it"}, ("url",), "Look at the token in JUPYTER_GATEWAY_URL, and"),
        ({"auth_token_env": "MY_TOKEN"}, (), "the token from the variable MY_TOKEN (auth_token_e"),
        ({"auth_token_file": "{file}"}, (), "the token from the file {file} (auth_token_file)"),
        (
            {"auth_token_command": ("echo", "not-it")},
            (),
            "the token from the command echo (auth_token_command)",
        ),
        (
            {"gateway_token_renewer_class": RENEWER},
            (),
            "the token from mine.Renewer (gateway_token_renewer_class)",
        ),
        (
            {"http_user": "u", "http_pwd": "not-it"},
            ("http_pwd",),
            "Look at GatewayClient.http_user and JUPYTER_GATEWAY_HTTP_PWD, and",
        ),
        ({"headers": HEADERS}, (), "the header Authorization in GatewayClient.headers, and"),
        (
            {"headers": HEADERS, "http_user": "u", "http_pwd": "not-it"},
            ("headers",),
            "the header Authorization in JUPYTER_GATEWAY_HEADERS, and",
        ),
        ({}, (), "No token was sent; set auth_token, or a source of tokens."),
    ],
)
@pytest.mark.parametrize("status", [401, 403, 302])
async def test_refusal_names_what_was_shown_by_where_it_comes_from(
    fake_gateway: FakeGateway,
    tmp_path: Path,
    given: dict[str, Value],
    variables: tuple[str, ...],
    named: str,
    status: int,
) -> None:
    file = tmp_path / "token"
    file.write_text("not-it")
    fake_gateway.fault("GET", KERNELSPECS, Answer(status, headers={"Location": "/login"}))
    texts = {key: str(value).format(file=file) for key, value in given.items() if key != "headers"}
    options = {**given, **{k: v for k, v in texts.items() if isinstance(given[k], str)}}
    options["url"] = fake_gateway.url + texts.get("url", "")
    gateway = Gateway(GatewaySettings.make(options, VARIABLE, renew=renew, variables=variables))
    with pytest.raises((GatewayRefused, Redirected)) as caught:
        await gateway.kernelspecs()
    await gateway.close()
    wanted = named.format(file=file).removesuffix(", and")
    if status == 302:
        wanted = wanted.removeprefix("Look at ").removeprefix("No token was sent; ")
        wanted = wanted.removesuffix(", or a source of tokens.")
    assert wanted in caught.value.hint
    assert "not-it" not in shown(caught.value)


@pytest.mark.parametrize("token", [None, "", "  ", "\n"])
async def test_empty_token_sends_no_header(fake_gateway: FakeGateway, token: str | None) -> None:
    fake_gateway.token = ""
    gateway = Gateway(settings_for(fake_gateway.url, auth_token=token))
    await gateway.kernelspecs()
    await gateway.close()
    assert "Authorization" not in fake_gateway.requests[0].headers


@pytest.mark.parametrize(
    "fault",
    [
        *(Answer(status) for status in (200, 302, 401, 403, 404, 409, 500, 502, 504)),
        Answer(302, headers={"Location": "/api/kernels/k1"}),
        Answer.html("<html>"),
        Answer(body=b"{"),
        Reset(),
        Silence(),
    ],
    ids=lambda fault: type(fault).__name__ + str(getattr(fault, "status", "")),
)
async def test_secrets_are_in_no_error_and_no_log(
    fake_gateway: FakeGateway, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fake_gateway.fault("*", "/*/*", fault)
    fake_gateway.fault("*", "/*/*/*", fault)
    fake_gateway.fault("*", CHANNELS, fault)
    secret = "hunter2"
    url = fake_gateway.url.replace("http://", f"http://ann:{secret}@") + f"?token={secret}"
    gateway = Gateway(
        settings_for(
            url,
            auth_token=None,
            headers=f'{{"X-Key": "{secret}"}}',
            request_timeout=0.05,
            handshake_timeout=0.05,
            launch_timeout=0,
            launch_timeout_pad=0,
            max_request_retries=0,
        )
    )
    asked = (
        gateway.start_kernel("python3", env={"KERNEL_KEY": secret}),
        gateway.kernel("k1"),
        gateway.kernelspecs(),
        gateway.kernelspec("r"),
        gateway.restart_kernel("k1"),
        gateway.shutdown_kernel("k1"),
        gateway.connect("k1", "me"),
    )
    answers = await asyncio.gather(*asked, return_exceptions=True)
    await gateway.close()
    seen = [shown(error) for error in answers if isinstance(error, BaseException)]
    assert seen
    for text in (*seen, caplog.text, repr(gateway.settings)):
        assert secret not in text
