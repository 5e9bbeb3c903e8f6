"""THE HEART: one upstream link, as a pure state machine.

A link joins one kernel on one gateway to all its subscribers. The connection that drives it reports
each event by calling a method, and performs the actions that the method returns. A link never
waits, never reads a clock of its own and never touches a socket. In short (``docs/link.md`` has it
all):

*   What the socket is doing is the `State`; `TABLE`, in ``table.py``, has all transitions.
*   A message leaves the outbox when a socket takes it, and is never sent again after that.
*   A request is pending until its reply *and* the idle status that ends its output came.
*   After an outage, and in a silence, a `kernel_info_request` is sent as a *barrier*: requests of
its
    lane that are pending behind its answer have lost theirs, and are answered in the kernel's
    place.
*   Output lost in an outage is found by the kernel's message numbers, and reported in its cell.
*   Another session in the headers of replies shows that another process is the kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from jupyter_relay.link.actions import (
    Action,
    Connect,
    ConnectBeside,
    Deliver,
    Disconnect,
    Flush,
    Happening,
    LinkSnapshot,
    Probe,
    Report,
    StartTimer,
    StopTimer,
    Timer,
)
from jupyter_relay.link.answers import Answers, Notices
from jupyter_relay.link.inbound import Inbound
from jupyter_relay.link.numbering import Numbering
from jupyter_relay.link.outage import Outage
from jupyter_relay.link.outbox import USUAL_LIMIT, Outbox, SizeLimit
from jupyter_relay.link.pending import Pending, Request, pending_size
from jupyter_relay.link.recovery import Recovery
from jupyter_relay.link.settings import LinkSettings
from jupyter_relay.link.table import OPEN, TABLE, Event, State
from jupyter_relay.link.watch import Watch
from jupyter_relay.wire.message import CONTROL, IOPUB, Message

_ENDED: Final = frozenset({State.GONE, State.CLOSED})
_HAS_SOCKET: Final = frozenset({State.OPENING, State.OPEN})


class Link:
    """One upstream link. Each method takes an event and returns the actions for it, in order.

    ``gateway`` is the gateway's name for people, and ``session`` the upstream session id. ``clock``
    returns the time with its offset from UTC, ``new_id`` a fresh id, ``chance`` a random number
    from 0 to 1, and ``seconds`` a timestamp in seconds from a clock that is cheap to read.

    ``inbound``, ``pending``, ``outage`` and ``notices`` are parts that others may read.
    """

    # With more than 30 attributes each link would have a dict of its own, of 1.6 kB (CPython 3.11).
    __slots__ = (
        "_answers",
        "_before_pause",
        "_clock",
        "_gateway",
        "_limit",
        "_new_id",
        "_outbox",
        "_recovery",
        "_retried_early",
        "_seconds",
        "_session",
        "_settings",
        "active_at",
        "inbound",
        "notices",
        "outage",
        "pending",
        "reason",
        "since",
        "state",
        "watch",
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
        self.pending = Pending()
        self.notices = Notices(session=session, clock=clock, new_id=new_id)
        self.outage = Outage(settings, gateway=gateway, clock=clock, chance=chance)
        self._answers = answers = Answers(self.pending, self.notices)
        self._outbox = outbox = Outbox(
            max_messages=settings.outbox_messages, max_bytes=settings.outbox_bytes
        )
        self._limit = SizeLimit(
            gateway=gateway, max_bytes=settings.max_message_bytes, outbox=outbox, answers=answers
        )
        self._recovery = recovery = Recovery(Numbering())
        self.inbound = Inbound(gateway=gateway, session=session, recovery=recovery, answers=answers)
        self.watch = Watch(
            settings,
            gateway=gateway,
            clock=clock,
            outbox=outbox,
            outage=self.outage,
            recovery=recovery,
            inbound=self.inbound,
            answers=answers,
        )
        self._before_pause: list[Request] = []
        """What was pending when the link was paused for a restart. Cleared by `resume`."""

        self._retried_early = False
        """True once `retry_now` was used in this outage. Reset when a socket opens."""

        self.state = State.IDLE
        """What the socket is doing. Changed by `_move` alone, as `TABLE` has it."""

        self.since = clock()
        """When `state` changed last; before that, when the link was made."""

        self.reason = ""
        """Why the link has ended, as a sentence; empty until then."""

        self.active_at: float | None = None
        """The ``seconds`` when the kernel was last heard to work: by an output, or by the status of
        a request that counts as work (`Inbound.untracked`). None if it never was."""

    def snapshot(self) -> LinkSnapshot:
        """Return the facts of this moment."""
        outage = self.outage
        return LinkSnapshot(
            state=self.state,
            since=self.since,
            cause=self.reason or outage.cause,
            held=len(self._outbox),
            outage_seconds=outage.seconds if outage.is_down else outage.last_seconds,
            replayed=self.inbound.replayed,
            lost=self.inbound.lost,
        )

    # Downstream: subscribers, and what they send.

    def attach(self, subscriber: str) -> list[Action]:
        """A subscriber attached."""
        self.watch.subscribers[subscriber] = None
        if self.state is State.GONE:
            return [Deliver(self.notices.status("dead"), subscriber)]
        return [*self._need(), *self.watch.update_timers(self.state)]

    def detach(self, subscriber: str) -> list[Action]:
        """A subscriber detached; it may return under the same id."""
        self.watch.subscribers.pop(subscriber, None)
        return self.watch.update_timers(self.state)

    def send(self, subscriber: str, message: Message) -> list[Action]:
        """A subscriber sent a message. Raises `MalformedFrame` if its header cannot be read."""
        if self.state in _ENDED:
            request = Request.from_message(message, subscriber)
            return self._answers.fail(request, self.reason) if request else []
        limit = self._limit
        if message.size > limit.unchecked_bytes and (text := limit.refusal(message)):
            return limit.refuse(message, Request.from_message(message, subscriber), text)
        skipped = self.pending.make_room(pending_size(message.header))
        if skipped is None and (request := Request.from_message(message, subscriber)) is not None:
            return self._answers.refuse(request)
        request = self.pending.add(message, subscriber)
        is_open = self.state is OPEN
        if not self._outbox.append(message, flowing=is_open):
            outage = self.outage
            down = f", which has been down for {outage.seconds:.0f} s" if outage.is_down else ""
            text = (
                f"{len(self._outbox)} messages ({self._outbox.size} bytes) already wait for the "
                f"connection to {self._gateway}{down}; this one was not sent."
            )
            return self._fail_unsent(request, text)
        actions: list[Action] = []
        if request is not None:
            self._answers.forget_request(request.msg_id)
            if skipped:
                actions = self._answers.give_up(skipped)
        actions += [Flush()] if is_open else self._need()
        if self.outage.is_long:
            actions += self.watch.notify_of_outage()
        return [*actions, *self.watch.update_timers(self.state)]

    def unsendable(self, message: Message, reason: str) -> list[Action]:
        """A message from `next_message` cannot be written in the gateway's subprotocol."""
        return [
            *self._fail_unsent(self.pending.get(message.head.msg_id), reason),
            *self.watch.update_timers(self.state),
        ]

    # Upstream: the socket, and what the kernel sends.

    def opened(self, session: str = "") -> list[Action]:
        """The handshake is done, under this session id if it is not ``inbound.upstream``."""
        self._move(Event.OPENED)
        self.inbound.use_session(session or self.inbound.upstream)
        seconds = self.outage.seconds
        actions = self.outage.socket_opened()
        self._limit.socket_opened(after_failed_tries=self.outage.failed_tries > 0)
        self.watch.socket_opened()
        self._retried_early = False
        for barrier in self._recovery.reopen(self.pending.sent, seconds, self.notices.barrier):
            self._outbox.append_first(barrier)
        return [
            *actions,
            StopTimer(Timer.PROBE),
            *self.watch.update_timers(self.state),
            Flush(),
        ]

    def dropped(
        self,
        cause: str,
        *,
        silent: float = 0.0,
        too_large: bool = False,
        unfinished: Message | None = None,
    ) -> list[Action]:
        """The socket, or the try to open one, has ended; ``cause`` is a sentence for people.

        ``silent`` is for how many seconds the peer had been silent: the outage began when it was
        last heard. ``too_large`` is True if the peer closed the socket because a message was too
        large; ``unfinished`` is a message that it had not received completely.
        """
        open_since = self.since if self.state is OPEN else None
        self._move(Event.DROPPED)
        self.watch.probe_ended()
        actions: list[Action] = [StopTimer(Timer.PROBE)]
        if too_large:
            actions += self._limit.socket_refused_size()
        elif unfinished is not None and unfinished.frame_size > USUAL_LIMIT and not silent:
            actions += self._limit.socket_cut(unfinished)
        if open_since is not None:
            self._recovery.begin_gap(self.pending.sent)
        actions += self.outage.socket_ended(cause, silent=silent, open_since=open_since)
        if self.outage.is_hopeless:
            tries = self.outage.failed_tries
            reason = f"{self._gateway} was not reached in {tries} tries: {cause}"
            return actions + self.gone(reason)
        retry = StartTimer(Timer.RETRY, self.outage.next_delay())
        return [*actions, retry, *self.watch.update_timers(self.state)]

    def next_message(self) -> Message | None:
        """Return the next message to send, which counts as sent from now on; None if none waits."""
        if self.state is not OPEN:
            return None
        while (message := self._outbox.pop()) is not None:
            head = message.head
            if head.session == self._session:
                # A barrier, unless an earlier socket did not take it.
                is_stale = not self._recovery.has_barrier(head.msg_id)
            else:
                is_stale = self._answers.has_answered(head.msg_id)
            if is_stale:
                continue
            request = self.pending.get(head.msg_id)
            if request is not None:
                request.sent = True
            else:
                self._recovery.mark_sent(head.msg_id)
            size = message.frame_size
            if size > self._limit.largest.size or size > USUAL_LIMIT:
                self._limit.record(size, head.msg_type, request)
            return message
        return None

    def receive(self, message: Message) -> list[Action]:
        """A message came from upstream. Raises `MalformedFrame` if its headers cannot be read."""
        if self.state is not OPEN:
            return []  # it came behind the one that ended the link
        watch, inbound = self.watch, self.inbound
        if message.channel is not IOPUB:
            watch.heard = True
            watch.deaf_sockets = 0
            if message.channel is CONTROL and self._recovery.has_barrier(message.parent.msg_id):
                watch.answered_on_control()
        elif (msg_type := message.head.msg_type) != "status":
            watch.heard = True
            # A kernel that is shut down sends a shutdown_reply on iopub.
            if msg_type != "shutdown_reply" and inbound.is_work(message):
                self.active_at = self._seconds()
            return inbound.receive(message)  # output alone changes no timer
        elif not message.parent.msg_id:
            watch.heard = True
            match message.execution_state:
                case "restarting":
                    # The gateway restarts a kernel that died. The new process may listen on other
                    # ports, which the gateway finds out at the next handshake: this socket is deaf.
                    reason = f"The kernel died; {self._gateway} starts it again."
                    report = Report(Happening.RESTARTED, reason)
                    failed = self._answers.fail_all(report, self.pending.sent, reason)
                    inbound.reset()
                    return [Deliver(message), *failed, *self._replace_socket()]
                case "dead":
                    return self.gone(f"The kernel died, says {self._gateway}.")
        else:
            watch.heard = watch.heard or not inbound.is_for_gateway(message)
            if inbound.record_status(message):
                self.active_at = self._seconds()
        actions = inbound.receive(message)
        return [*actions, *watch.update_timers(self.state)]

    def probed(self, execution_state: str) -> list[Action]:
        """The gateway has returned the kernel's model, with this execution state, for a `Probe`."""
        handshake = self.watch.handshake
        if self.state is State.OPENING and handshake is not None:
            if execution_state not in {"idle", "busy"}:
                return [ConnectBeside(self._new_id())] if handshake.needs_another() else []
            if not handshake.is_lost():
                return []
            seconds = (self._clock() - self.since).total_seconds()
            cause = f"the handshake had no answer in {seconds:.0f} s, though the gateway answers."
            actions = [Disconnect(), *self.dropped(cause, silent=seconds)]
            return [*actions, *(self.watch.notify_of_outage() if self.outage.is_long else ())]
        if self.state is not OPEN:
            return []
        judgement = self.watch.judge(execution_state)
        if judgement.new_session:
            self.inbound.use_session(self._new_id())
        again = self._replace_socket() if judgement.replace_socket else ()
        return [*judgement.actions, *again]

    def gone(self, reason: str) -> list[Action]:
        """The gateway reports that the kernel does not exist; ``reason`` is a sentence for
        people."""
        if self.state in _ENDED:
            return []
        stop = self._stop(Event.GONE)
        self.reason = reason
        end = Report(Happening.GONE, reason, seconds=self.outage.seconds or None)
        self._outbox.clear()
        self._recovery.reset()
        return [
            *stop,
            *self._answers.fail_all(end, self.pending, reason),
            Deliver(self.notices.status("dead")),
        ]

    # On purpose.

    def pause(self) -> list[Action]:
        """The kernel is about to be restarted: close the socket, and hold messages until
        `resume`."""
        if self.state in _ENDED:
            return []
        self._recovery.begin_gap(self.pending.sent)
        self._before_pause = list(self.pending)
        return self._stop(Event.PAUSE)

    def resume(self, *, restarted: bool) -> list[Action]:
        """The restart is done: what was pending before it has no answer. Or it has failed."""
        if self.state is not State.PAUSED:
            return []
        actions: list[Action] = []
        if restarted:
            before = [request for request in self._before_pause if request in self.pending]
            actions = self._answers.finish(before, "The kernel was restarted.")
            self.inbound.reset()
        self._before_pause.clear()
        return [*actions, *self._resume()]

    def close(self, reason: str, *, leave_work: bool = False) -> list[Action]:
        """End the link for good; pending requests are answered with ``reason``.

        With ``leave_work``, only those that were not sent. The kernel goes on with the others, and
        the next one to attach under this session id receives the answers: a cell that was finished
        here could not show them.
        """
        stop = self._stop(Event.CLOSE)
        self.reason = reason
        self._outbox.clear()
        self._recovery.reset()
        for request in self.pending.sent if leave_work else ():
            self.pending.remove(request)
        return [*stop, *self._answers.finish(self.pending, reason)]

    def fired(self, timer: Timer) -> list[Action]:
        """A timer has run out."""
        match timer:
            case Timer.RETRY:
                self._move(Event.RETRY)
                return self._connect()
            case Timer.LINGER:
                self.outage.reset()
                self._recovery.begin_gap(self.pending.sent)
                return self._stop(Event.UNUSED)
            case Timer.PROBE if self.state is State.OPENING:
                return [Probe(), StartTimer(Timer.PROBE, self._settings.probe_after)]
            case Timer.PROBE:
                watch = self.watch
                watch.probe_ended()
                return [*watch.probe(), *watch.update_timers(self.state)]
            case Timer.ALARM:
                return self.watch.notify_of_outage()

    def retry_now(self) -> list[Action]:
        """The gateway has answered another request: end the wait for the next try.

        Once in an outage: where only websockets fail, other answers say nothing about the next try.
        """
        if self.state is not State.WAITING or self._retried_early:
            return []
        self._retried_early = True
        return [StopTimer(Timer.RETRY), *self.fired(Timer.RETRY)]

    # States.

    def _move(self, event: Event) -> None:
        try:
            state = TABLE[self.state][event]
        except KeyError:
            raise RuntimeError(f"{event} cannot happen while a link is {self.state}") from None
        if state is not self.state:
            self.state = state
            self.since = self._clock()

    def _need(self) -> list[Action]:
        """Connect, if nothing is under way."""
        before = self.state
        self._move(Event.NEEDED)
        return self._connect() if self.state is State.OPENING and before is State.IDLE else []

    def _connect(self) -> list[Action]:
        """Begin a handshake, and watch it."""
        self.watch.handshake_begun()
        return [Connect(), StartTimer(Timer.PROBE, self._settings.probe_after)]

    def _stop(self, event: Event) -> list[Action]:
        """Close the socket, and stop all timers."""
        had_socket = self.state in _HAS_SOCKET
        self._move(event)
        self.watch.socket_closed()
        return [*(StopTimer(timer) for timer in Timer), *([Disconnect()] if had_socket else [])]

    def _resume(self) -> list[Action]:
        """End a pause, and connect if anybody needs the link."""
        self._move(Event.RESUME)
        self.outage.reset()
        return self._need() if self.watch.subscribers or self._outbox or self.pending else []

    def _replace_socket(self) -> list[Action]:
        """Open another socket in place of this one, which may be deaf."""
        self._recovery.begin_gap(self.pending.sent)
        return [*self._stop(Event.PAUSE), *self._resume()]

    def _fail_unsent(self, request: Request | None, text: str) -> list[Action]:
        """Answer, or report, a message that will not be sent."""
        if request is None:
            return [Report(Happening.FAILED, text)]
        self.pending.remove(request)
        return self._answers.fail(request, text)
