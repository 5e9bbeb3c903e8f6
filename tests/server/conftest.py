"""A server whose kernels are on a fake gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jupyter_relay.testing import FakeGateway
from tests.support.server import TestServer, server_on


@pytest.fixture
async def server(fake_gateway: FakeGateway, tmp_path: Path) -> AsyncIterator[TestServer]:
    """A Jupyter Server in this process, on `fake_gateway`."""
    async with server_on(fake_gateway, tmp_path) as running:
        yield running
