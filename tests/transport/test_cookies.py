"""Cookies that a gateway, or a load balancer before it, sets; and the pair that stops forgeries."""

from __future__ import annotations

import asyncio

import pytest

from jupyter_relay.errors import AuthenticationFailed
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.settings.kinds import Value
from jupyter_relay.testing import Answer, FakeGateway
from jupyter_relay.testing.servers import jupyter_server
from tests.support.gateway import CHANNELS, KERNELS, settings_for
from tests.support.round_trip import round_trip

SPECS = "/api/kernelspecs"


def cookies(fake: FakeGateway, method: str, path: str) -> dict[str, str]:
    """The cookies of the last such request."""
    sent = fake.requests_to(method, path)[-1].headers.get("Cookie", "")
    return dict(part.split("=", 1) for part in sent.split("; ") if part)


async def ask(fake: FakeGateway, set_cookie: str, **options: Value) -> None:
    """Let a gateway set a cookie; then make a request, open a websocket and start a kernel."""
    answer = Answer(404, headers={"Set-Cookie": set_cookie})
    fake.fault("GET", "/kernelspecs/*/*", answer, times=1)
    gateway = Gateway(settings_for(fake.url, **options))
    await gateway.kernelspec_resource("python3", "logo.png")
    await gateway.kernelspecs()
    socket = await gateway.connect(fake.start_kernel().id, "me")
    await gateway.start_kernel("python3")
    await socket.close()
    await gateway.close()


async def test_cookie_of_a_response_goes_with_requests_and_websockets(
    fake_gateway: FakeGateway,
) -> None:
    await ask(fake_gateway, "node=7; Path=/")
    for method, path in (("GET", SPECS), ("GET", CHANNELS), ("POST", KERNELS)):
        assert cookies(fake_gateway, method, path)["node"] == "7"


async def test_cookie_of_a_handshake_goes_with_requests(fake_gateway: FakeGateway) -> None:
    fake_gateway.fault("GET", CHANNELS, Answer(403, headers={"Set-Cookie": "node=7; Path=/"}))
    gateway = Gateway(settings_for(fake_gateway.url))
    with pytest.raises(AuthenticationFailed):
        await gateway.connect("k1", "me")
    await gateway.kernelspecs()
    await gateway.close()
    assert cookies(fake_gateway, "GET", SPECS) == {"node": "7"}


async def test_cookies_can_be_switched_off(fake_gateway: FakeGateway) -> None:
    await ask(fake_gateway, "node=7; Path=/", accept_cookies=False)
    assert not any("Cookie" in request.headers for request in fake_gateway.requests)


async def test_cookie_with_a_path_goes_to_that_path_only(fake_gateway: FakeGateway) -> None:
    await ask(fake_gateway, "node=7; Path=/api/kernels")
    assert cookies(fake_gateway, "GET", CHANNELS) == {"node": "7"}
    assert cookies(fake_gateway, "GET", SPECS) == {}


@pytest.mark.parametrize("attribute", ["Secure", "Max-Age=0", "Domain=other.example"])
async def test_cookie_with_an_attribute_that_excludes_us_is_not_sent(
    fake_gateway: FakeGateway, attribute: str
) -> None:
    await ask(fake_gateway, f"node=7; Path=/; {attribute}")
    assert cookies(fake_gateway, "GET", SPECS) == {}
    assert cookies(fake_gateway, "GET", CHANNELS) == {}


@pytest.mark.parametrize("value", ["a+b/c==", '"quoted"', "1700000000.1|0:abc", "a,b", "%7C"])
async def test_cookie_value_is_sent_back_as_it_came(fake_gateway: FakeGateway, value: str) -> None:
    await ask(fake_gateway, f"node={value}; Path=/")
    assert cookies(fake_gateway, "GET", SPECS) == {"node": value}
    assert cookies(fake_gateway, "GET", CHANNELS) == {"node": value}


