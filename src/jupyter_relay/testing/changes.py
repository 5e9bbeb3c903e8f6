"""Waiting for what a fake has seen, without polling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Changes:
    """Wakes those who wait for a condition whenever something may have changed it.

    A condition variable for one event loop: unlike `asyncio.Condition` it is notified without a
    lock, and so from plain functions.
    """

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def notify(self) -> None:
        """Have every waiting condition looked at again."""
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def wait_for(self, condition: Callable[[], T], timeout: float = 10.0) -> T:
        """Return what ``condition`` says as soon as that is true.

        Raises `TimeoutError` after ``timeout`` seconds.
        """
        async with asyncio.timeout(timeout):
            while not (value := condition()):
                waiter = asyncio.get_running_loop().create_future()
                self._waiting.add(waiter)
                try:
                    await waiter
                finally:
                    self._waiting.discard(waiter)
        return value
