"""Kernelspecs whose names Jupyter's own rule does not allow, on a real Kernel Gateway."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_asyncio

from jupyter_relay.testing.servers import RunningServer, kernel_gateway
from tests.support.server import server_on

NAMES = (
    "julia (4 threads)-1.6", "a~b@c", "größe ü", "50% off", "c++;v=1,2", "plain",
)  # fmt: skip
LOGO = b"\x89PNG of a kernelspec"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningServer]:
    """A Kernel Gateway with a kernelspec of each name."""
    directory = tmp_path_factory.mktemp("gateway")
    for name in NAMES:
        folder = directory / "data" / "kernels" / name
        folder.mkdir(parents=True)
        argv = ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec = {"argv": argv, "display_name": f"The {name}", "language": "python"}
        (folder / "kernel.json").write_text(json.dumps(spec))
        (folder / "logo-64x64.png").write_bytes(LOGO)
    async with kernel_gateway(directory=directory) as running:
        yield running


def browsers(name: str) -> str:
    """Quote a part of a path as a browser does in a link: only what cannot stand there."""
    return quote(name, safe="!$&'()*+,;=:@~")


@pytest.mark.parametrize("quoted", [browsers, lambda name: quote(name, safe="")])
async def test_kernelspec_of_any_name_is_listed_found_alone_and_has_its_logo(
    quoted: object, gateway: RunningServer, tmp_path: Path
) -> None:
    assert callable(quoted)
    async with server_on(gateway, tmp_path, base_url="/near") as server:
        listed = (await server.call("GET", "/api/kernelspecs")).json["kernelspecs"]
        assert set(NAMES) <= listed.keys()
        for name in NAMES:
            one = await server.call("GET", f"/api/kernelspecs/{quoted(name)}")
            assert one.status == 200, name
            assert one.json["spec"]["display_name"] == f"The {name}"
            assert one.json == listed[name]
            logo = await server.call("GET", f"/kernelspecs/{quoted(name)}/logo-64x64.png")
            assert (logo.status, logo.body) == (200, LOGO), name
            url = listed[name]["resources"]["logo-64x64"]
            shown = await server.call("GET", url.removeprefix("/near"))
            assert (shown.status, shown.body) == (200, LOGO), url


async def test_kernel_of_a_kernelspec_of_any_name_starts(
    gateway: RunningServer, tmp_path: Path
) -> None:
    async with server_on(gateway, tmp_path) as server:
        kernel_id = await server.start_kernel(name="julia (4 threads)-1.6")
        model = (await server.call("GET", f"/api/kernels/{kernel_id}")).json
    assert model["name"] == "julia (4 threads)-1.6"
