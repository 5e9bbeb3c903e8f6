"""The messages that a link writes itself, so that no cell is left without an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec

from jupyter_relay.errors import LinkLost
from jupyter_relay.link.pending import Request
from jupyter_relay.wire.message import (
    EMPTY,
    JSON,
    USERNAME,
    Channel,
    Message,
    Part,
    compose,
)


class Notices:
    """Writes messages in the name of one link.

    ``session`` is the upstream session id, which barriers carry; ``clock`` tells the time with its
    offset from UTC and ``new_id`` gives a fresh message id.

    ``kernel_session`` is the session id in the header of the last message that the kernel sent, and
    all that goes down carries it: JupyterLab forgets what it has not handled yet of the messages
    before one with another session id, such as the updates of a widget. (Source: JupyterLab 4.6,
    ``_assertCurrentMessage`` in its `KernelConnection`.) A kernel that has sent nothing has nothing
    to be forgotten; then it is the upstream session id.
    """

    __slots__ = ("_clock", "_new_id", "_session", "kernel_session")

    def __init__(
        self, *, session: str, clock: Callable[[], datetime], new_id: Callable[[], str]
    ) -> None:
        self._session = session
        self.kernel_session = session
        self._clock = clock
        self._new_id = new_id

    def barrier(self, channel: Channel, subshell_id: str | None) -> Message:
        """Return a request that the kernel answers after all that went before it."""
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

    def status(self, state: str, parent_header: Part = EMPTY) -> Message:
        """Return a status message: ``idle``, ``restarting`` or ``dead``."""
        return self._compose(Channel.IOPUB, "status", {"execution_state": state}, parent_header)

    def failure(self, request: Request, text: str) -> tuple[Message | None, Message, Message]:
        """Return what ends a request without its result.

        The error output (None unless it is a cell's), the reply and the idle status. Source of
        their contents: Jupyter messaging protocol, "Request-Reply" and "Execution errors".
        """
        error: Mapping[str, JSON] = {
            "ename": LinkLost.__name__,
            "evalue": text,
            "traceback": [text],
        }
        output = None
        reply: dict[str, JSON] = {"status": "error", **error}
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
        content: Mapping[str, JSON],
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


class _Author(msgspec.Struct):
    """Who wrote a message, by its header."""

    username: str = ""


_read_author = msgspec.json.Decoder(_Author).decode


def is_ours(message: Message) -> bool:
    """Whether a relay wrote this message, and not a kernel or its gateway."""
    try:
        return _read_author(message.header).username == USERNAME
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False


def counted(messages: int) -> str:
    """Return the beginning of a sentence about so many messages."""
    return "1 message was" if messages == 1 else f"{messages} messages were"
