"""The owner of the kernels of one gateway: starts them, attaches to them, and ends them.

Managers of Jupyter Server and of programs hold a `Roster` and decide nothing themselves.

Longer than others, since to start, attach to and end kernels changes the same few fields.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final
from uuid import uuid4
from weakref import WeakValueDictionary

from jupyter_relay.errors import (
    GatewayClosed,
    GatewayRefused,
    GatewayUnavailable,
    KernelNotFound,
    UnexpectedAnswer,
)
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.gateway.start import KernelStart, Outcome
from jupyter_relay.kernels.at_exit import STARTED, StartedKernel
from jupyter_relay.kernels.kernel import RemoteKernel
from jupyter_relay.kernels.kernelspecs import KernelspecLists
from jupyter_relay.kernels.known import KnownKernels, Member
from jupyter_relay.kernels.operations import NO_PATIENCE
from jupyter_relay.kernels.shutdown import delete_in_time, lines_of_staying, why_it_stays
from jupyter_relay.link.actions import Report
from jupyter_relay.link.life import ATTACHED, DEAD, Life
from jupyter_relay.log import Log
from jupyter_relay.rest.models import KernelModel
from jupyter_relay.rest.users import NotebookUser
from jupyter_relay.settings.on_exit import OnExit
from jupyter_relay.store.claims import Claim
from jupyter_relay.store.store import Store

DELETE_SECONDS: Final = 4.0
"""How many seconds a program that ends waits for its kernels to be deleted, all at once; if busy
ones are to stay, the question which those are is a part of it."""

_CLOSE_SECONDS: Final = 2.0
"""How many seconds it waits after that for the websockets of the others to be closed in order."""

_logger = logging.getLogger(__name__)


class Turns:
    """A lock for each key, kept for as long as somebody uses it."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, key: str) -> asyncio.Lock:
        """Return the lock of a key."""
        return self._locks.setdefault(key, asyncio.Lock())


