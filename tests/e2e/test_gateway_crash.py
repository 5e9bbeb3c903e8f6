"""JupyterLab when its gateway comes back without the kernel: cells end, and say why."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from jupyter_relay.testing.servers import jupyter_lab, kernel_gateway

from .lab import RUN_MS, open_lab

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Page, Route

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

LISTS = re.compile(r"/api/(kernels|sessions)(\?|$)")
"""Where JupyterLab asks for all kernels, or all sessions, once in 10 s."""


@asynccontextmanager
async def held(page: Page, urls: re.Pattern[str]) -> AsyncIterator[None]:
    """Let a page's requests to these URLs wait until the end."""
    end = asyncio.Event()

    async def hold(route: Route) -> None:
        await end.wait()
        await route.continue_()

    await page.route(urls, hold)
    try:
        yield
    finally:
        end.set()
        await page.unroute_all(behavior="wait")


async def test_cell_of_a_crash_and_the_next_one_end_with_the_reason(
    lone_page: Page,
) -> None:
    page = lone_page
    async with kernel_gateway() as first, jupyter_lab(gateway=first) as server:
        lab = await open_lab(page, server)
        notebook = await lab.new_notebook()
        await notebook.run(0, "import time\nprint('begun')\ntime.sleep(600)")
        output = notebook.output(0)
        await expect(output).to_contain_text("begun", timeout=RUN_MS)
        await first.kill()
        # Once JupyterLab finds its kernel listed no more, it runs cells in another.
        async with held(page, LISTS), kernel_gateway(port=first.port, token=first.token):
            await expect(output).to_contain_text("has no kernel", timeout=RUN_MS)
            await notebook.run(1, "print('after')")
            await expect(notebook.output(1)).to_contain_text("has no kernel", timeout=RUN_MS)
            await expect(notebook.cell(1).locator(".jp-InputPrompt")).not_to_have_text("[*]:")
