"""Two pages, a console and a program inside the server use one kernel: one upstream socket."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from jupyter_relay.testing.servers import RunningServer, kernel_gateway
from jupyter_relay.wire.message import Channel, Message
from tests.support.relay_process import call, open_session, relay, tab
from tests.support.tab import Tab, printed

PAGES = ("page", "other page", "console")

WITH_NBMODEL = {
    "PYTHONPATH": os.pathsep.join(
        filter(None, [str(Path(sys.prefix, "neighbours", "nbmodel")), os.environ.get("PYTHONPATH")])
    )
}
"""Where ``make`` has put it."""


async def run_by_server(server: RunningServer, kernel_id: str, code: str) -> str:
    """Have jupyter-server-nbmodel run code, by a client in the server; return what is printed."""
    taken = await call(server, "POST", f"/api/kernels/{kernel_id}/execute", {"code": code})
    assert isinstance(taken, dict)
    while True:
        result = await call(server, "GET", str(taken["request_url"]))
        assert isinstance(result, dict)
        if not result.get("pending"):
            outputs = json.loads(str(result["outputs"]))
            return "".join(output["text"] for output in outputs)
        await asyncio.sleep(0.02)  # it tells only who asks


async def hear(page: Tab, texts: set[str]) -> list[Message]:
    """Return all that a page hears until all these lines were printed."""
    heard: list[Message] = []
    while set(printed(heard).split()) != texts:
        heard.append(await page.receive())
    return heard


async def test_shared_kernel_pages_get_own_replies_and_all_output(tmp_path: Path) -> None:
    async with (
        asyncio.timeout(120),
        kernel_gateway() as gateway,
        relay(gateway, tmp_path, "jupyter_server_nbmodel", env=WITH_NBMODEL) as server,
    ):
        kernel_id = await open_session(server, {"name": "python3"})
        async with (
            tab(server, kernel_id, PAGES[0]) as first,
            tab(server, kernel_id, PAGES[1]) as second,
            tab(server, kernel_id, PAGES[2]) as console,
        ):
            pages = (first, second, console)
            asked = [await page.execute(f"print({n})") for n, page in enumerate(pages)]
            assert await run_by_server(server, kernel_id, "print(3)") == "3\n"
            for page, msg_id in zip(pages, asked, strict=True):
                heard = await hear(page, {"0", "1", "2", "3"})
                last = await page.execute("pass")
                heard += [await page.reply_to(last)]
                replies = [
                    message.parent.msg_id for message in heard if message.channel is Channel.SHELL
                ]
                assert replies == [msg_id, last]
            model = await call(gateway, "GET", f"/api/kernels/{kernel_id}")
            assert isinstance(model, dict)
            assert model["connections"] == 1
