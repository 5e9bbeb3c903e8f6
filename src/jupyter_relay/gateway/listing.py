"""Finds kernels on a gateway: one question for all who ask it at about the same time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from http import HTTPStatus
from typing import Final, Generic, TypeVar

from jupyter_relay.errors import AuthenticationFailed, KernelNotFound, RelayError
from jupyter_relay.rest.models import KernelModel

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

_AT_ONCE: Final = 32
"""How many kernels are asked for at the same time, where they have to be asked for one by one."""

_REFUSAL_SECONDS: Final = 300.0
"""The seconds for which a gateway that does not list is not asked to again: it may be restarted
with listing allowed, or have meant the user of that hour."""


class KernelFinder:
    """Finds kernels by their ids. ``list_all`` lists all kernels of a gateway, ``get`` asks for
    one of them.

    An answer is good for ``seconds`` for all who ask for the same kernels. ``clock`` is in
    seconds, from anywhere.
    """

    def __init__(
        self,
        list_all: Callable[[], Awaitable[Collection[KernelModel]]],
        get: Callable[[str], Awaitable[KernelModel]],
        *,
        seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._list_all = list_all
        self._get = get
        self._clock = clock
        self._refused_until: float | None = None
        """Until when the gateway is not asked to list, by ``clock``; None while it may be."""
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._shared = Shared(self._find_all, seconds)

    async def find(self, kernel_ids: Collection[str]) -> Mapping[str, KernelModel | None]:
        """See `Gateway.find_kernels`."""
        return await self._shared.get(frozenset(kernel_ids)) if kernel_ids else {}

    def invalidate(self) -> None:
        """Invalidate the last answer, since kernels have changed."""
        self._shared.invalidate()

    async def _find_all(self, kernel_ids: frozenset[str]) -> Mapping[str, KernelModel | None]:
        found: dict[str, KernelModel | None] = {}
        refused = False
        if self._refused_until is None or self._clock() >= self._refused_until:
            try:
                listed = await self._list_all()
                found = _by_id([model for model in listed if model.id in kernel_ids])
                self._refused_until = None
            except AuthenticationFailed as error:
                # Listing may be forbidden alone. If it is the token, the kernels will say so.
                refused = error.status == HTTPStatus.FORBIDDEN
        missing = kernel_ids - found.keys()
        answers = await asyncio.gather(
            *(self._find_one(kernel_id) for kernel_id in missing), return_exceptions=True
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
            self._refused_until = self._clock() + _REFUSAL_SECONDS
        elif errors:
            self._refused_until = None
        if errors and not found:
            raise errors[0]
        return found

    async def _find_one(self, kernel_id: str) -> KernelModel | None:
        async with self._turns:
            try:
                return await self._get(kernel_id)
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


class Shared(Generic[K, T]):
    """Asks one question for all callers with the same key: those who come while it is under way,
    and, if it does not fail, those who come in the ``seconds`` after its answer.

    ``ask`` is called with the key. Only the answer for the last key is kept.
    """

    def __init__(self, ask: Callable[[K], Awaitable[T]], seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._last: _Question[K, T] | None = None

    async def get(self, key: K) -> T:
        """Return the answer. Raises what asking raises. Callers that are cancelled cancel no
        other."""
        question = self._last
        if question is None or question.key != key or question.stale:
            question = self._last = _Question(key, self._ask, self._seconds)
        return await question.answer()

    @property
    def under_way(self) -> bool:
        """True while the question is under way."""
        return self._last is not None and not self._last.done

    async def settle(self) -> None:
        """Wait until no question is under way, whatever comes of it. One whose callers are all
        cancelled ends."""
        while self._last is not None and not self._last.done:
            await self._last.end()

    def invalidate(self) -> None:
        """Invalidate the answer, and one that is under way: the next caller asks anew."""
        self._last = None


class _Question(Generic[K, T]):
    """One question, under way or answered. It is cancelled with its last caller."""

    def __init__(self, key: K, ask: Callable[[K], Awaitable[T]], seconds: float) -> None:
        self.key = key
        self._waiting = 0
        self._good_until: float | None = None
        self._seconds = seconds
        self._task = asyncio.ensure_future(ask(key))

    @property
    def stale(self) -> bool:
        """True if it is too old to be shared with a new caller."""
        if not self._task.done():
            return self._task.cancelling() > 0
        now = asyncio.get_running_loop().time()
        return self._good_until is None or now >= self._good_until

    @property
    def done(self) -> bool:
        """True once it is answered, has failed, or was cancelled."""
        return self._task.done()

    async def end(self) -> None:
        """Wait until it is done, without being one of its callers."""
        await asyncio.wait((self._task,))

    async def answer(self) -> T:
        """Wait for the answer, as one of its callers."""
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
