"""JupyterLab when its gateway comes back without the kernel: the cell ends, a dialog says why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from jupyter_relay.testing.servers import jupyter_lab, kernel_gateway

from .lab import RUN_MS, open_lab

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


async def test_a_cell_ends_and_a_dialog_says_why(lone_page: Page) -> None:
    page = lone_page
    async with kernel_gateway() as first, jupyter_lab(gateway=first) as server:
        lab = await open_lab(page, server)
        notebook = await lab.new_notebook()
        await notebook.run(0, "import time\nprint('begun')\ntime.sleep(600)")
        output = notebook.output(0)
        await expect(output).to_contain_text("begun", timeout=RUN_MS)
        await first.kill()
        async with kernel_gateway(port=first.port, token=first.token):
            dialog = page.locator(".jp-Dialog")
            await expect(dialog).to_contain_text("has no kernel", timeout=RUN_MS)
            await expect(output).to_contain_text("has no kernel")
