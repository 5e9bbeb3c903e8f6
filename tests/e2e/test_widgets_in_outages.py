"""JupyterLab shows all that a kernel sent, also where the relay has written something behind it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from jupyter_relay.testing import FaultyProxy
from jupyter_relay.testing.servers import jupyter_lab, kernel_gateway

from .lab import RUN_MS, open_lab

if TYPE_CHECKING:
    from playwright.async_api import Page, Route

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

CELL = """
import ipywidgets, time
from IPython.display import display
from PIL import Image
print('begun')
bar = ipywidgets.IntProgress(value=1, max=9)
for n in range(2, 8):
    bar.value = n
picture = display(Image.new('RGB', (37, 23), 'red'), display_id=True)
display(ipywidgets.Label(value=f'the bar is at {bar.value}'))
print('all' + ' of it')
time.sleep(600)
"""
WIDGETS = "**/@jupyter-widgets/jupyterlab-manager/static/*.js*"
"""The code of the widgets: the page fetches it when a kernel opens the first, and handles nothing
of what comes behind that before it is there."""


async def test_notice_in_an_outage_costs_a_slow_page_neither_widgets_nor_pictures(
    lone_page: Page,
) -> None:
    page, widgets_wanted, widgets_may_come = lone_page, asyncio.Event(), asyncio.Event()
    came = {b"all of it": asyncio.Event(), b"Cannot interrupt: ": asyncio.Event()}

    def look_at(frame: str | bytes) -> None:
        data = frame.encode() if isinstance(frame, str) else frame
        for words, event in came.items():
            if words in data:
                event.set()

    page.on("websocket", lambda websocket: websocket.on("framereceived", look_at))

    async def fetch(route: Route) -> None:
        widgets_wanted.set()
        await widgets_may_come.wait()
        await route.continue_()

    async with kernel_gateway() as gateway, FaultyProxy("127.0.0.1", gateway.port) as proxy:
        env = {"JUPYTER_GATEWAY_URL": proxy.url, "JUPYTER_GATEWAY_AUTH_TOKEN": gateway.token}
        async with jupyter_lab(env=env) as server:
            lab = await open_lab(page, server)
            notebook = await lab.new_notebook()
            await notebook.until_idle()
            await page.route(WIDGETS, fetch)
            await notebook.run(0, CELL)
            await asyncio.wait_for(widgets_wanted.wait(), 60)
            await asyncio.wait_for(came[b"all of it"].wait(), 60)
            proxy.refuse()
            proxy.reset()
            await notebook.interrupt()
            await asyncio.wait_for(came[b"Cannot interrupt: "].wait(), 60)
            widgets_may_come.set()
            output = notebook.output(0)
            await expect(output).to_contain_text("Cannot interrupt: ", timeout=RUN_MS)
            await expect(output).to_contain_text("the bar is at 7", timeout=RUN_MS)
            await expect(output.locator("img")).to_have_count(1)
            await expect(output).to_contain_text("all of it")
            proxy.accept()
            await notebook.interrupt()
            await expect(output).to_contain_text("KeyboardInterrupt", timeout=RUN_MS)
