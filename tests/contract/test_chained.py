"""A Jupyter Server whose kernels are on a gateway is itself the gateway of another server.

It takes the id that comes with a start for one of a kernel that its own gateway has.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from jupyter_relay.testing.servers import RunningServer, jupyter_server, kernel_gateway
from tests.contract.probe import Probe
from tests.support.server import server_on

KERNELS = "/api/kernels"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def far_gateway() -> AsyncIterator[RunningServer]:
    """The gateway on which the kernels are in the end."""
    async with kernel_gateway() as running:
        yield running


@pytest.mark.parametrize("ours", [True, False], ids=["relay", "built-in client"])
async def test_server_on_a_gateway_is_itself_a_gateway(
    far_gateway: RunningServer, tmp_path: Path, ours: bool
) -> None:
    extension = f"--ServerApp.jpserver_extensions={{'jupyter_relay': {ours}}}"
    async with (
        aiohttp.ClientSession() as http,
        jupyter_server(gateway=far_gateway, extra_args=[extension]) as between,
        server_on(between, tmp_path) as server,
    ):
        kernel_id = await server.start_kernel(name="python3")
        ((far_id,),) = [[model["id"] for model in await listed(http, far_gateway)]]
        assert kernel_id == far_id
        async with server.tab(kernel_id) as tab:
            assert await tab.run("print(6 * 7)") == "42\n"
        refused = await server.call("POST", KERNELS, {"name": "nonesuch"})
        assert refused.status == 404
        assert "'nonesuch'" in refused.json["message"]
        assert (await server.call("DELETE", f"{KERNELS}/{kernel_id}")).status == 204
        assert await listed(http, far_gateway) == []


async def listed(http: aiohttp.ClientSession, gateway: RunningServer) -> list[dict[str, str]]:
    """Return the models of the kernels that a gateway has."""
    models: list[dict[str, str]] = (await Probe(http, gateway).call("GET", KERNELS))[1]
    return models
