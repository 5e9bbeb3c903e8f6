"""Which kernels of ours a gateway has: one question, however many ask it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from http import HTTPStatus

from jupyter_relay.errors import AuthenticationFailed, KernelNotFound, RelayError
from jupyter_relay.gateway.shared import Shared
from jupyter_relay.rest.models import KernelModel

_AT_ONCE = 32
"""How many kernels are asked for at the same time, where they have to be asked for one by one."""

_REFUSAL_STANDS = 300.0
"""The seconds for which a gateway that does not list is not asked to again: it may be restarted
with listing allowed, or have meant the user of that hour."""


class Listing:
    """Finds kernels. ``everything`` lists all of a gateway, ``one`` asks for one of them.

    An answer is good for ``seconds`` for all who ask for the same kernels. ``clock`` is in
    seconds, from anywhere.
    """

    def __init__(
        self,
        everything: Callable[[], Awaitable[Collection[KernelModel]]],
        one: Callable[[str], Awaitable[KernelModel]],
        *,
        seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._everything = everything
        self._one = one
        self._clock = clock
        self._refused_until: float | None = None
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._shared = Shared(self._ask, seconds)

    async def find(self, kernel_ids: Collection[str]) -> Mapping[str, KernelModel | None]:
        """See `Gateway.find_kernels`."""
        return await self._shared.get(frozenset(kernel_ids)) if kernel_ids else {}

    def forget(self) -> None:
        """Take it that the kernels have changed."""
        self._shared.forget()

    async def _ask(self, kernel_ids: frozenset[str]) -> Mapping[str, KernelModel | None]:
        found: dict[str, KernelModel | None] = {}
        refused = False
        if self._refused_until is None or self._clock() >= self._refused_until:
            try:
                listed = await self._everything()
                found = _by_id([model for model in listed if model.id in kernel_ids])
                self._refused_until = None
            except AuthenticationFailed as error:
                # Listing may be forbidden alone. If it is the token, the kernels will say so.
                refused = error.status == HTTPStatus.FORBIDDEN
        missing = kernel_ids - found.keys()
        answers = await asyncio.gather(
            *(self._find(kernel_id) for kernel_id in missing), return_exceptions=True
        )
        errors: list[RelayError] = []
        for kernel_id, answer in zip(missing, answers, strict=True):
            if isinstance(answer, RelayError):
                errors.append(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found[kernel_id] = answer
        # After trouble listing is tried again: whoever may not do it now may be let to later.
        if refused and not errors:
            self._refused_until = self._clock() + _REFUSAL_STANDS
        elif errors:
            self._refused_until = None
        if errors and not found:
            raise errors[0]
        return found

    async def _find(self, kernel_id: str) -> KernelModel | None:
        async with self._turns:
            try:
                return await self._one(kernel_id)
            except KernelNotFound:
                return None


def _by_id(models: Collection[KernelModel]) -> dict[str, KernelModel | None]:
    """Return models by id, without those of ids that are listed twice: one of the two is about
    another kernel, and nothing says which."""
    found: dict[str, KernelModel | None] = {model.id: model for model in models}
    if len(found) < len(models):
        times = Counter(model.id for model in models)
        found = {kernel_id: model for kernel_id, model in found.items() if times[kernel_id] == 1}
    return found
