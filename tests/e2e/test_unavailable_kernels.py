"""A gateway that does not answer: the pages of JupyterLab say why, in one notification."""

from __future__ import annotations

import os
import re
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
from playwright.async_api import expect

from jupyter_relay.server.extension import IN_PAGE_CONFIG
from jupyter_relay.testing import Answer, FaultyProxy
from jupyter_relay.testing.servers import jupyter_lab, jupyter_server, kernel_gateway

from .lab import RUN_MS, open_lab
from .test_gateway_down import kernelspecs_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from playwright.async_api import Locator, Page, Route

    from jupyter_relay.testing import FakeGateway
    from jupyter_relay.testing.servers import RunningServer

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("installed"),
]


EXTENSION = Path(sys.prefix, "share/jupyter/labextensions/@jupyter-relay/labextension")

NOTEBOOK = Path(sys.prefix, "neighbours", "notebook")
"""Where ``make`` has put Notebook, beside the environment."""


@pytest.fixture
def installed() -> None:
    """Fail where what these tests run is not installed."""
    for folder in (EXTENSION, NOTEBOOK):
        assert folder.is_dir(), f"{folder} is missing, run: make .venv/installed labextension"


@asynccontextmanager
async def notebook_7(*, env: Mapping[str, str]) -> AsyncIterator[RunningServer]:
    """Run a Jupyter Server with the pages of Notebook 7."""
    path = os.pathsep.join(filter(None, [str(NOTEBOOK), os.environ.get("PYTHONPATH")]))
    async with jupyter_server(
        env={"PYTHONPATH": path, "JUPYTER_PATH": str(NOTEBOOK / "share" / "jupyter"), **env},
        extra_args=[
            "--ServerApp.jpserver_extensions={'notebook': True}",
            "--ServerApp.default_url=/tree",
        ],
    ) as server:
        yield server


def notifications(page: Page) -> Locator:
    """What the page shows in its corner."""
    return page.locator(".Toastify__toast")


async def test_page_opened_while_the_gateway_is_silent_says_so_until_it_answers(
    lone_page: Page,
) -> None:
    shown = notifications(lone_page)
    async with kernel_gateway() as gateway, FaultyProxy("127.0.0.1", gateway.port) as proxy:
        proxy.stall()
        env = {"JUPYTER_GATEWAY_URL": proxy.url, "JUPYTER_GATEWAY_AUTH_TOKEN": gateway.token}
        async with jupyter_lab(env=env) as server:
            lab = await open_lab(lone_page, server)
            card = lab.notebook_cards
            await expect(card).to_contain_text("python3", timeout=RUN_MS)
            await expect(shown).to_have_text(
                f"{proxy.url} has not answered for 10 s. It is still waited for; ask again later.",
                timeout=RUN_MS,
            )
            await expect(shown).to_have_class(
                re.compile("Toastify__toast--warning"), timeout=RUN_MS
            )
            proxy.resume()
            await expect(shown).to_have_text(f"{proxy.url} answers again.", timeout=RUN_MS)
            # JupyterLab itself would ask for the kernels a minute later.
            await expect(card).to_contain_text("Python 3 (ipykernel)", timeout=RUN_MS)
            await expect(shown).to_have_count(0, timeout=RUN_MS)


@pytest.mark.parametrize("application", ["JupyterLab", "Notebook"])
async def test_open_page_says_why_kernels_went_away_and_that_they_are_back(
    lone_page: Page, fake_gateway: FakeGateway, application: str
) -> None:
    shown = notifications(lone_page)
    url = fake_gateway.url
    env = {"JUPYTER_GATEWAY_URL": url, "JUPYTER_GATEWAY_AUTH_TOKEN": fake_gateway.token}
    server_of = jupyter_lab if application == "JupyterLab" else notebook_7
    async with server_of(env=env) as server:
        await open_page(lone_page, server)
        await expect(shown).to_have_count(0, timeout=RUN_MS)
        reason = "The disk is full. " * 8
        fault = fake_gateway.fault("GET", "/api/kernelspecs", Answer.json({"reason": reason}, 500))
        # Whoever asks, as a page does each minute, all pages are told.
        await kernelspecs_of(server)
        await expect(shown).to_contain_text("The disk is full. The", timeout=RUN_MS)
        await expect(shown).not_to_contain_text(reason.strip(), timeout=RUN_MS)
        await shown.get_by_text("Read all").click(timeout=RUN_MS)
        dialog = lone_page.locator(".jp-Dialog")
        await expect(dialog).to_contain_text(reason.strip(), timeout=RUN_MS)
        await dialog.locator(".jp-mod-accept").click(timeout=RUN_MS)
        await expect(shown).to_have_count(1, timeout=RUN_MS)
        fault.lift()
        await kernelspecs_of(server)
        await expect(shown).to_have_text(f"{url} answers again.", timeout=RUN_MS)


async def test_page_of_a_server_without_the_relay_is_left_alone(
    lone_page: Page, fake_gateway: FakeGateway
) -> None:
    async def without_the_relay(route: Route) -> None:
        answer = await route.fetch()
        page, found = re.subn(rf'"{IN_PAGE_CONFIG}": *true,?', "", await answer.text())
        assert found == 1
        await route.fulfill(response=answer, body=page)

    env = {
        "JUPYTER_GATEWAY_URL": fake_gateway.url,
        "JUPYTER_GATEWAY_AUTH_TOKEN": fake_gateway.token,
    }
    fake_gateway.fault("GET", "/api/kernelspecs", Answer.json({"reason": "Full"}, 500))
    shown = notifications(lone_page)
    pages = re.compile("/lab[?]")
    async with jupyter_lab(env=env) as server:
        await lone_page.route(pages, without_the_relay)
        lab = await open_lab(lone_page, server)
        await expect(lab.notebook_cards).to_contain_text("python3", timeout=RUN_MS)
        await kernelspecs_of(server)
        await lone_page.wait_for_load_state("networkidle", timeout=RUN_MS)
        await expect(shown).to_have_count(0, timeout=RUN_MS)
        await lone_page.unroute(pages)
        await open_lab(lone_page, server)
        await expect(shown).to_contain_text("Full", timeout=RUN_MS)


async def open_page(page: Page, server: RunningServer) -> None:
    """Open the first page of a server, and wait until it shows its files."""
    await page.goto(f"{server.url}/?{urlencode({'token': server.token})}")
    await page.locator(".jp-DirListing-content").first.wait_for(timeout=RUN_MS)
