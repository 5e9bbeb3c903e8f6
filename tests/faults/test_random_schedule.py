"""Cuts at random while cells write lines: two hundred on one kernel, and bursts on several.

``soak.py`` runs the second for as long as is wanted.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import time
from collections.abc import Callable

import psutil
import pytest

from jupyter_relay.link.actions import Happening
from jupyter_relay.link.table import State
from jupyter_relay.testing.servers import RunningServer
from tests.faults import harm
from tests.faults.listener import Cell, Listener
from tests.faults.recorder import Recorder
from tests.faults.site import Site, open_site
from tests.faults.soak import Plan, soak

pytestmark = pytest.mark.long

CUTS = 200
LINES = 6
IN_FLIGHT = 3
MOST_GROWTH = 48 * 2**20


def cell_code(number: int) -> str:
    """Return the code of one cell: it notes that it ran, and writes lines."""
    return (
        "import sys, time\n"
        f"ran.append({number})\n"
        f"for n in range({LINES}):\n"
        "    _ = sys.stdout.write(f'{n}\\n')\n"
        "    sys.stdout.flush()\n"
        "    time.sleep(0.005)\n"
    )


async def cut(site: Site, listener: Listener, rng: random.Random) -> None:
    """Do the link one harm, at a moment that the messages decide, and wait until it shows."""
    heard = listener.heard + rng.randint(0, 24)
    await listener.wait_for(lambda: listener.heard >= heard)
    if site.remote.state is not State.OPEN:
        return
    dropped = len(site.told(Happening.DROPPED)) + 1
    opened = len(site.told(Happening.OPENED)) + 1
    await rng.choice(harm.CUTS)(site.proxy, rng)
    await site.wait_told(Happening.DROPPED, dropped)
    if rng.random() < 0.7:
        await site.wait_told(Happening.OPENED, opened)


async def work(listener: Listener, stop: asyncio.Event) -> list[Cell]:
    """Keep some cells under way until told to stop."""
    cells: list[Cell] = []
    while not stop.is_set():
        under_way = [cell for cell in cells if not cell.over]
        if len(under_way) < IN_FLIGHT:
            cells.append(listener.run(cell_code(len(cells))))
        else:
            await listener.wait_for(lambda: any(cell.over for cell in under_way))  # noqa: B023
    return cells


def never_came(msg_ids: set[str], first: Cell, last: Cell) -> int:
    """How many of the messages that the kernel has numbered between two replies did not come."""
    series, _, begin = first.replies[0].head.msg_id.rpartition("_")
    end = last.replies[0].head.msg_id.removeprefix(f"{series}_")
    return sum(f"{series}_{number}" not in msg_ids for number in range(int(begin), int(end)))


async def run_under_cuts(site: Site, listener: Listener, rng: random.Random) -> list[Cell]:
    """Keep cells under way while the link is cut again and again; return them, all over."""
    stop = asyncio.Event()
    worker = asyncio.create_task(work(listener, stop))
    while len(site.told(Happening.DROPPED)) < CUTS:
        await cut(site, listener, rng)
    stop.set()
    cells = await worker
    await listener.wait_over(*cells, timeout=60)
    return cells


@pytest.mark.timeout(240)
async def test_line_of_output_under_random_faults_arrives_once_or_its_loss_is_reported(
    any_server: RunningServer, record_property: Callable[[str, object], None]
) -> None:
    seed = int(os.environ.get("FAULTS_SEED") or secrets.randbits(32))
    print(f"FAULTS_SEED={seed}")
    record_property("seed", seed)
    msg_ids: set[str] = set()
    async with open_site(
        any_server, transport=lambda settings: Recorder(settings, msg_ids)
    ) as site:
        listener = Listener(site.remote)
        first = await listener.done("ran = []")
        before = psutil.Process().memory_info().rss
        began = time.monotonic()
        cells = await run_under_cuts(site, listener, random.Random(seed))
        grown = psutil.Process().memory_info().rss - before
        last = await listener.done("print(ran)")
    ran = json.loads(last.printed)
    lost = never_came(msg_ids, first, last)

    missing = 0
    for number, cell in enumerate(cells):
        assert cell.numbers == sorted(set(cell.numbers)), (number, cell)
        assert (len(cell.replies), cell.idles) == (1, 1), (number, cell)
        if number in ran:
            missing += LINES - len(cell.numbers)
            assert "never reached" not in cell.reason
            assert "not sent" not in cell.reason
        else:
            assert cell.status == "error", (number, cell)
            assert "this ran" not in cell.reason, (number, cell)
            assert not cell.numbers
    announced = sum(cell.announced for cell in cells)
    answered = sum(cell.status == "ok" for cell in cells)
    figures = (
        f"{len(site.told(Happening.DROPPED))} cuts, {len(cells)} cells, {answered} answered by the "
        f"kernel, {len(ran)} ran; {LINES * len(ran)} lines, {missing} lost, {announced} told "
        f"of {lost} messages that did not come, {grown / 2**20:.0f} MiB more, "
        f"{time.monotonic() - began:.0f} s"
    )
    print(figures)
    record_property("figures", figures)
    assert ran == sorted(set(ran)), "a cell ran twice, or out of order"
    # ipykernel refuses a message that it gets a second time, and says so in the gateway's log.
    log = await asyncio.to_thread(any_server.log_path.read_text, errors="replace")
    assert log.count("Duplicate Signature") == 0, "something was sent twice"
    # Not less than the lines that are missing, and no number that came, nor one twice.
    assert missing <= announced <= lost
    assert grown < MOST_GROWTH


@pytest.mark.timeout(300)
async def test_cell_of_a_burst_that_misses_a_line_is_reported(
    server: RunningServer, record_property: Callable[[str, object], None]
) -> None:
    seed = int(os.environ.get("FAULTS_SEED") or secrets.randbits(32))
    print(f"FAULTS_SEED={seed}")
    record_property("seed", seed)
    figures = await soak(server, Plan(seed, kernels=4, seconds=20.0, harm_every=0.8, pause=0.05))
    print(figures)
    record_property("figures", str(figures))
    assert figures.faults == []
    assert figures.told > 0, "nothing was lost, so nothing was tried"