async def test_cookie_with_an_invalid_name_does_no_harm(fake_gateway: FakeGateway) -> None:
    await ask(fake_gateway, 'node[1]="quoted"; Path=/')
    assert cookies(fake_gateway, "GET", SPECS).keys() <= {"node[1]"}


async def test_cookie_does_not_go_to_another_host_for_websockets(
    fake_gateway: FakeGateway,
) -> None:
    ws_url = fake_gateway.url.replace("http://127.0.0.1", "ws://localhost")
    await ask(fake_gateway, "node=7; Path=/", ws_url=ws_url)
    assert cookies(fake_gateway, "GET", SPECS) == {"node": "7"}
    assert cookies(fake_gateway, "GET", CHANNELS) == {}


async def test_gateways_do_not_share_cookies(fake_gateway: FakeGateway) -> None:
    await ask(fake_gateway, "node=7; Path=/")
    gateway = Gateway(settings_for(fake_gateway.url))
    await gateway.kernelspecs()
    await gateway.close()
    assert cookies(fake_gateway, "GET", SPECS) == {}


# XSRF.


def pair(fake: FakeGateway, method: str = "POST", path: str = KERNELS) -> tuple[str, str]:
    """The cookie and the header of the last such request; empty where there is none."""
    header = fake.requests_to(method, path)[-1].headers.get("X-XSRFToken", "")
    return cookies(fake, method, path).get("_xsrf", ""), header


async def test_changing_request_carries_an_xsrf_pair(fake_gateway: FakeGateway) -> None:
    gateway = Gateway(settings_for(fake_gateway.url))
    kernel = await gateway.start_kernel("python3")
    await gateway.kernelspecs()
    await gateway.shutdown_kernel(kernel.id)
    await gateway.close()
    cookie, header = pair(fake_gateway)
    assert len(cookie) >= 16
    assert header == cookie
    assert pair(fake_gateway, "DELETE", "/api/kernels/*") == (cookie, cookie)
    assert pair(fake_gateway, "GET", SPECS) == ("", "")


@pytest.mark.parametrize("value", ["2|1a2b|3c4d|1795390954", "plain"])
async def test_xsrf_pair_has_the_gateways_value_once_it_sets_one(
    fake_gateway: FakeGateway, value: str
) -> None:
    await ask(fake_gateway, f"_xsrf={value}; Path=/")
    assert pair(fake_gateway) == (value, value)


async def test_xsrf_pair_of_the_user_stays_and_other_cookies_stand_beside_it(
    fake_gateway: FakeGateway,
) -> None:
    headers = '{"Cookie": "_xsrf=XSRF; mine=1", "X-XSRFToken": "XSRF"}'
    await ask(fake_gateway, "node=7; Path=/", headers=headers)
    assert pair(fake_gateway) == ("XSRF", "XSRF")
    assert pair(fake_gateway, "GET", SPECS) == ("XSRF", "XSRF")
    assert cookies(fake_gateway, "POST", KERNELS) == {"_xsrf": "XSRF", "mine": "1", "node": "7"}


async def test_xsrf_header_of_the_user_is_left_alone(fake_gateway: FakeGateway) -> None:
    await ask(fake_gateway, "node=7; Path=/", headers='{"x-xsrftoken": "mine"}')
    assert pair(fake_gateway) == ("", "mine")


async def test_server_without_a_password_accepts_the_xsrf_pair() -> None:
    """Jupyter Server checks it where no token lets us in, and its API never sets the cookie."""
    async with jupyter_server(
        extra_args=["--IdentityProvider.token="], env={"JUPYTER_TOKEN": ""}
    ) as server:
        settings = settings_for(server.url, auth_token="")
        await round_trip(settings)
        without = Gateway(settings_for(server.url, auth_token="", accept_cookies=False))
        async with asyncio.timeout(60):
            with pytest.raises(AuthenticationFailed, match="_xsrf"):
                await without.start_kernel("python3")
        await without.close()
