"""JupyterLab when its gateway comes back without the kernel: cells end, and say why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from jupyter_relay.testing.servers import jupyter_lab, kernel_gateway

from .lab import RUN_MS, open_lab

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


async def test_a_cell_ends_with_the_reason_and_so_does_one_that_is_run_right_after(
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
        async with kernel_gateway(port=first.port, token=first.token):
            await expect(output).to_contain_text("has no kernel", timeout=RUN_MS)
            await notebook.run(1, "print('after')")
            await expect(notebook.output(1)).to_contain_text("has no kernel", timeout=RUN_MS)
            await expect(notebook.cell(1).locator(".jp-InputPrompt")).not_to_have_text("[*]:")
