"""Bursts of short cells on several kernels, while their wires fail again and again.

``make soak ARGS="--kernels 10 --minutes 10"`` runs it for as long as is wanted, prints what it
found, and ends with 1 if any cell lost a line in silence, any request had no answer, or any line
came twice. ``test_random_schedule.py`` runs it for some seconds.

Each cell notes in a file of its kernel that it ran, and prints its lines. So what it has printed is
known without the wire, and each cell is judged as soon as its burst is over.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import logging
import os
import random
import secrets
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from jupyter_relay.link.actions import Report
from jupyter_relay.settings.settings import GatewaySettings
from jupyter_relay.testing.servers import RunningServer, kernel_gateway
from tests.faults import harm
from tests.faults.listener import Cell, Listener
from tests.faults.site import UNLIMITED, Site, open_site, with_transport

BURST = 40
"""So many cells at once, a line each."""

LINES = 60
"""So many lines in a cell that takes its time."""

TOLD = ("lost", "not sent", "never reached")
"""Words of ours, one of which is in each notice or error about what a cell misses."""


@dataclass(frozen=True)
class Plan:
    """How long, on how many kernels, with a harm every so many seconds; ``answer_within`` is how
    long a request may wait, and ``pause`` how long a kernel rests between two bursts on average.
    All times are in seconds."""

    seed: int
    kernels: int = 10
    seconds: float = 600.0
    harm_every: float = 5.0
    answer_within: float = 75.0
    ping_interval: float = 2.0
    pause: float = 0.5

    def edit(self, settings: GatewaySettings) -> GatewaySettings:
        """Return the settings of the gateway for it."""
        return with_transport(settings, ping_interval=self.ping_interval)


@dataclass
class Figures:
    """What a soak has found. ``silent``, ``unanswered``, ``doubled`` and ``untrue`` are faults, a
    line of text each; the rest are counts."""

    cells: int = 0
    ran: int = 0
    lines: int = 0
    missing: int = 0
    told: int = 0
    told_in_vain: int = 0
    failed: int = 0
    slowest: float = 0.0
    harms: Counter[str] = field(default_factory=Counter)
    silent: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    untrue: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """All that must not be."""
        return [*self.silent, *self.unanswered, *self.doubled, *self.untrue]

    def __str__(self) -> str:
        harms = ", ".join(f"{count} {name}" for name, count in sorted(self.harms.items()))
        return (
            f"{self.cells} cells, {self.ran} ran, {self.failed} answered with an error; "
            f"{self.lines} lines, {self.missing} missing, in {self.told} cells that were told, "
            f"and {self.told_in_vain} were told that miss nothing; slowest answer "
            f"{self.slowest:.1f} s; {sum(self.harms.values())} harms ({harms}); "
            f"faults: {len(self.silent)} silent, {len(self.unanswered)} unanswered, "
            f"{len(self.doubled)} doubled, {len(self.untrue)} untrue"
        )


@dataclass
class _Asked:
    """A cell that was run: its number, how many lines it prints, and when it was sent."""

    number: int
    lines: int
    cell: Cell
    at: float


class Worker:
    """Runs bursts on one kernel, harms its wire, and judges each cell."""

    def __init__(self, site: Site, plan: Plan, figures: Figures, file: Path, name: str) -> None:
        self.site = site
        self._plan = plan
        self._figures = figures
        self._file = file
        self._name = name
        self._rng = random.Random(f"{plan.seed} {name}")
        self._listener = Listener(site.remote)
        self._numbers = 0
        self._trace: deque[str] = deque(maxlen=60)
        site.on_report = self._heed

    async def run(self, until: float) -> None:
        """Run bursts until it is that late (`time.monotonic`); then wait for all answers."""
        # A gateway holds the first handshake for a minute if the kernel is slow to come up.
        await self._listener.done(f"notes = open({str(self._file)!r}, 'a', buffering=1)", 150.0)
        stop = asyncio.Event()
        harming = asyncio.create_task(self._harm(stop))
        try:
            while time.monotonic() < until:
                await self._burst()
                await asyncio.sleep(self._rng.uniform(0.0, 2 * self._plan.pause))
        finally:
            stop.set()
            await harming
        await self._listener.done("notes.flush()", self._plan.answer_within)

    async def _harm(self, stop: asyncio.Event) -> None:
        """Harm the wire every so often, at a moment that the messages decide."""
        rng, listener = self._rng, self._listener
        while not stop.is_set():
            try:
                async with asyncio.timeout(self._plan.harm_every * rng.uniform(0.6, 1.4)):
                    await stop.wait()
            except TimeoutError:
                heard = listener.heard + rng.randint(0, 24)
                with suppress(TimeoutError):
                    await listener.wait_for(lambda: listener.heard >= heard, 1.0)  # noqa: B023
                chosen = rng.choice(harm.ALL)
                self._note(f"harm: {chosen.__name__}")
                self._figures.harms[chosen.__name__] += 1
                await chosen(self.site.proxy, rng)

    async def _burst(self) -> None:
        if self._rng.random() < 0.6:
            asked = [self._ask(1, 0.0) for _ in range(BURST)]
        else:
            asked = [self._ask(LINES, 0.05)]
        cells = [each.cell for each in asked]
        try:
            await self._listener.wait_over(*cells, timeout=self._plan.answer_within)
        except TimeoutError:
            self._complain(asked)
            await self._calm_down(cells)
        self._figures.slowest = max(self._figures.slowest, time.monotonic() - asked[0].at)
        self._judge(asked)

    async def _calm_down(self, cells: list[Cell]) -> None:
        """Wait once more, to be able to go on; who is never answered is left behind."""
        try:
            await self._listener.wait_over(*cells, timeout=self._plan.answer_within)
            self._note("answered after all")
        except TimeoutError:
            self._note("never answered")

    def _ask(self, lines: int, seconds: float) -> _Asked:
        self._numbers += 1
        code = (
            "import sys, time\n"
            f"_ = notes.write('{self._numbers}\\n')\n"
            f"for n in range({lines}):\n"
            "    _ = sys.stdout.write(f'{n}\\n')\n"
            "    sys.stdout.flush()\n"
            f"    time.sleep({seconds})\n"
        )
        self._figures.cells += 1
        return _Asked(self._numbers, lines, self._listener.run(code), time.monotonic())

    def _judge(self, asked: list[_Asked]) -> None:
        """Compare what each cell printed with what came, and forget it."""
        figures = self._figures
        ran = Counter(int(line) for line in self._file.read_text().split())
        for each in asked:
            number, cell = each.number, each.cell
            where = f"kernel {self._name}, cell {number}: {cell}"
            if not cell.over:
                continue
            figures.failed += cell.status != "ok"
            said = " ".join([*cell.notices, *cell.errors, cell.reason])
            told = any(word in said for word in TOLD)
            missing = each.lines - len(set(cell.numbers)) if ran[number] else 0
            figures.ran += ran[number] > 0
            figures.lines += each.lines if ran[number] else 0
            figures.missing += missing
            figures.told += told and missing > 0
            figures.told_in_vain += told and cell.status == "ok" and not missing
            if missing and not told:
                figures.silent.append(f"{where}\n{self._story}")
            if cell.numbers != sorted(set(cell.numbers)) or ran[number] > 1:
                figures.doubled.append(where)
            if (
                len(cell.replies) != 1
                or cell.idles != 1
                or sum("lost" in n for n in cell.notices) > 1
            ):
                figures.doubled.append(where)
            if ran[number] and any(word in said for word in TOLD[1:]):
                figures.untrue.append(where)
            if not ran[number] and ("this ran" in said or cell.status == "ok"):
                figures.untrue.append(where)
            del self._listener.cells[cell.msg_id]
        self._listener.ended.clear()
        self._listener.statuses.clear()
        os.truncate(self._file, 0)

    def _complain(self, asked: list[_Asked]) -> None:
        """Write down which requests have no answer, and what happened before."""
        late = [each.number for each in asked if not each.cell.over]
        self._figures.unanswered.append(
            f"kernel {self._name}: after {self._plan.answer_within:.0f} s no answer to cells "
            f"{late}; the link is {self.site.remote.state.value}\n{self._story}"
        )
        print(self._figures.unanswered[-1], flush=True)

    @property
    def _story(self) -> str:
        return "\n".join(f"    {line}" for line in self._trace)

    def _heed(self, report: Report) -> None:
        if not report.already_reported:
            self._note(f"{report.happening.value}: {report.text}")
        self.site.reports.clear()

    def _note(self, text: str) -> None:
        self._trace.append(f"{time.strftime('%H:%M:%S')} {text}")


@asynccontextmanager
async def workers(
    server: RunningServer, plan: Plan, figures: Figures, folder: Path
) -> AsyncIterator[list[Worker]]:
    """Start the kernels, each behind a wire of its own; end them afterwards."""
    async with AsyncExitStack() as stack:
        found = []
        for number in range(plan.kernels):
            site = await stack.enter_async_context(open_site(server, edit=plan.edit))
            file = folder / f"ran-{number}"
            file.touch()
            found.append(Worker(site, plan, figures, file, str(number)))
        yield found


async def soak(server: RunningServer, plan: Plan, *, sample_every: float = 0.0) -> Figures:
    """Run it on a gateway; with ``sample_every``, print what is held every so many seconds."""
    figures = Figures()
    with tempfile.TemporaryDirectory() as folder:
        async with workers(server, plan, figures, Path(folder)) as found:
            until = time.monotonic() + plan.seconds
            sampler = asyncio.create_task(_sample(found, figures, sample_every))
            try:
                async with asyncio.TaskGroup() as group:
                    for worker in found:
                        group.create_task(worker.run(until))
            finally:
                sampler.cancel()
                await asyncio.wait([sampler])
    return figures


class _Mallinfo(ctypes.Structure):
    """What the C library has handed out; see mallinfo2(3)."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd",
            "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    )  # fmt: skip


