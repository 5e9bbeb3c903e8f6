"""A kernel on a real gateway, behind a wire that fails on request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from jupyter_relay.testing.servers import RunningServer, jupyter_server, kernel_gateway
from tests.faults.site import UNLIMITED, Site, open_site


@asynccontextmanager
async def run(kind: str) -> AsyncIterator[RunningServer]:
    """Run a gateway of this kind."""
    start = kernel_gateway if kind == "kernel gateway" else jupyter_server
    async with start(extra_args=UNLIMITED) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[RunningServer]:
    """A Kernel Gateway."""
    async with run("kernel gateway") as running:
        yield running


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=["kernel gateway", "jupyter server"]
)
async def any_server(request: pytest.FixtureRequest) -> AsyncIterator[RunningServer]:
    """A Kernel Gateway, and then a Jupyter Server."""
    async with run(request.param) as running:
        yield running


@pytest.fixture
async def site(server: RunningServer) -> AsyncIterator[Site]:
    """A fresh kernel on the Kernel Gateway, and a proxy before that."""
    async with open_site(server) as opened:
        yield opened


@pytest.fixture
async def any_site(any_server: RunningServer) -> AsyncIterator[Site]:
    """A fresh kernel on each kind of gateway, and a proxy before that."""
    async with open_site(any_server) as opened:
        yield opened
