"""What programs read from a manager and a client by the names of Jupyter Server's own classes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jupyter_relay.errors import ConfigurationError, GatewayUnavailable, KernelNotRunning
from jupyter_relay.headless.client import GatewayKernelClient
from jupyter_relay.headless.manager import GatewayKernelManager
from jupyter_relay.testing import Answer, FakeGateway, Reset
from jupyter_relay.testing.fake_api import kernel_model

ID = "00000000-0000-4000-8000-000000000000"


async def started(fake: FakeGateway) -> GatewayKernelManager:
    """A manager whose kernel runs on a gateway."""
    manager = GatewayKernelManager()
    await manager.start_kernel()
    return manager


def model_of(manager: GatewayKernelManager) -> dict[str, Any]:
    """The kernel's model. Fails if there is none."""
    assert manager.kernel is not None
    return manager.kernel


async def test_kernel_is_the_model_from_the_start_to_the_shutdown(fake: FakeGateway) -> None:
    manager = GatewayKernelManager()
    assert (manager.has_kernel, manager.kernel, manager.kernel_url) == (False, None, None)
    await manager.start_kernel()
    kernel = fake.kernels[manager.running.id]
    assert manager.has_kernel
    assert model_of(manager) == {
        "id": kernel.id,
        "name": "python3",
        "last_activity": kernel.last_activity.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "execution_state": kernel.execution_state,
        "connections": 0,
    }
    await manager.shutdown_kernel()
    assert (manager.has_kernel, manager.kernel, manager.kernel_url) == (False, None, None)


async def test_kernel_without_a_date_of_the_gateway_has_none(fake: FakeGateway) -> None:
    manager = await started(fake)
    path = f"/api/kernels/{manager.running.id}"
    fake.fault("GET", path, Answer.json({"id": manager.running.id, "reason": "a reason"}))
    model = await manager.refresh_model()
    assert model is not None
    assert (model["last_activity"], model["reason"]) == (None, "a reason")
    await manager.shutdown_kernel()


async def test_kernel_is_none_once_its_gateway_has_reported_that_it_is_gone(
    fake: FakeGateway,
) -> None:
    manager = await started(fake)
    fake.lose_kernel(manager.running.id)
    assert manager.has_kernel
    assert await manager.refresh_model() is None
    assert (manager.has_kernel, manager.kernel) == (False, None)
    assert not await manager.is_alive()
    await manager.cleanup_resources()


async def test_refresh_model_returns_what_the_gateway_reports(fake: FakeGateway) -> None:
    manager = await started(fake)
    fake.kernels[manager.running.id].execution_state = "busy"
    assert model_of(manager)["execution_state"] != "busy"
    assert await manager.refresh_model() == model_of(manager)
    assert model_of(manager)["execution_state"] == "busy"
    await manager.shutdown_kernel()


async def test_refresh_model_uses_a_model_that_is_given_and_asks_nothing(
    fake: FakeGateway,
) -> None:
    manager = await started(fake)
    asked = len(fake.requests)
    later = datetime.now(UTC) + timedelta(days=1)
    given = model_of(manager) | {"execution_state": "busy", "last_activity": later.isoformat()}
    model = await manager.refresh_model(given)
    assert model == model_of(manager)
    assert model is not None
    assert model["execution_state"] == "busy"
    assert datetime.fromisoformat(model["last_activity"]) == later
    assert len(fake.requests) == asked
    await manager.shutdown_kernel()


@pytest.mark.parametrize("given", [{}, {"id": 7}, {"id": ID}])
async def test_refresh_model_refuses_a_model_that_is_not_the_kernels(
    fake: FakeGateway, given: dict[str, object]
) -> None:
    manager = await started(fake)
    before = model_of(manager)
    with pytest.raises(ValueError, match="model"):
        await manager.refresh_model(given)
    assert model_of(manager) == before
    await manager.shutdown_kernel()


async def test_refresh_model_without_a_kernel_or_a_gateway_raises(fake: FakeGateway) -> None:
    with pytest.raises(KernelNotRunning):
        await GatewayKernelManager().refresh_model()
    manager = await started(fake)
    fake.fault("GET", "/api/kernels/*", Reset())
    with pytest.raises(GatewayUnavailable):
        await manager.refresh_model()
    assert manager.has_kernel
    await manager.shutdown_kernel()


