"""Kernels that take longer to start than the proxy before their gateway waits."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.settings.settings import GatewaySettings
from jupyter_relay.testing.servers import RunningServer, kernel_gateway
from tests.support.impatient_proxy import ImpatientProxy, impatient_proxy
from tests.support.server import TestServer, server_on

pytestmark = pytest.mark.long

LIMIT = 2.0
"""How long the proxy waits."""

SLOWNESS = 10.0
"""How long the gateway takes to launch a kernel, and how long a kernel of the spec `asleep` takes
to come up after that."""

_SLOW_LAUNCHES = f"""
import asyncio
from kernel_gateway.services.kernels.manager import KernelGatewayIOLoopKernelManager

class Slow(KernelGatewayIOLoopKernelManager):
    async def _async_start_kernel(self, **kwargs):
        if self.kernel_name == "python3":
            await asyncio.sleep({SLOWNESS})
        await super()._async_start_kernel(**kwargs)

    start_kernel = _async_start_kernel
"""


class Site(NamedTuple):
    """A slow gateway behind a proxy that does not wait for it, and our server."""

    gateway: RunningServer
    proxy: ImpatientProxy
    server: TestServer

    async def on_gateway(self) -> list[str]:
        """The ids of the kernels that the gateway has, by its own word."""
        headers = self.gateway.headers
        url = f"{self.gateway.url}/api/kernels"
        async with self.proxy.http.get(url, headers=headers) as answer:
            return [model["id"] for model in await answer.json()]

    def processes(self) -> int:
        """How many kernels run, whatever the gateway says."""
        return len(list(self.gateway.directory.joinpath("runtime").glob("kernel-*.json")))


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[RunningServer]:
    """A Kernel Gateway whose kernels are slow, one kind to launch and the other to come up."""
    directory = tmp_path / "gateway"
    spec = directory / "data" / "kernels" / "asleep"
    spec.mkdir(parents=True)
    command = f"sleep {SLOWNESS}; exec {sys.executable} -m ipykernel_launcher -f $0"
    model = {
        "argv": ["sh", "-c", command, "{connection_file}"],
        "display_name": "Asleep",
        "language": "python",
    }
    spec.joinpath("kernel.json").write_text(json.dumps(model), encoding="utf-8")
    tmp_path.joinpath("slow_launches.py").write_text(_SLOW_LAUNCHES, encoding="utf-8")
    async with kernel_gateway(
        directory=directory,
        env={"PYTHONPATH": str(tmp_path)},
        extra_args=["--SeedingMappingKernelManager.kernel_manager_class=slow_launches.Slow"],
    ) as running:
        yield running


@pytest.fixture
async def site(gateway: RunningServer, tmp_path: Path) -> AsyncIterator[Site]:
    """All of it."""
    async with (
        impatient_proxy(gateway.url, gateway.token, limit=LIMIT) as proxy,
        server_on(proxy, tmp_path / "server") as server,
    ):
        yield Site(gateway, proxy, server)


@pytest.mark.parametrize("name", ["python3", "asleep"])
async def test_kernel_that_starts_slowly_is_used_as_if_it_were_there(site: Site, name: str) -> None:
    async with asyncio.timeout(90):
        answer = await site.server.call("POST", "/api/kernels", {"name": name})
        assert (answer.status, answer.json["execution_state"]) == (201, "starting")
        kernel_id = answer.json["id"]
        async with site.server.tab(kernel_id) as tab:
            # Before it there may be a notice that the websocket does not open yet.
            assert (await tab.run("print(6 * 7)")).splitlines()[-1] == "42"
        assert any(answer.startswith("504 ") for answer in site.proxy.answers)
        assert await site.on_gateway() == [kernel_id]
        assert site.processes() == 1
        assert (await site.server.call("DELETE", f"/api/kernels/{kernel_id}")).status == 204
        assert await site.on_gateway() == []


async def test_slow_start_that_is_cancelled_leaves_no_kernel(site: Site) -> None:
    async with asyncio.timeout(90):
        kernel_id = await site.server.start_kernel(name="python3")
        assert (await site.server.call("DELETE", f"/api/kernels/{kernel_id}")).status == 204
        assert await site.on_gateway() == []
        await deletion_of(kernel_id, site.proxy)
        assert await site.on_gateway() == []
        assert site.processes() == 0


async def test_program_cancelled_during_a_slow_start_leaves_no_kernel(
    gateway: RunningServer,
) -> None:
    async with asyncio.timeout(90), impatient_proxy(gateway.url, gateway.token, limit=LIMIT) as p:
        ours = Gateway(GatewaySettings.make({"url": p.url, "auth_token": gateway.token}, {}))
        start = ours.begin_start("python3")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(LIMIT + 1):
                await start.wait()
        assert p.answers[0] == "504 POST /api/kernels"
        await deletion_of(start.id, p)
        await ours.close()


async def deletion_of(kernel_id: str, proxy: ImpatientProxy) -> None:
    """Wait until the gateway has deleted a kernel that it had."""
    done = f"204 DELETE /api/kernels/{kernel_id}"
    await proxy.changes.wait_for(lambda: done in proxy.answers, timeout=60.0)
