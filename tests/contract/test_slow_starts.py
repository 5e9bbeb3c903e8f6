"""Slow starts, on gateways that choose a kernel's id themselves and on one that takes ours.

Kernel Gateway leaves the handling of starts to Jupyter Server, which takes the id that a client
chose since 2.21.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from jupyter_relay.headless.manager import GatewayKernelManager
from jupyter_relay.testing.servers import RunningServer
from tests.contract.probe import Probe
from tests.contract.running import interrupted
from tests.support.older import OLDER, slow_kernel_gateway
from tests.support.server import TestServer, server_on

KERNELS = "/api/kernels"


@pytest.fixture(scope="module", params=[*OLDER, "newest"])
def version(request: pytest.FixtureRequest) -> str:
    """The gateway's Jupyter Server."""
    given: str = request.param
    return given


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(version: str) -> AsyncIterator[RunningServer]:
    """A Kernel Gateway whose starts are slow."""
    async with slow_kernel_gateway(version if version in OLDER else None) as running:
        yield running


@pytest.fixture
async def probe(gateway: RunningServer) -> AsyncIterator[Probe]:
    """A client of the gateway that knows nothing."""
    async with aiohttp.ClientSession() as http:
        yield Probe(http, gateway)


@pytest.fixture(autouse=True)
def environment(gateway: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a user of the gateway has in the environment."""
    monkeypatch.setenv("KERNEL_LAUNCH_SECONDS", "1")
    monkeypatch.setenv("JUPYTER_GATEWAY_URL", gateway.url)
    monkeypatch.setenv("JUPYTER_GATEWAY_AUTH_TOKEN", gateway.token)


@pytest.fixture
async def server(gateway: RunningServer, tmp_path: Path) -> AsyncIterator[TestServer]:
    """A server that shows kernels before they have started."""
    async with server_on(gateway, tmp_path, argv=("--GatewayClient.start_grace=0.1",)) as running:
        yield running


async def on_gateway(probe: Probe) -> list[str]:
    """Return the ids of the gateway's kernels, as it knows them."""
    return [model["id"] for model in (await probe.call("GET", KERNELS))[1]]


async def test_kernel_that_starts_slowly_lives_under_the_id_that_was_shown(
    server: TestServer, probe: Probe, version: str
) -> None:
    answer = await server.call("POST", KERNELS, {"name": "python3"})
    assert (answer.status, answer.json["execution_state"]) == (201, "starting")
    kernel_id = answer.json["id"]
    async with server.tab(kernel_id) as tab:
        assert await tab.run("x = 6 * 7; print(x)") == "42\n"
        (given,) = await on_gateway(probe)
        assert (given == kernel_id) == (version == "newest")
        (listed,) = (await server.call("GET", KERNELS)).json
        assert listed["id"] == kernel_id
        assert listed["execution_state"] in {"idle", "busy"}
        assert (await server.call("GET", f"{KERNELS}/{kernel_id}")).json["id"] == kernel_id
        assert await interrupted(server, kernel_id, tab) == "KeyboardInterrupt"
        assert await tab.run("print(x)") == "42\n"
        restarted = await server.call("POST", f"{KERNELS}/{kernel_id}/restart")
        assert (restarted.status, restarted.json["id"]) == (200, kernel_id)
        assert await tab.run("print('x' in globals())") == "False\n"
        # One who knows the gateway's id joins the same kernel.
        joined = await server.call("POST", KERNELS, {"kernel_id": given})
        assert (joined.status, joined.json["id"]) == (201, kernel_id)
        assert (await server.call("DELETE", f"{KERNELS}/{kernel_id}")).status == 204
    assert await on_gateway(probe) == []
    assert (await server.call("GET", KERNELS)).json == []


async def test_session_of_a_slow_start_keeps_the_id_that_was_shown(
    server: TestServer, probe: Probe
) -> None:
    model = {"path": "a.ipynb", "name": "a.ipynb", "type": "notebook"}
    answer = await server.call("POST", "/api/sessions", model | {"kernel": {"name": "python3"}})
    assert (answer.status, answer.json["kernel"]["execution_state"]) == (201, "starting")
    kernel_id = answer.json["kernel"]["id"]
    async with server.tab(kernel_id) as tab:
        assert await tab.run("print('in a session')") == "in a session\n"
    (listed,) = (await server.call("GET", "/api/sessions")).json
    assert listed["kernel"]["id"] == kernel_id
    again = await server.call("POST", "/api/sessions", model | {"kernel": {"id": kernel_id}})
    assert again.json["kernel"]["id"] == kernel_id
    assert (await server.call("DELETE", f"/api/sessions/{answer.json['id']}")).status == 204
    assert await on_gateway(probe) == []


@pytest.mark.parametrize("version", [OLDER[0]], indirect=True)
async def test_program_with_a_slow_start_keeps_the_id_that_it_was_given(probe: Probe) -> None:
    manager = GatewayKernelManager(kernel_name="python3")
    await manager.start_kernel(patience=0.1)
    kernel_id = manager.kernel_id
    client = manager.client()
    client.start_channels()
    await client.wait_for_ready(timeout=60)
    assert (manager.kernel_id, manager.running.id) == (kernel_id, kernel_id)
    await manager.interrupt_kernel()
    await manager.restart_kernel()
    assert await manager.is_alive()
    client.stop_channels()
    await manager.shutdown_kernel()
    assert await on_gateway(probe) == []


@pytest.mark.parametrize("version", [OLDER[0]], indirect=True)
async def test_slow_start_that_is_given_up_leaves_no_kernel(
    server: TestServer, probe: Probe
) -> None:
    kernel_id = await server.start_kernel(name="python3")
    assert (await server.call("DELETE", f"{KERNELS}/{kernel_id}")).status == 204
    await server.kernels.shutdown_all()  # the start's end is waited for
    assert await on_gateway(probe) == []


@pytest.mark.parametrize("version", [OLDER[-1]], indirect=True)
async def test_launch_of_eight_seconds_outlasts_the_default_grace(
    gateway: RunningServer, probe: Probe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERNEL_LAUNCH_SECONDS", "8")
    async with server_on(gateway, tmp_path) as server:
        answer = await server.call("POST", KERNELS, {"name": "python3"})
        assert (answer.status, answer.json["execution_state"]) == (201, "starting")
        kernel_id = answer.json["id"]
        async with server.tab(kernel_id) as tab, asyncio.timeout(60):
            assert await tab.run("print('there')") == "there\n"
        assert kernel_id not in await on_gateway(probe)
        assert (await server.call("DELETE", f"{KERNELS}/{kernel_id}")).status == 204
        assert await on_gateway(probe) == []