async def test_urls_are_those_of_the_gateway(fake: FakeGateway) -> None:
    manager = await started(fake)
    assert manager.kernels_url == f"{fake.url}/api/kernels"
    assert manager.kernel_url == f"{fake.url}/api/kernels/{manager.running.id}"
    await manager.shutdown_kernel()


async def test_urls_have_no_secret_of_the_gateways_own_url(
    fake: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, host = fake.url.split("//")
    monkeypatch.setenv("JUPYTER_GATEWAY_URL", f"http://me:pass@{host}/?token=t&key=k")
    manager = GatewayKernelManager()
    assert manager.kernels_url == f"{fake.url}/api/kernels"


async def test_url_has_the_id_by_which_the_gateway_knows_the_kernel(fake: FakeGateway) -> None:
    manager = await started(fake)
    other = fake.start_kernel()
    manager.gateway.ids.join(manager.running.id, other.id)
    assert manager.kernel_url == f"{fake.url}/api/kernels/{other.id}"
    model = await manager.refresh_model(kernel_model(other))
    assert model is not None
    assert model["id"] == manager.running.id
    await manager.shutdown_kernel()


# The client.


async def test_channels_have_their_names(fake: FakeGateway) -> None:
    client = GatewayKernelClient(fake.start_kernel().id)
    channels = {
        "shell": client.shell_channel,
        "iopub": client.iopub_channel,
        "stdin": client.stdin_channel,
        "control": client.control_channel,
        "hb": client.hb_channel,
    }
    assert {name: channel.channel_name for name, channel in channels.items()} == {
        name: name for name in channels
    }


@pytest.mark.parametrize("configured", [True, False])
@pytest.mark.parametrize("with_id", [True, False])
async def test_client_attaches_by_the_url_of_a_kernels_websocket(
    fake: FakeGateway, monkeypatch: pytest.MonkeyPatch, configured: bool, with_id: bool
) -> None:
    if not configured:
        monkeypatch.delenv("JUPYTER_GATEWAY_URL")
    kernel = fake.start_kernel()
    ws_url = f"ws{fake.url[len('http') :]}/api/kernels/{kernel.id}/channels?session_id=old"
    client = GatewayKernelClient(kernel.id if with_id else None, ws_url=ws_url)
    assert client.kernel_id == kernel.id
    client.start_channels()
    await client.wait_for_ready(timeout=10)
    (socket,) = fake.open_sockets
    assert socket.session_id not in {"", "old"}
    await client.stop_channels()


async def test_client_uses_the_token_of_its_url_where_no_gateway_is_configured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with FakeGateway(base_path="/below") as gateway:
        kernel = gateway.start_kernel()
        address = gateway.url.replace("http", "ws", 1)
        ws_url = f"{address}/api/kernels/{kernel.id}/channels?token={gateway.token}"
        client = GatewayKernelClient(ws_url=ws_url)
        client.start_channels()
        await client.wait_for_ready(timeout=10)
        await client.stop_channels()


@pytest.mark.parametrize(
    "ws_url",
    [
        f"http://gateway.example/api/kernels/{ID}/channels",
        "ws://gateway.example",
        f"ws://gateway.example/api/kernels/{ID}",
        f"ws://gateway.example/elsewhere/{ID}/channels",
    ],
)
def test_client_refuses_a_url_that_is_not_of_a_kernels_websocket(
    ws_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_GATEWAY_URL", "http://gateway.example")
    with pytest.raises(ConfigurationError, match=r"ws_url must be wss://…/api/kernels/<kernel id>"):
        GatewayKernelClient(ID, ws_url=ws_url)


def test_client_refuses_the_url_of_another_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_GATEWAY_URL", "http://gateway.example")
    ws_url = f"ws://gateway.example/api/kernels/{ID}/channels"
    with pytest.raises(ConfigurationError, match=f"to the kernel {ID}, not to another"):
        GatewayKernelClient("another", ws_url=ws_url)
