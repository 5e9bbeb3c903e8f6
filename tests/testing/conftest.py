"""Fixtures for the tests of the fakes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from jupyter_relay.testing import FakeGateway

from .bare_client import BareClient


@pytest.fixture
async def client(fake_gateway: FakeGateway) -> AsyncIterator[BareClient]:
    """A bare client of the gateway under test."""
    async with aiohttp.ClientSession() as http:
        yield BareClient(http, fake_gateway)
