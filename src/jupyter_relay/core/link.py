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
*   The kernel numbers its messages, so the holes that opened since the drop are what was lost. They
    are counted when the idle of the cell that was running comes, so that the notice still lands in
    that cell; or behind the barrier, if that idle was lost too.
*   A kernel's process is known by the session in the headers of its replies. Another one means that
    what was asked before it is lost with the old one. What is answered in the kernel's place stays
    answered: a reply that comes later, from a gateway's buffer for one, goes to nobody.
*   Whoever listens is a *subscriber*, known by its client session id. Detached ones still count as
    addressees: what they miss is kept for them, elsewhere.

Confession: a barrier cannot pass while the kernel waits in `input()` for an answer to a question
that was lost. Interrupting the kernel ends that.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import takewhile

import msgspec

from jupyter_relay.core.actions import (
    Action,
    Connect,
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
from jupyter_relay.core.backlog import Dropped
from jupyter_relay.core.notices import Notices
from jupyter_relay.core.numbering import Numbering
from jupyter_relay.core.outbox import Outbox
from jupyter_relay.core.pending import Pending, Request
from jupyter_relay.core.recovery import Loss, Passed, Recovery
from jupyter_relay.core.settings import LinkSettings
from jupyter_relay.core.substitute import Substitute
from jupyter_relay.core.table import TABLE, Event, State
from jupyter_relay.wire.message import Channel, Message

_ENDED = frozenset({State.GONE, State.CLOSED})
_SOCKET = frozenset({State.OPENING, State.OPEN})
_STANDS = 5.0
"""The seconds after which a socket counts as one that a gateway meant: the back-off begins anew."""


class _Status(msgspec.Struct):
    """The content of a status message."""

    execution_state: str = ""


_read_status = msgspec.json.Decoder(_Status).decode


class Link:
    """One upstream link. Each method is told something and returns what to do, in order.

    ``gateway`` is its name for people; ``session`` the upstream session id. ``clock`` tells the
    time with its offset from UTC, ``new_id`` gives a fresh message id and ``chance`` a random
    number from 0 to 1.
    """

    def __init__(
        self,
        settings: LinkSettings,
        *,
        gateway: str,
        session: str,
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
        chance: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._gateway = gateway
        self._session = session
        self._clock = clock
        self._chance = chance
        self._notices = Notices(session=session, clock=clock, new_id=new_id)
        self._outbox = Outbox(
            max_messages=settings.outbox_messages, max_bytes=settings.outbox_bytes
        )
        self._pending = Pending()
        self._numbering = Numbering()
        self._recovery = Recovery(self._numbering)
        self._attached: set[str] = set()
        self._before: list[Request] = []
        self._substitute = Substitute(self._pending, self._notices)
        self._open_since: datetime | None = None
        self._down_since: datetime | None = None
        self._cause = ""
        self._attempt = 0
        self._failed = 0
        self._process = ""
        self._heard = False
        self._doubted = False
        self._watching = False
        self._lingering = False
        self._alarmed: Request | None = None
        self.state = State.IDLE
        self.deaths = 0

    # Downstream: who listens, and what they say.

    def attach(self, subscriber: str) -> list[Action]:
        """Somebody listens."""
        self._attached.add(subscriber)
        if self.state is State.GONE:
            return [Deliver(self._notices.status("dead"), subscriber)]
        return [*self._need(), *self._rest()]

    def detach(self, subscriber: str) -> list[Action]:
        """Somebody went away, for good or to come back."""
        self._attached.discard(subscriber)
        return self._rest()

    def send(self, subscriber: str, message: Message) -> list[Action]:
        """A message from downstream. Raises `MalformedFrame` if its header cannot be read."""
        if self.state in _ENDED:
            request = Pending().add(message, subscriber)
            return self._substitute.fail(request, self._cause) if request else []
        request = self._pending.add(message, subscriber)
        if not self._outbox.put(message, flowing=self.state is State.OPEN):
            return self._refuse(request)
        if request is not None:
            self._substitute.forget(request.msg_id)
        actions = [Flush()] if self.state is State.OPEN else self._need()
        if self._outage() >= self._settings.alarm_after:
            actions = [*actions, *self._alarm()]
        return [*actions, *self._rest()]

    def unsendable(self, message: Message, reason: str) -> list[Action]:
        """A message that was taken cannot be written in the gateway's subprotocol."""
        request = self._pending.get(message.head.msg_id)
        if request is None:
            return [Report(Happening.FAILED, reason)]
        self._pending.remove(request)
        return [*self._substitute.fail(request, reason), *self._rest()]

    def describe(self, dropped: Dropped) -> Message:
        """Return the notice of what a slow or absent subscriber has not been given."""
        text = (
            f"{_messages(dropped.count)} dropped here, since the reader was away or did not keep "
            "up with the output."
        )
        return self._notices.stderr(text, dropped.parent_header)

    # Upstream: the socket, and what the kernel says.

    def opened(self) -> list[Action]:
        """The handshake is done."""
        self._move(Event.OPENED)
        actions: list[Action] = [StopTimer(Timer.ALARM)]
        seconds = self._outage()
        if self._down_since is not None:
            text = f"Connected to {self._gateway} again, after {seconds:.1f} s."
            actions.append(Report(Happening.OPENED, text, seconds=seconds))
        self._open_since = self._clock()
        self._down_since = None
        self._alarmed = None
        for barrier in self._recovery.reopen(self._sent(), seconds, self._notices.barrier):
            self._outbox.put_first(barrier)
        return [*actions, *self._rest(), Flush()]

    def dropped(self, cause: str, *, silent: float = 0.0) -> list[Action]:
        """The socket, or the try to open one, ended; ``cause`` says why, for people.

        ``silent`` is for how many seconds the peer had been silent then: they are part of the
        outage, which began when it was last heard.
        """
        was_open = self.state is State.OPEN
        self._move(Event.DROPPED)
        self._cause = cause
        self._watching = False
        actions: list[Action] = [StopTimer(Timer.PROBE)]
        if was_open:
            self._recovery.drop(self._sent())
            if self._stood():
                self._attempt = 0  # one that ends at once is as good as one that never opened
        if self._down_since is None:
            self._down_since = self._clock() - timedelta(seconds=silent)
            what = "was lost" if was_open else "could not be opened"
            text = f"The connection to {self._gateway} {what}: {cause}"
            actions += [
                Report(Happening.DROPPED, text, seconds=silent or None),
                StartTimer(Timer.ALARM, self._settings.alarm_after),
            ]
        self._failed = 0 if was_open else self._failed + 1
        if self._settings.retry_max is not None and self._failed >= self._settings.retry_max:
            reason = f"{self._gateway} was not reached in {self._failed} tries: {cause}"
            return actions + self.gone(reason)
        delay = self._settings.backoff.delay(self._attempt, self._chance())
        self._attempt += 1
        return [*actions, StartTimer(Timer.RETRY, delay), *self._rest()]

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
        return message

    def receive(self, message: Message) -> list[Action]:
        """A message from upstream. Raises `MalformedFrame` if its headers cannot be read."""
        head, parent = message.head, message.parent
        if self.state is not State.OPEN:
            return []  # it came behind the one that ended the link
        self._heard = True
        self._doubted = False
        number = None
        actions: list[Action] = []
        if head.session != self._session:  # the gateway's own words carry our session id
            leads = self._leads(message)
            if leads:
                actions = self._recognise(head.session, parent.msg_id)
            number = self._numbering.see(head.msg_id, leads=leads)
        if parent.session == self._session:
            return actions + self._aside(message, number)
        if message.channel is Channel.IOPUB:
            return self._output(message, number)
        if message.channel is Channel.STDIN:
            request = self._pending.seen(parent.msg_id)
            return [Deliver(message, request.subscriber if request else parent.session)]
        return actions + self._reply(message)

    def idle(self) -> list[Action]:
        """The gateway says that the kernel has nothing to do; if it owes an answer, we are deaf."""
        if self._heard or self._doubted or self.state is not State.OPEN:
            return []
        if not any(request.sent and not request.replied for request in self._pending):
            return []
        self._doubted = True
        text = f"{self._gateway} says that the kernel is idle, but it owes an answer."
        return [Report(Happening.DROPPED, text), *self._reopen()]

    def gone(self, reason: str) -> list[Action]:
        """The gateway says that the kernel does not exist; ``reason`` is a sentence for people."""
        if self.state in _ENDED:
            return []
        stop = self._stop(Event.GONE)
        self._cause = reason
        return [
            *stop,
            Report(Happening.GONE, reason, seconds=self._outage() or None),
            *self._fail_all(reason),
            Deliver(self._notices.status("dead")),
        ]

    # On purpose.

    def pause(self) -> list[Action]:
        """The kernel is about to be restarted: nothing passes until that is done, or has failed."""
        if self.state in _ENDED:
            return []
        self._recovery.drop(self._sent())
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
            self._renew()
        self._before.clear()
        return [*actions, *self._pass_again()]

    def _pass_again(self) -> list[Action]:
        self._move(Event.RESUME)
        self._attempt = 0
        self._down_since = None
        return self._need() if self._attached or self._outbox or self._pending else []

    def close(self, reason: str) -> list[Action]:
        """End the link for good; ``reason`` answers whatever is under way."""
        stop = self._stop(Event.CLOSE)
        self._cause = reason
        return [*stop, *self._fail_all(reason)]

    def fired(self, timer: Timer) -> list[Action]:
        """A timer that was asked for has run out."""
        match timer:
            case Timer.RETRY:
                self._move(Event.RETRY)
                return [Connect()]
            case Timer.LINGER:
                self._down_since = None
                self._attempt = 0
                self._recovery.forget()
                return self._stop(Event.UNUSED)
            case Timer.PROBE:
                self._watching = False
                return [*([] if self._heard else self._ask()), *self._rest()]
            case Timer.ALARM:
                return self._alarm()

    # Replies, output and what they end.

    def _leads(self, message: Message) -> bool:
        """Whether this tells which process is the kernel.

        Replies do, by the session in their header; but many kernels (IRkernel, IJulia) repeat that
        of the request. And only replies to what is under way: a gateway's buffer gives us those of
        a process that has ended, too. A status is good enough for a kernel that is not known yet:
        it can overtake the last reply of the process before.
        """
        head, parent = message.head, message.parent
        return (
            (message.channel is Channel.SHELL or (head.msg_type == "status" and not self._process))
            and head.session not in {"", parent.session}
            and (self._pending.get(parent.msg_id) is not None or self._recovery.owns(parent.msg_id))
        )

    def _recognise(self, process: str, msg_id: str) -> list[Action]:
        """What answers this request comes from this process."""
        known, self._process = self._process, process
        return self._replaced(msg_id) if known not in {"", process} else []

    def _aside(self, message: Message, number: int | None) -> list[Action]:
        """Take what answers a barrier, or a request of the gateway's own: it is for nobody else."""
        msg_id = message.parent.msg_id
        if message.channel is not Channel.IOPUB:
            owned = self._recovery.owns(msg_id)
            return self._settled(self._recovery.reply(msg_id, number) if owned else None)
        if message.head.msg_type != "status" or _state_of(message) != "idle":
            return []
        if self._recovery.owns(msg_id):
            return self._settled(self._recovery.idle(msg_id, number))
        if number is not None:  # its reply was numbered just before, and the gateway has it
            self._numbering.excuse(number - 1)
        return []

    def _output(self, message: Message, number: int | None) -> list[Action]:
        parent = message.parent
        if message.head.msg_type != "status":
            self._pending.seen(parent.msg_id)
            return [Deliver(message)]
        state = _state_of(message)
        if not parent.msg_id and state == "restarting":
            return self._died(message)
        if not parent.msg_id and state == "dead":
            return self.gone(f"The kernel died, says {self._gateway}.")
        request = self._pending.seen(parent.msg_id)
        if request is None or state != "idle":
            return [Deliver(message)]
        loss = self._recovery.cell_idle(request, number)
        self._pending.ended(request)
        return [*(self._announce(loss, request) if loss else []), Deliver(message), *self._rest()]

    def _reply(self, message: Message) -> list[Action]:
        parent = message.parent
        if self._substitute.has_answered(parent.msg_id):
            return []  # it was answered in the kernel's place
        request = self._pending.get(parent.msg_id)
        if request is not None:
            self._pending.replied(request)
        to = request.subscriber if request else parent.session
        return [Deliver(message, to), *self._rest()]

    def _ask(self) -> list[Action]:
        """Ask about a kernel that is silent: its gateway whether it exists, itself whether it is
        still the one that was asked. A kernel that is at work answers when it has done that."""
        for barrier in self._recovery.ask(self._sent(), self._notices.barrier):
            self._outbox.put_first(barrier)
        return [Probe(), Flush()]

    def _settled(self, passed: Passed | None) -> list[Action]:
        """End what is still under way behind a barrier that has passed."""
        if passed is None:
            return []
        actions: list[Action] = []
        unfinished = [request for request in passed.behind if request in self._pending]
        if unfinished and passed.loss.count != 0:
            cells = (r for r in unfinished if r.msg_type == "execute_request")
            actions += self._announce(passed.loss, next(cells, unfinished[0]))
        for request in unfinished:
            actions += self._substitute.end([request], self._verdict(request, passed))
        return [*actions, *self._rest()]

    def _died(self, message: Message) -> list[Action]:
        """The gateway says that the kernel died, and that it starts it again.

        A process that takes the place of one that died young listens on other ports, which the
        gateway finds out at the next handshake only: the socket that we have is deaf.
        """
        reason = f"The kernel died; {self._gateway} starts it again."
        ended = self._substitute.end(self._sent(), reason)
        self._renew()
        return [
            Deliver(message),
            Report(Happening.RESTARTED, reason),
            *ended,
            *self._reopen(),
        ]

    def _replaced(self, msg_id: str) -> list[Action]:
        """A reply shows that another process is now the kernel: what was asked before the request
        that it answers was asked of the old one."""
        self.deaths += 1
        self._numbering.forget()
        self._recovery.recount()
        reason = "The kernel was restarted, and with it this was lost."
        # A barrier went up before all that was held, and is itself not pending.
        asked = self._recovery.before if self._recovery.owns(msg_id) else self._sent()
        old = list(takewhile(lambda request: request.msg_id != msg_id, asked))
        return [
            Report(Happening.RESTARTED, "The kernel was restarted from another place."),
            *self._substitute.end([request for request in old if request in self._pending], reason),
            *self._rest(),
        ]

    def _reopen(self) -> list[Action]:
        """Open another socket in place of this one, which may be deaf."""
        self._recovery.drop(self._sent())
        return [*self._stop(Event.PAUSE), *self._pass_again()]

    def _renew(self) -> None:
        """Nothing is known of the next process of the kernel, and nothing was asked of it."""
        self.deaths += 1
        self._process = ""
        self._numbering.forget()
        self._recovery.forget()

    def _announce(self, loss: Loss, request: Request) -> list[Action]:
        many = "messages may have been" if loss.count is None else f"up to {_messages(loss.count)}"
        where = f"between the kernel and {self._gateway}"
        if loss.seconds:
            where = f"while the connection to {self._gateway} was down ({loss.seconds:.1f} s)"
        text = f"{many} lost {where}."
        return [
            Report(Happening.LOST, text, seconds=loss.seconds, count=loss.count),
            Deliver(self._notices.stderr(text, request.header)),
        ]

    def _verdict(self, request: Request, passed: Passed) -> str:
        """Say what became of a request whose reply can no longer come."""
        down = f"The connection to {self._gateway} was down for {passed.loss.seconds:.1f} s"
        if request.seen:
            return f"{down}: this ran, but its result was lost."
        if passed.whole:
            return f"{down}: this never reached the kernel."
        return f"{down}: this may have run, and its result was lost."

    # Endings.

    def _fail_all(self, reason: str) -> list[Action]:
        """Answer everything under way, sent or not."""
        self._outbox.clear()
        self._recovery.forget()
        return self._substitute.end(self._pending, reason)

    def _refuse(self, request: Request | None) -> list[Action]:
        """Answer at once what the outbox cannot hold."""
        down = f", which has been down for {self._outage():.0f} s" if self._down_since else ""
        text = (
            f"{len(self._outbox)} messages ({self._outbox.size} bytes) already wait for the "
            f"connection to {self._gateway}{down}; this one was not sent."
        )
        if request is None:
            return [Report(Happening.FAILED, text)]
        self._pending.remove(request)
        return self._substitute.fail(request, text)

    def _alarm(self) -> list[Action]:
        """Tell the cell that waits that the gateway cannot be reached, and since when."""
        since = self._down_since
        if since is None:
            return []
        text = (
            f"No connection to {self._gateway} since {since:%H:%M:%S} UTC: {self._cause} "
            "Trying again until it answers."
        )
        cells = (r for r in self._pending if r.msg_type == "execute_request" and not r.replied)
        cell = next(cells, None)
        if cell is None or cell is self._alarmed:
            return []
        self._alarmed = cell
        return [Deliver(self._notices.stderr(text, cell.header))]

    # States.

    def _move(self, event: Event) -> None:
        try:
            self.state = TABLE[self.state][event]
        except KeyError:
            raise RuntimeError(f"{event} cannot happen while a link is {self.state}") from None

    def _need(self) -> list[Action]:
        before = self.state
        self._move(Event.NEEDED)
        return [Connect()] if self.state is State.OPENING and before is State.IDLE else []

    def _stop(self, event: Event) -> list[Action]:
        had_socket = self.state in _SOCKET
        self._move(event)
        self._watching = self._lingering = False
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
            self._watching = True
            self._heard = False
            actions.append(StartTimer(Timer.PROBE, self._settings.probe_after))
        return actions

    def _sent(self) -> list[Request]:
        return [request for request in self._pending if request.sent]

    def _is_stale(self, message: Message) -> bool:
        """Whether this is a barrier that an earlier socket did not take, or is answered already."""
        head = message.head
        if head.session == self._session:
            return not self._recovery.owns(head.msg_id)
        return self._substitute.has_answered(head.msg_id)

    def _stood(self) -> bool:
        """Whether the socket stood long enough to say that the gateway is well."""
        if self._open_since is None:
            return False
        stood = (self._clock() - self._open_since).total_seconds()
        return stood >= _STANDS

    def _outage(self) -> float:
        """The seconds that the link has been down, 0 if it is not."""
        return (self._clock() - self._down_since).total_seconds() if self._down_since else 0.0


def _messages(count: int) -> str:
    return "1 message was" if count == 1 else f"{count} messages were"


def _state_of(message: Message) -> str:
    try:
        return _read_status(message.content).execution_state
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ""
