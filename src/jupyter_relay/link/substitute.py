"""Answers in a kernel's place, where its own can no longer come."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from jupyter_relay.link.actions import Action, Deliver, Happening, Report
from jupyter_relay.link.notices import Notices
from jupyter_relay.link.pending import MOST_REQUESTS, Pending, Request
from jupyter_relay.wire.message import Message, quoted

_MOST_ENDED = 2 * MOST_REQUESTS
"""How many of the requests that it has ended it remembers, since the kernel's own answers may come
late, and some of the requests may still wait in the outbox: more than can be under way at once."""

_LONGEST_ID = 128
"""The ids of known clients have 32 to 45 signs."""


class Substitute:
    """Ends requests, each once, and remembers which."""

    __slots__ = ("_ended", "_notices", "_pending")

    def __init__(self, pending: Pending, notices: Notices) -> None:
        self._pending = pending
        self._notices = notices
        self._ended: dict[str, bool] = {}
        """The requests that were ended here, and whether their reply was written here, too."""

    def has_answered(self, msg_id: str) -> bool:
        """Whether this request got its reply from here."""
        return self._ended.get(_key(msg_id), False)

    def has_said(self, output: Message) -> bool:
        """Whether output of a request that is no longer pending says what was said here already:
        its status, if it was ended here, and its error, if it was answered with one.

        A process that is killed in mid-cell ends that cell itself, and a gateway can keep this and
        pass it on once the cell is answered. Other output is not to be lost for that.
        """
        match output.head.msg_type:
            case "status":
                return _key(output.parent.msg_id) in self._ended
            case "error":
                return self.has_answered(output.parent.msg_id)
        return False

    def forget(self, msg_id: str) -> None:
        """Somebody asks again under the same id."""
        self._ended.pop(_key(msg_id), None)

    def end_with(self, report: Report, requests: Iterable[Request], text: str) -> list[Action]:
        """Report what ends these requests, with how many they are, and end them as `end` does."""
        ended = list(requests)
        unanswered = sum(not request.replied for request in ended)
        toll = f" {_counted(unanswered)} no reply." if unanswered else ""
        return [
            replace(report, text=report.text + toll),
            *self.end(ended, text, told=True),
        ]

    def end(self, requests: Iterable[Request], text: str, *, told: bool = False) -> list[Action]:
        """End these requests: whatever part of their answers is missing is written here.

        A cell that has its reply, and not the idle behind its output, is told that some may be
        lost.
        """
        return [action for request in requests for action in self._end(request, text, told=told)]

    def fail(self, request: Request, text: str, *, told: bool = False) -> list[Action]:
        """Answer a request with an error that says ``text``; ``told`` is as in `Report`.

        It is for one that was not sent. What the kernel may still answer is ended, with `end`.
        """
        output, reply, idle = self._notices.failure(request, text)
        return [
            Report(
                Happening.FAILED, f"One {quoted(request.msg_type)} has no reply: {text}", told=told
            ),
            *([Deliver(output)] if output else []),
            Deliver(reply, request.subscriber),
            *([] if request.ended else [Deliver(idle)]),
        ]

    def idle(self, request: Request) -> list[Action]:
        """End a request that has its reply, and whose idle was lost."""
        self._pending.remove(request)
        self._remember(request, answered=False)
        request.ended = True
        return [Deliver(self._notices.status("idle", request.header))]

    def _end(self, request: Request, text: str, *, told: bool) -> list[Action]:
        if request.replied:
            end = self.idle(request)
            if not request.is_cell:
                return end
            notice = f"{text} The last of this cell's output may be lost."
            return [Deliver(self._notices.stderr(notice, request.header)), *end]
        self._pending.remove(request)
        self._remember(request, answered=True)
        actions = self.fail(request, text, told=told)
        request.replied = request.ended = True
        return actions

    def _remember(self, request: Request, *, answered: bool) -> None:
        self._ended[_key(request.msg_id)] = answered
        if len(self._ended) > _MOST_ENDED:
            del self._ended[next(iter(self._ended))]


def _key(msg_id: str) -> str:
    """Return what is remembered of an id: all of it, or a digest in place of one that is long."""
    if len(msg_id) <= _LONGEST_ID:
        return msg_id
    return hashlib.sha256(msg_id.encode(errors="surrogatepass")).hexdigest()


def _counted(requests: int) -> str:
    return "1 request under way has" if requests == 1 else f"{requests} requests under way have"
