"""What the kernel says: whom it is for, and which requests end with it.

The theory stands above `Link`, in ``link.py``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import takewhile
from typing import Final, NamedTuple

import msgspec

from jupyter_relay.link.actions import Action, Deliver, Happening, Report
from jupyter_relay.link.notices import Notices, counted
from jupyter_relay.link.numbering import REPEATED, Numbering
from jupyter_relay.link.pending import Pending, Request
from jupyter_relay.link.recovery import Missed, Passed, Recovery
from jupyter_relay.link.substitute import Substitute
from jupyter_relay.wire.message import Channel, Message


class Told(NamedTuple):
    """A state that the kernel told, and when, in UTC by its own clock."""

    state: str
    at: datetime


class _Status(msgspec.Struct):
    """The content of a status message."""

    execution_state: str = ""


class _Dated(msgspec.Struct):
    """What else a header says."""

    date: str = ""


UNTRACKED: Final = frozenset(
    {
        "kernel_info_request",
        "comm_info_request",
        "debug_request",
        "interrupt_request",
        "shutdown_request",
    }
)
"""What is asked of a kernel that is at work, too, on another channel: the idle that ends it says
nothing of the work. Gateways do not take these for activity either."""

_IOPUB: Final = Channel.IOPUB
"""Asked for with every message that passes; see ``link.py``."""

_read_status = msgspec.json.Decoder(_Status).decode
_read_date = msgspec.json.Decoder(_Dated).decode


class Hearing:
    """Hears one kernel; ``deaths`` is how often another process was found to have replaced it.
    ``untracked`` are the types of messages that do not count as its work.

    ``gateway`` is the gateway's name for people, ``session`` the upstream session id; the rest is
    the link's own.
    """

    __slots__ = (
        "_aside_began",
        "_gateway",
        "_notices",
        "_numbering",
        "_ours",
        "_pending",
        "_process",
        "_recovery",
        "_session",
        "_status",
        "_substitute",
        "_told",
        "deaths",
        "untracked",
    )

    def __init__(
        self,
        *,
        gateway: str,
        session: str,
        pending: Pending,
        recovery: Recovery,
        numbering: Numbering,
        notices: Notices,
        substitute: Substitute,
    ) -> None:
        self._gateway = gateway
        self._session = session
        self._ours: tuple[str, ...] = (session,)
        """The session ids of ours. A tuple of so few is searched faster than a set is, which hashes
        the id of each message first, and takes a quarter of the memory."""

        self._pending = pending
        self._recovery = recovery
        self._numbering = numbering
        self._notices = notices
        self._substitute = substitute
        self._process = ""
        self._status: Message | None = None
        self._told: Told | None = None
        self._aside_began = "", -1
        """The last question of the gateway's own that the kernel began, and the number of its busy
        status."""

        self.deaths = 0
        self.untracked = UNTRACKED

    def hear(self, message: Message) -> list[Action]:
        """Take a message from upstream. Raises `MalformedFrame` if its headers cannot be read."""
        channel, head, parent = message.channel, message.head, message.parent
        number = None
        actions: list[Action] = []
        if head.session not in self._ours:  # the gateway's own words carry our session id
            self._notices.kernel_session = head.session
            leads = (channel is not _IOPUB or not self._process) and self._leads(message)
            if leads:
                actions = self._recognise(head.session, parent.msg_id)
            number = self._numbering.see(head.msg_id, channel, leads=leads)
            if number is not None and number < 0:
                if self._is_repeated(parent.msg_id, number):
                    return actions
                number = None
        if parent.session in self._ours:
            return actions + self._aside(message, number)
        if channel is _IOPUB:
            request = self._pending.seen(parent.msg_id)
            if request is None:
                return [] if self._substitute.has_said(message) else [Deliver(message)]
            if head.msg_type != "status":
                return [Deliver(message)]
            return self._status_of(request, message, number)
        if channel is Channel.STDIN:
            request = self._pending.seen(parent.msg_id)
            return [Deliver(message, request.subscriber if request else parent.session)]
        return actions + self._reply(message, number)

    def is_aside(self, message: Message) -> bool:
        """Whether this answers a question of the gateway's own, such as each handshake brings: it
        comes also where nothing that we say reaches the kernel."""
        parent = message.parent
        return parent.session in self._ours and not self._recovery.owns(parent.msg_id)

    def note(self, status: Message) -> bool:
        """Note the status of a request, if it tells what the kernel does, and return whether it
        does; it is read when somebody wants to know."""
        if status.parent.msg_type in self.untracked:
            return False
        self._status = status
        return True

    def is_work(self, output: Message) -> bool:
        """Whether output counts as work of the kernel: by its type, by that of its request, or
        since the kernel says that it is busy."""
        untracked = self.untracked
        if output.head.msg_type not in untracked or output.parent.msg_type not in untracked:
            return True
        told = self.told
        return told is not None and told.state == "busy"

    @property
    def told(self) -> Told | None:
        """The state that the kernel was last heard to tell; None if it has told none."""
        if self._status is not None:
            self._told, self._status = _told_by(self._status), None
        return self._told

    def answer_to(self, session: str) -> None:
        """The gateway knows us by this session id from now on."""
        self._ours = (self._session, session)

    def renew(self) -> None:
        """Another process is the kernel: nothing is known of it, and nothing was asked of it."""
        self.deaths += 1
        self._process = ""
        self._status = self._told = None
        self._numbering.forget()
        self._recovery.forget()

    def _is_repeated(self, msg_id: str, number: int) -> bool:
        """Whether a message with this parent, whose number was seen before, is the one that came.

        Kernel Gateway and Jupyter Server can replay what an earlier socket of ours has brought. But
        nothing can have come yet of a request of which nothing was seen: then the kernel counts
        anew under an old name.
        """
        if self._recovery.owns(msg_id):
            return False
        request = self._pending.get(msg_id)
        if request is not None and not request.seen:
            self._numbering.forget()
            return False
        return number == REPEATED

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

    def _replaced(self, msg_id: str) -> list[Action]:
        """A reply shows that another process is now the kernel: what was asked before the request
        that it answers was asked of the old one."""
        self.deaths += 1
        self._numbering.forget()
        self._recovery.recount()
        reason = "The kernel was restarted, and with it this was lost."
        # A barrier went up before all that was held, and is itself not pending.
        owns = self._recovery.owns(msg_id)
        asked = self._recovery.before(msg_id) if owns else self._pending.sent
        old = list(takewhile(lambda request: request.msg_id != msg_id, asked))
        report = Report(Happening.RESTARTED, "The kernel was restarted from another place.")
        lost = [request for request in old if request in self._pending]
        return self._substitute.end_with(report, lost, reason)

    def _aside(self, message: Message, number: int | None) -> list[Action]:
        """Take what answers a barrier, or a request of the gateway's own: it is for nobody else."""
        msg_id = message.parent.msg_id
        if message.channel is not Channel.IOPUB:
            owned = self._recovery.owns(msg_id)
            return self._settled(self._recovery.reply(msg_id, number) if owned else None)
        if state_of(message) != "idle":
            if number is not None:
                self._aside_began = msg_id, number
            return []
        if self._recovery.owns(msg_id):
            return self._settled(self._recovery.idle(msg_id, number))
        # Its reply, which the gateway has, is the only message between its busy and its idle; else
        # the hole may as well be a line of a cell that ran beside it.
        if (
            number is not None
            and self._aside_began == (msg_id, number - 2)
            and not self._recovery.has_passed(msg_id)
        ):
            self._numbering.excuse(number - 1)
        return []

    def _status_of(self, request: Request, message: Message, number: int | None) -> list[Action]:
        if state_of(message) != "idle":
            if request.began is None:
                request.began = number
            return [Deliver(message)]
        actions: list[Action] = []
        for missed in self._recovery.ends(request, number):
            actions += self._announce(missed)
            if missed.request is not request:
                actions += self._substitute.idle(missed.request)
        self._pending.ended(request)
        return [*actions, Deliver(message)]

    def _reply(self, message: Message, number: int | None) -> list[Action]:
        parent = message.parent
        if self._substitute.has_answered(parent.msg_id):
            return []  # it was answered in the kernel's place
        request = self._pending.get(parent.msg_id)
        if request is not None:
            request.answered = number
            self._recovery.replied(request)
            self._pending.replied(request)
        return [Deliver(message, request.subscriber if request else parent.session)]

    def _settled(self, passed: Passed | None) -> list[Action]:
        """End what is still under way behind a barrier that has passed."""
        if passed is None:
            return []
        actions: list[Action] = []
        for missed in passed.unfinished:
            if missed.request in self._pending:
                actions += self._announce(missed)
                if missed.request.replied:
                    actions += self._substitute.idle(missed.request)
                else:
                    verdict = self._verdict(missed.request, passed)
                    actions += self._substitute.end([missed.request], verdict)
        return actions

    def _announce(self, missed: Missed) -> list[Action]:
        """Tell a cell what was lost of its output; of other requests, only the log."""
        request, loss = missed
        if loss is None:
            return []
        many = "messages may have been" if loss.count is None else f"up to {counted(loss.count)}"
        where = f"between the kernel and {self._gateway}"
        if loss.seconds:
            where = f"while the connection to {self._gateway} was down ({loss.seconds:.1f} s)"
        text = f"{many} lost {where}."
        report = Report(Happening.LOST, text, seconds=loss.seconds, count=loss.count)
        if not request.is_cell:
            return [report]
        return [report, Deliver(self._notices.stderr(text, request.header))]

    def _verdict(self, request: Request, passed: Passed) -> str:
        """Say what became of a request whose reply can no longer come."""
        if passed.seconds:
            why = f"The connection to {self._gateway} was down for {passed.seconds:.1f} s"
        else:
            why = "The kernel has answered what was asked after this"
        if request.seen:
            return f"{why}: this ran, but its result was lost."
        if request.doubted_size:
            size = f"{request.doubted_size / 2**20:.1f} MiB"
            return (
                f"This message of {size} never reached the kernel, or its result was lost. It is "
                f"probably larger than {self._gateway} takes, which is 10 MiB unless it is set up "
                "otherwise."
            )
        if passed.whole:
            return f"{why}: this never reached the kernel."
        return f"{why}: this may have run, and its result was lost."


def state_of(message: Message) -> str:
    """Return the state that a status tells; an empty text for one that tells none, or another
    message."""
    if message.head.msg_type != "status":
        return ""
    try:
        return _read_status(message.content).execution_state
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ""


def _told_by(status: Message) -> Told | None:
    """Return what a status tells; None where it tells no state, or not when: a date without an
    offset is the local time of nobody knows where (IJulia writes such)."""
    try:
        local = datetime.fromisoformat(_read_date(status.header).date)
        at = local.astimezone(UTC) if local.tzinfo is not None else None
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return None
    state = state_of(status)
    return Told(state, at) if state and at is not None else None
