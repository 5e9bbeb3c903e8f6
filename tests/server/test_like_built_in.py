"""Each behaviour that Jupyter Server's own tests of its gateway client test, on ours.

`NAMES` are the tests in ``tests/test_gateway.py`` of jupyter_server 2.21.1, and `TESTS` has those
of ours for each. What of theirs does not apply is in ``docs/compatibility.md``.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from pathlib import Path
from queue import Empty
from typing import Any, Final

import pytest
from jupyter_client.session import Session
from jupyter_server.gateway.gateway_client import GatewayTokenRenewerBase, NoOpTokenRenewer
from traitlets import Int, Unicode

from jupyter_relay.managers import ChannelQueue, GatewayKernelManager
from jupyter_relay.server.gateway_config import GatewayConfig
from jupyter_relay.testing import Answer, FakeGateway, FakeKernel
from jupyter_relay.wire.message import Channel, Message
from tests.support.server import TestServer, server_on

ACTIONS = "https://events.jupyter.org/jupyter_server/kernel_actions/v1"
KERNELS = "/api/kernels"
SESSION = {"path": "testgw.ipynb", "type": "notebook", "kernel": {"name": "kspec_foo"}}
LATEST = "--GatewayClient.listing_ttl=0"
"""Each list of kernels is a question to the gateway."""


@pytest.fixture
def gateway(fake_gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> FakeGateway:
    """A gateway with two kernelspecs, and some variables of the server's environment."""
    fake_gateway.kernelspecs[:] = ["kspec_foo", "kspec_bar"]
    for name, value in {"FOO": "foo", "BAR": "bar", "BAZ": "baz"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KERNEL_KSPEC_NAME", "any")
    return fake_gateway


def config_of(server: TestServer) -> GatewayConfig:
    """What the server knows of its gateway."""
    config = server.app.gateway_config
    assert isinstance(config, GatewayConfig)
    return config


def env_of(gateway: FakeGateway) -> dict[str, str]:
    """The environment that the last start of a kernel has sent."""
    body = gateway.requests_to("POST", KERNELS)[-1].json
    assert isinstance(body, dict)
    env = body["env"]
    assert isinstance(env, dict)
    return env


async def is_running(server: TestServer, kernel_id: str) -> bool:
    """Whether the server lists a kernel."""
    models = (await server.call("GET", KERNELS)).json
    return kernel_id in {model["id"] for model in models}


async def is_active(server: TestServer, session_id: str) -> bool:
    """Whether the server lists a session."""
    models = (await server.call("GET", "/api/sessions")).json
    return session_id in {model["id"] for model in models}


# Options.


async def test_options_come_from_the_environment(
    gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "URL": gateway.url,
        "AUTH_TOKEN": gateway.token,
        "HTTP_USER": "alice",
        "REQUEST_TIMEOUT": "44.4",
        "CONNECT_TIMEOUT": "44.4",
        "LAUNCH_TIMEOUT_PAD": "1.1",
        "ACCEPT_COOKIES": "false",
        "ENV_WHITELIST": "FOO,BAR",
    }.items():
        monkeypatch.setenv(f"JUPYTER_GATEWAY_{name}", value)
    async with server_on(None, tmp_path) as server:
        config = config_of(server)
        assert config.gateway_enabled
        assert (config.url, config.http_user) == (gateway.url, "alice")
        assert config.connect_timeout == config.request_timeout == 44.4
        assert (config.launch_timeout_pad, config.accept_cookies) == (1.1, False)
        assert set(config.allowed_envs.split(",")) == {"FOO", "BAR"}
        await server.start_kernel(name="kspec_foo")
    env = env_of(gateway)
    assert env["KERNEL_LAUNCH_TIMEOUT"] == "43"
    assert (env["FOO"], env["BAR"], env["KERNEL_USERNAME"]) == ("foo", "bar", "alice")
    assert "BAZ" not in env


async def test_options_come_from_the_command_line(
    gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = (
        f"--gateway-url={gateway.url}",
        f"--GatewayClient.auth_token={gateway.token}",
        "--GatewayClient.http_user=alice",
        "--GatewayClient.connect_timeout=44.4",
        "--GatewayClient.request_timeout=96.0",
        "--GatewayClient.launch_timeout_pad=5.1",
        "--GatewayClient.env_whitelist=FOO,BAR",
    )
    async with server_on(None, tmp_path, argv=argv) as server:
        config = config_of(server)
        assert config.gateway_enabled
        assert (config.url, config.http_user) == (gateway.url, "alice")
        assert (config.connect_timeout, config.request_timeout) == (44.4, 96.0)
        assert config.launch_timeout_pad == 5.1
        assert config.gateway_token_renewer_class == NoOpTokenRenewer
        assert set(config.allowed_envs.split(",")) == {"FOO", "BAR"}
        await server.start_kernel(name="kspec_foo")
    assert env_of(gateway)["KERNEL_LAUNCH_TIMEOUT"] == "90"
    shown = capsys.readouterr().err
    assert "GatewayClient.env_whitelist" in shown
    assert "is deprecated, use GatewayClient.allowed_envs" in shown


class Renewer(GatewayTokenRenewerBase):
    """Makes a token of its own options."""

    config_var_1 = Int(config=True)
    config_var_2 = Unicode(config=True)

    def get_token(
        self, auth_header_key: str, auth_scheme: str | None, auth_token: str, **_: object
    ) -> str:
        """Return the token."""
        return f"{self.config_var_2}{self.config_var_1}"


@pytest.mark.parametrize("token", ["", None])
async def test_token_renewer_is_configured_and_asked(
    gateway: FakeGateway, tmp_path: Path, token: str | None
) -> None:
    argv = (
        f"--GatewayClient.gateway_token_renewer_class={Renewer.__module__}.Renewer",
        f"--GatewayClient.auth_token={token}",
        "--Renewer.config_var_1=42",
        "--Renewer.config_var_2=value-",
    )
    gateway.token = ""
    async with server_on(gateway, tmp_path, argv=argv) as server:
        await server.start_kernel(name="kspec_foo")
    assert gateway.requests[-1].headers["Authorization"] == "token value-42"


async def test_token_without_a_renewer_is_the_configured_one(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    async with server_on(gateway, tmp_path) as server:
        await server.start_kernel(name="kspec_foo")
    assert gateway.requests[-1].headers["Authorization"] == f"token {gateway.token}"


@pytest.mark.parametrize(
    ("request_timeout", "launch_timeout", "waited_for", "sent"),
    [(50, 10, 50.0, "45"), (10, 50, 55.0, "50")],
)
async def test_timeouts_of_request_and_launch_are_padded(
    gateway: FakeGateway,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request_timeout: int,
    launch_timeout: int,
    waited_for: float,
    sent: str,
) -> None:
    monkeypatch.setenv("KERNEL_LAUNCH_TIMEOUT", str(launch_timeout))
    argv = (
        f"--GatewayClient.request_timeout={request_timeout}",
        "--GatewayClient.launch_timeout_pad=5",
    )
    async with server_on(gateway, tmp_path, argv=argv) as server:
        assert config_of(server).options.settings().transport.request_timeout == waited_for
        await server.start_kernel(name="kspec_foo")
    assert env_of(gateway)["KERNEL_LAUNCH_TIMEOUT"] == sent


@pytest.mark.parametrize(
    ("accepts", "attribute", "sent"),
    [
        (False, "", False),
        (True, "", True),
        (True, "; expires=Fri, 01 Jan 2100 00:00:00 GMT", True),
        (True, "; Max-Age=-360", False),
    ],
)
async def test_cookies_are_accepted_unless_switched_off_or_expired(
    gateway: FakeGateway, tmp_path: Path, accepts: bool, attribute: str, sent: bool
) -> None:
    header = {"Set-Cookie": f"SERVERID=1234567; Path=/{attribute}; HttpOnly"}
    gateway.fault("GET", "/kernelspecs/*/*", Answer(404, headers=header), times=1)
    argv = (f"--GatewayClient.accept_cookies={accepts}",)
    async with server_on(gateway, tmp_path, argv=argv) as server:
        await server.call("GET", "/kernelspecs/kspec_foo/logo-64x64.png")
        await server.start_kernel(name="kspec_foo")
    cookies = gateway.requests_to("POST", KERNELS)[-1].headers.get("Cookie", "")
    assert ("SERVERID=1234567" in cookies) is sent


async def test_classes_have_the_names_of_the_built_in_ones(server: TestServer) -> None:
    assert server.app.kernel_manager_class.__name__ == "GatewayMappingKernelManager"
    assert server.app.session_manager_class.__name__ == "GatewaySessionManager"
    assert server.app.kernel_spec_manager_class.__name__ == "GatewayKernelSpecManager"


# Kernelspecs.


async def test_kernelspecs_are_the_gateways_with_files_at_the_server(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    async with server_on(gateway, tmp_path, base_url="/near") as server:
        specs = (await server.call("GET", "/api/kernelspecs")).json["kernelspecs"]
    assert set(specs) == {"kspec_foo", "kspec_bar"}
    assert specs["kspec_bar"]["name"] == "kspec_bar"
    assert specs["kspec_bar"]["resources"]["logo-64x64"].startswith("/near/")


async def test_kernelspec_and_its_file_are_found_by_name_and_no_other(
    server: TestServer, gateway: FakeGateway
) -> None:
    answer = await server.call("GET", "/api/kernelspecs/kspec_foo")
    assert (answer.status, answer.json["name"]) == (200, "kspec_foo")
    logo = await server.call("GET", "/kernelspecs/kspec_foo/logo-64x64.png")
    assert (logo.status, logo.headers["Content-Type"]) == (200, "image/png")
    assert logo.body
    assert (await server.call("GET", "/api/kernelspecs/no_such_spec")).status == 404


# Kernels and sessions.


@pytest.mark.parametrize("culled", [False, True])
async def test_session_lives_as_long_as_its_kernel(
    gateway: FakeGateway, tmp_path: Path, culled: bool
) -> None:
    async with server_on(gateway, tmp_path, argv=(LATEST,)) as server:
        answer = await server.call("POST", "/api/sessions", SESSION)
        assert (answer.status, answer.json["path"]) == (201, SESSION["path"])
        session_id, kernel_id = answer.json["id"], answer.json["kernel"]["id"]
        assert gateway.kernels[kernel_id].name == answer.json["kernel"]["name"] == "kspec_foo"
        assert env_of(gateway)["KERNEL_KSPEC_NAME"] == "any"
        for action, status in (("interrupt", 204), ("restart", 200)):
            answer = await server.call("POST", f"{KERNELS}/{kernel_id}/{action}")
            assert answer.status == status
            assert await is_active(server, session_id)
        gateway.fault("GET", KERNELS, Answer.json([]))  # it is left out, or is no more
        if culled:
            gateway.lose_kernel(kernel_id)
        assert await is_running(server, kernel_id) is not culled
        assert await is_active(server, session_id) is not culled
        answer = await server.call("DELETE", f"/api/sessions/{session_id}")
        assert answer.status == (404 if culled else 204)
        assert not await is_active(server, session_id)
    assert kernel_id not in gateway.kernels


@pytest.mark.parametrize("culled", [False, True])
async def test_kernel_lives_until_it_is_deleted_or_culled_and_each_action_is_an_event(
    gateway: FakeGateway, tmp_path: Path, culled: bool
) -> None:
    async with server_on(gateway, tmp_path, argv=(LATEST,)) as server:
        events: list[dict[str, Any]] = []

        async def note(logger: object, schema_id: str, data: dict[str, Any]) -> None:
            events.append(data)

        event_logger = server.app.event_logger
        assert event_logger is not None
        event_logger.add_listener(schema_id=ACTIONS, listener=note)
        kernel_id = await server.start_kernel(name="kspec_bar")
        assert await is_running(server, kernel_id)
        async with server.tab(kernel_id) as tab:
            await tab.websocket.ping()
            await tab.websocket.send_bytes(b"hi")
        done = ["start"]
        for action in ("interrupt", "restart"):
            await server.call("POST", f"{KERNELS}/{kernel_id}/{action}")
            assert await is_running(server, kernel_id)
            done.append(action)
        gateway.fault("GET", KERNELS, Answer.json([]))
        if culled:
            gateway.lose_kernel(kernel_id)
        assert await is_running(server, kernel_id) is not culled
        answer = await server.call("DELETE", f"{KERNELS}/{kernel_id}")
        assert answer.status == 204
        assert not await is_running(server, kernel_id)
        await event_logger.gather_listeners()
    assert [event["action"] for event in events] == [*done, "shutdown"]
    assert {(event["kernel_id"], event["status"]) for event in events} == {(kernel_id, "success")}
    assert all(event["msg"] for event in events)


@pytest.mark.parametrize("missing", [True, False])
async def test_server_that_stops_ends_all_kernels_also_if_one_is_gone(
    server: TestServer, gateway: FakeGateway, missing: bool
) -> None:
    first, second = [await server.start_kernel(name="kspec_bar") for _ in range(2)]
    assert await is_running(server, first)
    assert await is_running(server, second)
    if missing:
        gateway.lose_kernel(first)
    await server.kernels.shutdown_all()
    assert not gateway.kernels
    assert not await is_running(server, first)
    assert not await is_running(server, second)


# A program's client.


async def test_client_whose_link_has_ended_waits_for_nothing(
    server: TestServer, gateway: FakeGateway
) -> None:
    kernel_id = await server.start_kernel(name="kspec_bar")
    manager = server.kernels.get_kernel(kernel_id)
    assert isinstance(manager, GatewayKernelManager)
    client = manager.client()
    await client.start_channels()
    await client.wait_for_ready(timeout=10)
    gateway.lose_kernel(kernel_id)
    gateway.drop_sockets()
    await server.call("DELETE", f"{KERNELS}/{kernel_id}")

    async def read_to_the_end() -> None:
        while True:
            await client.iopub_channel.get_msg(timeout=10)

    with pytest.raises(RuntimeError, match="iopub"):
        await read_to_the_end()
    channels = (
        client.shell_channel,
        client.iopub_channel,
        client.stdin_channel,
        client.control_channel,
    )
    assert not any(channel.is_alive() for channel in channels)
    assert not client.hb_channel.is_beating()
    await client.stop_channels()


def channel() -> ChannelQueue:
    """A channel on its own, which runs."""
    made = ChannelQueue(Channel.IOPUB, Session(), send=lambda _: None, max_bytes=1000)
    made.start()
    return made


async def test_channel_refuses_a_timeout_below_zero() -> None:
    with pytest.raises(ValueError, match="non-negative"):
        await channel().get_msg(timeout=-1)


async def test_channel_is_empty_after_its_timeout() -> None:
    with pytest.raises(Empty):
        await asyncio.wait_for(channel().get_msg(timeout=0.1), 2)


async def test_channel_without_a_timeout_waits() -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(channel().get_msg(timeout=None), 0.2)


async def test_channel_gives_what_is_there() -> None:
    queue = channel()
    queue.put(Message(channel=Channel.IOPUB, header=b'{"msg_id":"1","msg_type":"2"}'))
    received = await asyncio.wait_for(queue.get_msg(timeout=None), 1)
    assert (received["msg_id"], received["msg_type"]) == ("1", "2")


async def test_channel_that_has_ended_waits_for_nothing() -> None:
    queue = channel()
    queue.end_messages()
    with pytest.raises(RuntimeError):
        await queue.get_msg()


# The websocket of a page.


async def test_page_that_closes_its_websocket_in_a_burst_is_no_error(
    gateway: FakeGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def burst(request: Message, kernel: FakeKernel) -> None:
        for number in range(2000):
            kernel.print(f"{number}\n", request)

    gateway.on_execute = burst
    async with server_on(gateway, tmp_path) as server:
        kernel_id = await server.start_kernel(name="kspec_foo")
        async with server.tab(kernel_id) as tab:
            await tab.execute("1")
            await tab.receive()
        await gateway.wait_for(lambda: gateway.sockets[-1].sent > 2000)
    assert not [line for line in caplog.record_tuples if line[1] >= logging.ERROR]


async def test_websocket_to_the_gateway_has_a_session_id(
    gateway: FakeGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with server_on(gateway, tmp_path) as server:
        kernel_id = await server.start_kernel(name="kspec_foo")
        async with server.tab(kernel_id) as tab:
            await tab.run("1")
        manager = server.kernels.get_kernel(kernel_id)
        assert isinstance(manager, GatewayKernelManager)
        (handshake,) = gateway.requests_to("GET", f"{KERNELS}/{kernel_id}/channels")
        assert handshake.query == {"session_id": manager.running._upstream.session}
    assert not [line for line in caplog.record_tuples if line[1] >= logging.ERROR]


async def test_error_shows_percent_signs_of_a_url_once(
    server: TestServer, gateway: FakeGateway
) -> None:
    url = "http://gateway-host/api?redirect=http%3A%2F%2Fexample.com"
    gateway.fault("GET", "/api/kernelspecs/*", Answer.json({"reason": f"see {url}"}, 503))
    message = (await server.call("GET", "/api/kernelspecs/kspec_foo")).json["message"]
    assert "http%3A%2F%2Fexample.com" in message
    assert "%%" not in message


# The tests of Jupyter Server.

NAMES: Final = frozenset(
    {
        "test_channel_queue_get_msg_raises_empty_after_timeout",
        "test_channel_queue_get_msg_when_response_router_had_finished",
        "test_channel_queue_get_msg_with_existing_item",
        "test_channel_queue_get_msg_with_invalid_timeout",
        "test_channel_queue_get_msg_without_timeout",
        "test_gateway_class_mappings",
        "test_gateway_cli_options",
        "test_gateway_env_options",
        "test_gateway_get_kernelspecs",
        "test_gateway_get_named_kernelspec",
        "test_gateway_httperror_percent_not_doubled",
        "test_gateway_kernel_lifecycle",
        "test_gateway_request_timeout_pad_option",
        "test_gateway_request_with_expiring_cookies",
        "test_gateway_session_lifecycle",
        "test_gateway_shutdown",
        "test_kernel_client_response_router_notifies_channel_queue_when_finished",
        "test_token_renewer_config",
        "test_websocket_connection_closed",
        "test_websocket_connection_with_session_id",
    }
)

TESTS: Final[dict[str, tuple[Callable[..., object], ...]]] = {
    "test_channel_queue_get_msg_raises_empty_after_timeout": (
        test_channel_is_empty_after_its_timeout,
    ),
    "test_channel_queue_get_msg_when_response_router_had_finished": (
        test_channel_that_has_ended_waits_for_nothing,
    ),
    "test_channel_queue_get_msg_with_existing_item": (test_channel_gives_what_is_there,),
    "test_channel_queue_get_msg_with_invalid_timeout": (test_channel_refuses_a_timeout_below_zero,),
    "test_channel_queue_get_msg_without_timeout": (test_channel_without_a_timeout_waits,),
    "test_gateway_class_mappings": (test_classes_have_the_names_of_the_built_in_ones,),
    "test_gateway_cli_options": (test_options_come_from_the_command_line,),
    "test_gateway_env_options": (test_options_come_from_the_environment,),
    "test_gateway_get_kernelspecs": (test_kernelspecs_are_the_gateways_with_files_at_the_server,),
    "test_gateway_get_named_kernelspec": (
        test_kernelspec_and_its_file_are_found_by_name_and_no_other,
    ),
    "test_gateway_httperror_percent_not_doubled": (test_error_shows_percent_signs_of_a_url_once,),
    "test_gateway_kernel_lifecycle": (
        test_kernel_lives_until_it_is_deleted_or_culled_and_each_action_is_an_event,
    ),
    "test_gateway_request_timeout_pad_option": (test_timeouts_of_request_and_launch_are_padded,),
    "test_gateway_request_with_expiring_cookies": (
        test_cookies_are_accepted_unless_switched_off_or_expired,
    ),
    "test_gateway_session_lifecycle": (test_session_lives_as_long_as_its_kernel,),
    "test_gateway_shutdown": (test_server_that_stops_ends_all_kernels_also_if_one_is_gone,),
    "test_kernel_client_response_router_notifies_channel_queue_when_finished": (
        test_client_whose_link_has_ended_waits_for_nothing,
    ),
    "test_token_renewer_config": (
        test_token_renewer_is_configured_and_asked,
        test_token_without_a_renewer_is_the_configured_one,
    ),
    "test_websocket_connection_closed": (
        test_page_that_closes_its_websocket_in_a_burst_is_no_error,
    ),
    "test_websocket_connection_with_session_id": (test_websocket_to_the_gateway_has_a_session_id,),
}


def test_table_of_each_test_of_jupyter_server_is_complete_and_page_names_no_other() -> None:
    assert TESTS.keys() == NAMES
    page = Path(__file__).parents[2] / "docs" / "compatibility.md"
    named = set(re.findall(r"^\| `(test_\w+)` \|", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert named
    assert named <= NAMES


def test_table_with_each_test_of_this_file_holds_no_other() -> None:
    ours = {name for name in globals() if name.startswith("test_") and "each_test" not in name}
    assert {test.__name__ for tests in TESTS.values() for test in tests} == ours
