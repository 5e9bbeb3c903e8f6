"""The messages that a link writes itself: answers in the kernel's place, notices and barriers.

No request stays without an answer: where the kernel's own can no longer come, one is written here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import msgspec

from jupyter_relay.errors import LinkLost
from jupyter_relay.link.actions import Action, Deliver, Happening, Report
from jupyter_relay.link.backlog import Dropped
from jupyter_relay.link.pending import MAX_REQUESTS, Pending, Request
from jupyter_relay.wire.json import Json
from jupyter_relay.wire.message import EMPTY, USERNAME, Channel, Message, Part, compose, quoted

_MAX_FINISHED = 2 * MAX_REQUESTS
"""How many finished requests are remembered. The kernel's own answers may still come, and some of
the requests may still wait in the outbox, so this is more than can be under way at once."""

_MAX_ID_LENGTH = 128
"""Longer message ids are remembered by a digest. Known clients use 32 to 45 characters."""


class Notices:
    """Composes the messages of one link.

    ``session`` is the upstream session id, which barriers carry. ``clock`` returns the time with
    its offset from UTC, and ``new_id`` a fresh message id.

    ``kernel_session`` is the session id in the header of the last message from the kernel; until
    there is one it is the upstream session id. All messages for subscribers carry it: JupyterLab
    drops what it has not handled yet, such as the updates of a widget, when a message with another
    session id comes. (Source: JupyterLab 4.6, ``_assertCurrentMessage`` in its `KernelConnection`.)
    """

    __slots__ = ("_clock", "_new_id", "_session", "kernel_session")

    def __init__(
        self, *, session: str, clock: Callable[[], datetime], new_id: Callable[[], str]
    ) -> None:
        self._session = session
        self._clock = clock
        self._new_id = new_id
        self.kernel_session = session

    def barrier(self, channel: Channel, subshell_id: str | None) -> Message:
        """Return a request that the kernel answers after all earlier ones of its lane."""
        return compose(
            channel,
            "kernel_info_request",
            {},
            msg_id=self._new_id(),
            session=self._session,
            date=self._clock(),
            subshell_id=subshell_id,
        )

    def stderr(self, text: str, parent_header: Part) -> Message:
        """Return a line on stderr, in the cell whose header is given."""
        content = {"name": "stderr", "text": f"[Jupyter Relay] {text}\n"}
        return self._compose(Channel.IOPUB, "stream", content, parent_header)

    def in_cell(self, cell: Request | None, text: str) -> list[Deliver]:
        """Return a line on stderr for all subscribers, in a cell; nothing if there is no cell."""
        return [] if cell is None else [Deliver(self.stderr(text, cell.header))]

    def dropped(self, dropped: Dropped) -> Message:
        """Return the notice that a slow or absent subscriber has missed messages."""
        text = (
            f"{counted(dropped.count)} dropped here, since the reader was away or did not keep "
            "up with the output."
        )
        return self.stderr(text, dropped.parent_header)

    def status(self, state: str, parent_header: Part = EMPTY) -> Message:
        """Return a status message: ``idle``, ``restarting`` or ``dead``."""
        return self._compose(Channel.IOPUB, "status", {"execution_state": state}, parent_header)

    def failure(self, request: Request, text: str) -> tuple[Message | None, Message, Message]:
        """Return the messages that finish a request without its result.

        These are the error output (None unless it is a cell's), the reply and the idle status.
        Source of their contents: Jupyter messaging protocol, "Request-Reply" and "Execution
        errors".
        """
        error: Mapping[str, Json] = {
            "ename": LinkLost.__name__,
            "evalue": text,
            "traceback": [text],
        }
        output = None
        reply: dict[str, Json] = {"status": "error", **error}
        if request.msg_type == "execute_request":
            output = self._compose(Channel.IOPUB, "error", error, request.header)
            reply |= {"execution_count": None, "user_expressions": {}, "payload": []}
        return (
            output,
            self._compose(request.channel, request.reply_type, reply, request.header),
            self.status("idle", request.header),
        )

    def _compose(
        self,
        channel: Channel,
        msg_type: str,
        content: Mapping[str, Json],
        parent_header: Part,
    ) -> Message:
        return compose(
            channel,
            msg_type,
            content,
            msg_id=self._new_id(),
            session=self.kernel_session,
            date=self._clock(),
            parent_header=parent_header,
        )


class Answers:
    """Finishes requests in the kernel's place, each once, and remembers which.

    ``pending`` are the link's pending requests, and ``notices`` composes the answers.
    """

    __slots__ = ("_finished", "notices", "pending")

    def __init__(self, pending: Pending, notices: Notices) -> None:
        self.pending = pending
        self.notices = notices
        self._finished: dict[str, bool] = {}
        """The ids of the requests finished here, and True for those whose reply was written here.
        A new request with the same id removes its entry."""

    def has_answered(self, msg_id: str) -> bool:
        """True if the reply to this request was written here."""
        return self._finished.get(_key(msg_id), False)

    def makes_obsolete(self, output: Message) -> bool:
        """True if this output of a request that is no longer pending repeats what was written here:
        its status, if it was finished here, and its error, if it was answered here.

        A process that is killed in mid-cell finishes that cell itself, and a gateway can keep this
        and pass it on once the cell is answered. Other output is still delivered.
        """
        match output.head.msg_type:
            case "status":
                return _key(output.parent.msg_id) in self._finished
            case "error":
                return self.has_answered(output.parent.msg_id)
        return False

    def forget_request(self, msg_id: str) -> None:
        """Forget what was answered to this id, since a new request comes under it."""
        self._finished.pop(_key(msg_id), None)

    def finish(
        self, requests: Iterable[Request], text: str, *, already_reported: bool = False
    ) -> list[Action]:
        """Finish these requests: write whatever part of their answers is missing.

        A cell that has its reply, but not the idle status behind its output, gets a notice that
        some output may be lost. ``already_reported`` is as in `Report`.
        """
        actions: list[Action] = []
        for request in requests:
            if not request.replied:
                self._forget_pending(request, answered=True)
                actions += self.fail(request, text, already_reported=already_reported)
                request.replied = request.ended = True
                continue
            if request.is_cell:
                notice = f"{text} The last of this cell's output may be lost."
                actions.append(Deliver(self.notices.stderr(notice, request.header)))
            actions += self.finish_output(request)
        return actions

    def finish_output(self, request: Request) -> list[Action]:
        """Finish a request that has its reply, and whose idle status was lost."""
        self._forget_pending(request, answered=False)
        request.ended = True
        return [Deliver(self.notices.status("idle", request.header))]

    def fail(self, request: Request, text: str, *, already_reported: bool = False) -> list[Action]:
        """Answer a request that was not sent with an error, ``text``.

        What the kernel may still answer is finished with `finish`.
        """
        output, reply, idle = self.notices.failure(request, text)
        line = f"One {quoted(request.msg_type)} has no reply: {text}"
        return [
            Report(Happening.FAILED, line, already_reported=already_reported),
            *([Deliver(output)] if output else []),
            Deliver(reply, request.subscriber),
            *([] if request.ended else [Deliver(idle)]),
        ]

    def fail_unsent(self, request: Request | None, text: str) -> list[Action]:
        """Answer a pending request that will not be sent; report ``text`` if it is no request."""
        if request is None:
            return [Report(Happening.FAILED, text)]
        self.pending.remove(request)
        return self.fail(request, text)

    def refuse(self, request: Request) -> list[Action]:
        """Answer a request for which there is no room among the pending ones."""
        text = (
            f"{len(self.pending)} requests to the kernel ({self.pending.memory} bytes) are already "
            "under way; this one was not sent."
        )
        return self.fail(request, text)

    def give_up(self, requests: Sequence[Request]) -> list[Action]:
        """Answer the requests that make room for another one."""
        text = (
            f"{len(self.pending)} requests to the kernel ({self.pending.memory} bytes) were under "
            "way. This one was given up, since the kernel has answered a later one."
        )
        return self.finish(requests, text)

    def fail_all(self, report: Report, requests: Iterable[Request], text: str) -> list[Action]:
        """Report the reason, with how many of these requests have no reply, and finish them."""
        under_way = list(requests)
        unanswered = sum(not request.replied for request in under_way)
        toll = ""
        if unanswered:
            have = "request under way has" if unanswered == 1 else "requests under way have"
            toll = f" {unanswered} {have} no reply."
        return [
            replace(report, text=report.text + toll),
            *self.finish(under_way, text, already_reported=True),
        ]

    def _forget_pending(self, request: Request, *, answered: bool) -> None:
        self.pending.remove(request)
        self._finished[_key(request.msg_id)] = answered
        if len(self._finished) > _MAX_FINISHED:
            del self._finished[next(iter(self._finished))]


class _Author(msgspec.Struct):
    """The field of a header that names the author of a message, ``username``."""

    username: str = ""


_read_author = msgspec.json.Decoder(_Author).decode


def is_ours(message: Message) -> bool:
    """True if a relay wrote this message, and not a kernel or its gateway."""
    try:
        return _read_author(message.header).username == USERNAME
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False


def counted(messages: int) -> str:
    """Return the beginning of a sentence about so many messages."""
    return "1 message was" if messages == 1 else f"{messages} messages were"


def _key(msg_id: str) -> str:
    """Return the key of an id: the id itself, or a digest of a long one."""
    if len(msg_id) <= _MAX_ID_LENGTH:
        return msg_id
    return hashlib.sha256(msg_id.encode(errors="surrogatepass")).hexdigest()
