"""JupyterLab in front of a gateway that is silent: its page loads, and recovers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from jupyter_relay.testing import FaultyProxy
from jupyter_relay.testing.servers import jupyter_lab, kernel_gateway

from .lab import RUN_MS, Notebook, open_lab

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Page

    from jupyter_relay.testing.servers import RunningServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

POLL_MS = 120_000
"""JupyterLab asks for kernelspecs once in 61 s."""


@pytest.fixture
async def way() -> AsyncIterator[tuple[FaultyProxy, RunningServer]]:
    """A wire to a Kernel Gateway that is silent, and a JupyterLab that has its kernels there."""
    async with kernel_gateway() as gateway, FaultyProxy("127.0.0.1", gateway.port) as proxy:
        proxy.stall()
        env = {"JUPYTER_GATEWAY_URL": proxy.url, "JUPYTER_GATEWAY_AUTH_TOKEN": gateway.token}
        async with jupyter_lab(env=env) as lab:
            yield proxy, lab


async def test_the_page_loads_says_why_and_finds_the_kernels_without_a_reload(
    lone_page: Page, way: tuple[FaultyProxy, RunningServer]
) -> None:
    proxy, server = way
    page = lone_page
    lab = await open_lab(page, server)
    card = page.locator(".jp-LauncherCard[data-category='Notebook']:visible")
    await expect(card).to_have_text(re.compile("python3"), timeout=RUN_MS)
    # What the person then tries says what is wrong now, and goes on once that is mended.
    proxy.refuse()
    proxy.reset()
    proxy.resume()
    await card.click()
    dialog = page.locator(".jp-Dialog")
    await expect(dialog).to_contain_text("cannot be reached: Connection refused", timeout=RUN_MS)
    await expect(dialog).to_contain_text("Look whether the gateway is running")
    await dialog.locator(".jp-mod-accept").click()
    await expect(dialog).to_contain_text("Select Kernel")
    proxy.accept()
    await lab.accept_dialog()
    notebook = Notebook(lab, page.locator(".jp-NotebookPanel"))
    await expect(notebook.panel.locator(".jp-Toolbar-kernelName")).not_to_have_text("No Kernel")
    await notebook.until_idle()
    await notebook.run_and_read(0, "print('here')", "here\n")
    await lab.choose_from_menu("File", "launcher:create")
    await expect(card).to_have_text(re.compile(r"Python 3 \(ipykernel\)"), timeout=POLL_MS)
