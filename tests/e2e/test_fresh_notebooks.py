"""The first cell of a new notebook runs, every time, on every gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from .gateways import GatewayKind, lab_on
from .lab import open_lab

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Page

    from jupyter_relay.testing.servers import RunningServer

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
]


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=[
        GatewayKind.KERNEL_GATEWAY,
        pytest.param(GatewayKind.ENTERPRISE_GATEWAY, marks=pytest.mark.enterprise),
        GatewayKind.JUPYTER_SERVER,
    ],
)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[RunningServer]:
    """A JupyterLab on each kind of gateway in turn."""
    async with lab_on(request.param) as lab:
        yield lab


async def test_fresh_notebooks_each_run_their_first_cell(page: Page, server: RunningServer) -> None:
    lab = await open_lab(page, server)
    for number in range(10):
        notebook = await lab.new_notebook()
        await notebook.run_and_read(
            0,
            f'print("notebook", {number}, "says", {number} + 40)',
            f"notebook {number} says {number + 40}\n",
        )
