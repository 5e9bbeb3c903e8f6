"""How gateways let us in, what they answer beside kernels, and how they treat websockets."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from jupyter_relay.testing.servers import RunningServer
from jupyter_relay.wire.message import Channel, Message
from tests.contract.conftest import Kind
from tests.contract.probe import Probe
from tests.support.tab import Tab, printed, status_of


async def bare(
    gateway: RunningServer, path: str, *, authorization: str = "", **query: str
) -> tuple[int, dict[str, object]]:
    """Make a request with these credentials alone."""
    headers = {"Authorization": authorization} if authorization else {}
    async with (
        aiohttp.ClientSession() as http,
        http.get(gateway.url + path, headers=headers, params=query) as answer,
    ):
        return answer.status, await answer.json()


async def until_closed(tab: Tab) -> None:
    """Read until the websocket ends. Raises `ConnectionError` then."""
    while True:
        await tab.receive()


@pytest.mark.parametrize("scheme", ["token", "Token", "bearer", "Bearer"])
async def test_gateway_takes_a_token_in_each_form_that_it_knows(
    gateway: RunningServer, kind: Kind, scheme: str
) -> None:
    status, _ = await bare(gateway, "/api/kernelspecs", authorization=f"{scheme} {gateway.token}")
    taken = scheme == "token" or kind is Kind.JUPYTER_SERVER
    assert status == (200 if taken else 401)


async def test_gateway_takes_a_token_in_the_query(gateway: RunningServer) -> None:
    assert (await bare(gateway, "/api/kernelspecs", token=gateway.token))[0] == 200


async def test_gateway_gives_its_version_at_the_api_root(
    gateway: RunningServer, kind: Kind
) -> None:
    anybody, _ = await bare(gateway, "/api")
    assert anybody == (200 if kind is Kind.JUPYTER_SERVER else 401)
    status, said = await bare(gateway, "/api", authorization=f"token {gateway.token}")
    assert status == 200
    assert "version" in said
    assert ("gateway_version" in said) == (kind is Kind.ENTERPRISE_GATEWAY)


async def test_gateway_has_status_and_me_only_on_jupyter_server(probe: Probe, kind: Kind) -> None:
    found = [(await probe.call("GET", f"/api/{what}"))[0] for what in ("status", "me")]
    assert found == ([200, 200] if kind is Kind.JUPYTER_SERVER else [404, 404])


async def test_kernelspecs_request_with_a_user_is_answered_as_without(probe: Probe) -> None:
    status, body = await probe.call("GET", "/api/kernelspecs?user=tester")
    assert status == 200
    assert "python3" in body["kernelspecs"]


async def test_cookies_are_set_by_jupyter_server_and_kernel_gateway(
    gateway: RunningServer, kind: Kind
) -> None:
    async with (
        aiohttp.ClientSession(headers=gateway.headers) as http,
        http.get(f"{gateway.url}/api/kernelspecs") as answer,
    ):
        named = [name.partition("-")[0] for name in answer.cookies]
    assert named == ([] if kind is Kind.ENTERPRISE_GATEWAY else ["username"])


async def test_post_with_a_token_needs_no_xsrf_cookie(probe: Probe) -> None:
    assert await probe.start_kernel()


async def test_websocket_of_an_unknown_kernel_is_refused_by_status(
    probe: Probe, gateway: RunningServer, kind: Kind
) -> None:
    kernel_id = await probe.start_kernel()
    url = f"{gateway.url}/api/kernels/{kernel_id}/channels"
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(url)
    assert refused.value.status == (403 if kind is Kind.JUPYTER_SERVER else 401)


async def test_messages_are_not_compressed_unless_asked_for(probe: Probe) -> None:
    kernel_id = await probe.start_kernel()
    async with probe.socket(kernel_id) as tab:
        assert not tab.websocket.compress


async def test_kept_messages_are_discarded_when_another_session_connects(probe: Probe) -> None:
    kernel_id = await probe.start_kernel()
    async with probe.socket(kernel_id, "stable") as tab:
        await tab.run("1")
        await tab.execute("import time; time.sleep(0.5); print('kept')")
        while status_of(await tab.receive()) != "busy":
            pass
    async with probe.socket(kernel_id, "other") as tab:
        assert await tab.run("print('there')") == "there\n"
    async with probe.socket(kernel_id, "stable") as tab:
        output, _ = await tab.until_idle(await tab.execute("print('here')"))
        assert "kept" not in printed(output)


async def test_socket_of_a_session_ends_when_the_session_opens_a_second(
    probe: Probe, kind: Kind
) -> None:
    if kind is Kind.ENTERPRISE_GATEWAY:
        pytest.skip("a second handshake of a session can deadlock it, so none is ever made")
    kernel_id = await probe.start_kernel()
    async with probe.socket(kernel_id, "one") as first:
        await first.run("1")
        async with probe.socket(kernel_id, "one") as second:
            assert await second.run("print(2)") == "2\n"
            with pytest.raises(ConnectionError):
                await until_closed(first)


async def test_message_of_a_large_size_comes_down_whole(probe: Probe) -> None:
    kernel_id = await probe.start_kernel()
    size = 12 * 2**20
    code = (
        "from IPython.display import publish_display_data as show\n"
        f"show({{'text/plain': 'x' * {size}}})"
    )
    async with probe.socket(kernel_id) as tab:
        output, _ = await tab.until_idle(await tab.execute(code))
    assert max(message.size for message in output) > size


async def test_interrupt_of_a_sleep_ends_its_cell(probe: Probe) -> None:
    kernel_id = await probe.start_kernel()
    async with probe.socket(kernel_id) as tab:
        msg_id = await tab.execute("import time; print(1, flush=True); time.sleep(100)")
        heard: list[Message] = []
        while not printed(heard):
            heard.append(await tab.receive())
        status, _ = await probe.call("POST", f"/api/kernels/{kernel_id}/interrupt", {})
        assert status == 204
        reply = await tab.reply_to(msg_id)
        assert reply.channel is Channel.SHELL


async def test_restart_keeps_the_kernels_id(probe: Probe) -> None:
    kernel_id = await probe.start_kernel()
    async with asyncio.timeout(60):
        status, model = await probe.call("POST", f"/api/kernels/{kernel_id}/restart", {})
    assert (status, model["id"]) == (200, kernel_id)
