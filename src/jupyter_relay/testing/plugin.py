"""Pytest fixtures: a scripted gateway, and a TCP proxy that fails on request.

Loaded by pytest in every project that has Jupyter Relay installed, so nothing is imported before a
fixture is asked for. The fixtures are asynchronous and need pytest-asyncio, but only when used.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, TypeAlias

import pytest

if TYPE_CHECKING:
    from jupyter_relay.testing.fake_gateway import FakeGateway
    from jupyter_relay.testing.tcp_proxy import FaultyProxy

ProxyFactory: TypeAlias = "Callable[[str, int], Awaitable[FaultyProxy]]"
"""What the fixture `faulty_proxy` gives: ``await faulty_proxy(host, port)`` starts a proxy."""


def _async_fixture(function: Callable[[], AsyncIterator[object]]) -> object:
    # pytest's own decorator leaves such a function to pytest-asyncio only in its auto mode.
    if importlib.util.find_spec("pytest_asyncio") is None:
        return pytest.fixture(function)
    return importlib.import_module("pytest_asyncio").fixture(function)


@_async_fixture
async def fake_gateway() -> AsyncIterator[FakeGateway]:
    """A running `FakeGateway` with its default settings, which may be changed at any time."""
    from jupyter_relay.testing.fake_gateway import FakeGateway

    async with FakeGateway() as gateway:
        yield gateway


@_async_fixture
async def faulty_proxy() -> AsyncIterator[ProxyFactory]:
    """Starts `FaultyProxy` objects, which end with the test."""
    from jupyter_relay.testing.tcp_proxy import FaultyProxy

    async with AsyncExitStack() as stack:

        async def start(host: str, port: int) -> FaultyProxy:
            return await stack.enter_async_context(FaultyProxy(host, port))

        yield start
