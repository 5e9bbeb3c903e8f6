"""The link goes silent without an end: nothing arrives, and nobody says so."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_relay.link.actions import Happening
from jupyter_relay.link.settings import LinkSettings
from jupyter_relay.link.table import State
from jupyter_relay.settings.settings import GatewaySettings
from jupyter_relay.testing.servers import RunningServer
from tests.faults.conftest import run
from tests.faults.listener import Listener, assert_accounted, counter
from tests.faults.site import open_site, with_transport
from tests.support.gateway import default_of


@pytest.mark.parametrize(("upstream", "downstream"), [(True, True), (True, False), (False, True)])
async def test_link_that_stalls_is_detected_opened_again_and_its_gap_reported(
    any_server: RunningServer, upstream: bool, downstream: bool
) -> None:
    async with open_site(any_server, edit=lambda s: with_transport(s, ping_interval=1.0)) as site:
        listener = Listener(site.remote)
        await listener.done("0")
        cell = listener.run(counter(60, 0.05))
        await listener.wait_for(lambda: len(cell.numbers) >= 5)
        site.proxy.stall(upstream=upstream, downstream=downstream)
        dropped = await site.wait_told(Happening.DROPPED)
        site.proxy.resume()
        await listener.wait_over(cell)
        missing = assert_accounted(cell, 60, slack=12)
        if downstream:
            assert missing
        if missing:
            assert "while the connection to the gateway was down" in cell.notices[0]
        assert cell.idles == len(cell.replies) == 1
        assert "the gateway" in dropped.text
        opened = await site.wait_told(Happening.OPENED)
        if downstream:  # it is we who find out, and know for how long nothing has come
            assert "silent for 1.5 s" in dropped.text
            assert dropped.seconds == 1.5
            assert opened.seconds is not None
            assert opened.seconds > 1.5
        assert (await listener.done("print(1)")).numbers == [1]


@pytest.mark.timeout(240)
async def test_link_in_a_black_hole_that_swallows_handshakes_too_recovers(
    server: RunningServer,
) -> None:
    """The gateway takes all those handshakes for its own at once in the end, and may be deaf on the
    socket that is left; each that turns out to be so is replaced."""

    def edit(settings: GatewaySettings) -> GatewaySettings:
        return with_transport(settings, ping_interval=1.0, handshake_timeout=0.5)

    async with open_site(server, edit=edit) as site:
        listener = Listener(site.remote)
        await listener.done("0")
        before = len(site.told(Happening.DROPPED))  # a new kernel can be slow at its first one
        cell = listener.run(counter(20, 0.1))
        await listener.wait_for(lambda: len(cell.numbers) >= 5)
        site.proxy.stall()
        await site.wait_told(Happening.DROPPED, before + 1)
        held = listener.run("print(1)")
        tries = site.proxy.accepted
        await site.proxy.wait_for(lambda: site.proxy.accepted >= tries + 3)
        site.proxy.resume()
        await listener.wait_over(cell, held, timeout=200)
        assert_accounted(cell, 20)
        for ended in (cell, held):
            assert (len(ended.replies), ended.idles) == (1, 1)
        opened = site.told(Happening.OPENED)[before]
        assert opened.seconds is not None
        assert opened.seconds > 2.5


async def test_socket_deaf_under_a_busy_kernel_is_replaced_without_any_ping(
    server: RunningServer, tmp_path: Path
) -> None:
    """The gateway says ``busy``, which is true, and the kernel says nothing, which may be."""

    def edit(settings: GatewaySettings) -> GatewaySettings:
        link = replace(settings.link, probe_after=1.0)
        return with_transport(replace(settings, link=link), ping_interval=0.0)

    go_on = tmp_path / "go on"
    code = (
        "import pathlib, time\n"
        "print(1, flush=True)\n"
        f"while not pathlib.Path({str(go_on)!r}).exists(): time.sleep(0.05)\n"
        "print(2)\n"
    )
    async with open_site(server, edit=edit) as site:
        listener = Listener(site.remote)
        await listener.done("0")
        before = len(site.told(Happening.DROPPED))
        cell = listener.run(code)
        await listener.wait_for(lambda: cell.numbers)
        accepted = site.proxy.accepted
        site.proxy.forget_connections()
        dropped = await site.wait_told(Happening.DROPPED, before + 1)
        assert "does not answer on control" in dropped.text
        await site.proxy.wait_for(
            lambda: site.proxy.accepted > accepted and site.remote.state is State.OPEN
        )
        go_on.touch()
        await listener.wait_over(cell)
        assert cell.status == "ok"
        assert cell.numbers == [1, 2]
        assert (len(cell.replies), cell.idles) == (1, 1)


async def survive(server: RunningServer, seconds: float) -> None:
    """Run a cell through a black hole of so many seconds, with the settings of everybody."""
    lines = int((seconds + 20.0) / 0.2)
    async with open_site(server, edit=with_defaults) as site:
        listener = Listener(site.remote)
        await listener.done("0")
        cell = listener.run(counter(lines, 0.2))
        await listener.wait_for(lambda: len(cell.numbers) >= 5)
        site.proxy.stall()
        stalled = asyncio.get_running_loop().time()
        dropped = await site.wait_told(Happening.DROPPED)
        assert dropped.seconds == 30.0, "what the ping limit says"
        await asyncio.sleep(stalled + seconds - asyncio.get_running_loop().time())
        site.proxy.resume()
        await listener.wait_over(cell, timeout=120.0)
        missing = assert_accounted(cell, lines, slack=12)
        assert missing
        assert any(f"up to {cell.announced} messages" in notice for notice in cell.notices)
        assert (len(cell.replies), cell.idles) == (1, 1)
        assert (await listener.done("print(1)")).numbers == [1]


def with_defaults(settings: GatewaySettings) -> GatewaySettings:
    """Return settings of which nobody has changed any."""
    return with_transport(
        replace(settings, link=LinkSettings()), ping_interval=default_of("ping_interval", float)
    )


@pytest.mark.long
@pytest.mark.timeout(400)
async def test_black_holes_of_half_a_minute_and_of_two() -> None:
    async with (
        run("kernel gateway") as one,
        run("jupyter server") as other,
        asyncio.TaskGroup() as group,
    ):
        for gateway in (one, other):
            for seconds in (30.0, 120.0):
                group.create_task(survive(gateway, seconds))
