"""Messages as clients and kernels write them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from jupyter_relay.testing import read_content
from jupyter_relay.wire.json import Json
from jupyter_relay.wire.message import EMPTY, Channel, Message, Part, compose

WRITTEN = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
"""The date of every message here; nothing depends on it."""

_numbers = itertools.count(1)


def request(
    msg_type: str = "execute_request",
    content: Mapping[str, Json] | None = None,
    *,
    msg_id: str = "",
    session: str = "tab",
    channel: Channel = Channel.SHELL,
    subshell_id: str | None = None,
) -> Message:
    """A message of a client, with an id of its own unless one is given."""
    return compose(
        channel,
        msg_type,
        {"code": "1"} if content is None else content,
        msg_id=msg_id or f"{session}-{next(_numbers)}",
        session=session,
        date=WRITTEN,
        subshell_id=subshell_id,
    )


class Voice:
    """What one process of a kernel says, numbered as ipykernel does for all channels at once.

    With ``numbered`` off its ids say nothing; with ``echoes`` its headers repeat the session id of
    the request, as IRkernel's and IJulia's do.
    """

    def __init__(
        self,
        session: str = "kernel-1",
        pid: int = 71,
        *,
        numbered: bool = True,
        echoes: bool = False,
    ) -> None:
        self.session = session
        self.pid = pid
        self.number = 0
        self._numbered = numbered
        self._echoes = echoes

    def lose(self, count: int = 1) -> None:
        """Have said so many messages that nobody hears."""
        self.number += count

    def say(
        self, channel: Channel, msg_type: str, content: Mapping[str, Json], parent: Message | None
    ) -> Message:
        """Any message."""
        number = self.number
        self.number += 1
        echoes = self._echoes and parent is not None
        return compose(
            channel,
            msg_type,
            content,
            msg_id=f"{self.session}_{self.pid}_{number}" if self._numbered else f"id-{number}-x",
            session=parent.head.session if echoes and parent else self.session,
            date=WRITTEN,
            parent_header=parent.header if parent else EMPTY,
        )

    def reply(self, parent: Message) -> Message:
        """The reply to a request, on its channel."""
        msg_type = parent.head.msg_type.removesuffix("_request") + "_reply"
        return self.say(parent.channel, msg_type, {"status": "ok"}, parent)

    def status(self, state: str, parent: Message | None) -> Message:
        """A status on iopub."""
        return self.say(Channel.IOPUB, "status", {"execution_state": state}, parent)

    def stream(self, text: str, parent: Message) -> Message:
        """Output on iopub."""
        return self.say(Channel.IOPUB, "stream", {"name": "stdout", "text": text}, parent)

    def answer(self, parent: Message) -> list[Message]:
        """All of a request's answer: busy, its reply, idle."""
        return [self.status("busy", parent), self.reply(parent), self.status("idle", parent)]


def gateway_status(state: str, session: str, parent_header: Part = EMPTY) -> Message:
    """A status that a gateway writes itself: it uses the client's session id."""
    return compose(
        Channel.IOPUB,
        "status",
        {"execution_state": state},
        msg_id=f"{session}_1_{next(_numbers) + 900_000}",
        session=session,
        date=WRITTEN,
        parent_header=parent_header,
    )


def types(messages: Iterable[Message]) -> list[str]:
    """Their types; a status with its state."""
    return [
        f"{message.head.msg_type}:{read_content(message)['execution_state']}"
        if message.head.msg_type == "status"
        else message.head.msg_type
        for message in messages
    ]


def notices(messages: Iterable[Message]) -> list[str]:
    """The texts of what Relay itself writes on stderr."""
    return [
        text
        for message in messages
        if message.head.msg_type == "stream"
        and (text := str(read_content(message)["text"])).startswith("[Jupyter Relay]")
    ]


def failures(messages: Iterable[Message]) -> list[str]:
    """The texts of replies that Relay has written in the kernel's place."""
    return [
        str(content["evalue"])
        for message in messages
        if message.head.msg_type.endswith("_reply")
        and (content := read_content(message)).get("ename") == "LinkLost"
    ]
