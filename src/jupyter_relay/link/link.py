"""THE HEART: one upstream link, as a table.

A link joins one kernel on one gateway to all who listen to it. It is a pure state machine: the
connection that drives it tells it what happened, and does what it answers. It never waits, never
reads a clock of its own and never touches a socket.

Theory
------
The *state* says what the socket is doing:

======== =====================================================================================
idle     no socket, and nobody who needs one
opening  a handshake is under way
open     messages pass
waiting  the socket dropped, or would not open; a timer runs until the next try
paused   no socket on purpose, while the kernel is being restarted
gone     the gateway says that the kernel does not exist; final
closed   ended on purpose; final
======== =====================================================================================

What makes the state change are *events*, and `TABLE`, in ``table.py``, is all of it. What
happens to messages hangs on a few facts beside the state:

*   Every message goes up through the outbox, and leaves it when a socket takes it. So at a drop,
    what is in the outbox was never sent and stays, and what has left it may have reached the kernel
    and is never sent again. That is order, *hold, don't drop* and *at most once*, all three.
*   Every request is pending until its reply *and* the idle status that ends its output are in.
*   After a reopen, a `kernel_info_request` goes up as a *barrier*, one for each lane (the shell, a
    subshell, control) with requests under way. A lane is first-in first-out. When the barrier's
    reply is in, no earlier reply can still come; when its idle is in, no earlier output can. What
    is still pending then has lost its reply, or never arrived, and is answered in the kernel's
    place: no cell is silent.
*   A kernel that owes something and is silent is sent a barrier, too, and its gateway is asked.
    This one can show that another process answers, since the kernel was restarted, or that an idle
    was lost; if the gateway says that the kernel is idle, though it owes an answer, we are deaf.
*   A barrier that a socket has taken stays good when that socket drops: its answer proves the same.
*   The kernel numbers its messages, so the holes above the last output before the drop are what was
    lost. They are counted when the idle of a cell comes, so that the notice still lands in that
    cell; or behind the barrier, if that idle was lost too. See ``recovery.py``.
*   A kernel's process is known by the session in the headers of its replies. Another one means that
    what was asked before it is lost with the old one. What is answered in the kernel's place stays
    answered: the reply, the error and the idle that come later, from a gateway's buffer for one, go
    to nobody.
*   Whoever listens is a *subscriber*, known by its client session id. Detached ones still count as
    addressees: what they miss is kept for them, elsewhere.

Confession: a barrier cannot pass while the kernel waits in `input()` for an answer to a question
that was lost. Interrupting the kernel ends that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from jupyter_relay.link.actions import (
    Action,
    Connect,
    ConnectBeside,
    Deliver,
    Disconnect,
    Flush,
    Happening,
    Probe,
    Report,
    StartTimer,
    StopTimer,
    Timer,
)
from jupyter_relay.link.backlog import Dropped
from jupyter_relay.link.inbound import Hearing, Told, state_of
from jupyter_relay.link.notices import Notices, counted
from jupyter_relay.link.numbering import Numbering
from jupyter_relay.link.outage import Outage
from jupyter_relay.link.outbox import Outbox
from jupyter_relay.link.pending import Pending, Request, size_under_way
from jupyter_relay.link.recovery import Recovery
from jupyter_relay.link.settings import LinkSettings
from jupyter_relay.link.substitute import Substitute
from jupyter_relay.link.table import TABLE, Event, State
from jupyter_relay.wire.message import Channel, Message, quoted

_ENDED = frozenset({State.GONE, State.CLOSED})
_SOCKET = frozenset({State.OPENING, State.OPEN})

# A name of the module is found ten times as fast as a member of an enum in Python 3.11, and these
# are asked for with every message that passes.
_OPEN: Final = State.OPEN
_IOPUB: Final = Channel.IOPUB
_CONTROL: Final = Channel.CONTROL


class _Sent(NamedTuple):
    """A message that the socket took: its size, its type, and what it asked if it was a request.

    ``order`` is that of its request, or of the one that the socket took before it.
    """

    size: int
    msg_type: str = ""
    request: Request | None = None
    order: int = 0

    @property
    def was_taken(self) -> bool:
        """Whether something of it came back."""
        return self.request is not None and self.request.seen


_SILENCES: Final = 2
"""After how many silences of a kernel that should have said something its socket is replaced."""

_OVERDUE: Final = 2
"""How often the gateway has to answer for its kernel while a handshake with it has no answer, until
that is given up, or another one goes beside it."""

_USUAL_LIMIT: Final = 10 * 2**20
"""The bytes of a message that gateways take: what Tornado does unless it is told otherwise."""

_NOTHING_SENT: Final = _Sent(0)

_MOST_LARGE: Final = 64
"""How many messages above the usual limit are remembered of a socket: more than are under way."""


class Link:
    """One upstream link. Each method is told something and returns what to do, in order.

    ``gateway`` is its name for people; ``session`` the upstream session id. ``upstream`` is that of
    the next handshake, another one if the gateway's own end of it turns out to be broken, or a
    handshake beside it was answered first. ``clock``
    tells the time with its offset from UTC, ``new_id`` gives a fresh id and ``chance`` a random
    number from 0 to 1. ``seconds`` is a quicker clock, which is asked with each output: seconds
    from anywhere. ``active_at`` is when, by that, the kernel was last heard to work: by an output,
    or by the status of a request that `Hearing.note` takes for work; None if it never was.
    """

    # With more than 30 attributes each link would have a dict of its own, of 1.6 kB (CPython 3.11).
    __slots__ = (
        "_alarmed",
        "_answers",
        "_answers_beside",
        "_asked_at",
        "_attached",
        "_before",
        "_clock",
        "_deaf",
        "_doubted",
        "_enough",
        "_fresh",
        "_gateway",
        "_heard",
        "_hearing",
        "_hurried",
        "_large",
        "_largest",
        "_limit",
        "_lingering",
        "_new_id",
        "_notices",
        "_outage",
        "_outbox",
        "_pending",
        "_queues",
        "_recovery",
        "_seconds",
        "_session",
        "_settings",
        "_silences",
        "_silent_since",
        "_substitute",
        "_suspected",
        "_unanswered",
        "_unready",
        "_watching",
        "active_at",
        "reason",
        "state",
        "upstream",
    )

    def __init__(
        self,
        settings: LinkSettings,
        *,
        gateway: str,
        session: str,
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
        chance: Callable[[], float],
        seconds: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._gateway = gateway
        self._session = session
        self._clock = clock
        self._new_id = new_id
        self._seconds = seconds
        self._notices = Notices(session=session, clock=clock, new_id=new_id)
        self._outbox = Outbox(
            max_messages=settings.outbox_messages, max_bytes=settings.outbox_bytes
        )
        self._pending = Pending()
        numbering = Numbering()
        self._recovery = Recovery(numbering)
        self._substitute = Substitute(self._pending, self._notices)
        self._hearing = Hearing(
            gateway=gateway,
            session=session,
            pending=self._pending,
            recovery=self._recovery,
            numbering=numbering,
            notices=self._notices,
            substitute=self._substitute,
        )
        self._outage = Outage(settings, clock=clock, chance=chance)
        self._attached: dict[str, None] = {}  # an empty set takes three times as much
        self._before: list[Request] = []
        self.reason = ""
        self._heard = False
        self._silent_since: datetime | None = None
        self._fresh = False
        self._deaf = 0
        self._silences = 0
        self._asked_at: datetime | None = None
        self._answers = 0
        self._unready = 0
        self._enough = _OVERDUE
        self._unanswered = 0
        self._answers_beside = False
        self._queues = False
        self._doubted: Request | None = None
        self._watching = False
        self._lingering = False
        self._hurried = False
        self._alarmed: Request | None = None
        self._largest = _NOTHING_SENT
        self._large: tuple[_Sent, ...] = ()
        self._limit: int | None = None
        self._suspected: int | None = None
        self.state = State.IDLE
        self.upstream = session
        self.active_at: float | None = None

    @property
    def deaths(self) -> int:
        """How often another process has taken the kernel's place, as far as was noticed."""
        return self._hearing.deaths

    def leave_untracked(self, msg_types: frozenset[str]) -> None:
        """Have messages of these types, and what comes of such requests, not count as work of the
        kernel, in the place of `UNTRACKED`."""
        self._hearing.untracked = msg_types

    @property
    def told(self) -> Told | None:
        """The state that the kernel was last heard to tell; None if it has told none."""
        return self._hearing.told

    @property
    def owes_reply(self) -> bool:
        """Whether the kernel was asked something and has not replied to it."""
        return bool(self._owed())

    @property
    def is_down(self) -> bool:
        """Whether the socket was lost, or would not open, and has not opened since."""
        return self._outage.since is not None

    # Downstream: who listens, and what they say.

    def attach(self, subscriber: str) -> list[Action]:
        """Somebody listens."""
        self._attached[subscriber] = None
        if self.state is State.GONE:
            return [Deliver(self._notices.status("dead"), subscriber)]
        return [*self._need(), *self._rest()]

    def detach(self, subscriber: str) -> list[Action]:
        """Somebody went away, for good or to come back."""
        self._attached.pop(subscriber, None)
        return self._rest()

    def send(self, subscriber: str, message: Message) -> list[Action]:
        """A message from downstream. Raises `MalformedFrame` if its header cannot be read."""
        if self.state in _ENDED:
            request = Request.of(message, subscriber)
            return self._substitute.fail(request, self.reason) if request else []
        if self._limit is not None and message.frame_size >= self._limit:
            return self._refuse_large(message, Request.of(message, subscriber))
        most = self._settings.max_message_bytes
        if 0 < most < message.size and most < message.frame_size:
            text = self._larger(message.frame_size, than=f"max_message_bytes ({most:,})")
            return self._refuse_large(message, Request.of(message, subscriber), text)
        given_up = self._pending.make_room(size_under_way(message.header))
        if given_up is None and (request := Request.of(message, subscriber)) is not None:
            return self._substitute.fail(request, self._too_many())
        request = self._pending.add(message, subscriber)
        if not self._outbox.put(message, flowing=self.state is State.OPEN):
            return self._refuse(request)
        actions: list[Action] = []
        if request is not None:
            self._substitute.forget(request.msg_id)
            actions = self._give_up(given_up or ())
        actions += [Flush()] if self.state is State.OPEN else self._need()
        if self._outage.is_long:
            actions = [*actions, *self._alarm()]
        return [*actions, *self._rest()]

    def unsendable(self, message: Message, reason: str) -> list[Action]:
        """A message that was taken cannot be written in the gateway's subprotocol."""
        request = self._pending.get(message.head.msg_id)
        if request is None:
            return [Report(Happening.FAILED, reason)]
        self._pending.remove(request)
        return [*self._substitute.fail(request, reason), *self._rest()]

    def cannot(self, what: str, why: str, *, unreachable: bool) -> list[Action]:
        """Something that was asked for beside the link has failed: tell the cell that runs.

        ``what`` is a verb, ``why`` a sentence for people. ``unreachable`` says that the gateway
        did not answer: while the link is down, since when that is so says more.
        """
        cell = self._running_cell()
        if cell is None:
            return []
        if unreachable and self.is_down:
            why = f"no connection to {self._gateway} since {self._outage.seconds:.0f} s."
        return [Deliver(self._notices.stderr(f"Cannot {what}: {why}", cell.header))]

    def describe(self, dropped: Dropped) -> Message:
        """Return the notice of what a slow or absent subscriber has not been given."""
        text = (
            f"{counted(dropped.count)} dropped here, since the reader was away or did not keep "
            "up with the output."
        )
        return self._notices.stderr(text, dropped.parent_header)

    # Upstream: the socket, and what the kernel says.

    def opened(self, session: str = "") -> list[Action]:
        """The handshake is done, under this session id, if it was not ``upstream``."""
        self._move(Event.OPENED)
        if session and session != self.upstream:
            self._renew_upstream(session)
        actions: list[Action] = [StopTimer(Timer.ALARM), StopTimer(Timer.PROBE)]
        self._enough = _OVERDUE
        seconds = self._outage.seconds
        if self._outage.since is not None:
            text = f"Connected to {self._gateway} again, after {seconds:.1f} s."
            actions.append(Report(Happening.OPENED, text, seconds=seconds))
        if self._outage.failed:
            self._limit = self._suspected = (
                None  # a gateway that was away may have been set up anew
            )
        self._outage.end()
        self._fresh = True
        self._hurried = False
        self._alarmed = None
        self._largest, self._large = _NOTHING_SENT, ()
        for barrier in self._recovery.reopen(self._pending.sent, seconds, self._notices.barrier):
            self._outbox.put_first(barrier)
        return [*actions, *self._rest(), Flush()]

    def dropped(
        self,
        cause: str,
        *,
        silent: float = 0.0,
        too_large: bool = False,
        unfinished: Message | None = None,
    ) -> list[Action]:
        """The socket, or the try to open one, ended; ``cause`` says why, for people.

        ``silent`` is for how many seconds the peer had been silent then: they are part of the
        outage, which began when it was last heard. ``too_large`` says that the peer closed it since
        a message was larger than it takes; ``unfinished`` is one that it had not taken whole yet.
        """
        was_open = self.state is State.OPEN
        self._move(Event.DROPPED)
        self._stop_watching()
        actions: list[Action] = [StopTimer(Timer.PROBE)]
        if too_large:
            actions += self._learn_limit()
        elif unfinished is not None and unfinished.frame_size > _USUAL_LIMIT and not silent:
            actions += self._suspect(unfinished)
        if was_open:
            self._recovery.drop(self._pending.sent)
        if self._outage.drop(cause, silent=silent, was_open=was_open):
            what = "was lost" if was_open else "could not be opened"
            text = f"The connection to {self._gateway} {what}: {cause}"
            actions += [
                Report(Happening.DROPPED, text, seconds=silent or None),
                StartTimer(Timer.ALARM, self._settings.alarm_after),
            ]
        if self._outage.is_hopeless:
            reason = f"{self._gateway} was not reached in {self._outage.failed} tries: {cause}"
            return actions + self.gone(reason)
        return [*actions, StartTimer(Timer.RETRY, self._outage.wait()), *self._rest()]

    def take(self) -> Message | None:
        """Return the message that goes up next, and hold it as sent from now on."""
        if self.state is not State.OPEN:
            return None
        message = self._outbox.take()
        while message is not None and self._is_stale(message):
            message = self._outbox.take()
        if message is not None:
            request = self._pending.get(message.head.msg_id)
            if request is not None:
                request.sent = True
            else:
                self._recovery.sent(message.head.msg_id)
            size = message.frame_size
            if size > self._largest.size or size > _USUAL_LIMIT:
                self._note_size(size, message.head.msg_type, request)
        return message

    def receive(self, message: Message) -> list[Action]:
        """A message from upstream. Raises `MalformedFrame` if its headers cannot be read."""
        if self.state is not _OPEN:
            return []  # it came behind the one that ended the link
        if message.channel is not _IOPUB:
            self._heard = True
            self._deaf = 0
            if message.channel is _CONTROL and self._recovery.owns(message.parent.msg_id):
                self._note_beside()
        elif (msg_type := message.head.msg_type) != "status":
            self._heard = True
            # A shutdown_reply is a kernel's last word when somebody ends it.
            if msg_type != "shutdown_reply" and self._hearing.is_work(message):
                self.active_at = self._seconds()
            return self._hearing.hear(message)  # output alone ends nothing that is owed
        elif not message.parent.msg_id:
            self._heard = True
            match state_of(message):
                case "restarting":
                    return self._died(message)
                case "dead":
                    return self.gone(f"The kernel died, says {self._gateway}.")
        else:
            self._heard = self._heard or not self._hearing.is_aside(message)
            if self._hearing.note(message):
                self.active_at = self._seconds()
        return [*self._hearing.hear(message), *self._rest()]

    def idle(self) -> list[Action]:
        """The gateway says that the kernel has nothing to do; if it owes an answer, we are deaf.

        The next socket may be so too: a gateway gives one that comes under the same session id what
        it kept of the last one, deaf as that is. Then another id makes it let go of that.
        """
        if self.state is State.OPENING:
            return self._overdue()
        if self._heard or self.state is not State.OPEN:
            return []
        owed = self._owed()
        if not owed:
            return []
        if self._answers_beside and self._queues and any(r.seen for r in owed):
            # It is at work: some gateways (Enterprise Gateway) take the idle that ends its answer
            # to a question of ours on control for its own.
            return self.silent("busy")
        self._deaf += 1
        if self._deaf > 1:
            self._renew_upstream(self._new_id())
        text = f"{self._gateway} says that the kernel is idle, but it owes an answer."
        return [Report(Happening.DROPPED, text), *self._reopen()]

    def silent(self, state: str) -> list[Action]:
        """The kernel is silent though it owes an answer, and its gateway says that it exists, in a
        ``state`` that is not idle.

        What was heard decides. A kernel that was heard to be busy, and is so by its gateway's word,
        is at work, if the socket hears: see `_ask_beside`. Of any other there should have been a
        ``busy`` for what it was asked: after two such silences the cell is told, and another socket
        opened, under the same session id, since a gateway keeps for that what comes meanwhile. If
        the next one is silent too, and nothing shows that the kernel has begun with what it owes,
        another id makes the gateway let go of what is deaf. The waits between are doubled.
        """
        if self.state is State.OPENING:
            return self._overdue() if state == "busy" else self._connect_beside()
        owed = self._owed()
        if self._heard or self.state is not State.OPEN or not owed:
            return []
        told = self._hearing.told
        was_busy = any(r.seen for r in owed) or (told is not None and told.state == "busy")
        if was_busy and state == "busy":
            return self._ask_beside()
        self._silences += 1
        if self._silences < _SILENCES or self._silences & (self._silences - 1):
            return []
        if self._silences > _SILENCES and not was_busy:
            self._renew_upstream(self._new_id())
        text = (
            f"Nothing was heard of this, though {self._gateway} says that the kernel is "
            f"{quoted(state)}: another connection to it is opened."
        )
        return [Report(Happening.DROPPED, text), *self._doubt(text), *self._reopen()]

    def gone(self, reason: str) -> list[Action]:
        """The gateway says that the kernel does not exist; ``reason`` is a sentence for people."""
        if self.state in _ENDED:
            return []
        stop = self._stop(Event.GONE)
        self.reason = reason
        end = Report(Happening.GONE, reason, seconds=self._outage.seconds or None)
        return [
            *stop,
            *self._substitute.end_with(end, self._forget_all(), reason),
            Deliver(self._notices.status("dead")),
        ]

    # On purpose.

    def pause(self) -> list[Action]:
        """The kernel is about to be restarted: nothing passes until that is done, or has failed."""
        if self.state in _ENDED:
            return []
        self._recovery.drop(self._pending.sent)
        self._before = list(self._pending)
        return self._stop(Event.PAUSE)

    def resume(self, *, restarted: bool) -> list[Action]:
        """The kernel has been restarted, and what was asked before has no answer; or it has not."""
        if self.state is not State.PAUSED:
            return []
        actions = []
        if restarted:
            before = [request for request in self._before if request in self._pending]
            actions = self._substitute.end(before, "The kernel was restarted.")
            self._hearing.renew()
        self._before.clear()
        return [*actions, *self._pass_again()]

    def _pass_again(self) -> list[Action]:
        self._move(Event.RESUME)
        self._outage.forget()
        return self._need() if self._attached or self._outbox or self._pending else []

    def close(self, reason: str, *, leave_work: bool = False) -> list[Action]:
        """End the link for good; ``reason`` answers whatever is under way.

        With ``leave_work``, only what was not sent. The kernel goes on with the rest, and its
        answers are for whoever attaches next under this session id: a cell that was ended here
        could not show them any more.
        """
        stop = self._stop(Event.CLOSE)
        self.reason = reason
        under_way = self._forget_all()
        if leave_work:
            for request in under_way:
                if request.sent:
                    self._pending.remove(request)
        ended = [request for request in under_way if request in self._pending]
        return [*stop, *self._substitute.end(ended, reason)]

    def fired(self, timer: Timer) -> list[Action]:
        """A timer that was asked for has run out."""
        match timer:
            case Timer.RETRY:
                self._move(Event.RETRY)
                return self._connect()
            case Timer.LINGER:
                self._outage.forget()
                self._recovery.drop(self._pending.sent)
                return self._stop(Event.UNUSED)
            case Timer.PROBE if self.state is State.OPENING:
                return [Probe(), StartTimer(Timer.PROBE, self._settings.probe_after)]
            case Timer.PROBE:
                self._stop_watching()
                return [*([] if self._heard else self._ask()), *self._rest()]
            case Timer.ALARM:
                return self._alarm()

    def hurry(self) -> list[Action]:
        """The gateway has answered another question: if a try waits for its time, this is it.

        Once in an outage: where only websockets fail, answers say nothing about the next try.
        """
        if self.state is not State.WAITING or self._hurried:
            return []
        self._hurried = True
        return [StopTimer(Timer.RETRY), *self.fired(Timer.RETRY)]

    # A kernel that is silent, or dies.

    def _ask(self) -> list[Action]:
        """Ask about a kernel that is silent: its gateway whether it exists, itself whether it is
        still the one that was asked. A kernel that is at work answers when it has done that."""
        barriers = self._recovery.ask(self._pending.sent, self._notices.barrier)
        self._queues = not barriers  # the last one still waits behind what the kernel does
        for barrier in barriers:
            self._outbox.put_first(barrier)
        return [Probe(), Flush()]

    def _ask_beside(self) -> list[Action]:
        """Ask a kernel that is at work something that it can answer beside that, on control: what
        comes of it shows that the socket is not deaf. ipykernel does so.

        Without an answer in two silences the socket is replaced, under the same session id: to a
        kernel that only does not answer, as IRkernel at work, that does no harm. For those the
        waits are doubled, over all their cells, until they answer; and a cell is told only if the
        kernel is known to answer, or has not done so on the next socket either.
        """
        question = self._recovery.ask_beside(self._pending.sent, self._notices.barrier)
        if question:
            self._outbox.put_first(*question)
            return [Flush()]
        self._unanswered += 1
        if self._unanswered < _SILENCES or self._unanswered & (self._unanswered - 1):
            return []
        text = (
            f"{self._gateway} says that the kernel is at work, but it does not answer what it is "
            "asked beside that: another connection to it is opened."
        )
        is_known = self._answers_beside or self._unanswered > _SILENCES
        line = self._doubt(text) if is_known else []
        return [Report(Happening.DROPPED, text), *line, *self._reopen()]

    def _note_beside(self) -> None:
        """A question of ours on control is answered; note whether that was beside work."""
        if any(request.seen for request in self._owed()):
            self._answers_beside = True
            self._unanswered = 0

    def _owed(self) -> list[Request]:
        """Return what the kernel was asked and has not replied to."""
        return [request for request in self._pending if request.sent and not request.replied]

    def _doubt(self, text: str) -> list[Action]:
        """Tell the cell that waits, once, that its socket may be deaf."""
        cell = self._running_cell()
        if cell is None or cell is self._doubted:
            return []
        self._doubted = cell
        return [Deliver(self._notices.stderr(text, cell.header))]

    def _overdue(self) -> list[Action]:
        """The gateway answers for a kernel that can be talked to, and not the handshake with it.

        A gateway lets a handshake wait for a kernel that starts or does not answer, for a minute.
        With one that it calls idle or busy nothing is to be waited for: the handshake is lost on
        its way. It is closed before the next one begins, since two of one session id hurt. After
        each that is given up the next one has double the time, for a gateway that is slow.
        """
        self._answers += 1
        if self._answers < self._enough or self._asked_at is None:
            return []
        self._enough *= 2
        seconds = (self._clock() - self._asked_at).total_seconds()
        cause = f"the handshake had no answer in {seconds:.0f} s, though the gateway answers."
        actions = [Disconnect(), *self.dropped(cause, silent=seconds)]
        return [*actions, *(self._alarm() if self._outage.is_long else [])]

    def _connect_beside(self) -> list[Action]:
        """The gateway answers for a kernel that it does not call idle or busy, and not the
        handshake with it.

        A handshake is kept waiting for a kernel that is slow to come up, and then to end it would
        do harm: Jupyter Server counts its clients wrong afterwards. Or it is lost on its way. So
        another one goes beside it; that each has a session id of its own makes two harmless.
        """
        self._unready += 1
        if self._unready < _OVERDUE or self._unready & (self._unready - 1):
            return []
        return [ConnectBeside(self._new_id())]

    def _renew_upstream(self, session: str) -> None:
        """The gateway knows us by another session id from now on."""
        self.upstream = session
        self._hearing.answer_to(session)

    def _died(self, message: Message) -> list[Action]:
        """The gateway says that the kernel died, and that it starts it again.

        A process that takes the place of one that died young listens on other ports, which the
        gateway finds out at the next handshake only: the socket that we have is deaf.
        """
        reason = f"The kernel died; {self._gateway} starts it again."
        report = Report(Happening.RESTARTED, reason)
        ended = self._substitute.end_with(report, self._pending.sent, reason)
        self._hearing.renew()
        return [
            Deliver(message),
            *ended,
            *self._reopen(),
        ]

    def _reopen(self) -> list[Action]:
        """Open another socket in place of this one, which may be deaf."""
        self._recovery.drop(self._pending.sent)
        return [*self._stop(Event.PAUSE), *self._pass_again()]

    # Endings.

    def _forget_all(self) -> list[Request]:
        """Forget what is to be sent, and return everything under way, sent or not."""
        self._outbox.clear()
        self._recovery.forget()
        return list(self._pending)

    def _give_up(self, requests: Sequence[Request]) -> list[Action]:
        """Answer what makes room for another request."""
        if not requests:
            return []
        text = (
            f"{len(self._pending)} requests to the kernel ({self._pending.size} bytes) were under "
            "way. This one was given up, "
            "since the kernel has answered a later one."
        )
        return self._substitute.end(requests, text)

    def _too_many(self) -> str:
        """Say why no further request is taken."""
        return (
            f"{len(self._pending)} requests to the kernel ({self._pending.size} bytes) are already "
            "under way; this one was not sent."
        )

    def _refuse(self, request: Request | None) -> list[Action]:
        """Answer at once what the outbox cannot hold."""
        outage = self._outage
        down = f", which has been down for {outage.seconds:.0f} s" if outage.since else ""
        text = (
            f"{len(self._outbox)} messages ({self._outbox.size} bytes) already wait for the "
            f"connection to {self._gateway}{down}; this one was not sent."
        )
        if request is None:
            return [Report(Happening.FAILED, text)]
        self._pending.remove(request)
        return self._substitute.fail(request, text)

    # Messages larger than the gateway takes.

    def _note_size(self, size: int, msg_type: str, request: Request | None) -> None:
        """Note a message that the socket takes, since it may turn out to be too large."""
        order = self._pending.last_sent if request is None else request.order
        sent = _Sent(size, msg_type, request, order)
        if size > self._largest.size:
            self._largest = sent
        if size > _USUAL_LIMIT:
            large = [earlier for earlier in self._large if not earlier.was_taken]
            self._large = (*large[1 - _MOST_LARGE :], sent)

    def _learn_limit(self) -> list[Action]:
        """The gateway closed the socket since a message was too large: the largest which the socket
        took was so in any case, and the kernel gets none as large.

        It reads nothing behind the first that is too large, and that was the largest, or one before
        it: so what went behind the largest never reached the kernel either.
        """
        largest = self._largest
        if largest.size == 0 or largest.was_taken:
            return []
        text = self._larger(largest.size)
        actions = self._end_large(largest.msg_type, largest.request, text, largest.size)
        unread = "It never reached the kernel."
        behind = self._large[self._large.index(largest) + 1 :] if largest in self._large else ()
        for sent in behind:
            if sent.request is None:
                text = f"{self._doubtful(sent.size)} {unread}"
                actions += self._lose_large(sent.msg_type, text)
        sizes = {sent.request.msg_id: sent.size for sent in behind if sent.request is not None}
        for request in self._pending.sent:
            if request.order > largest.order and not request.seen:
                size = sizes.get(request.msg_id)
                text = self._behind_large() if size is None else f"{self._doubtful(size)} {unread}"
                actions += self._substitute.end([request], text)
        self._doubt_sizes()
        return actions

    def _doubt_sizes(self) -> None:
        """Note that other large messages may have been too large, too: whether the kernel has them
        shows behind the next barrier."""
        for sent in self._large:
            if sent.request is not None:
                sent.request.doubted_size = sent.size

    def _suspect(self, message: Message) -> list[Action]:
        """The socket was cut while a large message was written: the gateway's closing frame may
        have been lost, as behind a proxy. Once may be chance; after that the size is a limit."""
        again = self._suspected is not None and message.frame_size >= self._suspected
        self._suspected = message.frame_size
        text = (
            f"The connection to {self._gateway} was cut while this message of "
            f"{message.frame_size / 2**20:.1f} MiB was sent. It is probably larger than "
            f"{self._gateway} takes, which is 10 MiB unless it is set up otherwise."
        )
        request = self._pending.get(message.head.msg_id)
        self._doubt_sizes()
        if request is not None and request.seen:
            return []
        limit = message.frame_size if again else None
        return self._end_large(message.head.msg_type, request, text, limit)

    def _end_large(
        self, msg_type: str, request: Request | None, text: str, limit: int | None
    ) -> list[Action]:
        """Answer the message that was too large, and what is held and beyond the limit."""
        if request is None or request not in self._pending:
            actions = self._lose_large(msg_type, text)
        else:
            actions = self._substitute.end([request], text)
        if limit is None:
            return actions
        self._limit = limit
        for message in self._outbox.remove_larger(limit):
            held = self._pending.get(message.head.msg_id)
            if held is not None:
                self._pending.remove(held)
            actions += self._refuse_large(message, held)
        return actions

    def _refuse_large(
        self, message: Message, request: Request | None, text: str = ""
    ) -> list[Action]:
        """Answer a message that was not sent, with ``text``, or since one no larger was refused."""
        text = text or self._larger(message.frame_size)
        if request is None:
            return self._lose_large(message.head.msg_type, text)
        return self._substitute.fail(request, text)

    def _lose_large(self, msg_type: str, text: str) -> list[Action]:
        """Tell of a message that has no reply, such as a widget's: in the log, and where it can be
        seen."""
        text = f"A {quoted(msg_type)} was lost. {text}"
        cell = self._running_cell()
        line = [Deliver(self._notices.stderr(text, cell.header))] if cell is not None else []
        return [Report(Happening.FAILED, text), *line]

    def _doubtful(self, size: int) -> str:
        return (
            f"This message of {size / 2**20:.1f} MiB is probably larger than {self._gateway} "
            "takes, too."
        )

    def _behind_large(self) -> str:
        return (
            f"{self._gateway} closed the connection, since a message before this one was larger "
            "than it takes. This one never reached the kernel."
        )

    def _larger(self, size: int, than: str = "") -> str:
        than = than or f"{self._gateway} takes"
        return (
            f"This message of {size / 2**20:.1f} MiB is larger than {than}, and never reached the "
            "kernel."
        )

    def _alarm(self) -> list[Action]:
        """Tell the cell that waits that the gateway cannot be reached, and since when."""
        since = self._outage.since
        if since is None:
            return []
        text = (
            f"No connection to {self._gateway} since {since:%H:%M:%S} UTC: {self._outage.cause} "
            "Trying again until it answers."
        )
        cell = self._running_cell()
        if cell is None or cell is self._alarmed:
            return []
        self._alarmed = cell
        return [Deliver(self._notices.stderr(text, cell.header))]

    def _running_cell(self) -> Request | None:
        """Return the oldest cell without a reply: the one that runs, or will run next."""
        cells = (r for r in self._pending if r.msg_type == "execute_request" and not r.replied)
        return next(cells, None)

    # States.

    def _move(self, event: Event) -> None:
        try:
            self.state = TABLE[self.state][event]
        except KeyError:
            raise RuntimeError(f"{event} cannot happen while a link is {self.state}") from None

    def _need(self) -> list[Action]:
        before = self.state
        self._move(Event.NEEDED)
        return self._connect() if self.state is State.OPENING and before is State.IDLE else []

    def _connect(self) -> list[Action]:
        """Begin a handshake, and watch it."""
        self._asked_at = self._clock()
        self._answers = self._unready = 0
        return [Connect(), StartTimer(Timer.PROBE, self._settings.probe_after)]

    def _stop(self, event: Event) -> list[Action]:
        had_socket = self.state in _SOCKET
        self._move(event)
        self._stop_watching()
        self._lingering = False
        return [*(StopTimer(timer) for timer in Timer), *([Disconnect()] if had_socket else [])]

    def _rest(self) -> list[Action]:
        """Watch a link that owes an answer; let one that nobody needs end after a while."""
        awaited = self._pending.awaits_reply
        actions: list[Action] = []
        if awaited or self._attached:
            if self._lingering:
                self._lingering = False
                actions.append(StopTimer(Timer.LINGER))
        elif not self._lingering and (self.state in _SOCKET or self.state is State.WAITING):
            self._lingering = True
            actions.append(StartTimer(Timer.LINGER, self._settings.linger))
        if self._pending and self.state is State.OPEN and not self._watching:
            actions.append(StartTimer(Timer.PROBE, self._watch()))
        return actions

    def _watch(self) -> float:
        """Begin to watch whether the kernel says something; return for how many seconds.

        A socket that follows silent ones is watched for a shorter time. Else one that is deaf, and
        is cut every few seconds, would be followed by deaf ones for ever.
        """
        self._watching = True
        self._heard = False
        patience = self._settings.probe_after
        now = self._clock()
        if self._silent_since is None:
            self._silent_since = now
        elif self._fresh:
            silent = (now - self._silent_since).total_seconds()
            patience = max(patience / 4, patience - silent)
        self._fresh = False
        return patience

    def _stop_watching(self) -> None:
        if (self._watching and self._heard) or not self._pending:
            self._silent_since = None
            self._silences = 0
            if self._answers_beside:
                self._unanswered = 0
        self._watching = False

    def _is_stale(self, message: Message) -> bool:
        """Whether this is a barrier that an earlier socket did not take, or is answered already."""
        head = message.head
        if head.session == self._session:
            return not self._recovery.owns(head.msg_id)
        return self._substitute.has_answered(head.msg_id)
