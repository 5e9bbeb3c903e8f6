"""JupyterLab in front of a gateway that is silent: its page loads, and recovers."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import aiohttp
import pytest
from playwright.async_api import expect

from jupyter_relay.testing import FaultyProxy
from jupyter_relay.testing.servers import jupyter_lab, kernel_gateway

from .lab import RUN_MS, Lab, Notebook, open_lab

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Page

    from jupyter_relay.testing.servers import RunningServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

METADATA = {
    "kernelspec": {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    },
    "language_info": {
        "codemirror_mode": {"name": "ipython", "version": 3},
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
        "version": "3.11.0",
    },
}
"""What JupyterLab writes into a notebook of its kernel."""

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


async def test_page_loads_without_the_gateway_says_why_and_finds_the_kernels_without_a_reload(
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
    await expect(dialog).to_contain_text("Check that the gateway is running")
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


async def test_notebook_that_is_saved_while_the_gateway_is_silent_keeps_its_kernelspec(
    lone_page: Page, tmp_path: Path
) -> None:
    page = lone_page
    path = tmp_path / "work" / "old.ipynb"
    await asyncio.to_thread(write_notebook, path)
    async with kernel_gateway() as gateway, FaultyProxy("127.0.0.1", gateway.port) as proxy:
        env = {"JUPYTER_GATEWAY_URL": proxy.url, "JUPYTER_GATEWAY_AUTH_TOKEN": gateway.token}
        async with jupyter_lab(env=env, directory=tmp_path) as server:
            assert "python3" in await kernelspecs_of(server)
        proxy.stall()
        async with jupyter_lab(env=env, directory=tmp_path) as server:
            query = urlencode({"token": server.token, "reset": ""})
            # JupyterLab writes a kernelspec into the notebook as soon as it is given a kernel.
            async with page.expect_response(
                lambda answer: (
                    answer.request.method == "POST" and "/api/sessions" in answer.url and answer.ok
                )
            ):
                await page.goto(f"{server.url}/lab/tree/{path.name}?{query}")
            notebook = Notebook(Lab(page), page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)"))
            await notebook.until_connecting("Python 3 (ipykernel)")
            await notebook.cell(0).locator(".cm-content").click()
            await page.keyboard.insert_text("changed = True")
            async with page.expect_response(
                lambda answer: answer.request.method == "PUT" and path.name in answer.url
            ) as saved:
                await page.keyboard.press("Control+S")
            assert (await saved.value).ok
            text = await asyncio.to_thread(path.read_text, "utf-8")
            proxy.resume()
    kept = json.loads(text)
    assert "changed = True" in "".join(kept["cells"][0]["source"])
    assert kept["metadata"] == METADATA


def write_notebook(path: Path) -> None:
    """Write a notebook as JupyterLab saved it, when its kernel was there."""
    path.parent.mkdir(parents=True)
    cell = {"cell_type": "code", "id": "a1", "source": "", "metadata": {}, "outputs": []}
    notebook = {
        "cells": [cell | {"execution_count": None}],
        "metadata": METADATA,
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path.write_text(json.dumps(notebook), "utf-8")


async def kernelspecs_of(server: RunningServer) -> dict[str, object]:
    """Return the kernelspecs that a server lists, by name."""
    async with (
        aiohttp.ClientSession(headers=server.headers) as http,
        http.get(f"{server.url}/api/kernelspecs") as answer,
    ):
        specs: dict[str, object] = (await answer.json())["kernelspecs"]
        return specs
