"""What a link watches: whether anybody needs it, and whether a silent kernel or handshake is stuck.

Two timers run for that:

====== ==================================== ======================================================
timer  starts                               stops
====== ==================================== ======================================================
linger when nobody needs the link           when somebody does again; at its end the socket closes
probe  when requests are pending and the    with the socket; at its end a silent kernel is probed,
       socket is open, and with a handshake and it starts again
====== ==================================== ======================================================

A *probe* asks the gateway for the kernel's model, and sends the kernel a barrier. The execution
state in the model is judged by what was heard from the kernel: `VERDICTS`. A socket is *deaf* if it
brings nothing from the kernel, as when the gateway's own connection to the kernel is broken.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import Final, NamedTuple

from jupyter_relay.link.actions import (
    Action,
    Flush,
    Happening,
    Probe,
    Report,
    StartTimer,
    StopTimer,
    Timer,
)
from jupyter_relay.link.inbound import Inbound
from jupyter_relay.link.outage import Outage
from jupyter_relay.link.outbox import Outbox
from jupyter_relay.link.pending import Request
from jupyter_relay.link.settings import LinkSettings
from jupyter_relay.link.table import OPEN, State
from jupyter_relay.wire.message import quoted

_NEED_NOBODY: Final = frozenset({State.OPENING, State.OPEN, State.WAITING})
"""The states that the linger timer ends."""

_MAX_SILENCES: Final = 2
"""After this many silences in a row, and after each doubling of them, the socket is replaced."""

_MAX_MODELS: Final = 2
"""How many models may come while a handshake has no answer, until it counts as lost."""


class Verdict(Enum):
    """What the silence of a kernel that owes an answer means."""

    DEAF = "the socket is deaf: it is replaced at once"
    AT_WORK = "the kernel is at work: it is asked on control whether the socket hears"
    UNCLEAR = "the socket is replaced after two silences"


VERDICTS: Final = {
    ("busy", True): Verdict.AT_WORK,
    ("busy", False): Verdict.UNCLEAR,
    ("idle", True): Verdict.DEAF,
    ("idle", False): Verdict.DEAF,
}
"""The verdict by the execution state in the kernel's model, and by whether the kernel was heard to
be busy. Any other state is unclear."""


class Judgement(NamedTuple):
    """What a link does after a probe: the ``actions``, and then, with ``replace_socket``, it opens
    another socket, with ``new_session`` under another session id."""

    actions: list[Action]
    replace_socket: bool = False
    new_session: bool = False


class Handshake:
    """The tries to open a socket, from the first until one is answered."""

    __slots__ = ("_allowed", "_models", "_unready_models")

    def __init__(self) -> None:
        self._allowed = _MAX_MODELS
        """How many models of an idle or busy kernel may come until the handshake is given up. It
        doubles with each that is, for a gateway that opens websockets slowly."""

        self._models = 0
        """How many models of an idle or busy kernel have come. Reset when a handshake begins."""

        self._unready_models = 0
        """How many models in any other state have come. Reset when a handshake begins."""

    def begin(self) -> None:
        """Another handshake begins."""
        self._models = self._unready_models = 0

    def is_lost(self) -> bool:
        """A model of an idle or busy kernel came. Returns True if the handshake is to be given up.

        A gateway lets a handshake wait for a kernel that starts or does not answer. With an idle or
        busy one there is nothing to wait for: the handshake is lost. It is closed before the next
        one begins, since two of one session id do harm.
        """
        self._models += 1
        if self._models < self._allowed:
            return False
        self._allowed *= 2
        return True

    def needs_another(self) -> bool:
        """A model in any other state came. Returns True if another handshake is to begin beside it.

        It may be lost, or wait for a kernel that is slow to start. To close it would do harm then:
        Jupyter Server would count its clients wrong. With a session id of its own, another one
        beside it does none.
        """
        self._unready_models += 1
        return _is_doubled(self._unready_models, _MAX_MODELS)


class Watch:
    """Watches one link.

    ``clock`` returns the time with its offset from UTC. The parts of the link that it uses are its
    ``settings``, ``gateway`` (the name for people), ``pending``, ``notices``, ``outbox``,
    ``outage``, ``inbound`` and ``recovery``.
    """

    __slots__ = (
        "_answers_at_work",
        "_barrier_waits",
        "_clock",
        "_gateway",
        "_inbound",
        "_linger_runs",
        "_notices",
        "_notified",
        "_notified_of_outage",
        "_outage",
        "_outbox",
        "_pending",
        "_probe_runs",
        "_recovery",
        "_settings",
        "_silences",
        "_silent_since",
        "_socket_is_new",
        "_unanswered",
        "deaf_sockets",
        "handshake",
        "heard",
        "subscribers",
    )

    def __init__(
        self,
        settings: LinkSettings,
        *,
        clock: Callable[[], datetime],
        outbox: Outbox,
        outage: Outage,
        inbound: Inbound,
    ) -> None:
        self._settings = settings
        self._gateway = outage.gateway
        self._clock = clock
        self._outbox = outbox
        self._outage = outage
        self._inbound = inbound
        self._recovery = inbound.recovery
        self._pending = inbound.answers.pending
        self._notices = inbound.answers.notices
        self.subscribers: dict[str, None] = {}
        """The ids of the attached subscribers; a set would take three times the memory if empty."""

        self.handshake: Handshake | None = None
        """The tries since the last socket opened; None before the first, and while one is open."""

        self._linger_runs = False
        """True while the linger timer runs."""

        self._probe_runs = False
        """True while the probe timer runs for an open socket."""

        self.heard = False
        """True if the kernel was heard since the probe timer was started. Set by `Link.receive`."""

        self._silent_since: datetime | None = None
        """When the first probe timer of this silence was started. Reset when the kernel is heard,
        or nothing is pending."""

        self._socket_is_new = False
        """True from the opening of a socket until its first probe timer."""

        self._silences = 0
        """How many probes in a row were `Verdict.UNCLEAR`. Reset with ``_silent_since``."""

        self._unanswered = 0
        """How many probes in a row found a question on control unanswered. Reset by its answer, and
        with ``_silent_since`` for a kernel that answers at work."""

        self.deaf_sockets = 0
        """How many sockets in a row were `Verdict.DEAF`. Reset by `Link.receive` when a reply or an
        input request comes."""

        self._answers_at_work = False
        """True once the kernel has answered on control while it was at work. Never reset."""

        self._barrier_waits = False
        """True if the last probe sent no barrier, since the one before is still unanswered."""

        self._notified: Request | None = None  # the last cell with a notice about its silence
        self._notified_of_outage: Request | None = None
        """The last cell with a notice about this outage. Reset when a socket opens."""

    def update_timers(self, state: State) -> list[Action]:
        """Start or stop the linger timer, and start the probe timer if it is needed."""
        actions: list[Action] = []
        if self.subscribers or self._pending.awaits_reply:
            if self._linger_runs:
                self._linger_runs = False
                actions.append(StopTimer(Timer.LINGER))
        elif not self._linger_runs and state in _NEED_NOBODY:
            self._linger_runs = True
            actions.append(StartTimer(Timer.LINGER, self._settings.linger))
        if self._pending and state is OPEN and not self._probe_runs:
            actions.append(StartTimer(Timer.PROBE, self._begin_probe()))
        return actions

    def handshake_begun(self) -> None:
        """A handshake begins."""
        self.handshake = self.handshake or Handshake()
        self.handshake.begin()

    def socket_opened(self) -> None:
        """A socket is open."""
        self.handshake = None
        self._socket_is_new = True
        self._notified_of_outage = None

    def socket_closed(self) -> None:
        """The socket is closed on purpose, and all timers are stopped."""
        self.probe_ended()
        self._linger_runs = False

    def probe_ended(self) -> None:
        """The probe timer has run out, or the socket ended."""
        if (self._probe_runs and self.heard) or not self._pending:
            self._silent_since = None
            self._silences = 0
            if self._answers_at_work:
                self._unanswered = 0
        self._probe_runs = False

    def _begin_probe(self) -> float:
        """Note that the probe timer starts; return for how many seconds.

        A new socket in place of a silent one has less time, so that deaf sockets which are cut
        every few seconds do not follow one another for ever.
        """
        self._probe_runs = True
        self.heard = False
        patience = self._settings.probe_after
        now = self._clock()
        if self._silent_since is None:
            self._silent_since = now
        elif self._socket_is_new:
            silent = (now - self._silent_since).total_seconds()
            patience = max(patience / 4, patience - silent)
        self._socket_is_new = False
        return patience

    def probe_fired(self, state: State) -> list[Action]:
        """The probe timer has run out: probe a silent kernel, or one whose handshake has no answer.

        The gateway is asked whether the kernel exists, and the kernel whether it is the same
        process. A kernel at work answers when the work is done.
        """
        if state is State.OPENING:
            return [Probe(), StartTimer(Timer.PROBE, self._settings.probe_after)]
        self.probe_ended()
        if self.heard:
            return self.update_timers(state)
        barriers = self._recovery.probe(self._pending.sent, self._notices.barrier)
        self._barrier_waits = not barriers
        for barrier in barriers:
            self._outbox.append_first(barrier)
        return [Probe(), Flush(), *self.update_timers(state)]

    def judge(self, execution_state: str) -> Judgement:
        """The gateway reports this state of a silent kernel. Returns what to do.

        A deaf socket is replaced under the same session id, since the gateway keeps for that what
        comes meanwhile. But a gateway gives a socket under the same id what it kept of the last
        one, deaf as that is. So if the next socket is deaf, too, another id makes the gateway
        discard that; where the verdict was unclear, only if nothing shows that the kernel has
        begun.
        """
        owed = self._pending.owed
        if self.heard or not owed:
            return Judgement([])
        has_begun = any(request.seen for request in owed)
        reported = self._inbound.reported_state
        was_busy = has_begun or (reported is not None and reported.state == "busy")
        verdict = VERDICTS.get((execution_state, was_busy), Verdict.UNCLEAR)
        if verdict is Verdict.DEAF and has_begun and self._answers_at_work and self._barrier_waits:
            # Some gateways (Enterprise Gateway) take the idle that ends the answer to a question on
            # control for the kernel's own.
            verdict = Verdict.AT_WORK
        if verdict is Verdict.AT_WORK:
            return self._ask_on_control()
        if verdict is Verdict.UNCLEAR:
            return self._count_silence(execution_state, was_busy=was_busy)
        self.deaf_sockets += 1
        text = f"{self._gateway} reports that the kernel is idle, but it owes an answer."
        return Judgement([Report(Happening.DROPPED, text)], True, self.deaf_sockets > 1)

    def _count_silence(self, execution_state: str, *, was_busy: bool) -> Judgement:
        """Replace the socket after two silences: a kernel that was asked something should have sent
        a ``busy`` status, whatever the gateway reports."""
        self._silences += 1
        if not _is_doubled(self._silences, _MAX_SILENCES):
            return Judgement([])
        text = (
            f"The kernel has sent nothing for this, and {self._gateway} reports it as "
            f"{quoted(execution_state)}: the connection to it is replaced."
        )
        actions = [Report(Happening.DROPPED, text), *self._notify(text)]
        return Judgement(actions, True, self._silences > _MAX_SILENCES and not was_busy)

    def _ask_on_control(self) -> Judgement:
        """Ask a kernel that is at work on control: the answer shows that the socket is not deaf.
        ipykernel answers there while it is at work.

        Without an answer in two silences the socket is replaced, under the same session id. To a
        kernel that only does not answer, as IRkernel at work, that does no harm; its waits double
        until it answers. A cell is notified only if the kernel is known to answer, or has not
        answered on the next socket either.
        """
        question = self._recovery.ask_on_control(self._pending.sent, self._notices.barrier)
        if question:
            self._outbox.append_first(*question)
            return Judgement([Flush()])
        self._unanswered += 1
        if not _is_doubled(self._unanswered, _MAX_SILENCES):
            return Judgement([])
        text = (
            f"{self._gateway} reports that the kernel is busy, but the kernel does not answer on "
            "control: the connection to it is replaced."
        )
        is_known = self._answers_at_work or self._unanswered > _MAX_SILENCES
        notice = self._notify(text) if is_known else []
        return Judgement([Report(Happening.DROPPED, text), *notice], True)

    def answered_on_control(self) -> None:
        """The kernel has answered our question on control."""
        if any(request.seen for request in self._pending.owed):
            self._answers_at_work = True
            self._unanswered = 0

    # Notices in the cell that waits.

    def notify_of_failure(self, what: str, why: str, *, unreachable: bool) -> list[Action]:
        """Notify the cell that runs that an operation on the kernel by the REST API has failed.

        ``what`` is a verb, ``why`` a sentence for people. ``unreachable`` is True if the gateway
        did not answer; while the link is down the notice then has the length of the outage instead.
        """
        if unreachable and self._outage.is_down:
            why = f"no connection to {self._gateway} since {self._outage.seconds:.0f} s."
        return [*self._notices.in_cell(self._pending.cell, f"Cannot {what}: {why}")]

    def _notify(self, text: str) -> list[Action]:
        """Notify the cell that waits of its silence, once."""
        cell = self._pending.cell
        if cell is self._notified:
            return []
        self._notified = cell
        return [*self._notices.in_cell(cell, text)]

    def notify_of_outage(self) -> list[Action]:
        """Notify the cell that waits of the outage, once, if there is one."""
        cell, since = self._pending.cell, self._outage.since
        if since is None or cell is self._notified_of_outage:
            return []
        self._notified_of_outage = cell
        text = (
            f"No connection to {self._gateway} since {since:%H:%M:%S} UTC: {self._outage.cause} "
            "Trying again until it answers."
        )
        return [*self._notices.in_cell(cell, text)]


def _is_doubled(count: int, first: int) -> bool:
    """True for ``first``, a power of two, and for each doubling of it."""
    return count >= first and not count & (count - 1)
