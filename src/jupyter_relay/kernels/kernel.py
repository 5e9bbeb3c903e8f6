"""One kernel on a gateway, and its subscribers."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

import msgspec

from jupyter_relay.errors import KernelNotFound, KernelNotRunning, RelayError
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.gateway.start import KernelStart
from jupyter_relay.kernels.operations import RESTART_PATIENCE, Operations, interrupt
from jupyter_relay.kernels.subscription import Subscription
from jupyter_relay.kernels.upstream import Upstream, new_id
from jupyter_relay.link.actions import LinkSnapshot, Report
from jupyter_relay.link.life import DEAD, NOT_STARTED, Life, LifeEvent
from jupyter_relay.link.table import OPEN, State
from jupyter_relay.log import Log
from jupyter_relay.rest.models import KernelModel
from jupyter_relay.wire.message import Message

_SETTLED: Final = frozenset({State.IDLE, State.GONE})
"""The states in which a link without subscribers stays as it is."""

_logger = logging.getLogger(__name__)


class OnClose(Protocol):
    """Called once, when a kernel is closed here; ``gone`` is true if it does not exist then."""

    def __call__(self, *, gone: bool) -> Awaitable[None]: ...


class RemoteKernel:
    """A kernel on a gateway. It owns the one upstream socket, and all who listen subscribe to it.

    With ``start`` it is one whose start is under way: messages to it wait until it has started,
    and are answered with errors if it fails to. ``session`` is the upstream session id, a new one
    if none is given; no two sockets may use one id at once, which `Claims` sees to, and
    ``on_close`` can end the claim.

    The socket opens when somebody subscribes, and closes a while after the last one has left. As
    an ``async with`` block, the kernel is closed at the block's end, and runs on.

    ``id`` is the id under which it is shown for its whole life; its gateway may know it by another,
    see `KernelIds`. Its subscribers, present and absent, are its ``audience``. Each line of its
    ``log`` begins with its id. ``asked_at`` is when its gateway last answered for it, by
    `time.monotonic`.

    ``on_report`` is called with each report of its link, ``on_session`` with its upstream session
    id when that is another, ``on_change`` when it is not `is_settled` any longer, and when a
    settled one has changed. It belongs to one event loop.
    """

    __slots__ = (
        "_in_use",
        "_model",
        "_on_change",
        "_on_close",
        "_operations",
        "_our_link_counted",
        "_upstream",
        "asked_at",
        "audience",
        "gateway",
        "id",
        "log",
    )

    def __init__(
        self,
        gateway: Gateway,
        model: KernelModel,
        *,
        start: KernelStart | None = None,
        session: str | None = None,
        log: Log = _logger,
        on_report: Callable[[Report], None] | None = None,
        on_session: Callable[[str], None] | None = None,
        on_change: Callable[[], None] | None = None,
        on_close: OnClose | None = None,
    ) -> None:
        self.gateway = gateway
        self.id: Final = model.id
        self.asked_at = time.monotonic()
        self._model = model
        """What its gateway last reported."""
        self._our_link_counted = False
        """Whether the ``connections`` in ``_model`` include our link: it was open at that time."""
        self._operations: Operations | None = None
        """Made when first needed: it takes 1.3 kB, and most kernels need none for hours."""
        self._on_change = on_change or _ignore_change
        self._on_close = on_close
        self._upstream = Upstream(
            gateway,
            self.id,
            session=session or new_id(),
            start=start,
            log=log,
            probe=self.refresh,
            on_report=on_report or _ignore_report,
            on_session=on_session or _ignore_session,
            on_change=self._on_change,
        )
        self.audience: Final = self._upstream.audience
        self.log: Final = self._upstream.log
        gateway.ids.use(self.id)
        self._in_use = True
        """Whether the gateway's `KernelIds` keep its two ids: until it is closed."""
        if start is not None:
            self._upstream.pause_link()
            start.when_decided(self._on_start_decided)

    async def __aenter__(self) -> RemoteKernel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def life(self) -> Life:
        """Where in its life the kernel is; ``link/life.py`` has the states, and sets of them."""
        return self._upstream.life

    @property
    def state(self) -> State:
        """What the socket of its link is doing."""
        return self._upstream.link.state

    def snapshot(self) -> LinkSnapshot:
        """Return the facts about its link at this moment: state, cause, outage, losses."""
        return self._upstream.link.snapshot()

    @property
    def model(self) -> KernelModel:
        """What is known of it: what its gateway last reported, and the state that the kernel has
        reported since. That of a kernel which does not exist is ``dead``, and has the reason."""
        link = self._upstream.link
        if self._upstream.life in DEAD:
            return msgspec.structs.replace(self._model, execution_state="dead", reason=link.reason)
        reported = link.inbound.reported_state
        if reported is None:
            return self._model
        return self._model.updated(reported.state, reported.at)

    @property
    def last_activity(self) -> datetime | None:
        """When it last worked, by our clock: when our websocket heard it work, or what its gateway
        reports if that is later. None if neither is known."""
        reported = self._model.last_activity
        if reported is not None:
            reported = self.gateway.clocks.to_our_clock(reported)
        heard = self._upstream.link.active_at
        if heard is None:
            return reported
        at = datetime.fromtimestamp(heard, UTC)
        return at if reported is None or at > reported else reported

    @property
    def at_work(self) -> bool:
        """True if it may be at work: it computes, or owes a reply, or nobody can tell."""
        return self.model.may_be_at_work or bool(self._upstream.link.pending.owed)

    @property
    def deleting(self) -> bool:
        """True while its deletion is under way."""
        return self._operations is not None and self._operations.deleting

    @property
    def connections(self) -> int:
        """How many listen to it: here, and beside us on its gateway."""
        others = max(0, self._model.connections - self._our_link_counted)
        return others + len(self._upstream.audience)

    @property
    def is_settled(self) -> bool:
        """True if its `model` and `connections` stay as they are until ``on_change`` is called."""
        upstream = self._upstream
        return (
            upstream.life not in NOT_STARTED
            and not upstream.audience
            and upstream.link.state in _SETTLED
        )

    @property
    def restarts(self) -> int:
        """How often another process has taken its place, as far as was noticed."""
        return self._upstream.link.inbound.restarts

    async def ready(self) -> None:
        """Wait until it has started. Raises what its start failed with."""
        start = self._upstream.start
        if start is not None:
            await start.decided()

    def subscribe(
        self,
        session_id: str = "",
        on_message: Callable[[Message], None] | None = None,
        on_end: Callable[[], None] | None = None,
        unread: Callable[[], Sequence[Message]] | None = None,
    ) -> Subscription:
        """Listen to it. A subscriber that comes again under the same session id receives what it
        has missed.

        With ``on_message`` each message is handed over as it comes; that must not block. For
        ``on_end`` and ``unread`` see `Subscription`. Raises `KernelNotRunning` once it is closed.
        """
        if self.state is State.CLOSED:
            raise KernelNotRunning(gateway=self.gateway.name, kernel_id=self.id)
        return self._upstream.audience.add_subscriber(
            session_id or new_id(), on_message=on_message, on_end=on_end, unread=unread
        )

    def leave_untracked(self, msg_types: frozenset[str]) -> None:
        """See `Inbound.untracked`."""
        self._upstream.link.inbound.untracked = msg_types

    async def refresh(self) -> KernelModel:
        """Ask the gateway for its model, and return that. Raises `KernelNotFound`, and ends the
        link then.

        A kernel that its gateway has never had is not asked for.
        """
        if self._upstream.life in NOT_STARTED:
            return self.model
        try:
            self.update(await self._upstream.fetch_model())
        except KernelNotFound as error:
            self.mark_gone(str(error))
            raise
        return self._model

    def update(self, model: KernelModel) -> None:
        """Take a model that its gateway has just sent. A link that waits for its next try tries at
        once, since the gateway answers."""
        self._model = model
        self._our_link_counted = self._upstream.link.state is OPEN
        self.asked_at = time.monotonic()
        self._on_change()
        self._upstream.retry_now()

    def mark_gone(self, reason: str = "") -> None:
        """Take it from its gateway that the kernel does not exist; ``reason`` is a sentence for
        people, if there is more to say than that."""
        self._upstream.mark_gone(reason or str(self._upstream.absence()))

    async def interrupt(self) -> None:
        """Interrupt what it is doing.

        Raises `KernelNotFound`, and `OperationUnderWay` while it is started, restarted or deleted.
        Any other failure is shown in the running cell, too, since pages show none.
        """
        await interrupt(self._upstream, lambda: self._operations)

    async def restart(self) -> None:
        """Restart it; once that is done, what was asked of it before is answered with an error.

        The socket is closed meanwhile: the new process may listen on other ports, which a gateway
        finds out at the next handshake. For other operations at the same time see `Operations`.
        Raises `KernelNotFound`, also of a kernel that was gone before, and `KernelStarting`. A
        failure is shown in the running cell, too.
        """
        await self._get_operations().run_restart()

    async def shutdown(self, *, patience: float = RESTART_PATIENCE) -> None:
        """Delete it on its gateway, and close it. If that fails, it stays as it was.

        If it is being started, the start is given up; `KernelStart` sees to the rest. If it is
        being restarted, that is waited for, ``patience`` seconds at most.
        """
        await self._get_operations().delete(patience=patience)

    async def close(self, *, leave_work: bool = False) -> None:
        """Release it: end the socket and every subscription, and leave the kernel running.

        A start that is under way is left to the gateway. With ``leave_work``, requests that the
        kernel is at work on are not answered in its place: whoever attaches next receives its
        answers.
        """
        upstream = self._upstream
        starting = upstream.life is Life.STARTING
        upstream.advance_life(LifeEvent.RELEASED)
        if starting and upstream.start is not None:
            await upstream.start.leave_to_gateway()
        await upstream.close(leave_work=leave_work)
        gone = upstream.life in DEAD
        if self._in_use:
            self._in_use = False
            self.gateway.ids.separate(self.id)
            if gone:
                self.gateway.ids.part(self.id)
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            await on_close(gone=gone)

    def _on_start_decided(self, outcome: KernelModel | RelayError) -> None:
        upstream = self._upstream
        if isinstance(outcome, KernelModel):
            upstream.start = None
            upstream.advance_life(LifeEvent.STARTED)
            given = self.gateway.ids.given(self.id)
            if given != self.id:
                upstream.log.info("%s calls it %s.", self.gateway.name, given)
            self.update(outcome)
            upstream.resume_link(restarted=False)
        else:
            upstream.advance_life(LifeEvent.START_FAILED)
            self.mark_gone(str(outcome))

    def _get_operations(self) -> Operations:
        if self._operations is None:
            self._operations = Operations(self._upstream, close=self.close)
        return self._operations


def _ignore_report(_: Report) -> None:
    """Do nothing."""


def _ignore_session(_: str) -> None:
    """Do nothing."""


def _ignore_change() -> None:
    """Do nothing."""
