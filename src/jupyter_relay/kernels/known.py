"""The kernels of ours on one gateway, and what is known of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import datetime
from math import inf
from typing import Final

from jupyter_relay.errors import RelayError
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.kernels.at_exit import StartedKernel
from jupyter_relay.kernels.cached import PATIENCE, Cached
from jupyter_relay.kernels.kernel import RemoteKernel
from jupyter_relay.link.actions import Report
from jupyter_relay.link.life import LISTED, NOT_STARTED, ON_GATEWAY, VANISHED
from jupyter_relay.log import Log
from jupyter_relay.rest.models import KernelModel
from jupyter_relay.store.claims import Claim

LOST_SECONDS: Final = 60.0
"""For how many seconds a kernel that is lost is remembered, so that its pages can read why."""


class KnownKernels:
    """The kernels of ours on one gateway: asked about all at once, and listed by what changed.

    A kernel is lost if its gateway no longer has it, or its start has failed after it was shown as
    starting. It is remembered for ``lost_seconds`` more; then the next listing closes it, forgets
    it and calls ``on_forgotten`` with its id.

    Of a thousand kernels few change between two lists, and to walk over the others would be most
    of what a list costs: they do not fit into a processor's cache. So each kernel reports that its
    model or its connections may have changed (`mark_changed`), and is looked at by each list from
    then on until it is settled again.
    """

    def __init__(self, gateway: Gateway, *, log: Log) -> None:
        self.lost_seconds = LOST_SECONDS
        self.on_forgotten: Callable[[str], Awaitable[None]] | None = None
        self.stopping = False
        """Whether all kernels are being shut down; the roster sets it. `refresh_behind` begins no
        listing then, which the gateway's end would make fail."""
        self._gateway = gateway
        self._log = log
        self._kernels: dict[str, RemoteKernel] = {}
        self._changed: dict[str, None] = {}
        """The ids of the kernels that the next list looks at; also of some that are forgotten."""
        self._looked_at: dict[str, KernelModel] = {}
        """The model of each kernel, as the last list found it; without those that are lost."""
        self._lost_since: dict[str, float] = {}
        """When each lost kernel was first found so, by `time.monotonic`."""
        self._questions: dict[str, Cached[KernelModel]] = {}
        """The questions about single kernels; each is made when it is first asked."""
        self._found: Mapping[str, KernelModel | None] = {}
        """The last listing of the gateway."""
        self._listed_at = -inf
        """When the last listing was answered; -inf again after a restart, which outdates it."""
        self._restarted_at = -inf
        """When a kernel was last restarted: a listing that was asked for earlier is outdated."""
        self._last_activity: datetime | None = None
        """The latest activity of the kernels that a list has looked at, or that were added."""
        self._loop: asyncio.AbstractEventLoop | None = None
        """The event loop of the kernels; None before the first was added."""
        self._listing = Cached(
            self._list,
            what=f"The kernels of {gateway.name}",
            gateway=gateway.name,
            log=log,
        )

    def __iter__(self) -> Iterator[RemoteKernel]:
        return iter(tuple(self._kernels.values()))

    def get(self, kernel_id: str) -> RemoteKernel | None:
        """Return the kernel that is shown under an id; None if it is none of ours."""
        return self._kernels.get(kernel_id)

    def add(self, kernel: RemoteKernel, *, at: datetime) -> None:
        """Take a kernel in that was started or attached to ``at`` this time, which counts as
        activity unless the kernel's own is known."""
        self._loop = asyncio.get_running_loop()
        self._drop_question(kernel.id)
        self._kernels[kernel.id] = kernel
        self._note_activity(kernel.last_activity or at)
        self.mark_changed(kernel.id)

    def forget(self, kernel_id: str) -> None:
        """Remove a kernel, which stays as it is. One that is not known is no error."""
        kernel = self._kernels.pop(kernel_id, None)
        if kernel is None:
            return
        self._note_activity(kernel.last_activity)
        self._changed[kernel_id] = None
        self._lost_since.pop(kernel_id, None)
        self._drop_question(kernel_id)

    async def stop_asking(self, kernel_id: str) -> None:
        """Cancel the question about one kernel, if one is under way, and drop its cache."""
        question = self._questions.pop(kernel_id, None)
        if question is not None:
            await question.close()

    def mark_changed(self, kernel_id: str) -> None:
        """Have the next list look at a kernel, and those after it until it is settled."""
        if kernel_id in self._kernels:
            self._changed[kernel_id] = None

    def changed(self) -> list[tuple[str, RemoteKernel | None]]:
        """Return the kernels that may have changed since this was last called, with their ids;
        None for each that is not to be listed any more."""
        changed: list[tuple[str, RemoteKernel | None]] = []
        for kernel_id in tuple(self._changed):
            kernel = self._kernels.get(kernel_id)
            if kernel is None or kernel.life not in LISTED:
                self._looked_at.pop(kernel_id, None)
                changed.append((kernel_id, None))
                if kernel is None:
                    del self._changed[kernel_id]
                continue
            self._looked_at[kernel_id] = kernel.model
            self._note_activity(kernel.last_activity)
            changed.append((kernel_id, kernel))
            if kernel.is_settled:
                del self._changed[kernel_id]
        return changed

    def last_activity(self) -> datetime | None:
        """Return when a kernel of ours last worked, by our clock; None if there was none yet."""
        for kernel_id in self._changed:
            kernel = self._kernels.get(kernel_id)
            if kernel is not None:
                self._note_activity(kernel.last_activity)
        return self._last_activity

    async def refresh_all(self) -> None:
        """Ask for our kernels, and wait for the answer as long as a page may."""
        await self._listing.refresh()

    def refresh_behind(self) -> None:
        """Ask for our kernels if the last listing is older than ``listing_ttl``; do not wait.

        Nothing is asked while all kernels are shut down, nor outside the event loop of the
        kernels, as in a thread that reads metrics.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        age = time.monotonic() - self._listed_at
        if self.stopping or loop is not self._loop or not self._kernels:
            return
        if age >= self._gateway.settings.listing_ttl:
            self._listing.begin()

    async def refresh_fully(self) -> bool:
        """Ask for our kernels, whatever is cached, and wait for the answer however long it takes;
        return whether there is one."""
        self._gateway.forget_listing()
        await self._listing.answer()
        return self._listing.error is None

    async def refresh_at_end(self) -> str:
        """Ask for our kernels once more before the program ends, and wait no longer than a page
        would. Return why there is no answer, as a sentence; an empty text where there is one."""
        self._gateway.forget_listing()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._list()
        except RelayError as error:
            return str(error)
        except TimeoutError:
            return f"{self._gateway.name} has not answered for {PATIENCE:g} s."
        except Exception as error:  # noqa: BLE001  # whatever is wrong, the kernels are deleted
            self._log.exception("%s could not be asked for its kernels.", self._gateway.name)
            return f"{type(error).__name__} (see the log)."
        return ""

    async def close(self) -> None:
        """Cancel the listing and the questions that are under way."""
        await self._listing.close()
        for kernel_id in tuple(self._questions):
            await self.stop_asking(kernel_id)

    async def look_again(self, kernel_id: str, *, anew: bool = False) -> None:
        """Ask the gateway for one kernel, if its last answer is older than ``listing_ttl``, or in
        any case with ``anew``; and wait for it. All who ask at the same time share one question.

        With ``anew`` a question that is under way is asked again: its answer may be outdated.

        A slow gateway is waited for until it counts as silent: else a kernel that ended there would
        be given to a page once more. One that is known to be down is waited for as long as a list
        may take; an answer that comes later is taken when it comes. A kernel that is being started,
        or is known to be gone, is not asked for.
        """
        kernel = self._kernels.get(kernel_id)
        if kernel is None or kernel.life not in ON_GATEWAY:
            return
        # A listing leaves out the kernels that the gateway could not be asked for.
        listed_at = self._listed_at if kernel_id in self._found else -inf
        age = time.monotonic() - max(listed_at, kernel.asked_at)
        if not anew and age < self._gateway.settings.listing_ttl:
            return
        question = self._questions.get(kernel_id)
        if question is None:
            question = self._questions[kernel_id] = Cached(
                kernel.refresh,
                what=f"Kernel {kernel_id}",
                asked_for="asked for",
                newest_only=True,
                gateway=self._gateway.name,
                log=self._log,
                quiet=True,
            )
        elif anew:
            await question.close()
        await question.refresh(at_most=PATIENCE if self._listing.down else inf)

    def outdate(self) -> None:
        """Take what the gateway last said of the kernels as outdated, since one was restarted."""
        self._listed_at = -inf
        self._restarted_at = time.monotonic()

    def why_lost(self, kernel_id: str) -> str | None:
        """Return why a kernel of ours is lost, as a sentence; None if it is not, by what is known,
        or is none of ours."""
        kernel = self._kernels.get(kernel_id)
        if kernel is None or kernel.life not in VANISHED:
            return None
        return kernel.model.reason

    def found_gone(self, kernel_id: str) -> bool:
        """True if the last listing has found that a kernel no longer exists."""
        return kernel_id in self._found and self._found[kernel_id] is None

    async def _list(self) -> None:
        """Ask for our kernels, and take in what is answered for each."""
        await self._forget_lost()
        starts = {
            kernel_id: kernel
            for kernel_id in self._changed
            if (kernel := self._kernels.get(kernel_id)) is not None and kernel.life in NOT_STARTED
        }
        for kernel_id, kernel in starts.items():
            if kernel.life in VANISHED:
                self._lost_since.setdefault(kernel_id, time.monotonic())
        began = time.monotonic()
        found = await self._gateway.find_kernels(self._kernels.keys() - starts.keys())
        if found is self._found:
            return  # it is the last answer, which is still good
        if began >= self._restarted_at:
            self._listed_at = time.monotonic()
        for kernel_id, model in found.items():
            settled = model is not None and kernel_id not in self._changed
            if settled and self._looked_at.get(kernel_id) is model:
                continue  # nothing new is said of it
            listed = self._kernels.get(kernel_id)
            if listed is None:
                continue  # it was shut down here while the gateway was asked
            if model is not None:
                listed.update(model)
            else:
                listed.mark_gone()
                self._lost_since.setdefault(kernel_id, time.monotonic())
        self._found = found

    async def _forget_lost(self) -> None:
        """Close and forget the kernels that were lost `lost_seconds` ago or earlier."""
        for kernel_id, since in tuple(self._lost_since.items()):
            if time.monotonic() - since < self.lost_seconds:
                continue
            kernel = self._kernels.get(kernel_id)
            self.forget(kernel_id)
            if kernel is not None:
                await kernel.close()
            if self.on_forgotten is not None:
                await self.on_forgotten(kernel_id)

    def _drop_question(self, kernel_id: str) -> None:
        """Drop the question about one kernel: it asks for the one that was known by that id."""
        question = self._questions.pop(kernel_id, None)
        if question is not None:
            question.cancel()

    def _note_activity(self, date: datetime | None) -> None:
        if date is not None and (self._last_activity is None or date > self._last_activity):
            self._last_activity = date


class Member:
    """What a roster keeps of one kernel beside the `RemoteKernel`.

    ``claim`` is the claim on it, None without a store. ``started`` is the mark of one that the end
    of this program deletes. ``users`` is how many have started or attached to it here, and have
    not released it.
    """

    __slots__ = (
        "_kernel_id",
        "_kernels",
        "_on_reports",
        "claim",
        "found_again",
        "started",
        "users",
    )

    def __init__(
        self,
        kernel_id: str,
        kernels: KnownKernels,
        claim: Claim | None,
        started: StartedKernel | None,
    ) -> None:
        self._kernel_id = kernel_id
        self._kernels = kernels
        self._on_reports: tuple[Callable[[Report], None], ...] = ()
        """What is called with each report of its link: that of each user who has given one."""
        self.claim = claim
        self.started = started
        self.users = 0
        self.found_again = False
        """Whether its gateway turned out to have the kernel after it was taken for dead."""

    def add_user(self, on_report: Callable[[Report], None] | None) -> None:
        """Count one more user."""
        self.users += 1
        if on_report is not None:
            self._on_reports = (*self._on_reports, on_report)

    def remove_user(self, on_report: Callable[[Report], None] | None) -> None:
        """Count one user less."""
        self.users -= 1
        if on_report in self._on_reports:
            left = list(self._on_reports)
            left.remove(on_report)
            self._on_reports = tuple(left)

    async def hand_back(self, *, gone: bool) -> None:
        """Hand back the claim, if there is one."""
        if self.claim is not None:
            await self.claim.hand_back(gone=gone and not self.found_again)

    def on_change(self) -> None:
        """Have the next list look at the kernel."""
        self._kernels.mark_changed(self._kernel_id)

    def on_report(self, report: Report) -> None:
        """Pass on a report of its link."""
        for on_report in self._on_reports:
            on_report(report)
