"""One upstream link, as a pure state machine. ``docs/link.md`` has its theory.

A link joins one kernel on one gateway to all its subscribers. The connection that drives it reports
each event by calling a method, and performs the actions that the method returns. A link never
waits, reads no clock of its own and touches no socket. A message leaves the outbox when a socket
takes it, and is never sent again. A request is pending until its reply *and* its idle status came.
After an outage a `kernel_info_request` is sent as a *barrier*: what is pending behind its answer
has lost its own, and is answered in the kernel's place.
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
from jupyter_relay.link.pending import Pending, Request
from jupyter_relay.link.recovery import Recovery
from jupyter_relay.link.settings import LinkSettings
from jupyter_relay.link.table import OPEN, Event, State, StateMachine
from jupyter_relay.link.watch import Watch
from jupyter_relay.wire.message import CONTROL, IOPUB, Message

_ENDED: Final = frozenset({State.GONE, State.CLOSED})
_HAS_SOCKET: Final = frozenset({State.OPENING, State.OPEN})


class Link(StateMachine):
    """One upstream link. Each method takes an event and returns the actions for it, in order.

    ``gateway`` is the gateway's name for people, and ``session`` the upstream session id. ``clock``
    returns the time with its offset from UTC, ``new_id`` a fresh id, ``chance`` a random number
    from 0 to 1, and ``seconds`` a timestamp in seconds from a clock that is cheap to read.
    Others may read these parts of it: the ``pending`` requests, the ``outage``, ``inbound`` for
    what the kernel sends, the ``watch``, and ``notices``, which composes messages of our own. Its
    other parts are ``_answers``, ``_outbox``, ``_limit``, ``_recovery`` and its ``settings``.
    """

    # With more than 30 attributes each link would have a dict of its own, of 1.6 kB (CPython 3.11).
    __slots__ = (
        "_answers",
        "_before_pause",
        "_gateway",
        "_limit",
        "_new_id",
        "_outbox",
        "_recovery",
        "_seconds",
        "_session",
        "_settings",
        "active_at",
        "inbound",
        "notices",
        "outage",
        "pending",
        "reason",
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
        super().__init__(clock)
        self._settings = settings
        self._gateway = gateway
        self._session = session
        self._new_id = new_id
        self._seconds = seconds
        self.pending = Pending()
        self.notices = Notices(session=session, clock=clock, new_id=new_id)
        self.outage = outage = Outage(settings, gateway=gateway, clock=clock, chance=chance)
        self._answers = answers = Answers(self.pending, self.notices)
        self._outbox = outbox = Outbox(
            max_messages=settings.outbox_messages, max_bytes=settings.outbox_bytes
        )
        self._limit = SizeLimit(
            gateway=gateway, max_bytes=settings.max_message_bytes, outbox=outbox, answers=answers
        )
        self._recovery = recovery = Recovery(Numbering())
        self.inbound = inbound = Inbound(
            gateway=gateway, session=session, recovery=recovery, answers=answers
        )
        self.watch = Watch(settings, clock=clock, outbox=outbox, outage=outage, inbound=inbound)
        self._before_pause: list[Request] = []
        """What was pending when the link was paused for a restart. Cleared by `resume`."""

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
        return [*self._connect(Event.NEEDED), *self.watch.update_timers(self.state)]

    def detach(self, subscriber: str) -> list[Action]:
        """A subscriber detached; it may return under the same id."""
        self.watch.subscribers.pop(subscriber, None)
        return self.watch.update_timers(self.state)

    def accept(self, subscriber: str, message: Message) -> list[Action]:
        """Accept a subscriber's message. Raises `MalformedFrame` if its header cannot be read."""
        if self.state in _ENDED:
            request = Request.from_message(message, subscriber)
            return self._answers.fail(request, self.reason) if request else []
        limit = self._limit
        if message.size > limit.unchecked_bytes and (text := limit.refusal(message)):
            return limit.refuse(message, Request.from_message(message, subscriber), text)
        request = Request.from_message(message, subscriber)
        skipped: list[Request] = []
        if request is not None:
            room = self.pending.make_room(request.memory)
            if room is None:
                return self._answers.refuse(request)
            skipped = room
            self.pending.add_request(request)
        is_open = self.state is OPEN
        if not self._outbox.append(message, flowing=is_open):
            full = self._outbox.describe_full(self._gateway, self.outage.seconds)
            return self._answers.fail_unsent(request, full)
        actions: list[Action] = []
        if request is not None:
            self._answers.forget_request(request.msg_id)
            if skipped:
                actions = self._answers.give_up(skipped)
        actions += [Flush()] if is_open else self._connect(Event.NEEDED)
        if self.outage.is_long:
            actions += self.watch.notify_of_outage()
        return [*actions, *self.watch.update_timers(self.state)]

    def unsendable(self, message: Message, reason: str) -> list[Action]:
        """A message from `next_message` cannot be written in the gateway's subprotocol."""
        failed = self._answers.fail_unsent(self.pending.find(message.head.msg_id), reason)
        return [*failed, *self.watch.update_timers(self.state)]

    # Upstream: the socket, and what the kernel sends.

    def opened(self, session: str = "") -> list[Action]:
        """The handshake is done, under this session id if it is not ``inbound.upstream``."""
        self._move(Event.OPENED)
        self.inbound.use_session(session or self.inbound.upstream)
        seconds = self.outage.seconds
        actions = self.outage.socket_opened()
        self._limit.socket_opened(after_failed_tries=self.outage.failed_tries > 0)
        self.watch.socket_opened()
        for barrier in self._recovery.reopen(self.pending.sent, seconds, self.notices.barrier):
            self._outbox.append_first(barrier)
        timers = self.watch.update_timers(self.state)
        return [*actions, StopTimer(Timer.PROBE), *timers, Flush()]

    def dropped(
        self,
        cause: str,
        *,
        silent: float = 0.0,
        too_large: bool = False,
        unfinished: Message | None = None,
    ) -> list[Action]:
        """The socket, or the try to open one, has ended; ``cause`` is a sentence for people.

        ``silent`` is how many seconds ago the peer was last heard, when the outage began.
        ``too_large`` is True if the peer closed the socket because a message was too large;
        ``unfinished`` is a message that it had not received completely.
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
            return actions + self.gone(self.outage.describe_hopeless())
        retry = StartTimer(Timer.RETRY, self.outage.next_delay())
        return [*actions, retry, *self.watch.update_timers(self.state)]

    def next_message(self) -> Message | None:
        """Return the next message to send, which counts as sent from now on; None if none waits."""
        if self.state is not OPEN:
            return None
        while (message := self._outbox.pop()) is not None:
            head = message.head
            if head.session == self._session:  # a barrier, or one that an earlier socket left
                is_stale = not self._recovery.has_barrier(head.msg_id)
            else:
                is_stale = self._answers.has_answered(head.msg_id)
            if is_stale:
                continue
            request = self.pending.find(head.msg_id)
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
                    # The new process may have other ports, which a handshake finds out.
                    reason = f"The kernel died; {self._gateway} starts it again."
                    report = Report(Happening.RESTARTED, reason)
                    failed = self._answers.fail_all(report, self.pending.sent, reason)
                    inbound.process_changed()
                    return [Deliver(message), *failed, *self._replace_socket()]
                case "dead":
                    return self.gone(f"{self._gateway} reports that the kernel died.")
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
        return judgement.actions + (self._replace_socket() if judgement.replace_socket else [])

    def gone(self, reason: str) -> list[Action]:
        """The gateway reports that the kernel does not exist; ``reason`` is for people."""
        if self.state in _ENDED:
            return []
        stop = self._stop(Event.GONE)
        self.reason = reason
        end = Report(Happening.GONE, reason, seconds=self.outage.seconds or None)
        self._outbox.clear()
        self._recovery.clear()
        return [
            *stop,
            *self._answers.fail_all(end, self.pending, reason),
            Deliver(self.notices.status("dead")),
        ]

    def pause(self) -> list[Action]:
        """The kernel is about to be restarted: close the socket, and hold what comes until then."""
        if self.state in _ENDED:
            return []
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
            self.inbound.process_changed()
            self.outage.end_on_purpose()
        self._before_pause.clear()
        return [*actions, *self._resume()]

    def close(self, reason: str, *, leave_work: bool = False) -> list[Action]:
        """End the link for good; pending requests are answered with ``reason``.

        With ``leave_work`` only those that were not sent: the others are for who attaches next.
        """
        stop = self._stop(Event.CLOSE)
        self.reason = reason
        self._outbox.clear()
        self._recovery.clear()
        for request in self.pending.sent if leave_work else ():
            self.pending.remove(request)
        return [*stop, *self._answers.finish(self.pending, reason)]

    def fired(self, timer: Timer) -> list[Action]:
        """A timer has run out."""
        if timer is Timer.RETRY:
            return self._connect(Event.RETRY)
        if timer is Timer.LINGER:
            self.outage.end_on_purpose()
            return self._stop(Event.UNUSED)
        if timer is Timer.PROBE:
            return self.watch.probe_fired(self.state)
        return self.watch.notify_of_outage()

    def retry_now(self) -> list[Action]:
        """The gateway has answered another request: end the wait for the next try, once in an
        outage. Where only websockets fail, other answers say nothing about the next try."""
        if self.state is not State.WAITING or self.outage.retried_early:
            return []
        self.outage.retried_early = True
        return [StopTimer(Timer.RETRY), *self.fired(Timer.RETRY)]

    def _connect(self, event: Event) -> list[Action]:
        """Take an event, and begin a handshake if that makes the state `opening`."""
        before = self.state
        self._move(event)
        if self.state is before or self.state is not State.OPENING:
            return []
        self.watch.handshake_begun()
        return [Connect(), StartTimer(Timer.PROBE, self._settings.probe_after)]

    def _stop(self, event: Event) -> list[Action]:
        """Close the socket, and stop all timers."""
        had_socket = self.state in _HAS_SOCKET
        self._recovery.begin_gap(self.pending.sent)
        self._move(event)
        self.watch.socket_closed()
        return [*(StopTimer(timer) for timer in Timer), *([Disconnect()] if had_socket else [])]

    def _resume(self) -> list[Action]:
        """End a pause, and connect if anybody needs the link; an outage from before goes on."""
        self._move(Event.RESUME)
        if self.watch.subscribers or self._outbox or self.pending:
            return [*self.outage.watch_again(), *self._connect(Event.NEEDED)]
        self.outage.end_on_purpose()
        return []

    def _replace_socket(self) -> list[Action]:
        """Open another socket in place of this one, which may be deaf."""
        return [*self._stop(Event.PAUSE), *self._resume()]