def memory() -> str:
    """Return what this process holds: resident, handed out by the C library, and free in its
    heaps, in MiB."""
    resident = psutil.Process().memory_info().rss
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except (OSError, AttributeError):  # not glibc, or older than 2.33
        return f"resident {resident / 2**20:.1f}"
    mallinfo2.restype = _Mallinfo
    said = mallinfo2()
    used = (said.uordblks + said.hblkhd) / 2**20
    return f"resident {resident / 2**20:.1f} used {used:.1f} free {said.fordblks / 2**20:.1f}"


async def _sample(found: list[Worker], figures: Figures, every: float) -> None:
    began = time.monotonic()
    while every:
        await asyncio.sleep(every)
        gc.collect()
        print(
            f"{time.monotonic() - began:.0f} s: MiB {memory()}; blocks {sys.getallocatedblocks()} "
            f"objects {len(gc.get_objects())} tasks {len(asyncio.all_tasks())} "
            f"files {psutil.Process().num_fds()} {held(found)}; {figures.cells} cells, "
            f"{len(figures.faults)} faults",
            flush=True,
        )


def held(found: list[Worker]) -> str:
    """Return what all links hold by now."""
    totals: Counter[str] = Counter()
    for worker in found:
        remote = worker.site.remote
        link = remote._upstream.link
        totals.update(
            {
                "pending": len(link.pending),
                "outbox": len(link._outbox),
                "answered": len(link._answers._finished),
                "barriers": len(link._recovery),
                "holes": len(link._recovery.numbering._holes),
                "backlog": sum(mailbox.size for mailbox in remote.audience._mailboxes.values()),
                "passages": len(worker.site.proxy._connections),
            }
        )
    return " ".join(f"{name} {count}" for name, count in sorted(totals.items()))


