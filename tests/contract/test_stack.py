"""Our server and our headless client, end to end on each real gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jupyter_relay.errors import AuthenticationFailed, KernelSpecNotFound
from jupyter_relay.headless.manager import GatewayKernelManager
from jupyter_relay.testing.processes import descendants
from jupyter_relay.testing.servers import RunningServer
from tests.contract.probe import Probe
from tests.contract.running import interrupted
from tests.support.enterprise import KERNEL_ENV
from tests.support.server import TestServer, server_on
from tests.support.tab import printed


@pytest.fixture(autouse=True)
def environment(gateway: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a user of the gateway has in the environment."""
    for name, value in KERNEL_ENV.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("JUPYTER_GATEWAY_URL", gateway.url)
    monkeypatch.setenv("JUPYTER_GATEWAY_AUTH_TOKEN", gateway.token)


@pytest.fixture
async def server(gateway: RunningServer, tmp_path: Path) -> AsyncIterator[TestServer]:
    """A Jupyter Server in this process, on the gateway."""
    async with server_on(gateway, tmp_path) as running:
        yield running


@pytest.mark.parametrize("legacy", [False, True], ids=["v1 page", "legacy page"])
async def test_kernel_on_a_real_gateway_lives_from_start_to_shutdown(
    server: TestServer, probe: Probe, legacy: bool
) -> None:
    kernel_id = await server.start_kernel(name="python3")
    async with server.tab(kernel_id, legacy=legacy) as tab:
        assert await tab.run("x = 6 * 7; print(x)") == "42\n"
        assert await interrupted(server, kernel_id, tab) == "KeyboardInterrupt"
        assert await tab.run("print(x)") == "42\n"
        assert (await server.call("POST", f"/api/kernels/{kernel_id}/restart")).status == 200
        assert await tab.run("print('x' in globals())") == "False\n"
        listed = (await server.call("GET", "/api/kernels")).json
        assert [model["id"] for model in listed] == [kernel_id]
        assert (await server.call("DELETE", f"/api/kernels/{kernel_id}")).status == 204
    assert (await probe.call("GET", f"/api/kernels/{kernel_id}"))[0] == 404


async def test_operations_on_one_kernel_at_once_fail_nobody_and_leave_nothing_behind(
    server: TestServer, probe: Probe, gateway: RunningServer
) -> None:
    before = set(descendants(gateway.pid))
    kernel_id = await server.start_kernel(name="python3")
    at = f"/api/kernels/{kernel_id}"
    async with server.tab(kernel_id) as tab:
        assert await tab.run("print(1)") == "1\n"
    first, second, interrupt, deletion = await asyncio.gather(
        server.call("POST", f"{at}/restart"),
        server.call("POST", f"{at}/restart"),
        server.call("POST", f"{at}/interrupt"),
        server.call("DELETE", at),
    )
    assert deletion.status == 204
    assert {first.status, second.status} <= {200, 404}
    assert interrupt.status in {204, 409}
    assert (await server.call("GET", "/api/kernels")).json == []
    assert (await probe.call("GET", at))[0] == 404
    async with asyncio.timeout(20):
        while True:
            if not set(descendants(gateway.pid)) - before:
                break
            await asyncio.sleep(0.05)  # a process takes its time to end, and tells nobody


async def test_session_on_a_real_gateway_has_its_document(
    server: TestServer, tmp_path: Path
) -> None:
    model = {
        "path": "a.ipynb",
        "name": "a.ipynb",
        "type": "notebook",
        "kernel": {"name": "python3"},
    }
    session = (await server.call("POST", "/api/sessions", model)).json
    async with server.tab(session["kernel"]["id"]) as tab:
        assert await tab.run("print('in a session')") == "in a session\n"
    assert (await server.call("DELETE", f"/api/sessions/{session['id']}")).status == 204
    assert (await server.call("GET", "/api/kernels")).json == []


async def test_kernelspecs_and_their_logos(server: TestServer) -> None:
    listed = (await server.call("GET", "/api/kernelspecs")).json
    assert listed["default"] == "python3"
    logo = listed["kernelspecs"]["python3"]["resources"]["logo-64x64"]
    answer = await server.call("GET", logo)
    assert answer.status == 200
    assert answer.body.startswith(b"\x89PNG")


async def test_start_on_a_real_gateway_of_an_unknown_kernelspec_is_not_found(
    server: TestServer,
) -> None:
    answer = await server.call("POST", "/api/kernels", {"name": "cobol"})
    assert answer.status == 404
    assert "has no kernelspec 'cobol'." in answer.json["message"]


async def test_page_that_returns_hears_the_messages_it_missed(server: TestServer) -> None:
    kernel_id = await server.start_kernel()
    async with server.tab(kernel_id, "page") as tab:
        msg_id = await tab.execute(
            "import time\nfor n in range(5):\n    print(n, flush=True); time.sleep(0.1)"
        )
        heard = [await tab.receive()]
        while not printed(heard):
            heard.append(await tab.receive())
    async with server.tab(kernel_id, "page") as tab:
        output, _ = await tab.until_idle(msg_id)
    assert printed([*heard, *output]).split() == ["0", "1", "2", "3", "4"]


async def test_program_on_a_real_gateway_runs_code(probe: Probe) -> None:
    manager = GatewayKernelManager(kernel_name="python3")
    await manager.start_kernel()
    client = manager.client()
    client.start_channels()
    await client.wait_for_ready(timeout=60)
    heard: list[str] = []
    await client.execute_interactive(
        "print(input('Name: '))",
        allow_stdin=True,
        stdin_hook=lambda _: client.input("Ada"),
        output_hook=lambda msg: heard.append(msg["content"].get("text", "")),
        timeout=60,
    )
    assert "".join(heard) == "Ada\n"
    assert await manager.is_alive()
    client.stop_channels()
    kernel_id = manager.running.id
    await manager.shutdown_kernel()
    assert (await probe.call("GET", f"/api/kernels/{kernel_id}"))[0] == 404


async def test_errors_are_told_apart(
    gateway: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KernelSpecNotFound):
        await GatewayKernelManager(kernel_name="cobol").start_kernel()
    monkeypatch.setenv("JUPYTER_GATEWAY_AUTH_TOKEN", "bad")
    with pytest.raises(AuthenticationFailed):
        await GatewayKernelManager().start_kernel()
