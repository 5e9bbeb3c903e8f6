"""A Jupyter Server ends while a cell prints, and its successor hears what was kept."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from jupyter_relay.testing import read_content
from jupyter_relay.testing.servers import RunningServer, kernel_gateway
from jupyter_relay.wire.message import Channel, Message
from tests.faults.site import UNLIMITED
from tests.support.relay_process import call, open_session, relay, tab
from tests.support.tab import Tab, printed, status_of

pytestmark = pytest.mark.long

BEFORE, LINES = 10, 130
DEADLINE = 60.0


def counter(go: Path) -> str:
    """Return code that prints some numbers, waits until a file is there, and prints the rest."""
    return (
        "import pathlib, sys, time\n"
        f"for n in range({LINES}):\n"
        f"    while n == {BEFORE} and not pathlib.Path({str(go)!r}).exists():\n"
        "        time.sleep(0.01)\n"
        "    _ = sys.stdout.write(f'{n}\\n')\n"
        "    sys.stdout.flush()\n"
        "    time.sleep(0.05)\n"
    )


async def wait_alone(gateway: RunningServer, kernel_id: str) -> None:
    """Return when the gateway knows that nobody is connected to the kernel."""
    async with asyncio.timeout(DEADLINE):
        while True:
            model = await call(gateway, "GET", f"/api/kernels/{kernel_id}")
            assert isinstance(model, dict)
            if model["connections"] == 0:
                return
            await asyncio.sleep(0.02)  # a gateway tells only who asks


async def lines_until(page: Tab, msg_id: str, count: int) -> list[int]:
    """Return the numbers that a page hears of a cell, until there are so many."""
    heard: list[Message] = []
    while len(printed(heard).split()) < count:
        message = await page.receive()
        heard += [message] if message.parent.msg_id == msg_id else []
    return [int(line) for line in printed(heard).split()]


KEPT = {"JUPYTER_GATEWAY_ON_EXIT": "keep-busy"}


@pytest.mark.parametrize(
    ("ended_by", "same_page"),
    [(signal.SIGKILL, True), (signal.SIGKILL, False), (signal.SIGTERM, True)],
)
async def test_messages_kept_by_the_gateway_arrive_in_order_and_once_after_a_kill(
    tmp_path: Path, ended_by: signal.Signals, same_page: bool
) -> None:
    go = tmp_path / "go"
    async with kernel_gateway(extra_args=UNLIMITED) as gateway, asyncio.timeout(2 * DEADLINE):
        async with relay(gateway, tmp_path / "server", env=KEPT) as server:
            kernel_id = await open_session(server, {"name": "python3"})
            async with tab(server, kernel_id, "page") as page:
                cell = await page.execute(counter(go))
                assert await lines_until(page, cell, BEFORE) == list(range(BEFORE))
                os.kill(server.pid, ended_by)
                assert await asyncio.to_thread(server.process.wait, DEADLINE)
            await wait_alone(gateway, kernel_id)
            await asyncio.to_thread(go.touch)
        async with relay(gateway, tmp_path / "server") as server:
            assert await open_session(server, {"id": kernel_id}) == kernel_id
            async with tab(server, kernel_id, "page" if same_page else "another") as page:
                output, replies = await hear_the_rest(page, cell)
            assert [int(line) for line in printed(output).split()] == list(range(BEFORE, LINES))
            # A reply is for the page that asked; what is printed is for all.
            assert [read_content(reply)["status"] for reply in replies] == ["ok"] * same_page
            await call(server, "GET", f"/api/kernels/{kernel_id}")


async def hear_the_rest(page: Tab, cell: str) -> tuple[list[Message], list[Message]]:
    """Return the output of a cell until its idle, and the replies that come before that to a
    request sent then.

    A gateway reads replies and output from two sockets of the kernel, so that the cell's reply may
    come on either side of its idle; but it comes before that to a later request.
    """
    output: list[Message] = []
    replies: list[Message] = []
    while not any(status_of(message) == "idle" for message in output):
        message = await page.receive()
        if message.parent.msg_id == cell:
            (output if message.channel is Channel.IOPUB else replies).append(message)
    probe = await page.send("kernel_info_request")
    while True:
        message = await page.receive()
        if message.channel is Channel.SHELL:
            if message.parent.msg_id == probe:
                return output, replies
            replies.append(message)