def trimmed() -> str:
    """Give free pages of the C library's heaps back, and return what is held then."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    return memory()


async def _main(plan: Plan, sample_every: float) -> int:
    print(f"seed {plan.seed}: {plan}", flush=True)
    logging.getLogger("jupyter_relay").setLevel(logging.CRITICAL)  # each report is in a trace
    began = time.monotonic()
    async with kernel_gateway(extra_args=UNLIMITED) as server:
        figures = await soak(server, plan, sample_every=sample_every)
    for fault in figures.faults:
        print(fault)
    gc.collect()
    print(f"memory at the end: MiB {memory()}; free pages given back: {trimmed()}")
    print(f"{figures}; {time.monotonic() - began:.0f} s; seed {plan.seed}")
    return 1 if figures.faults else 0


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernels", type=int, default=Plan.kernels)
    parser.add_argument("--minutes", type=float, default=Plan.seconds / 60)
    parser.add_argument("--harm-every", type=float, default=Plan.harm_every, metavar="SECONDS")
    parser.add_argument("--ping-interval", type=float, default=Plan.ping_interval)
    parser.add_argument("--pause", type=float, default=Plan.pause, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--sample-every", type=float, default=10.0, metavar="SECONDS")
    args = parser.parse_args()
    plan = Plan(
        seed=args.seed,
        kernels=args.kernels,
        seconds=60 * args.minutes,
        harm_every=args.harm_every,
        ping_interval=args.ping_interval,
        pause=args.pause,
    )
    return asyncio.run(_main(plan, args.sample_every))


if __name__ == "__main__":
    sys.exit(main())
