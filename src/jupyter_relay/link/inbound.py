"""Messages from the kernel: delivers them to subscribers, and closes finished requests.

``docs/link.md`` has the theory.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import takewhile
from typing import Final, NamedTuple

import msgspec

from jupyter_relay.link.actions import Action, Deliver, Happening, Report
from jupyter_relay.link.answers import Answers, counted
from jupyter_relay.link.numbering import REPEATED
from jupyter_relay.link.pending import Request
from jupyter_relay.link.recovery import Missed, Passed, Recovery
from jupyter_relay.wire.message import IOPUB, SHELL, STDIN, Message


class ReportedState(NamedTuple):
    """An execution ``state`` that the kernel reported, and when: ``at``, in UTC by its own
    clock."""

    state: str
    at: datetime


class _Dated(msgspec.Struct):
    """The field of a header with the kernel's timestamp, ``date``."""

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
"""The requests that are also sent to a kernel at work, on another channel: their idle status says
nothing of that work. Gateways do not count them as activity either."""

_read_date = msgspec.json.Decoder(_Dated).decode


class Inbound:
    """Receives the messages of one kernel.

    ``gateway`` is the gateway's name for people, ``session`` the upstream session id. The parts of
    the link that it uses are ``recovery`` and its ``numbering``, ``answers``, ``pending`` and
    ``notices``.
    """

    __slots__ = (
        "_gateway",
        "_last_status",
        "_notices",
        "_numbering",
        "_our_sessions",
        "_own_request",
        "_pending",
        "_process",
        "_reported_state",
        "_session",
        "answers",
        "lost",
        "recovery",
        "replayed",
        "restarts",
        "untracked",
        "upstream",
    )

    def __init__(self, *, gateway: str, session: str, recovery: Recovery, answers: Answers) -> None:
        self._gateway = gateway
        self._session = session
        self.recovery = recovery
        self._numbering = recovery.numbering
        self.answers = answers
        self._pending = answers.pending
        self._notices = answers.notices
        self.upstream = session
        """The session id of the next handshake. `use_session` changes it: if the gateway's end of a
        socket turns out to be deaf, or a handshake beside the first is answered first."""

        self._our_sessions: tuple[str, ...] = (session,)
        """The session ids that barriers, and the gateway's own requests, may carry. A tuple of so
        few is searched faster than a set, and takes a quarter of the memory."""

        self._process = ""
        """The session id in the headers of the kernel's replies, which identifies the process;
        empty if no reply has shown it yet. Reset with another process."""

        self._last_status: Message | None = None
        """The last tracked status, until `reported_state` reads it. Reset with another process."""

        self._reported_state: ReportedState | None = None
        """What `reported_state` has read last. Reset with another process."""

        self._own_request = "", -1
        """The last barrier, or request of the gateway's own, that the kernel began with, and the
        number of its busy status. Never reset."""

        self.restarts = 0
        """How often another process was found to have replaced the kernel's. Never reset."""

        self.replayed = 0
        """How many messages came a second time, and were dropped. Never reset."""

        self.lost = 0
        """How many messages were reported as lost, where they could be counted. Never reset."""

        self.untracked = UNTRACKED
        """The types of messages that do not count as the kernel's work."""

    def receive(self, message: Message) -> list[Action]:
        """Deliver a message. Raises `MalformedFrame` if its headers cannot be read."""
        channel, head, parent = message.channel, message.head, message.parent
        number = None
        actions: list[Action] = []
        if head.session not in self._our_sessions:  # messages of the gateway's own carry ours
            self._notices.kernel_session = head.session
            identifies = (channel is not IOPUB or not self._process) and self._identifies(message)
            if identifies:
                actions = self._set_process(head.session, parent.msg_id)
            number = self._numbering.record(head.msg_id, channel, identifies=identifies)
            if number is not None and number < 0:
                if self._is_replayed(parent.msg_id, number):
                    self.replayed += 1
                    return actions
                number = None
        if parent.session in self._our_sessions:
            return actions + self._receive_own(message, number)
        if channel is IOPUB:
            request = self._pending.mark_seen(parent.msg_id)
            if request is None:
                return [] if self.answers.makes_obsolete(message) else [Deliver(message)]
            if head.msg_type != "status":
                return [Deliver(message)]
            return self._receive_status(request, message, number)
        if channel is STDIN:
            request = self._pending.mark_seen(parent.msg_id)
            return [Deliver(message, request.subscriber if request else parent.session)]
        return actions + self._receive_reply(message, number)

    def is_for_gateway(self, message: Message) -> bool:
        """True if this answers a request of the gateway's own, such as each handshake brings. It
        comes even if nothing that we send reaches the kernel."""
        parent = message.parent
        return parent.session in self._our_sessions and not self.recovery.has_barrier(parent.msg_id)

    def record_status(self, status: Message) -> bool:
        """Record the status of a request, if that counts as the kernel's work; return whether it
        does. It is read when `reported_state` is."""
        if status.parent.msg_type in self.untracked:
            return False
        self._last_status = status
        return True

    def is_work(self, output: Message) -> bool:
        """True if an output counts as the kernel's work: by its type, by that of its request, or
        because the kernel reports that it is busy."""
        untracked = self.untracked
        if output.head.msg_type not in untracked or output.parent.msg_type not in untracked:
            return True
        reported = self.reported_state
        return reported is not None and reported.state == "busy"

    @property
    def reported_state(self) -> ReportedState | None:
        """The state that the kernel reported last; None if it has reported none."""
        if self._last_status is not None:
            self._reported_state = _read_reported(self._last_status)
            self._last_status = None
        return self._reported_state

    def use_session(self, session: str) -> None:
        """The gateway knows us by this session id from now on."""
        self.upstream = session
        ours = self._session
        self._our_sessions = (ours,) if session == ours else (ours, session)

    def process_changed(self) -> None:
        """Another process is the kernel. It is not known yet, and has received no request."""
        self.restarts += 1
        self._process = ""
        self._last_status = self._reported_state = None
        self._numbering.reset()
        self.recovery.clear()

    def _is_replayed(self, msg_id: str, number: int) -> bool:
        """True if a message with this parent, whose number was recorded before, has come before.

        Kernel Gateway and Jupyter Server can replay what an earlier socket of ours has brought. But
        if nothing was seen of its request yet, then the kernel has begun to count anew.
        """
        if self.recovery.has_barrier(msg_id):
            return False
        request = self._pending.find(msg_id)
        if request is not None and not request.seen:
            self._numbering.reset()
            return False
        return number == REPEATED

    def _identifies(self, message: Message) -> bool:
        """True if this message identifies the kernel's process.

        Replies do, by the session in their header; but many kernels (IRkernel, IJulia) repeat that
        of the request. Only replies to pending requests count, since a gateway's buffer also brings
        those of a process that has ended. While the process is unknown, a status counts as well: it
        can overtake the last reply of the process before.
        """
        head, parent = message.head, message.parent
        return (
            (message.channel is SHELL or (head.msg_type == "status" and not self._process))
            and head.session not in {"", parent.session}
            and (
                self._pending.find(parent.msg_id) is not None
                or self.recovery.has_barrier(parent.msg_id)
            )
        )

    def _set_process(self, process: str, msg_id: str) -> list[Action]:
        """Record which process has answered this request; detect a restart."""
        known, self._process = self._process, process
        return self._process_replaced(msg_id) if known not in {"", process} else []

    def _process_replaced(self, msg_id: str) -> list[Action]:
        """The answer to this request comes from another process: requests before it are lost with
        the old one."""
        self.restarts += 1
        self._numbering.reset()
        self.recovery.forget_numbers()
        reason = "The kernel was restarted, and this was lost with it."
        # A barrier was sent before all that was held, and is itself not pending.
        is_barrier = self.recovery.has_barrier(msg_id)
        sent = self.recovery.requests_before(msg_id) if is_barrier else self._pending.sent
        old = list(takewhile(lambda request: request.msg_id != msg_id, sent))
        report = Report(
            Happening.RESTARTED, "Another client, or the gateway, has restarted the kernel."
        )
        lost = [request for request in old if request in self._pending]
        return self.answers.fail_all(report, lost, reason)

    def _receive_own(self, message: Message, number: int | None) -> list[Action]:
        """Receive the answer to a barrier, or to a request of the gateway's own. It is delivered to
        no subscriber."""
        msg_id = message.parent.msg_id
        is_barrier = self.recovery.has_barrier(msg_id)
        if message.channel is not IOPUB:
            if not is_barrier:
                return []
            return self._finish_behind(self.recovery.barrier_replied(msg_id, number))
        if message.execution_state != "idle":
            if number is not None:
                self._own_request = msg_id, number
            return []
        if is_barrier:
            return self._finish_behind(self.recovery.barrier_ended(msg_id, number))
        # Only the gateway gets its reply, which is numbered between its busy and its idle. If more
        # numbers are missing there, any of them may be output of a cell that ran meanwhile.
        own, began = self._own_request
        if number is not None and own == msg_id and not self.recovery.had_barrier(msg_id):
            self._numbering.ignore_only_missing(began, number)
        return []

    def _receive_status(
        self, request: Request, message: Message, number: int | None
    ) -> list[Action]:
        if message.execution_state != "idle":
            if request.began is None:
                request.began = number
            return [Deliver(message)]
        actions: list[Action] = []
        for missed in self.recovery.request_ended(request, number):
            actions += self._report_loss(missed)
            if missed.request is not request:
                actions += self.answers.finish_output(missed.request)
        self._pending.mark_ended(request)
        return [*actions, Deliver(message)]

    def _receive_reply(self, message: Message, number: int | None) -> list[Action]:
        parent = message.parent
        if self.answers.has_answered(parent.msg_id):
            return []  # it was answered in the kernel's place
        request = self._pending.find(parent.msg_id)
        if request is not None:
            request.answered = number
            self.recovery.request_replied(request)
            self._pending.mark_replied(request)
        return [Deliver(message, request.subscriber if request else parent.session)]

    def _finish_behind(self, passed: Passed | None) -> list[Action]:
        """Finish what is still pending behind a barrier that has passed; nothing if it has not."""
        if passed is None:
            return []
        actions: list[Action] = []
        for missed in passed.unfinished:
            if missed.request in self._pending:
                actions += self._report_loss(missed)
                if missed.request.replied:
                    actions += self.answers.finish_output(missed.request)
                else:
                    fate = self._describe_fate(missed.request, passed)
                    actions += self.answers.finish([missed.request], fate)
        return actions

    def _report_loss(self, missed: Missed) -> list[Action]:
        """Report what was lost of a request's output: in the log, and in the cell if it is one."""
        request, loss = missed
        if loss is None:
            return []
        self.lost += loss.count or 0
        many = "messages may have been" if loss.count is None else f"up to {counted(loss.count)}"
        where = f"between the kernel and {self._gateway}"
        if loss.seconds:
            where = f"while the connection to {self._gateway} was down ({loss.seconds:.1f} s)"
        text = f"{many} lost {where}."
        report = Report(Happening.LOST, text, seconds=loss.seconds, count=loss.count)
        return [report, *self._notices.in_cell(request if request.is_cell else None, text)]

    def _describe_fate(self, request: Request, passed: Passed) -> str:
        """Return what is known of a request whose reply can no longer come, as a sentence."""
        if passed.seconds:
            why = f"The connection to {self._gateway} was down for {passed.seconds:.1f} s"
        else:
            why = "The kernel has answered a later request"
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


def _read_reported(status: Message) -> ReportedState | None:
    """Return the state in a status, with its date; None if either cannot be read. A date without an
    offset is local time in an unknown place (IJulia writes such)."""
    try:
        local = datetime.fromisoformat(_read_date(status.header).date)
        at = local.astimezone(UTC) if local.tzinfo is not None else None
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return None
    state = status.execution_state
    return ReportedState(state, at) if state and at is not None else None
