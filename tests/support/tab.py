"""A browser's websocket to a kernel, and what a page reads from it."""

from __future__ import annotations

from collections.abc import Sequence

from jupyter_relay.testing import read_content
from jupyter_relay.wire.message import Channel, Message
from tests.testing.bare_client import BareSocket


class Tab(BareSocket):
    """One tab. ``end`` says how its websocket ended, once `to_the_end` has seen that."""

    end = ""

    async def send_message(self, message: Message) -> None:
        """Send a message as it is."""
        frame = self.subprotocol.encode(message)
        if frame.text:
            await self.websocket.send_str(frame.data.decode())
        else:
            await self.websocket.send_bytes(frame.data)

    async def reply_to(self, msg_id: str) -> Message:
        """Return the reply to a request."""
        return (await self.until_idle(msg_id))[1]

    async def until_idle(self, msg_id: str) -> tuple[list[Message], Message]:
        """Return all output of a request, and its reply."""
        output: list[Message] = []
        reply: Message | None = None
        idle = False
        while reply is None or not idle:
            message = await self.receive()
            if message.parent.msg_id != msg_id:
                continue
            if message.channel is Channel.IOPUB:
                output.append(message)
                idle = idle or status_of(message) == "idle"
            elif message.head.msg_type.endswith("_reply"):
                reply = message
        return output, reply

    async def to_the_end(self) -> list[Message]:
        """Return all messages until the server closes the websocket."""
        messages = []
        try:
            while True:
                messages.append(await self.receive())
        except ConnectionError as error:
            self.end = str(error)
            return messages

    async def run(self, code: str) -> str:
        """Execute code and return what it prints."""
        output, _ = await self.until_idle(await self.execute(code))
        return printed(output)


def status_of(message: Message) -> str:
    """Return the state that a status message tells, else an empty text."""
    if message.head.msg_type != "status":
        return ""
    return str(read_content(message)["execution_state"])


def printed(messages: Sequence[Message]) -> str:
    """Return the text of the stream output among messages."""
    return "".join(
        str(read_content(message)["text"])
        for message in messages
        if message.head.msg_type == "stream"
    )
