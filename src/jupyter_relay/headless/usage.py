"""What a kernel uses, asked with ``usage_request``, also of kernels that do not know that request.

Such a kernel ends the request without a reply, and who asked waits until the time is up. Requests
on control are answered in their order, so a ``kernel_info_request`` is sent behind each: once that
is answered, no ``usage_reply`` will come. Then one is written here. It says ``not_supported``, as
jupyter-resource-usage itself says of kernels that are too old.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

import msgspec

from jupyter_relay.wire.message import Channel, Message, compose, quoted

_MOST_ASKED: Final = 100
"""How many requests are remembered whose answers do not come."""


class _Info(msgspec.Struct):
    """Who a kernel says that it is."""

    implementation: str = ""
    implementation_version: str = ""


_read_info = msgspec.json.Decoder(_Info).decode


class _Behind:
    """The request that was sent behind a usage request."""

    __slots__ = ("ended", "replied", "usage")

    def __init__(self, usage: Message) -> None:
        self.usage: Message | None = usage
        """The usage request; None once that has its reply."""
        self.replied = False
        """True once the reply to the request behind has come."""
        self.ended = False
        """True once the idle status of the request behind has come."""


class UsageRequests:
    """The usage requests of one client, each until the one that was sent behind it is answered, and
    its output has ended."""

    def __init__(self) -> None:
        self._asked: dict[str, _Behind] = {}
        """By the id of the request behind. Some kernels send no idle status for it: then it stays
        until `_MOST_ASKED` others have come."""

    def follow(self, request: Message) -> Message | None:
        """Return what is to be sent behind a message; None behind what is no usage request."""
        if request.channel is not Channel.CONTROL or request.head.msg_type != "usage_request":
            return None
        behind = compose(
            Channel.CONTROL,
            "kernel_info_request",
            {},
            msg_id=uuid4().hex,
            session=request.head.session,
            date=datetime.now(UTC),
        )
        for msg_id in tuple(self._asked)[: 1 - _MOST_ASKED]:
            del self._asked[msg_id]
        self._asked[behind.head.msg_id] = _Behind(request)
        return behind

    def hear(self, message: Message) -> Message | None:
        """Return what the client hears in the place of a message, which as a rule is the message
        itself; None for nothing."""
        if not self._asked:
            return message
        parent = message.parent.msg_id
        behind = self._asked.get(parent)
        if behind is not None:
            return self._hear_behind(parent, behind, message)
        if message.channel is Channel.CONTROL:
            for behind in self._asked.values():
                if behind.usage is not None and behind.usage.head.msg_id == parent:
                    behind.usage = None
                    break
        return message

    def _hear_behind(self, msg_id: str, behind: _Behind, message: Message) -> Message | None:
        """Return what the client hears in the place of a part of the answer to a request behind."""
        reply = None
        if message.channel is Channel.CONTROL:
            if behind.usage is not None:
                reply = _not_supported(behind.usage, message)
            behind.usage = None
            behind.replied = True
        elif message.execution_state == "idle":
            behind.ended = True
        if behind.replied and behind.ended:
            del self._asked[msg_id]
        return reply


def _not_supported(request: Message, info: Message) -> Message:
    """Write the reply to a usage request of a kernel that has answered what was behind it."""
    try:
        told = _read_info(info.content)
    except (msgspec.MsgspecError, ValueError):
        told = _Info()
    version = f"{told.implementation} {told.implementation_version}".strip()
    return compose(
        Channel.CONTROL,
        "usage_reply",
        {"reason": "not_supported", "kernel_version": quoted(version)},
        msg_id=uuid4().hex,
        session=info.head.session,
        date=datetime.now(UTC),
        parent_header=request.header,
    )
