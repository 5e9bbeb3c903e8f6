"""Large messages, and listeners that do not keep up."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import psutil
import pytest

from jupyter_relay.headless.client import GatewayKernelClient
from jupyter_relay.headless.manager import GatewayKernelManager
from jupyter_relay.testing import read_content
from jupyter_relay.testing.servers import RunningServer
from jupyter_relay.wire.message import Message
from tests.faults.listener import Listener, only
from tests.faults.site import Site, open_site

pytestmark = pytest.mark.long

MB = 10**6
LINES, WIDTH = 200, MB
FLOOD = (
    "import sys\n"
    f"for n in range({LINES}):\n"
    f"    _ = sys.stdout.write(str(n).rjust({WIDTH - 1}) + '\\n')\n"
    "    sys.stdout.flush()\n"
)
DROPPED = re.compile(r"(\d+) messages? w\w+ dropped here")


@asynccontextmanager
async def client_of(site: Site) -> AsyncIterator[GatewayKernelClient]:
    """Attach a headless client to the kernel of a site."""
    manager = GatewayKernelManager(gateway=site.through)
    await manager.start_kernel(kernel_id=site.remote.id)
    client = manager.client()
    client.start_channels()
    await client.wait_for_ready(timeout=60)
    yield client
    client.stop_channels()
    await manager.cleanup_resources()


@pytest.mark.parametrize("size", [50 * MB, 200 * MB])
async def test_display_of_a_large_size_arrives(any_site: Site, size: int) -> None:
    outputs: list[dict[str, Any]] = []
    async with client_of(any_site) as client:
        code = f"display({{'text/plain': 'x' * {size}}}, raw=True)"
        reply = await client.execute_interactive(code, timeout=90, output_hook=outputs.append)
    displays = [output for output in outputs if output["msg_type"] == "display_data"]
    assert len(only(displays)["content"]["data"]["text/plain"]) == size
    assert reply["content"]["status"] == "ok"


async def test_client_that_does_not_fetch_is_informed_of_the_messages_it_missed(
    server: RunningServer,
) -> None:
    async with (
        open_site(server, edit=lambda s: replace(s, backlog_bytes=MB)) as site,
        client_of(site) as client,
    ):
        listener = Listener(site.remote)
        await listener.done("0")
        msg_id = client.execute(FLOOD)
        await client._async_recv_reply(msg_id)
        printed, dropped = [], 0
        while True:
            output = await client.iopub_channel.get_msg(timeout=30)
            if output["parent_header"].get("msg_id") != msg_id:
                continue
            if output["content"].get("execution_state") == "idle":
                break
            if output["msg_type"] == "stream":
                text = output["content"]["text"]
                told = DROPPED.search(text)
                dropped += int(told[1]) if told else 0
                printed += [] if told else [int(text)]
        assert dropped
        assert dropped + len(printed) == LINES


async def test_display_of_a_large_size_does_not_cost_a_reader_the_messages_around_it(
    site: Site,
) -> None:
    listener = Listener(site.remote)
    reader = site.remote.subscribe("reader")
    code = (
        "import sys\n"
        "_ = sys.stdout.write('0\\n'); sys.stdout.flush()\n"
        f"display({{'text/plain': 'x' * {80 * MB}}}, raw=True)\n"
        "_ = sys.stdout.write('1\\n'); sys.stdout.flush()\n"
    )
    cell = await listener.done(code, timeout=90)
    kinds = []
    while (message := reader.receive_nowait()) is not None:
        if message.parent.msg_id == cell.msg_id:
            kinds.append(message.head.msg_type)
    assert kinds == ["status", "execute_input", "stream", "display_data", "stream", "status"]
    reader.leave()


async def test_reader_that_stops_reading_is_bounded_and_informed_and_slows_no_other(
    server: RunningServer,
) -> None:
    async with open_site(server) as site:
        other = Counting(site.remote)
        slow = site.remote.subscribe("slow")
        bound = site.through.settings.backlog_bytes
        mailbox = site.remote.audience._mailboxes["slow"]
        before = psutil.Process().memory_info().rss
        most = 0

        def measure() -> None:
            nonlocal most
            most = max(most, mailbox.size)

        other.each = measure
        cell = other.run(FLOOD)
        await other.wait_over(cell, timeout=90)
        assert cell.numbers == list(range(LINES))
        assert most <= bound + WIDTH + 1000
        grown = psutil.Process().memory_info().rss - before
        print(f"at most {most} bytes kept, {grown / MB:.0f} MB more memory")
        assert grown < 3 * bound

        dropped, kept = 0, []
        while (message := slow.receive_nowait()) is not None:
            if message.parent.msg_id != cell.msg_id or message.head.msg_type != "stream":
                continue
            text = str(read_content(message)["text"])
            if told := DROPPED.search(text):
                dropped += int(told[1])
            else:
                kept.append(int(text))
        assert dropped + len(kept) == LINES
        assert kept == list(range(LINES - len(kept), LINES)), "the oldest went first"
        slow.leave()


class Counting(Listener):
    """Listens, keeps no more of a line than its number, and looks at something each time."""

    each: Callable[[], None] = staticmethod(lambda: None)

    def take(self, message: Message) -> None:
        """Hear a message."""
        super().take(message)
        for cell in self.cells.values():
            cell.printed = re.sub(" +", "", cell.printed)
        self.each()
