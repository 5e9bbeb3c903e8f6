"""Websocket handshakes that have no answer while their kernel starts: lost, or kept waiting."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_relay.settings.settings import GatewaySettings
from jupyter_relay.testing.servers import RunningServer, kernel_gateway
from tests.faults.listener import Listener
from tests.faults.site import Site, open_site


@pytest.fixture
def up(tmp_path: Path) -> Path:
    """A file for which kernels of the spec `waiting` wait before they come up."""
    return tmp_path / "up"


@pytest.fixture
async def gateway(tmp_path: Path, up: Path) -> AsyncIterator[RunningServer]:
    """A Kernel Gateway with such a kernelspec."""
    directory = tmp_path / "gateway"
    spec = directory / "data" / "kernels" / "waiting"
    spec.mkdir(parents=True)
    command = f"until [ -e {up} ]; do sleep 0.05; done; exec {sys.executable} -m ipykernel_launcher"
    model = {
        "argv": ["sh", "-c", f"{command} -f $0", "{connection_file}"],
        "display_name": "Waiting",
        "language": "python",
    }
    spec.joinpath("kernel.json").write_text(json.dumps(model), encoding="utf-8")
    async with kernel_gateway(directory=directory) as running:
        yield running


@pytest.fixture
async def site(gateway: RunningServer) -> AsyncIterator[Site]:
    """A kernel of that spec, whose link asks for it after a moment of silence."""

    def edit(settings: GatewaySettings) -> GatewaySettings:
        return replace(settings, link=replace(settings.link, probe_after=0.3))

    async with open_site(gateway, edit=edit, kernel_name="waiting") as opened:
        yield opened


def come_up(up: Path) -> None:
    """Let the kernel come up."""
    up.touch()


async def test_kernel_that_comes_up_late_is_reached_and_its_gateway_counts_us_right(
    site: Site, up: Path
) -> None:
    listener = Listener(site.remote)
    cell = listener.run("print(1)")
    await site.proxy.wait_connected(3)  # two handshakes, and a connection for questions
    come_up(up)
    await listener.wait_over(cell)
    assert cell.numbers == [1]
    await site.until_listed(lambda model: model is not None and model.connections == 1)
    assert (await listener.done("print(2)")).numbers == [2]
    await site.remote.close()
    await site.until_listed(lambda model: model is not None and model.connections == 0)


async def test_handshake_lost_before_a_kernel_was_ever_asked_is_made_again(
    site: Site, up: Path
) -> None:
    come_up(up)
    site.proxy.stall()
    listener = Listener(site.remote)
    cell = listener.run("print(1)")
    await site.proxy.wait_connected()
    site.proxy.forget_connections()
    site.proxy.resume()
    await listener.wait_over(cell)  # the time-out of the first one is three times as long
    assert cell.numbers == [1]
    assert site.reports == []