class Roster:
    """The kernels of ours on one gateway.

    It owns the ``gateway``, the ``store`` with the upstream session ids, the ``kernelspecs`` and
    what is known of the ``kernels``. A kernel is ours if it was started here or attached to: what
    others run on the gateway is not looked at.

    ``state_folder`` is where the store is, unless the settings name a folder; without either there
    is no store. ``for_server`` says that a server starts the kernels, and not a program for itself.
    A gateway that is shared with others is not closed (``closes_gateway``).

    ``on_forgotten`` is called with the id of each kernel that is forgotten of itself: lost, as in
    `KnownKernels`, or left running by `shutdown_all`, or deleted by it and not closed in time.

    Methods that ask the gateway raise what those of `Gateway` raise.
    """

    def __init__(
        self,
        gateway: Gateway,
        *,
        state_folder: Path | None = None,
        for_server: bool = False,
        closes_gateway: bool = True,
        log: Log = _logger,
    ) -> None:
        self.gateway = gateway
        folder = gateway.settings.state_folder
        if folder:
            state_folder = Path(folder).expanduser()
        self.store = Store(state_folder, log=log) if state_folder is not None else None
        self.on_forgotten: Callable[[str], Awaitable[None]] | None = None
        self.kernels = KnownKernels(gateway, log=log)
        self.kernels.on_forgotten = self._on_forgotten
        self.kernelspecs = KernelspecLists(gateway, self.store, log=log)
        self._for_server = for_server
        self._closes_gateway = closes_gateway
        self._log = log
        self._members: dict[str, Member] = {}
        """By the id that a kernel is shown under."""
        self._attaching = Turns()
        self._stopping = False
        """Whether `shutdown_all` is under way."""
        self._stopped = False
        """Whether `shutdown_all` has closed the gateway, and no kernel was started since."""
        self._closed = False
        """Whether `close` has closed the store."""

    @property
    def stopping(self) -> bool:
        """True while all kernels are being shut down: none is started then."""
        return self._stopping

    async def start(
        self,
        name: str | None,
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: NotebookUser | None = None,
        patience: float | None = None,
        delete_at_exit: bool = False,
        on_report: Callable[[Report], None] | None = None,
    ) -> RemoteKernel:
        """Start a kernel from the kernelspec ``name``, or from the gateway's default one.

        The kernel is waited for; with ``patience``, for so many seconds. After that the start goes
        on by itself, and what the kernel is asked waits for it. If this is cancelled meanwhile,
        the kernel is deleted as soon as it is there. With ``delete_at_exit`` the end of this
        program deletes it, unless it is `release`d. ``on_report`` is called with what happens to
        its link. ``env``, ``cwd`` and ``user`` are as in `Gateway.start_kernel`.
        """
        self._reopen()
        kernel_id = str(uuid4())
        claim = self._claim_start(kernel_id)
        start: KernelStart | None = None
        started: StartedKernel | None = None
        try:
            start = self.gateway.begin_start(
                name,
                env=env,
                cwd=cwd,
                user=user,
                kernel_id=kernel_id,
                before_request=self.store.claims.written if self.store is not None else None,
            )
            started = STARTED.add_start(start, self.gateway) if delete_at_exit else None
            model = await start.wait(patience)
        except BaseException:
            self._give_up(start, claim, started)
            raise
        if claim is not None:
            claim = claim.moved_to(model.id)
            start.when_decided(partial(self._keep_gateways_id, claim))
        return self._adopt(model, claim, on_report, start=start, started=started)

    async def attach(
        self, kernel_id: str, *, on_report: Callable[[Report], None] | None = None
    ) -> RemoteKernel:
        """Attach to a kernel on the gateway; ``kernel_id`` may also be the gateway's own id of it.

        With a store its session id is that of the program that was attached last, so that the
        gateway hands over what it has kept since then. All who attach to one kernel here share one
        `RemoteKernel`. Raises `KernelNotFound`.
        """
        self._reopen()
        kernel_id = await self.shown_id(kernel_id)
        async with self._attaching.of(kernel_id):
            known = self.kernels.get(kernel_id)
            if known is not None and known.life is Life.STARTING:
                return self._share(known, on_report)  # its gateway does not have it yet
            model = await self._find(kernel_id)
            known = self.kernels.get(model.id)
            if known is not None and known.life in ATTACHED:
                return self._share(known, on_report)
            if known is not None:
                await self._replace(known)
            claim = None
            if self.store is not None:
                claim = await self.store.claims.claim(self.gateway.address, model.id)
            return self._adopt(model, claim, on_report)

    def visit(self, kernel_id: str) -> RemoteKernel:
        """Attach to a kernel without asking for it first, under a new session id that is not
        stored: who is attached already goes on, and so does who attaches next."""
        known = self.kernels.get(kernel_id)
        if known is not None:
            return self._share(known, None)
        return self._adopt(KernelModel(kernel_id, ""), None, None)

    async def shown_id(self, kernel_id: str) -> str:
        """Return the id that a kernel is shown under; ``kernel_id`` may be its gateway's."""
        ids = self.gateway.ids
        if self.store is not None and not ids.in_use(kernel_id):
            both = await self.store.claims.both_ids(self.gateway.address, kernel_id)
            if both is not None:
                ids.join(*both)
        return ids.shown(kernel_id)

    def started_by_server(self, kernel: RemoteKernel) -> bool:
        """True if a server has started a kernel: this one, or one that has left the kernel to it.

        Without a store nobody knows, and it is False.
        """
        member = self._members.get(kernel.id)
        claim = member.claim if member is not None else None
        return claim is not None and claim.started_by_server

    def started(self, kernel: RemoteKernel) -> StartedKernel | None:
        """Return the mark of a kernel that is deleted at the end of this program, if it is."""
        member = self._members.get(kernel.id)
        return member.started if member is not None else None

    async def restart(self, kernel: RemoteKernel) -> None:
        """Restart a kernel. Raises `KernelNotFound`, and what `RemoteKernel.restart` does."""
        try:
            await kernel.restart()
        except (GatewayRefused, UnexpectedAnswer) as error:
            # For one that does not exist gateways answer 500, and 404 only if asked for it.
            if not isinstance(error, KernelNotFound):
                with suppress(GatewayUnavailable, GatewayClosed):
                    await kernel.refresh()
            raise
        finally:
            self.kernels.outdate()

    async def release(
        self, kernel: RemoteKernel, *, on_report: Callable[[Report], None] | None = None
    ) -> None:
        """Release a kernel, which runs on if it has not been deleted: once nobody here uses it any
        more, close the link to it and forget it. ``on_report`` is that of the `attach` or `start`
        whose use ends."""
        member = self._members.get(kernel.id)
        if member is not None and self.kernels.get(kernel.id) is kernel:
            member.remove_user(on_report)
            if member.users > 0 and kernel.life not in DEAD:
                return
        await self._close(kernel)

    def forget(self, kernel_id: str) -> None:
        """Forget a kernel, whose link stays as it is. One that is not known is no error."""
        self.kernels.forget(kernel_id)
        self._members.pop(kernel_id, None)

    async def shutdown_all(
        self,
        seconds: float = DELETE_SECONDS,
        *,
        delete: Callable[[str], Awaitable[object]] | None = None,
    ) -> None:
        """Do to all kernels what ``on_exit`` says, then close gateway and store.

        Kernels are deleted all at once and each for itself, within ``seconds``, by ``delete``, or
        as `RemoteKernel.shutdown` does it. One that cannot be deleted in time is named in the log,
        and goes on running.

        Whatever ``on_exit`` says, kernels that were not started by this server, or by one that has
        left them to it, run on; a start that is under way is given up, and a deletion carried out.
        """
        self._stopping = self.kernels.stopping = True
        ends_at = asyncio.get_running_loop().time() + seconds
        self.gateway.end_soon(seconds)
        await self.kernels.close()
        on_exit = self.gateway.settings.on_exit
        if on_exit is OnExit.KEEP_BUSY and (why := await self.kernels.refresh_at_end()):
            self._log.warning(
                "Which kernels are at work is taken from what was heard last: %s", why
            )
        staying = {
            kernel.id: why
            for kernel in self.kernels
            if (why := why_it_stays(kernel, on_exit, by_server=self.started_by_server(kernel)))
        }
        for line in lines_of_staying(staying, self.gateway.name):
            self._log.info("%s", line)
        ending = [kernel for kernel in self.kernels if kernel.id not in staying]
        await delete_in_time(
            ending, delete or self._delete, seconds, ends_at, gateway=self.gateway.name
        )
        # Of some, the time was over after they were deleted, and before they were closed.
        dead = [kernel.id for kernel in self.kernels if kernel.life in DEAD]
        closing = [
            asyncio.ensure_future(kernel.close(leave_work=kernel.id in staying))
            for kernel in self.kernels
        ]
        if closing:
            await asyncio.wait(closing, timeout=_CLOSE_SECONDS)
        if self._closes_gateway:
            await self.gateway.close()  # from here on whoever asks gets an error
        await self.kernelspecs.close()
        # Without their sockets, those that waited for a silent gateway have nothing to wait for.
        await asyncio.gather(*closing)
        for kernel_id in (*staying, *dead):
            await self.kernels.stop_asking(kernel_id)
            self.forget(kernel_id)
            await self._on_forgotten(kernel_id)
        if self.store is not None:
            await self.store.close()
        self._stopping = self.kernels.stopping = False
        self._stopped = True

    async def close(self) -> None:
        """Close the gateway, unless it is shared, and the store; kernels stay as they are.

        Where starts that were given up are still under way, the gateway is closed behind them.
        """
        if self._closes_gateway:
            await self.gateway.close_when_idle()
        await self.kernels.close()
        await self.kernelspecs.close()
        self._closed = True
        if self.store is not None:
            await self.store.close()

    async def _on_forgotten(self, kernel_id: str) -> None:
        """Forget a kernel that `KnownKernels` has forgotten, and report it."""
        if self.kernels.get(kernel_id) is None:  # else another one is in its place by now
            self._members.pop(kernel_id, None)
        if self.on_forgotten is not None:
            await self.on_forgotten(kernel_id)

    async def _delete(self, kernel_id: str) -> None:
        kernel = self.kernels.get(kernel_id)
        if kernel is not None:
            await kernel.shutdown(patience=NO_PATIENCE)
            await self.kernels.stop_asking(kernel_id)
            self.forget(kernel_id)

    def _reopen(self) -> None:
        """Let kernels be started after `shutdown_all`, which need not be the program's end."""
        if self._stopped and not self._stopping:
            self._stopped = self._closed = False
            self.gateway.reopen()

    def _adopt(
        self,
        model: KernelModel,
        claim: Claim | None,
        on_report: Callable[[Report], None] | None,
        *,
        start: KernelStart | None = None,
        started: StartedKernel | None = None,
    ) -> RemoteKernel:
        member = Member(model.id, self.kernels, claim, started)
        member.add_user(on_report)
        kernel = RemoteKernel(
            self.gateway,
            model,
            start=start,
            session=claim.session if claim is not None else None,
            log=self._log,
            on_report=member.on_report,
            on_session=claim.renew_session if claim is not None else None,
            on_change=member.on_change,
            on_close=member.hand_back,
        )
        self._members[kernel.id] = member
        self.kernels.add(kernel, at=datetime.now(UTC))
        return kernel

    def _share(
        self, kernel: RemoteKernel, on_report: Callable[[Report], None] | None
    ) -> RemoteKernel:
        self._members[kernel.id].add_user(on_report)
        return kernel

    async def _close(self, kernel: RemoteKernel) -> None:
        """Close the link to a kernel, and forget it."""
        if self.kernels.get(kernel.id) is kernel:
            await self.kernels.stop_asking(kernel.id)
        await kernel.close()
        if self.kernels.get(kernel.id) is kernel:  # and not another one in its place
            self.forget(kernel.id)

    async def _replace(self, kernel: RemoteKernel) -> None:
        """Release a kernel that was taken for dead, since its gateway has it after all."""
        given = self.gateway.ids.given(kernel.id)
        self._members[kernel.id].found_again = True
        await self._close(kernel)
        self.gateway.ids.join(kernel.id, given)  # both ids of a dead one are forgotten

    async def _find(self, kernel_id: str) -> KernelModel:
        """Return the model of a kernel that is attached to. Raises `KernelNotFound`."""
        try:
            return await self.gateway.kernel(kernel_id)
        except KernelNotFound:
            self.gateway.ids.part(kernel_id)
            if self.store is not None:
                self.store.claims.forget(self.gateway.address, kernel_id)
            raise

    def _claim_start(self, kernel_id: str) -> Claim | None:
        """Claim a kernel that is about to be started; None without a store. The claim is written
        before the request goes out."""
        if self.store is None:
            return None
        address = self.gateway.address
        return self.store.claims.intend(address, kernel_id, by_server=self._for_server)

    def _give_up(
        self, start: KernelStart | None, claim: Claim | None, started: StartedKernel | None
    ) -> None:
        """Give a start up, and forget what was noted of it once no kernel can come of it."""

        def forget() -> None:
            # If the store is closed by then, the next process finds the claim in it.
            if claim is not None and not self._closed:
                claim.claims.forget(claim.gateway, claim.kernel_id)
            if started is not None:
                STARTED.remove(started)

        if start is None:
            forget()
        else:
            start.give_up()
            start.when_over(forget)

    def _keep_gateways_id(self, claim: Claim, outcome: Outcome) -> None:
        """Store the gateway's own id of a kernel once it has started."""
        if isinstance(outcome, KernelModel):
            claim.note_gateway_id(self.gateway.ids.given(outcome.id))
