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
*   The kernel numbers its messages, so the holes that opened since the drop are what was lost. They
    are counted when the idle of the cell that was running comes, so that the notice still lands in
    that cell; or behind the barrier, if that idle was lost too.
*   Whoever listens is a *subscriber*, known by its client session id. Detached ones still count as
    addressees: what they miss is kept for them, elsewhere.

Confession: a barrier cannot pass while the kernel waits in `input()` for an answer to a question
that was lost. Interrupting the kernel ends that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

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
from jupyter_relay.core.table import TABLE, Event, State
from jupyter_relay.wire.message import Channel, Header, Message

_ENDED = frozenset({State.GONE, State.CLOSED})
_SOCKET = frozenset({State.OPENING, State.OPEN})


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
        self._down_since: datetime | None = None
        self._cause = ""
        self._attempt = 0
        self._process = ""
        self._heard = False
        self._watching = False
        self.state = State.IDLE
        self.deaths = 0

    # Downstream: who listens, and what they say.

    def attach(self, subscriber: str) -> list[Action]:
        """Somebody listens."""
        self._attached.add(subscriber)
        if self.state is State.GONE:
            return [Deliver(self._notices.status("dead"), subscriber)]
        return [StopTimer(Timer.LINGER), *self._need()]

    def detach(self, subscriber: str) -> list[Action]:
        """Somebody went away, for good or to come back."""
        self._attached.discard(subscriber)
        return self._rest()

    def send(self, subscriber: str, message: Message) -> list[Action]:
        """A message from downstream. Raises `MalformedFrame` if its header cannot be read."""
        if self.state in _ENDED:
            request = Pending().add(message, subscriber)
            return self._fail(request, self._cause, "was not sent") if request else []
        request = self._pending.add(message, subscriber)
        if not self._outbox.put(message):
            return self._refuse(request)
        return [Flush(), *self._rest()] if self.state is State.OPEN else self._need()

    def unsendable(self, message: Message, reason: str) -> list[Action]:
        """A message that was taken cannot be written in the gateway's subprotocol."""
        request = self._pending.get(message.head.msg_id)
        if request is None:
            return [Report(Happening.FAILED, reason)]
        self._pending.remove(request)
        return self._fail(request, reason, "was not sent")

    def describe(self, dropped: Dropped) -> Message:
        """Return the notice of what a slow or absent subscriber has not been given."""
        text = (
            f"{_messages(dropped.count)} dropped here, since this page was away or did not keep up "
            "with the output."
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
        self._down_since = None
        self._attempt = 0
        for barrier in self._recovery.reopen(self._sent(), seconds, self._notices.barrier):
            self._outbox.put_first(barrier)
        return [*actions, *self._rest(), Flush()]

    def dropped(self, cause: str) -> list[Action]:
        """The socket, or the try to open one, ended; ``cause`` says why, for people."""
        was_open = self.state is State.OPEN
        self._move(Event.DROPPED)
        self._cause = cause
        self._watching = False
        actions: list[Action] = [StopTimer(Timer.PROBE)]
        if was_open:
            self._recovery.drop(self._sent())
        if self._down_since is None:
            self._down_since = self._clock()
            what = "was lost" if was_open else "could not be opened"
            text = f"The connection to {self._gateway} {what}: {cause}"
            actions += [
                Report(Happening.DROPPED, text),
                StartTimer(Timer.ALARM, self._settings.alarm_after),
            ]
        if self._settings.retry_max is not None and self._attempt >= self._settings.retry_max:
            reason = f"{self._gateway} was not reached in {self._attempt} tries: {cause}"
            return actions + self.gone(reason)
        delay = self._settings.backoff.delay(self._attempt, self._chance())
        self._attempt += 1
        return [*actions, StartTimer(Timer.RETRY, delay), *self._rest()]

    def take(self) -> Message | None:
        """Return the message that goes up next, and hold it as sent from now on."""
        if self.state is not State.OPEN:
            return None
        message = self._outbox.take()
        if message is not None:
            request = self._pending.get(message.head.msg_id)
            if request is not None:
                request.sent = True
        return message

    def receive(self, message: Message) -> list[Action]:
        """A message from upstream. Raises `MalformedFrame` if its headers cannot be read."""
        head, parent = message.head, message.parent
        self._heard = True
        number = None
        if head.session != self._session:  # the gateway's own words carry our session id
            number = self._numbering.see(head.msg_id, leads=message.channel is Channel.SHELL)
        if message.channel is Channel.IOPUB:
            if head.msg_type == "status":
                return self._status(message, parent, number)
            if self._recovery.owns(parent.msg_id):
                return []
            self._pending.seen(parent.msg_id)
            return [Deliver(message)]
        if message.channel is Channel.STDIN:
            request = self._pending.get(parent.msg_id)
            return [Deliver(message, request.subscriber if request else parent.session)]
        return self._reply(message, head, parent, number)

    def gone(self, reason: str) -> list[Action]:
        """The gateway says that the kernel does not exist; ``reason`` is a sentence for people."""
        if self.state in _ENDED:
            return []
        stop = self._stop(Event.GONE)
        self._cause = reason
        return [
            *stop,
            Report(Happening.GONE, reason),
            *self._fail_all(reason),
            Deliver(self._notices.status("dead")),
        ]

    # On purpose.

    def pause(self, reason: str) -> list[Action]:
        """The kernel is about to be restarted: what was asked of it will not be answered."""
        if self.state in _ENDED:
            return []
        return [*self._stop(Event.PAUSE), *self._fail_all(reason), *self._renew()]

    def resume(self) -> list[Action]:
        """The kernel has been restarted, or could not be; messages may pass again."""
        if self.state is not State.PAUSED:
            return []
        self._move(Event.RESUME)
        self._attempt = 0
        self._down_since = None
        return self._need() if self._attached or self._outbox else []

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
                return [*self._stop(Event.UNUSED), *self._forget()]
            case Timer.PROBE:
                self._watching = False
                return [*([] if self._heard else [Probe()]), *self._rest()]
            case Timer.ALARM:
                return self._alarm()

    # Replies, output and what they end.

    def _status(self, message: Message, parent: Header, number: int | None) -> list[Action]:
        state = _state_of(message)
        if self._recovery.owns(parent.msg_id):
            idle = state == "idle"
            return self._settled(self._recovery.idle(parent.msg_id, number) if idle else None)
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

    def _reply(
        self, message: Message, head: Header, parent: Header, number: int | None
    ) -> list[Action]:
        actions: list[Action] = []
        if message.channel is Channel.SHELL and head.session != self._process:
            if self._process:
                actions += self._replaced(parent.msg_id)
            self._process = head.session
        if self._recovery.owns(parent.msg_id):
            return actions + self._settled(self._recovery.reply(parent.msg_id, number))
        request = self._pending.get(parent.msg_id)
        if request is not None:
            self._pending.replied(request)
        to = request.subscriber if request else parent.session
        return [*actions, Deliver(message, to), *self._rest()]

    def _settled(self, passed: Passed | None) -> list[Action]:
        """End what is still under way behind a barrier that has passed."""
        if passed is None:
            return []
        actions: list[Action] = []
        unfinished = [request for request in passed.behind if request in self._pending]
        if unfinished and passed.loss.count != 0:
            actions += self._announce(passed.loss, unfinished[0])
        for request in unfinished:
            actions += self._end(request, self._verdict(request, passed.loss))
        return [*actions, *self._rest()]

    def _died(self, message: Message) -> list[Action]:
        """The gateway says that the kernel died, and that it starts it again."""
        reason = f"The kernel died; {self._gateway} starts it again."
        return [
            Deliver(message),
            Report(Happening.RESTARTED, reason),
            *self._end_all(self._sent(), reason),
            *self._renew(),
        ]

    def _replaced(self, msg_id: str) -> list[Action]:
        """A reply shows that another process is now the kernel: what was asked before the request
        that it answers was asked of the old one."""
        reason = "The kernel was restarted, and with it this was lost."
        old = []
        for request in self._sent():
            if request.msg_id == msg_id:
                break
            old.append(request)
        return [
            Report(Happening.RESTARTED, "The kernel was restarted from another place."),
            *self._end_all(old, reason),
            *self._renew(),
        ]

    def _renew(self) -> list[Action]:
        """Count from the beginning, for another process of the kernel."""
        self.deaths += 1
        self._process = ""
        self._numbering.forget()
        return self._forget()

    def _forget(self) -> list[Action]:
        self._recovery.forget()
        return []

    def _announce(self, loss: Loss, request: Request) -> list[Action]:
        many = "messages may have been" if loss.count is None else f"up to {_messages(loss.count)}"
        text = (
            f"{many} lost while the connection to {self._gateway} was down ({loss.seconds:.1f} s)."
        )
        return [
            Report(Happening.LOST, text, seconds=loss.seconds, count=loss.count),
            Deliver(self._notices.stderr(text, request.header)),
        ]

    def _verdict(self, request: Request, loss: Loss) -> str:
        """Say what became of a request whose reply can no longer come."""
        down = f"The connection to {self._gateway} was down for {loss.seconds:.1f} s"
        if request.seen:
            return f"{down}: this ran, but its result was lost."
        if loss.count == 0:
            return f"{down}: this never reached the kernel."
        return f"{down}: this may have run, and its result was lost."

    # Endings.

    def _end_all(self, requests: Iterable[Request], reason: str) -> list[Action]:
        return [action for request in requests for action in self._end(request, reason)]

    def _fail_all(self, reason: str) -> list[Action]:
        """Answer everything under way, sent or not."""
        self._outbox.clear()
        return self._end_all(self._pending, reason) + self._forget()

    def _end(self, request: Request, text: str) -> list[Action]:
        """End one request: whatever part of its answer is missing is written here."""
        self._pending.remove(request)
        if request.replied:
            return [Deliver(self._notices.status("idle", request.header))]
        fate = "ran" if request.seen else "may have run" if request.sent else "was not sent"
        return self._fail(request, text, fate)

    def _fail(self, request: Request, text: str, fate: str) -> list[Action]:
        output, reply, idle = self._notices.failure(request, text)
        return [
            Report(Happening.FAILED, f"One {request.msg_type} {fate} and has no reply: {text}"),
            *([Deliver(output)] if output else []),
            Deliver(reply, request.subscriber),
            Deliver(idle),
        ]

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
        return self._fail(request, text, "was not sent")

    def _alarm(self) -> list[Action]:
        """Tell the cell that waits that the gateway cannot be reached, and since when."""
        since = self._down_since
        if since is None:
            return []
        text = (
            f"{self._gateway} cannot be reached since {since:%H:%M:%S} UTC: {self._cause} "
            "Trying again until it answers."
        )
        for request in self._pending:
            if request.msg_type == "execute_request" and not request.replied:
                return [Deliver(self._notices.stderr(text, request.header))]
        return []

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
        self._watching = False
        return [*(StopTimer(timer) for timer in Timer), *([Disconnect()] if had_socket else [])]

    def _rest(self) -> list[Action]:
        """Watch a link that owes an answer; let one that nobody needs end after a while."""
        awaited = self._pending.awaits_reply
        if not awaited and not self._attached:
            if self.state in _SOCKET or self.state is State.WAITING:
                return [StartTimer(Timer.LINGER, self._settings.linger)]
        elif awaited and self.state is State.OPEN and not self._watching:
            self._watching = True
            self._heard = False
            return [StartTimer(Timer.PROBE, self._settings.probe_after)]
        return []

    def _sent(self) -> list[Request]:
        return [request for request in self._pending if request.sent]

    def _outage(self) -> float:
        """The seconds that the link has been down, 0 if it is not."""
        return (self._clock() - self._down_since).total_seconds() if self._down_since else 0.0


def _messages(count: int) -> str:
    return "1 message was" if count == 1 else f"{count} messages were"


def _state_of(message: Message) -> str:
    try:
        return _read_status(message.content).execution_state
    except msgspec.MsgspecError:
        return ""
