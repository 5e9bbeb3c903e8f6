"""One kernel on a gateway, and all who listen to it."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, Protocol
from uuid import uuid4

import msgspec

from jupyter_relay.errors import (
    GatewayClosed,
    GatewayRefused,
    GatewayUnavailable,
    KernelNotFound,
    KernelNotRunning,
    KernelStarting,
    OperationUnderWay,
    RelayError,
    UnexpectedAnswer,
)
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.gateway.start import KernelStart
from jupyter_relay.kernels.connection import Connection
from jupyter_relay.kernels.operations import RESTART_PATIENCE, Operations
from jupyter_relay.kernels.subscription import Subscription
from jupyter_relay.link.actions import Happening, Report
from jupyter_relay.link.backlog import Backlog, Dropped
from jupyter_relay.link.life import (
    DEAD,
    NOT_STARTED,
    RESTARTABLE,
    Life,
    LifeEvent,
    next_life,
)
from jupyter_relay.link.link import Link
from jupyter_relay.link.table import State
from jupyter_relay.log import Flood, Log
from jupyter_relay.rest.failures import no_kernel
from jupyter_relay.rest.models import KernelModel
from jupyter_relay.transport.transport import Socket
from jupyter_relay.wire.message import Message

_MOST_AWAY = 8
"""How many absent listeners of one kernel are remembered: a page that is reloaded comes back under
another id, and its old one never."""

_MOMENT = 0.02
"""The seconds that reading rests when a listener falls behind. At the default bound of a backlog,
64 MiB, a kernel with a reader who has stopped still gives 50 MiB a second to the others."""

_LINES: Final = 20
"""How many lines a minute of each happening the log gets; more are counted."""

_OPEN: Final = State.OPEN
"""It is asked for with each kernel of a list; see ``link/link.py``."""

_SETTLED: Final = frozenset({State.IDLE, State.GONE})
"""The states in which a link without subscribers stays as it is."""

_logger = logging.getLogger(__name__)


class OnClose(Protocol):
    """Is told, once, that a kernel was let go of, and whether it is ``gone``."""

    def __call__(self, *, gone: bool) -> Awaitable[None]: ...


class RemoteKernel:
    """A kernel on a gateway. It owns the one upstream socket; everybody who listens subscribes.

    With ``start`` it is one that is being started: what it is asked waits until it is there, and
    fails if it does not come. ``session`` is the upstream session id, a new one if none is given.
    No two may use one id at once:
    `Claims` sees to that, and ``on_close`` can end the claim. The socket opens when somebody
    subscribes and closes a while after the last one has left. ``on_change`` is called when it is
    not `is_settled` any longer, and when a settled one has changed. ``asked_at`` is when its
    gateway last answered for it, by `time.monotonic`. It belongs to one event loop.
    """

    __slots__ = (
        "_backlogs",
        "_connection",
        "_floods",
        "_id",
        "_in_use",
        "_life",
        "_link",
        "_log",
        "_model",
        "_on_change",
        "_on_close",
        "_on_report",
        "_operations",
        "_skipped",
        "_start",
        "_subscriptions",
        "asked_at",
        "gateway",
        "session",
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
        on_change: Callable[[], None] | None = None,
        on_close: OnClose | None = None,
    ) -> None:
        self.gateway = gateway
        self._id = model.id
        self._model = model
        self._log = log
        self._on_report = on_report
        self._on_change = on_change
        self._on_close = on_close
        self._subscriptions: dict[str, Subscription] = {}
        self._backlogs: dict[str, Backlog] = {}
        self._operations: Operations | None = None
        self._life = Life.RUNNING if start is None else Life.STARTING
        self.session = session or _new_id()
        self._link = Link(
            gateway.settings.link,
            gateway=gateway.name,
            session=self.session,
            clock=_now,
            new_id=_new_id,
            chance=random.random,
            seconds=time.time,
        )
        self._skipped: Flood | None = None
        self._floods: dict[Happening, Flood] = {}
        self._connection = Connection(
            self._link,
            connect=self._open,
            probe=self.refresh,
            deliver=self._deliver,
            report=self._report,
            skip=self._skip,
            ease=self._ease,
            stride=gateway.settings.backlog_bytes // 64,
        )
        gateway.ids.use(self._id)
        self._in_use = True
        self.asked_at = time.monotonic()
        self._start = start
        if start is not None:
            self._connection.perform(self._link.pause())
            start.when_decided(self._started)

    @property
    def id(self) -> str:
        """The id that it is shown under, for its whole life. Its gateway may know it by another:
        see `KernelIds`."""
        return self._id

    @property
    def model(self) -> KernelModel:
        """What is known of it by now: what its gateway last said, and what it told itself since; of
        one that is gone, that it is dead, and why."""
        if self._life in DEAD:
            return msgspec.structs.replace(
                self._model, execution_state="dead", reason=self._link.reason
            )
        told = self._link.inbound.reported_state
        return self._model if told is None else self._model.updated(told.state, told.at)

    def leave_untracked(self, msg_types: frozenset[str]) -> None:
        """See `Inbound.untracked`."""
        self._link.inbound.untracked = msg_types

    @property
    def last_activity(self) -> datetime | None:
        """When it last worked, by our clock: when our websocket heard it work, or what its gateway
        says if that is later. None if neither is known."""
        said = self._model.last_activity
        if said is not None:
            said = self.gateway.clocks.ours(said)
        heard = self._link.active_at
        if heard is None:
            return said
        at = datetime.fromtimestamp(heard, UTC)
        return at if said is None or at > said else said

    @property
    def state(self) -> State:
        """What the link to it is doing."""
        return self._link.state

    @property
    def life(self) -> Life:
        """Where in its life the kernel is; ``link/life.py`` has the states, and sets of them."""
        return self._life

    @property
    def at_work(self) -> bool:
        """Whether it may be at work, by what is known: it computes, or owes a reply, or nobody can
        tell."""
        return self.model.may_be_at_work or bool(self._link.pending.owed)

    @property
    def deleting(self) -> bool:
        """Whether its deletion is under way."""
        return self._operations is not None and self._operations.deleting

    @property
    def connections(self) -> int:
        """How many listen to it: here, and beside us on its gateway."""
        ours = self._link.state is _OPEN
        return max(0, self._model.connections - ours) + len(self._subscriptions)

    @property
    def is_settled(self) -> bool:
        """True if its `model` and `connections` stay as they are until ``on_change`` is called."""
        return (
            self._life not in NOT_STARTED
            and not self._subscriptions
            and self._link.state in _SETTLED
        )

    @property
    def restarts(self) -> int:
        """How often another process has taken its place, as far as was noticed."""
        return self._link.inbound.restarts

    async def ready(self) -> None:
        """Wait until it is there. Raises what its start failed with."""
        if self._start is not None:
            await self._start.decided()

    def subscribe(
        self,
        session_id: str = "",
        on_message: Callable[[Message], None] | None = None,
        on_end: Callable[[], None] | None = None,
        unread: Callable[[], Sequence[Message]] | None = None,
    ) -> Subscription:
        """Listen to it. One who comes again with the same session id hears what it has missed.

        With ``on_message`` each message is handed over as it comes; that must not block. For
        ``on_end`` and ``unread`` see `Subscription`. Raises `KernelNotRunning` once it is closed.
        """
        if self._link.state is State.CLOSED:
            raise KernelNotRunning(gateway=self.gateway.name, kernel_id=self.id)
        session_id = session_id or _new_id()
        earlier = self._subscriptions.pop(session_id, None)
        if earlier is not None:
            earlier.supersede()
        backlog = self._backlogs.pop(session_id, None)
        if backlog is None:
            backlog = Backlog(max_bytes=self.gateway.settings.backlog_bytes)
        subscription = Subscription(
            session_id,
            backlog,
            on_message=on_message,
            on_end=on_end,
            unread=unread,
            send=self._send,
            leave=self._leave,
            describe=self.describe,
        )
        self._backlogs[session_id] = backlog
        self._subscriptions[session_id] = subscription
        self._report_change()
        subscription.catch_up()
        self._connection.perform(self._link.attach(session_id))
        return subscription

    def has_backlog_for(self, session_id: str) -> bool:
        """True if messages are kept for a subscriber with this session id."""
        return bool(self._backlogs.get(session_id))

    def describe(self, dropped: Dropped) -> Message:
        """Return the notice of what a slow or absent listener has not been given."""
        return self._link.notices.dropped(dropped)

    async def refresh(self) -> KernelModel:
        """Ask the gateway for its model, and return what that says. Raises `KernelNotFound`, which
        ends the link too.

        One that is not there yet, or never was, is not asked for: its start tells.
        """
        if self._life in NOT_STARTED:
            return self.model
        try:
            self.update(await self._ask())
        except KernelNotFound as error:
            self.mark_gone(str(error))
            raise
        return self._model

    def update(self, model: KernelModel) -> None:
        """Take a model that came just now: its gateway answers, so a link that waits need not."""
        self._model = model
        self.asked_at = time.monotonic()
        self._report_change()
        self._connection.perform(self._link.retry_now())

    def mark_gone(self, reason: str = "") -> None:
        """Take the gateway's word that the kernel no longer exists; ``reason`` is a sentence for
        people, if there is more to say than that."""
        self._connection.perform(self._link.gone(reason or str(self._absence())))
        self._report_change()

    async def interrupt(self) -> None:
        """Interrupt what it is doing. Raises `KernelNotFound`, and `OperationUnderWay` while it is
        started, restarted or deleted; any other failure is told in the cell that runs, too, since
        pages show none.
        """
        self._check_started()
        self._check_interruptible()
        with self._told_in_the_cell("interrupt"):
            try:
                await self.gateway.interrupt_kernel(self.id)
            except (GatewayRefused, UnexpectedAnswer):
                self._check_interruptible()  # a restart may have begun meanwhile
                raise

    async def restart(self) -> None:
        """Restart it; once that is done, what was asked of it before is answered with an error.

        The socket is closed meanwhile: the new process may listen elsewhere, which a gateway
        finds out at the next handshake. For other operations at the same time see `Operations`.
        Raises `KernelNotFound`, also of one that was gone before, and `KernelStarting`; a failure
        is told in the cell that runs, too.
        """
        self._check_started()
        await self._get_operations().restart()

    async def _restart(self) -> None:
        if self._life not in RESTARTABLE:
            raise self._absence()
        self._advance_life(LifeEvent.RESTART)
        self._connection.perform(self._link.pause())
        restarted = False
        try:
            await self._connection.settle()
            with self._told_in_the_cell("restart"):
                await self._ask_for_restart()
            restarted = True
        except KernelNotFound as error:
            absence = self._absence(error.reason)
            self.mark_gone(str(absence))
            raise absence from error
        finally:
            self._advance_life(LifeEvent.RESTART_DONE)
            self._connection.perform(self._link.resume(restarted=restarted))
            self._report_change()
        self._log.info("Kernel %s: restarted on %s.", self.id, self.gateway.name)

    async def _ask_for_restart(self) -> None:
        try:
            await self.gateway.restart_kernel(self.id)
        except RelayError as error:
            if (
                self._life is Life.ENDED
            ):  # meanwhile: whatever the gateway says of the restart, it is gone
                raise self._absence() from error
            raise
        if self._life is Life.ENDED:
            raise self._absence()

    async def shutdown(self, *, patience: float = RESTART_PATIENCE) -> None:
        """Delete it on its gateway, and let go of it. If that fails, it stays as it was.

        If it is being started, the start is given up; `KernelStart` sees to the rest. If it is
        being restarted, that is waited for, ``patience`` seconds at most.
        """
        await self._get_operations().delete(patience=patience)

    async def _delete(self) -> None:
        if self._start is not None:
            self._advance_life(LifeEvent.DELETED)
            self._start.give_up()
            await self.close()
            return
        await self.gateway.shutdown_kernel(self.id)
        self._advance_life(LifeEvent.DELETED)
        self.mark_gone(f"The kernel was shut down on {self.gateway.name}.")
        await self.close()

    async def close(self, *, leave_work: bool = False) -> None:
        """Let go of it: end the socket and every subscription, and leave the kernel running.

        One that is being started is left to its gateway. With ``leave_work``, requests that the
        kernel is at work on are not answered in its place: whoever attaches next hears its answers.
        """
        starting = self._life is Life.STARTING
        self._advance_life(LifeEvent.RELEASED)
        self._report_change()
        if starting and self._start is not None:
            await self._start.let_go()
        await self._connection.close(
            "The connection to the kernel was closed.", leave_work=leave_work
        )
        if self._skipped is not None:
            self._skipped.end()
        for flood in self._floods.values():
            flood.end()
        for subscription in tuple(self._subscriptions.values()):
            subscription.end()
        self._subscriptions.clear()
        self._backlogs.clear()
        if self._in_use:
            self._in_use = False
            self.gateway.ids.release(self._id)
            if self._life in DEAD:
                self.gateway.ids.part(self._id)
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            await on_close(gone=self._life in DEAD)

    def _started(self, outcome: KernelModel | RelayError) -> None:
        if isinstance(outcome, KernelModel):
            self._start = None
            self._advance_life(LifeEvent.STARTED)
            given = self.gateway.ids.given(self._id)
            if given != self._id:
                self._log.info("Kernel %s: %s calls it %s.", self._id, self.gateway.name, given)
            self.update(outcome)
            self._connection.perform(self._link.resume(restarted=False))
        else:
            self._advance_life(LifeEvent.START_FAILED)
            self.mark_gone(str(outcome))

    async def _ask(self) -> KernelModel:
        """Ask the gateway for its model. Raises `KernelNotFound`, which says what is known here."""
        try:
            return await self.gateway.kernel(self.id)
        except KernelNotFound as error:
            raise self._absence(error.reason) from error

    def _absence(self, reason: str = "") -> KernelNotFound:
        return no_kernel(self.gateway.name, self.id, reason, was_away=self._link.outage.is_down)

    @contextmanager
    def _told_in_the_cell(self, what: str) -> Iterator[None]:
        """Tell the cell that runs if what is done in this block, ``what`` as a verb, fails. Of a
        kernel that is gone its end tells, and of one that is restarted or deleted that."""
        try:
            yield
        except (KernelNotFound, OperationUnderWay):
            raise
        except RelayError as error:
            unreachable = isinstance(error, GatewayUnavailable | GatewayClosed)
            self._connection.perform(
                self._link.watch.notify_of_failure(what, str(error), unreachable=unreachable)
            )
            raise

    def _get_operations(self) -> Operations:
        """Return its operations; they are made when first asked for, since they take 1.3 kB and
        most kernels have none for hours."""
        if self._operations is None:
            self._operations = Operations(self._restart, self._delete)
        return self._operations

    def _check_interruptible(self) -> None:
        """Raise `OperationUnderWay` while nothing runs in it that could be interrupted."""
        if self.deleting:
            what = "shut down"
        elif self._life is Life.RESTARTING:
            what = "restarted"
        else:
            return
        raise OperationUnderWay(
            f"The kernel is being {what}, and cannot be interrupted meanwhile.",
            gateway=self.gateway.name,
            kernel_id=self.id,
        )

    def _check_started(self) -> None:
        """Raise `KernelStarting` or `KernelNotFound` while its gateway has never had it."""
        if self._life is Life.STARTING:
            raise KernelStarting(
                "The kernel is still being started.", gateway=self.gateway.name, kernel_id=self.id
            )
        if self._life is Life.FAILED:
            raise no_kernel(self.gateway.name, self.id, self._link.reason)

    def _advance_life(self, event: LifeEvent) -> None:
        self._life = next_life(self._life, event)

    async def _open(self, session: str) -> Socket:
        """Open the websocket; what a proxy says of a kernel is not believed before it is asked."""
        try:
            return await self.gateway.connect(self.id, session)
        except KernelNotFound as error:
            await self._ask()
            raise GatewayUnavailable(
                f"{self.gateway.name} has the kernel, but not its websocket (404).",
                hint="Look at ws_url, and at the proxy before the gateway.",
                gateway=self.gateway.name,
                kernel_id=self.id,
            ) from error

    async def _ease(self) -> None:
        """Let those who fall behind catch up, for a moment: one who has stopped to read costs the
        others little, and one who reads on loses nothing to a burst."""
        for subscription in tuple(self._subscriptions.values()):
            if subscription.crowded:
                await subscription.catches_up(_MOMENT)
                return

    def _send(self, subscriber: str, message: Message) -> None:
        self._connection.perform(self._link.send(subscriber, message))

    def _leave(self, subscription: Subscription, keep: bool) -> None:
        if self._subscriptions.get(subscription.id) is not subscription:
            return  # another has come in its place
        del self._subscriptions[subscription.id]
        backlog = self._backlogs.pop(subscription.id)
        if keep:
            # The latest to leave stands last, so the one who left first is forgotten first.
            self._backlogs[subscription.id] = backlog
        away = [name for name in self._backlogs if name not in self._subscriptions]
        for name in away[:-_MOST_AWAY]:
            del self._backlogs[name]
        self._connection.perform(self._link.detach(subscription.id))

    def _deliver(self, message: Message, to: str | None) -> None:
        for name in tuple(self._backlogs) if to is None else (to,):
            if (subscription := self._subscriptions.get(name)) is not None:
                try:
                    subscription.put(message)
                except Exception:  # noqa: BLE001  # neither the others nor the link are to suffer
                    self._log.exception("A listener of kernel %s failed.", self.id)
            elif (backlog := self._backlogs.get(name)) is not None:
                backlog.append(message)

    def _report_change(self) -> None:
        if self._on_change is not None:
            self._on_change()

    def _skip(self, why: str) -> None:
        if self._skipped is None:
            self._skipped = Flood(lambda line: self._log.warning("Kernel %s: %s", self.id, line))
        self._skipped.add(f"a frame from the gateway was skipped: {why}")

    def _flood_of(self, happening: Happening, level: int) -> Flood:
        if happening not in self._floods:
            self._floods[happening] = Flood(
                lambda text: self._log.log(level, "Kernel %s: %s", self.id, text), lines=_LINES
            )
        return self._floods[happening]

    def _report(self, report: Report) -> None:
        if report.happening is Happening.GONE:
            self._advance_life(LifeEvent.GONE)
        deleted = self._life is Life.ENDED
        level = logging.INFO if report.happening is Happening.OPENED else logging.WARNING
        if deleted or report.already_reported:
            level = logging.DEBUG
        if level is logging.DEBUG:
            self._log.debug("Kernel %s: %s", self.id, report.text)
        else:
            self._flood_of(report.happening, level).add(report.text)
        if self._on_report is not None and not deleted:
            try:
                self._on_report(report)
            except Exception:  # noqa: BLE001  # whoever hears of it, the link goes on
                self._log.exception("What happened to kernel %s could not be told.", self.id)


def _now() -> datetime:
    return datetime.now(UTC)


def _new_id() -> str:
    return uuid4().hex
