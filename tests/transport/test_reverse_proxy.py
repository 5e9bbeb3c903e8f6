"""A real reverse proxy, nginx, in front of two real gateways: a path prefix and a sticky cookie."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_asyncio

from jupyter_relay.errors import AuthenticationFailed, KernelNotFound
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.settings.kinds import Value
from jupyter_relay.settings.settings import GatewaySettings
from jupyter_relay.testing.servers import RunningServer, kernel_gateway
from tests.support.errors import shown
from tests.support.gateway import settings_for
from tests.support.reverse_proxy import needs_nginx, reverse_proxy
from tests.support.round_trip import round_trip

TOKEN = "of-both"
PASSWORD = "of:änn/+@"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair() -> AsyncIterator[tuple[RunningServer, RunningServer]]:
    """Two gateways that know nothing of each other."""
    needs_nginx()
    async with kernel_gateway(token=TOKEN) as first, kernel_gateway(token=TOKEN) as second:
        yield first, second


@pytest.fixture
async def url(tmp_path: Path, pair: tuple[RunningServer, RunningServer]) -> AsyncIterator[str]:
    """Where the two gateways are one; it sends the first request to the first of them."""
    async with reverse_proxy(tmp_path, *pair) as running:
        yield running


def settings_at(url: str, **options: Value) -> GatewaySettings:
    return settings_for(url, auth_token=TOKEN, **options)


async def test_kernel_is_used_behind_a_reverse_proxy(url: str) -> None:
    await round_trip(settings_at(url))


@pytest.mark.parametrize("way", ["options", "url"])
async def test_reverse_proxy_with_basic_auth_accepts_the_configured_user_and_password(
    way: str, tmp_path: Path, pair: tuple[RunningServer, RunningServer]
) -> None:
    async with reverse_proxy(tmp_path, *pair, users={"ann": PASSWORD}) as url:
        given: dict[str, Value] = {"url": url, "http_user": "ann", "http_pwd": PASSWORD}
        if way == "url":
            given = {"url": url.replace("://", f"://ann:{quote(PASSWORD, safe='')}@")}
        settings = GatewaySettings.make(given, {})
        await round_trip(settings)
        gateway = Gateway(settings)
        assert "python3" in (await gateway.kernelspecs()).specs
        started = await gateway.start_kernel("python3")
        found = await gateway.find_kernels([started.id, "another"])
        await gateway.shutdown_kernel(started.id)
        assert {kernel_id for kernel_id, model in found.items() if model} == {started.id}
        await gateway.close()


async def test_reverse_proxy_with_basic_auth_refuses_requests_and_websockets_with_a_wrong_password(
    tmp_path: Path, pair: tuple[RunningServer, RunningServer]
) -> None:
    async with reverse_proxy(tmp_path, *pair, users={"ann": "another"}) as url:
        given: dict[str, Value] = {"url": url, "http_user": "ann", "http_pwd": PASSWORD}
        gateway = Gateway(GatewaySettings.make(given, {}))
        asked: tuple[Callable[[], Awaitable[object]], ...] = (
            gateway.kernelspecs,
            partial(gateway.find_kernels, ["a"]),
            partial(gateway.start_kernel, "python3"),
            partial(gateway.connect, "a", "me"),
        )
        for ask in asked:
            with pytest.raises(AuthenticationFailed) as caught:
                await ask()
            assert caught.value.status == 401
            assert "GatewayClient.http_user and GatewayClient.http_pwd" in caught.value.hint
            assert PASSWORD not in shown(caught.value)
        await gateway.close()


async def test_kernel_behind_a_balancer_is_found_again_on_its_gateway(url: str) -> None:
    gateway = Gateway(settings_at(url))
    kernel_id = (await gateway.start_kernel("python3")).id
    for _ in range(4):
        assert (await gateway.kernel(kernel_id)).id == kernel_id
        socket = await gateway.connect(kernel_id, "me")
        await socket.close()
    await gateway.shutdown_kernel(kernel_id)
    await gateway.close()


async def test_kernel_behind_a_balancer_is_not_found_without_cookies(url: str) -> None:
    gateway = Gateway(settings_at(url, accept_cookies=False))
    kernel_id = (await gateway.start_kernel("python3")).id  # on the first gateway
    with pytest.raises(KernelNotFound):
        await gateway.kernel(kernel_id)  # of the second
    assert (await gateway.kernel(kernel_id)).id == kernel_id  # of the first
    with pytest.raises(KernelNotFound):
        await gateway.connect(kernel_id, "me")  # to the second
    await gateway.shutdown_kernel(kernel_id)  # of the first
    await gateway.close()


async def test_client_with_a_cookie_stays_on_its_gateway(
    url: str, pair: tuple[RunningServer, RunningServer]
) -> None:
    """Two clients are on two gateways, each with a cookie of its own."""
    clients = [Gateway(settings_at(url)) for _ in pair]
    kernels = [(await client.start_kernel("python3")).id for client in clients]
    for client, own, others in zip(clients, kernels, reversed(kernels), strict=True):
        assert (await client.kernel(own)).id == own
        with pytest.raises(KernelNotFound):
            await client.kernel(others)
        await client.shutdown_kernel(own)
        await client.close()
