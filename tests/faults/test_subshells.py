"""Subshells have an order of their own."""

from __future__ import annotations

from jupyter_relay.link.actions import Happening
from jupyter_relay.testing import read_content
from jupyter_relay.wire.message import Channel
from tests.faults.listener import Listener, assert_accounted, counter, only
from tests.faults.site import Site


async def test_shell_and_subshell_go_on_over_a_reset(any_site: Site) -> None:
    site, listener = any_site, Listener(any_site.remote)
    made = listener.ask("create_subshell_request", channel=Channel.CONTROL)
    await listener.wait_for(lambda: made.replies)
    subshell_id = str(read_content(only(made.replies))["subshell_id"])
    long = listener.run("import time\nstop = False\nprint(0)\nwhile not stop: time.sleep(0.01)")
    await listener.wait_for(lambda: long.numbers)
    cell = listener.run(counter(20, 0.05), subshell_id=subshell_id)
    await listener.wait_for(lambda: len(cell.numbers) >= 5)
    site.proxy.reset()
    await site.wait_told(Happening.OPENED)
    await listener.wait_over(cell)
    assert_accounted(cell, 20, slack=3)
    assert cell.status == "ok"
    assert not long.over
    listener.run("stop = True", subshell_id=subshell_id)
    await listener.wait_over(long)
    assert long.status == "ok"
