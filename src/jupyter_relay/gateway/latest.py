"""What a gateway has last answered to one question, for those who must not wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from jupyter_relay.errors import GatewayTimeout, RelayError
from jupyter_relay.gateway.log import Log

T = TypeVar("T")

PATIENCE: Final = 1.5
"""How many seconds whoever asks may wait: a page that loads is to have its answer within 2 s."""


class Latest(Generic[T]):
    """Asks a gateway one question, once at a time, and remembers the answer.

    ``value`` is the last answer, None before the first. ``error`` says why it is not of now, and is
    None where it is. Whoever asks while the question is under way shares the answer, and nobody
    waits longer than until ``patience`` seconds after it was put: while a gateway is silent one
    request waits so long, and all others have at once what is known.

    The beginning and the end of a time without answers are one line each in the log, which calls
    the question ``what``.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[T]],
        *,
        what: str,
        gateway: str,
        log: Log,
        patience: float = PATIENCE,
    ) -> None:
        self.value: T | None = None
        self.error: RelayError | None = None
        self._ask = ask
        self._what = what
        self._gateway = gateway
        self._log = log
        self._patience = patience
        self._asking: asyncio.Task[None] | None = None
        self._until = 0.0
        self._told: type[RelayError] | None = None

    @property
    def asking(self) -> bool:
        """Whether the question is under way."""
        return self._asking is not None

    async def refresh(self) -> None:
        """Ask, and wait for the answer as long as there is patience."""
        loop = asyncio.get_running_loop()
        if self._asking is None:
            self._asking = asyncio.create_task(self._take())
            self._asking.add_done_callback(self._answered)
            self._until = loop.time() + self._patience
        asking = self._asking
        await asyncio.wait([asking], timeout=max(0.0, self._until - loop.time()))
        if not asking.done():
            self.error = GatewayTimeout(
                f"{self._gateway} has not answered for {self._patience:g} s.",
                hint="It is still waited for; ask again later.",
                gateway=self._gateway,
            )

    async def close(self) -> None:
        """Stop asking."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def _take(self) -> None:
        try:
            self.value = await self._ask()
        except RelayError as error:
            self.error = error
            if self._told is not type(error):
                self._told = type(error)
                self._log.warning("%s cannot be listed: %s", self._what, error)
        except Exception:  # noqa: BLE001  # what is old must not be taken for new
            self._log.exception("%s cannot be listed, in a way not foreseen.", self._what)
            self.error = RelayError(
                f"{self._what} cannot be listed (see the log).", gateway=self._gateway
            )
        else:
            self.error = None
            if self._told is not None:
                self._told = None
                self._log.info("%s can be listed again.", self._what)

    def _answered(self, _: asyncio.Task[None]) -> None:
        self._asking = None
