"""The gateway cannot be reached for a while."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from jupyter_relay.errors import GatewayUnavailable
from jupyter_relay.link.actions import Happening
from jupyter_relay.link.table import State
from jupyter_relay.testing.servers import RunningServer
from jupyter_relay.wire.message import Channel
from tests.faults.listener import Listener, assert_accounted, counter, only
from tests.faults.site import Site, open_site, with_link


async def go_down(site: Site) -> None:
    """Cut the connection, and let no other come."""
    site.proxy.refuse()
    site.proxy.reset()
    await site.wait_told(Happening.DROPPED, len(site.told(Happening.DROPPED)) + 1)


async def test_cell_sent_in_the_outage_runs_after_it(any_site: Site) -> None:
    site, listener = any_site, Listener(any_site.remote)
    await listener.done("ran = []")
    await go_down(site)
    cells = [listener.run(f"ran.append({number})") for number in range(5)]
    last = listener.run("print(*ran)")
    assert site.remote.state is State.WAITING
    site.proxy.accept()
    await listener.wait_over(*cells, last)
    assert {cell.status for cell in cells} == {"ok"}
    assert last.numbers == [0, 1, 2, 3, 4]
    assert not any(cell.notices for cell in cells), "nothing was lost"


async def test_output_of_the_outage_arrives_after_it(any_site: Site, tmp_path: Path) -> None:
    site, listener = any_site, Listener(any_site.remote)
    go = tmp_path / "go"
    cell = listener.run(
        f"{counter(5, 0.0)}import pathlib\n"
        f"while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.01)\n"
        f"{counter(20, 0.2, first=5)}"
    )
    await listener.wait_for(lambda: len(cell.numbers) == 5)
    await go_down(site)
    await site.until_listed(lambda model: model is not None and model.connections == 0)
    await asyncio.to_thread(go.touch)
    site.proxy.accept()
    await listener.wait_over(cell)
    assert cell.numbers == list(range(25))
    assert not cell.notices
    assert (len(cell.replies), cell.idles) == (1, 1)


async def test_cell_sent_with_a_full_outbox_is_answered_at_once(server: RunningServer) -> None:
    async with open_site(server, edit=with_link(outbox_messages=2)) as site:
        listener = Listener(site.remote)
        await listener.done("ran = []")
        await go_down(site)
        held = [listener.run(f"ran.append({number})") for number in range(2)]
        refused = listener.run("ran.append(2)")
        assert refused.over
        assert refused.status == "error"
        assert "2 messages" in refused.reason
        assert "was not sent" in refused.reason
        assert not any(cell.over for cell in held)
        site.proxy.accept()
        await listener.wait_over(*held)
        assert (await listener.done("print(*ran)")).numbers == [0, 1]


async def test_outage_of_long_duration_is_reported_and_survived(server: RunningServer) -> None:
    async with open_site(server, edit=with_link(alarm_after=0.2)) as site:
        listener = Listener(site.remote)
        cell = listener.run(counter(10, 0.1))
        await listener.wait_for(lambda: len(cell.numbers) >= 2)
        site.proxy.refuse(reset=True)
        site.proxy.reset()
        tries = site.proxy.accepted
        await site.proxy.wait_for(lambda: site.proxy.accepted >= tries + 8)
        await listener.wait_for(lambda: cell.notices)
        assert "No connection to the gateway since" in only(cell.notices)
        site.proxy.accept()
        await listener.wait_over(cell)
        assert_accounted(cell, 10, slack=2)
        assert (await listener.done("print(1)")).numbers == [1]
        assert len(site.told(Happening.DROPPED)) == 1
        assert only(site.told(Happening.OPENED)).seconds


async def test_interrupt_in_the_outage_is_refused_and_an_interrupt_from_elsewhere_is_heard(
    site: Site,
) -> None:
    listener = Listener(site.remote)
    cell = listener.run("import time\nprint(0)\nwhile True: time.sleep(0.05)")
    await listener.wait_for(lambda: cell.numbers)
    await go_down(site)
    with pytest.raises(GatewayUnavailable):
        await site.remote.interrupt()
    await site.direct.interrupt_kernel(site.remote.id)
    site.proxy.accept()
    await listener.wait_over(cell)
    assert cell.status == "error"
    assert (len(cell.replies), cell.idles) == (1, 1)
    assert (await listener.done("print(1)")).numbers == [1]


async def test_control_requests_of_the_outage_are_held_and_pass_by_a_busy_shell(site: Site) -> None:
    listener = Listener(site.remote)
    busy = listener.run("import time\nprint(0)\nwhile True: time.sleep(0.05)")
    await listener.wait_for(lambda: busy.numbers)
    await go_down(site)
    asked = listener.ask("kernel_info_request", channel=Channel.CONTROL)
    site.proxy.accept()
    await listener.wait_for(lambda: asked.replies)
    assert only(asked.replies).channel is Channel.CONTROL
    assert not busy.over
    await site.remote.interrupt()
    await listener.wait_over(busy)
    assert only(busy.errors) == ""  # KeyboardInterrupt has no text
