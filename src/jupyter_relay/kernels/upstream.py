"""The way to one kernel: its life, its link, and the connection that drives the link."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from jupyter_relay.errors import (
    GatewayClosed,
    GatewayUnavailable,
    KernelNotFound,
    OperationUnderWay,
    RelayError,
)
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.gateway.start import KernelStart
from jupyter_relay.kernels.audience import Audience
from jupyter_relay.kernels.connection import Connection
from jupyter_relay.link.actions import Happening, Report
from jupyter_relay.link.backlog import Dropped
from jupyter_relay.link.life import Life, LifeEvent, next_life
from jupyter_relay.link.link import Link
from jupyter_relay.log import KernelLog, Log, ThrottledLog
from jupyter_relay.rest.failures import no_kernel
from jupyter_relay.rest.models import KernelModel
from jupyter_relay.transport.transport import Socket
from jupyter_relay.wire.message import Message

_LINES_A_MINUTE: Final = 20
"""How many lines a minute of each happening the log gets; more are counted."""

_THROTTLE_PART: Final = 64
"""Into how many parts a backlog's bound is divided: after each, it is looked who falls behind."""


class Upstream:
    """The part of a `RemoteKernel` that faces its gateway.

    It runs the pure `Link` with a `Connection`, and hands the kernel's messages to ``audience``.
    ``probe`` asks the gateway for the kernel's model, and raises `KernelNotFound`. ``on_report`` is
    called with each report of the link but those of a kernel that was deleted here, ``on_session``
    with each session id under which a socket opened and that the last one had not, ``on_change``
    with each change of ``life``.
    """

    __slots__ = (
        "_connection",
        "_on_change",
        "_on_report",
        "_on_session",
        "_probe",
        "_throttled",
        "audience",
        "gateway",
        "kernel_id",
        "life",
        "link",
        "log",
        "session",
        "start",
    )

    def __init__(
        self,
        gateway: Gateway,
        kernel_id: str,
        *,
        session: str,
        start: KernelStart | None,
        log: Log,
        probe: Callable[[], Awaitable[KernelModel]],
        on_report: Callable[[Report], None],
        on_session: Callable[[str], None],
        on_change: Callable[[], None],
    ) -> None:
        settings = gateway.settings
        self.gateway = gateway
        self.kernel_id = kernel_id
        self.log = KernelLog(log, kernel_id)
        self.start = start
        """The start that is under way, or has failed; None for a kernel that has started."""
        self.life = Life.RUNNING if start is None else Life.STARTING
        self._probe = probe
        self._on_report = on_report
        self._on_session = on_session
        self.session = session
        """The session id of the socket that opened last, or of the first one to open."""
        self._on_change = on_change
        self._throttled: dict[Happening | None, ThrottledLog] | None = None
        """Counts the lines of each happening, and under None those of skipped frames; None before
        the first line."""
        self.link = Link(
            settings.link,
            gateway=gateway.name,
            session=session,
            clock=_now,
            new_id=new_id,
            chance=random.random,
            seconds=time.time,
        )
        self.audience = Audience(self, backlog_bytes=settings.backlog_bytes, log=self.log)
        self._connection = Connection(
            self.link,
            host=self,
            audience=self.audience,
            throttle_every_bytes=settings.backlog_bytes // _THROTTLE_PART,
        )

    def advance_life(self, event: LifeEvent) -> None:
        """Move to the state of life that follows this event; see ``link/life.py``."""
        self.life = next_life(self.life, event)
        self._on_change()

    # For the audience, see `Subscribable`.

    def attach(self, subscriber_id: str) -> None:
        """Open the socket if it is not open: a subscriber has come."""
        self._on_change()
        self._connection.perform(self.link.attach(subscriber_id))

    def detach(self, subscriber_id: str) -> None:
        """Close the socket after a while, unless another subscriber listens."""
        self._connection.perform(self.link.detach(subscriber_id))

    def send(self, subscriber_id: str, message: Message) -> None:
        """Send a message; one that cannot be sent now waits, or is answered with an error."""
        self._connection.perform(self.link.accept(subscriber_id, message))

    def describe(self, dropped: Dropped) -> Message:
        """Return the notice of what a slow or absent subscriber has not received."""
        return self.link.notices.dropped(dropped)

    # For the connection, see `Host`.

    async def open_socket(self, session: str) -> Socket:
        """Open the websocket under this session id.

        What a proxy says of the kernel is not believed before the gateway was asked for it.
        """
        try:
            return await self.gateway.connect(self.kernel_id, session)
        except KernelNotFound as error:
            await self.fetch_model()
            raise GatewayUnavailable(
                f"{self.gateway.name} has the kernel, but not its websocket (404).",
                hint="Look at ws_url, and at the proxy before the gateway.",
                gateway=self.gateway.name,
                kernel_id=self.kernel_id,
            ) from error

    async def probe(self) -> KernelModel:
        """Ask the gateway for the kernel's model. Raises `KernelNotFound`."""
        return await self._probe()

    def on_session(self, session: str) -> None:
        """Called when a socket has opened; remember its session id if that is another one."""
        if session != self.session:
            self.session = session
            self._on_session(session)

    def on_report(self, report: Report) -> None:
        """Log what happened to the link, and pass it on."""
        if report.happening is Happening.GONE:
            self.advance_life(LifeEvent.GONE)
        deleted = self.life is Life.ENDED
        if deleted or report.already_reported:
            self.log.debug("%s", report.text)
        else:
            opened = report.happening is Happening.OPENED
            level = logging.INFO if opened else logging.WARNING
            self._log_counted(report.happening, level, report.text, lines=_LINES_A_MINUTE)
        if not deleted:
            try:
                self._on_report(report)
            except Exception:  # whoever is called, the link goes on
                self.log.exception("a report of its link could not be passed on.")

    def on_unreadable_frame(self, why: str) -> None:
        """Log that a frame was no message."""
        text = f"a frame from the gateway was skipped: {why}"
        self._log_counted(None, logging.WARNING, text, lines=1)

    # For the kernel.

    async def fetch_model(self) -> KernelModel:
        """Ask the gateway for the kernel's model. Raises `KernelNotFound`, with what is known of
        the outage before."""
        try:
            return await self.gateway.kernel(self.kernel_id)
        except KernelNotFound as error:
            raise self.absence(error.reason) from error

    def absence(self, reason: str = "") -> KernelNotFound:
        """Return the error of a kernel that does not exist; ``reason`` is its gateway's."""
        return no_kernel(
            self.gateway.name, self.kernel_id, reason, was_away=self.link.outage.is_down
        )

    def mark_gone(self, reason: str) -> None:
        """End the link, since the kernel does not exist; ``reason`` is a sentence for people."""
        self._connection.perform(self.link.gone(reason))
        self._on_change()

    def retry_now(self) -> None:
        """Open the socket at once if the link waits for its next try: the gateway answers."""
        self._connection.perform(self.link.retry_now())

    def pause_link(self) -> None:
        """Close the socket, and hold all messages until `resume_link`."""
        self._connection.perform(self.link.pause())

    async def socket_closed(self) -> None:
        """Wait until a socket that is to be closed is closed."""
        await self._connection.socket_closed()

    def resume_link(self, *, restarted: bool) -> None:
        """Open the socket again if it is needed; if the kernel was ``restarted``, answer what was
        asked before that."""
        self._connection.perform(self.link.resume(restarted=restarted))
        self._on_change()

    @contextmanager
    def failure_shown_in_cell(self, what: str) -> Iterator[None]:
        """Show in the running cell that what is done in this block, a verb, has failed.

        The failure is raised all the same. Not shown is what the cell learns in any case: that the
        kernel does not exist, or is being restarted or deleted.
        """
        try:
            yield
        except (KernelNotFound, OperationUnderWay):
            raise
        except RelayError as error:
            unreachable = isinstance(error, GatewayUnavailable | GatewayClosed)
            self._connection.perform(
                self.link.watch.notify_of_failure(what, str(error), unreachable=unreachable)
            )
            raise

    async def close(self, *, leave_work: bool) -> None:
        """End the link and its socket, then every subscription. For ``leave_work`` see
        `RemoteKernel.close`."""
        await self._connection.close(
            "The connection to the kernel was closed.", leave_work=leave_work
        )
        for lines in (self._throttled or {}).values():
            lines.write_count()
        self.audience.end_all()

    def _log_counted(
        self, happening: Happening | None, level: int, text: str, *, lines: int
    ) -> None:
        """Log a line, or count it if there were more than ``lines`` of its kind in a minute."""
        if self._throttled is None:
            self._throttled = {}
        log = self._throttled.get(happening)
        if log is None:
            log = ThrottledLog(lambda line: self.log.log(level, "%s", line), lines=lines)
            self._throttled[happening] = log
        log.write(text)


def new_id() -> str:
    """Return a fresh id."""
    return uuid4().hex


def _now() -> datetime:
    return datetime.now(UTC)
