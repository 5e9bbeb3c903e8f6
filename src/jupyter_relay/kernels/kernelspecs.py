"""The kernelspecs of one gateway, cached for each user who has a list of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

from jupyter_relay.errors import RelayError
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.kernels.cached import SILENCE, Cached
from jupyter_relay.log import Log
from jupyter_relay.rest.models import KernelSpecModel, KernelSpecs
from jupyter_relay.rest.users import NotebookUser, kernel_user
from jupyter_relay.store.store import Store
from jupyter_relay.wire.json import ModelError

T = TypeVar("T")

_MAX_LISTS: Final = 64
"""For how many users a list is remembered, where each has their own."""

NO_USER: Final = NotebookUser()
"""Who asks where nobody in particular does."""


class KernelspecLists:
    """The kernelspecs of one gateway.

    There is one list for all users, unless the gateway is told who asks. Each is cached, so that
    nobody waits long for a gateway that does not answer; see `Cached`. The ``store``, if there is
    one, keeps the outline of each list for the next process.

    ``on_listed`` is called with each list that the gateway gives, and the user it is for;
    ``on_outcome`` when a list is up to date or out of date: with the user, and the error or None.
    """

    def __init__(self, gateway: Gateway, store: Store | None, *, log: Log) -> None:
        self.on_listed: Callable[[NotebookUser, KernelSpecs], None] | None = None
        self.on_outcome: Callable[[NotebookUser, RelayError | None], None] | None = None
        self._gateway = gateway
        self._store = store
        self._log = log
        self._lists: dict[str | None, Cached[KernelSpecs]] = {}
        """By the name that the gateway is told; the user who asked last stands last."""
        self._kept: dict[str, bytes] = {}
        """The outlines that the store was given last."""
        self._recalled: dict[str, KernelSpecs | None] = {}
        """What was found in the store."""

    def cached(self, user: NotebookUser) -> Cached[KernelSpecs]:
        """Return the list for a user, as far as it is known."""
        name = kernel_user(self._gateway.settings.start, user)
        cached = self._lists.pop(name, None) or Cached(
            lambda: self._list(user),
            what=f"The kernelspecs of {self._gateway.name}",
            gateway=self._gateway.name,
            log=self._log,
            first_patience=SILENCE,
            on_outcome=lambda error: self._report_outcome(user, error),
        )
        self._lists[name] = cached
        # A question that is under way is for `close` to end.
        for other in tuple(self._lists)[:-_MAX_LISTS]:
            if not self._lists[other].asking:
                del self._lists[other]
        return cached

    def known(self, name: str, user: NotebookUser) -> KernelSpecModel | None:
        """Return a kernelspec as it was last listed for a user, without asking; None if it is not
        known."""
        cached = self._lists.get(kernel_user(self._gateway.settings.start, user))
        listed = cached.value if cached is not None else None
        return listed.specs.get(name) if listed is not None else None

    async def get(self, name: str, user: NotebookUser) -> KernelSpecModel:
        """Ask for one kernelspec. Raises `KernelSpecNotFound`."""
        return await self._unless_silent(user, lambda: self._gateway.kernelspec(name, user))

    async def resource(self, name: str, path: str, user: NotebookUser) -> bytes | None:
        """Ask for a file of a kernelspec; return None if there is no such file."""
        return await self._unless_silent(
            user, lambda: self._gateway.kernelspec_resource(name, path)
        )

    async def recall(self, user: NotebookUser) -> KernelSpecs | None:
        """Return what the gateway listed for the last process with this store; None if nothing is
        stored. It is looked for once for each user."""
        name = self._name_in_store(user)
        if self._store is not None and name not in self._recalled and not self._gateway.closed:
            kept = await self._store.kernelspecs.get(self._gateway.address, name)
            _put_last(self._recalled, name, self._read_kept(kept, self._store.path))
        return self._recalled.get(name)

    def is_for_all(self, user: NotebookUser) -> bool:
        """True if the gateway is asked the same for a user as for all others."""
        settings = self._gateway.settings.start
        return kernel_user(settings, user) == kernel_user(settings, NO_USER)

    async def close(self) -> None:
        """Cancel the questions that are under way."""
        for cached in tuple(self._lists.values()):
            await cached.close()

    async def _list(self, user: NotebookUser) -> KernelSpecs:
        listed = await self._gateway.kernelspecs(user)
        self._keep(listed, self._name_in_store(user))
        if self.on_listed is not None:
            self.on_listed(user, listed)
        return listed

    def _report_outcome(self, user: NotebookUser, error: RelayError | None) -> None:
        # That the gateway was closed here is no fault of the gateway's.
        if self.on_outcome is not None and not self._gateway.closed:
            self.on_outcome(user, error)

    async def _unless_silent(
        self, user: NotebookUser, ask: Callable[[], Coroutine[Any, Any, T]]
    ) -> T:
        """Wait for an answer; raise what is wrong with a gateway that is known to be down, at once,
        or as soon as it counts as silent: a page's few connections must not wait for it."""
        cached = self.cached(user)
        if cached.error is not None:
            await cached.refresh()
        asking = asyncio.create_task(ask())
        try:
            while cached.error is None and not asking.done():
                await asyncio.wait([asking], timeout=cached.until_silent)
            if cached.error is not None and not asking.done():
                # Others raise the same error: what it was raised through must not add up.
                raise cached.error.with_traceback(None)
            return await asking
        finally:
            if not asking.done():
                asking.cancel()
                await asyncio.wait([asking])

    def _keep(self, listed: KernelSpecs, user: str) -> None:
        """Store a list for the next process, if it differs from the last one."""
        outline = listed.outline()
        if self._store is None or self._gateway.closed or self._kept.get(user) == outline:
            return
        _put_last(self._kept, user, outline)
        self._recalled.pop(user, None)
        self._store.kernelspecs.put(self._gateway.address, user, outline)

    def _read_kept(self, kept: bytes | None, path: Path) -> KernelSpecs | None:
        """Read a list from the store; None if there is none, or if it cannot be read."""
        try:
            return KernelSpecs.from_json(kept) if kept is not None else None
        except ModelError as error:
            self._log.warning(
                "The kernelspecs of %s that are kept in %s are not used: %s.",
                self._gateway.address,
                path,
                error,
            )
            return None

    def _name_in_store(self, user: NotebookUser) -> str:
        return kernel_user(self._gateway.settings.start, user) or ""


def _put_last(known: dict[str, T], user: str, value: T) -> None:
    """Put what is known for a user behind that of all others; the first of too many go."""
    known.pop(user, None)
    known[user] = value
    for other in tuple(known)[:-_MAX_LISTS]:
        del known[other]
