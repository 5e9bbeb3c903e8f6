"""One answer for all who ask at about the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Shared(Generic[K, T]):
    """Asks once for all who ask for the same: those who come while an answer is under way, and,
    if it is not an error, those who come in the ``seconds`` after it.

    ``ask`` gets what was asked for. Only the last such thing is remembered.
    """

    def __init__(self, ask: Callable[[K], Awaitable[T]], seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._last: _Flight[K, T] | None = None

    async def get(self, key: K) -> T:
        """Return the answer. Raises what asking raises; whoever is cancelled cancels no other."""
        flight = self._last
        if flight is None or flight.key != key or flight.stale:
            flight = self._last = _Flight(key, self._ask, self._seconds)
        return await flight.answer()

    @property
    def under_way(self) -> bool:
        """Whether somebody waits for an answer."""
        return self._last is not None and not self._last.done

    async def settle(self) -> None:
        """Wait until no answer is under way, whatever comes of it; it is not kept up for this."""
        while self._last is not None and not self._last.done:
            await self._last.end()

    def forget(self) -> None:
        """Have the next one asked anew: things have changed since the last answer was asked for."""
        self._last = None


class _Flight(Generic[K, T]):
    """One answer, under way or there. It is let go of when nobody waits for it any more."""

    def __init__(self, key: K, ask: Callable[[K], Awaitable[T]], seconds: float) -> None:
        self.key = key
        self._waiting = 0
        self._good_until: float | None = None
        self._seconds = seconds
        self._task = asyncio.ensure_future(ask(key))

    @property
    def stale(self) -> bool:
        """Whether it is no answer for one who asks now."""
        if not self._task.done():
            return self._task.cancelling() > 0
        now = asyncio.get_running_loop().time()
        return self._good_until is None or now >= self._good_until

    @property
    def done(self) -> bool:
        """Whether it has come, or is not coming any more."""
        return self._task.done()

    async def end(self) -> None:
        """Wait until it is done, without wanting it."""
        await asyncio.wait((self._task,))

    async def answer(self) -> T:
        """Wait for it."""
        self._waiting += 1
        try:
            await asyncio.wait((self._task,))
        finally:
            self._waiting -= 1
            if not self._waiting and not self._task.done():
                self._task.cancel()
        answer = self._task.result()
        if self._good_until is None:
            self._good_until = asyncio.get_running_loop().time() + self._seconds
        return answer
