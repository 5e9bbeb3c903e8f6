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


class UsageRequests:
    """The usage requests of one client, each until the one that was sent behind it is answered."""

    def __init__(self) -> None:
        self._asked: dict[str, Message | None] = {}
        """By the id of the request behind it; None for a request that has been answered."""

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
        self._asked[behind.head.msg_id] = request
        return behind

    def hear(self, message: Message) -> Message | None:
        """Return what the client hears in the place of a message, which as a rule is the message
        itself; None for nothing."""
        if not self._asked:
            return message
        parent = message.parent.msg_id
        if parent in self._asked:
            if message.channel is not Channel.CONTROL:
                return None
            request = self._asked.pop(parent)
            return _not_supported(request, message) if request is not None else None
        if message.channel is Channel.CONTROL:
            for behind, request in self._asked.items():
                if request is not None and request.head.msg_id == parent:
                    self._asked[behind] = None
                    break
        return message


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
