"""HTTP proxies on the way to a gateway: a real one, which wants a user and a password."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jupyter_relay.config import GatewayClient
from jupyter_relay.errors import GatewayUnavailable, RelayError
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.settings.settings import GatewaySettings
from jupyter_relay.testing import FakeGateway
from jupyter_relay.testing.servers import RunningServer, kernel_gateway
from tests.support.errors import shown
from tests.support.forward_proxy import ForwardProxy, forward_proxy
from tests.support.round_trip import round_trip
from tests.support.tls import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[ForwardProxy]:
    async with forward_proxy(tmp_path) as running:
        yield running


def settings_by(
    environment: dict[str, str], gateway: RunningServer | FakeGateway, **options: object
) -> GatewaySettings:
    """The settings of a gateway in an environment."""
    given = {"url": gateway.url, "auth_token": gateway.token, "max_request_retries": 0, **options}
    return GatewayClient(**given).settings(environment)


async def test_kernel_is_used_through_a_proxy(proxy: ForwardProxy) -> None:
    async with kernel_gateway() as gateway:
        await round_trip(settings_by({"HTTP_PROXY": proxy.url}, gateway))
        await proxy.logged(f"POST 127.0.0.1:{gateway.port}/api/kernels")
        await proxy.logged(f"CONNECT 127.0.0.1:{gateway.port}")


async def test_kernel_is_used_through_a_tunnel(proxy: ForwardProxy, authority: Authority) -> None:
    async with kernel_gateway(tls=authority.server_files()) as gateway:
        await round_trip(
            settings_by({"https_proxy": proxy.url}, gateway, ca_certs=str(authority.certificate))
        )
        # One for the requests, and one for the websocket.
        await proxy.logged(f"CONNECT 127.0.0.1:{gateway.port}", times=2)
    assert "/api/kernels" not in proxy.log()


async def test_proxy_that_speaks_tls_itself_is_used(tmp_path: Path, authority: Authority) -> None:
    async with (
        forward_proxy(tmp_path, authority.issue("127.0.0.1", "proxy")) as proxy,
        kernel_gateway(tls=authority.server_files()) as gateway,
        FakeGateway() as plain,
    ):
        environment = {"ALL_PROXY": proxy.url}
        trusted = str(authority.certificate)
        await round_trip(settings_by(environment, gateway, ca_certs=trusted))
        await works(plain, Gateway(settings_by(environment, plain, ca_certs=trusted)))
        await proxy.logged(f"CONNECT 127.0.0.1:{gateway.port}", times=2)
        await proxy.logged(f"CONNECT 127.0.0.1:{plain.port}")


async def works(fake: FakeGateway, gateway: Gateway) -> None:
    """Make a request and open a websocket."""
    await gateway.kernelspecs()
    socket = await gateway.connect(fake.start_kernel().id, "me")
    await socket.close()
    await gateway.close()


async def test_proxy_excluded_by_no_proxy_is_bypassed(
    proxy: ForwardProxy, fake_gateway: FakeGateway
) -> None:
    environment = {"HTTP_PROXY": proxy.url, "NO_PROXY": "127.0.0.1"}
    await works(fake_gateway, Gateway(settings_by(environment, fake_gateway)))
    assert "/api/" not in proxy.log()


async def asked(gateway: Gateway, kernel_id: str) -> list[RelayError]:
    """The errors of a request and a handshake."""
    answers = await asyncio.gather(
        gateway.kernelspecs(), gateway.connect(kernel_id, "me"), return_exceptions=True
    )
    await gateway.close()
    return [answer for answer in answers if isinstance(answer, RelayError)]


@pytest.mark.parametrize("tunnel", [False, True], ids=["http", "https"])
async def test_proxy_that_refuses_us_is_distinguished_from_the_gateway(
    proxy: ForwardProxy, authority: Authority, tunnel: bool
) -> None:
    async with FakeGateway(tls=authority.serving() if tunnel else None) as fake:
        environment = {"ALL_PROXY": proxy.url_without_password}
        settings = settings_by(environment, fake, ca_certs=str(authority.certificate))
        errors = await asked(Gateway(settings), fake.start_kernel().id)
        assert len(errors) == 2
        for error in errors:
            assert isinstance(error, GatewayUnavailable)
            assert not error.retryable
            assert error.message == (
                f"The proxy on the way to {fake.url} requires a user and a password, or other ones "
                "(407)."
            )
        assert not fake.requests


@pytest.mark.parametrize("tunnel", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("host", ["127.0.0.1", "proxy.invalid"])
async def test_proxy_that_is_not_there_is_named_without_its_password(
    authority: Authority, tunnel: bool, host: str
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        environment = {"ALL_PROXY": f"http://ann:hunter2@{host}:{unused.getsockname()[1]}"}
        async with FakeGateway(tls=authority.serving() if tunnel else None) as fake:
            settings = settings_by(environment, fake, ca_certs=str(authority.certificate))
            errors = await asked(Gateway(settings), fake.start_kernel().id)
            assert len(errors) == 2
            for error in errors:
                assert f"The proxy on the way to {fake.url} cannot be reached: " in str(error)
                assert "hunter2" not in shown(error)


async def test_certificate_that_fails_in_a_tunnel_does_not_show_the_proxys_password(
    proxy: ForwardProxy, authority: Authority
) -> None:
    async with FakeGateway(tls=authority.serving("elsewhere.example")) as fake:
        settings = settings_by(
            {"https_proxy": proxy.url}, fake, ca_certs=str(authority.certificate)
        )
        errors = await asked(Gateway(settings), fake.start_kernel().id)
    assert len(errors) == 2
    for error in errors:
        assert "certificate" in str(error)
        assert proxy.password not in shown(error)
