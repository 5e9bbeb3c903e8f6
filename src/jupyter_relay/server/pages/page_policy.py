"""Which messages a page may send to a kernel, and how much it is shown of the kernel's errors."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec

from jupyter_relay.wire.message import Channel, Message

_SHOWN_ENAME: Final = "ExecutionError"
_SHOWN_EVALUE: Final = "Execution error"
"""What Jupyter Server writes in the place of an error's name and text."""


class PagePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The restrictions that a server puts on its pages.

    ``allowed_types`` are the types of messages that pages may send; if empty, pages may send all
    types. ``hidden_traceback`` is shown instead of each traceback; if None, tracebacks are shown.
    Source: ``MappingKernelManager.allowed_message_types``, ``allow_tracebacks`` and
    ``traceback_replacement_message`` of Jupyter Server.
    """

    allowed_types: Collection[str] = frozenset()
    hidden_traceback: str | None = None

    def allows(self, message: Message) -> bool:
        """True if a page may send the message. Raises `MalformedFrame` for a header that cannot be
        read."""
        return not self.allowed_types or message.head.msg_type in self.allowed_types

    @property
    def shows_all(self) -> bool:
        """True if each message is shown as it is."""
        return self.hidden_traceback is None

    def shown(self, message: Message) -> Message:
        """Return a message as a page is shown it: where tracebacks are hidden, without the details
        of an error, or of the reply to a request that failed.

        Raises `MalformedFrame` if the header cannot be read.
        """
        if self.hidden_traceback is None:
            return message
        content = _failure(message)
        if content is None:
            return message
        content |= {
            "ename": _SHOWN_ENAME,
            "evalue": _SHOWN_EVALUE,
            "traceback": [self.hidden_traceback],
        }
        return Message(
            channel=message.channel,
            header=message.header,
            parent_header=message.parent_header,
            metadata=message.metadata,
            content=msgspec.json.encode(content),
            buffers=message.buffers,
        )


def _failure(message: Message) -> dict[str, object] | None:
    """Return the content of an error, or of the reply to a request that failed; None for any other
    message.

    A reply that cannot be read counts as such a reply: it may hold a traceback.
    """
    if message.channel is Channel.IOPUB:
        return {} if message.head.msg_type == "error" else None
    if message.channel is Channel.STDIN:
        return None
    try:
        content = msgspec.json.decode(message.content, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {"status": "error"}
    return content if content.get("status") == "error" else None
