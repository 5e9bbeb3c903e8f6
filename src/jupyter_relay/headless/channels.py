"""The channels of a headless client: queues that wait for an event, never poll, need no thread."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from queue import Empty
from typing import Any, TypeAlias

import msgspec
from jupyter_client.channelsabc import ChannelABC, HBChannelABC
from jupyter_client.session import Session

from jupyter_relay.errors import KernelNotRunning, MalformedFrame
from jupyter_relay.kernels.mailbox import Mailbox
from jupyter_relay.link.backlog import Dropped
from jupyter_relay.wire.json import read_date
from jupyter_relay.wire.message import Channel, Message, Part

MessageDict: TypeAlias = dict[str, Any]
"""A message as jupyter_client gives and takes it; its values are what JSON, or a kernel, says."""


class ChannelQueue(ChannelABC):
    """One channel of a client, with the interface of jupyter_client's own channels.

    ``send`` takes a message up; ``max_bytes`` bounds what nobody has fetched yet. What that costs
    is told by the message that ``describe`` makes of it. jupyter_client's channels work before they
    are started, and there are programs that rely on it: ``first_use`` is called then, to start it.
    """

    def __init__(
        self,
        channel_name: Channel,
        session: Session,
        *,
        send: Callable[[Message], None],
        max_bytes: int,
        first_use: Callable[[], None] | None = None,
        describe: Callable[[Dropped], Message] | None = None,
    ) -> None:
        self.channel_name = channel_name
        self._session = session
        self._send = send
        self._first_use = first_use
        self._mailbox = Mailbox(max_bytes=max_bytes, describe=describe)
        self._signal: _Signal | None = None
        """Made when `socket` is first read; None again once the channel stops."""
        self._running: bool | None = None
        """None until it is started or stopped for the first time."""

    @property
    def socket(self) -> int:
        """A file descriptor that is readable while a message is here.

        jupyter_client's channels have a ZeroMQ socket here. Programs that only wait on it, with
        ``zmq.Poller`` for example, and fetch the message with `get_msg` do so on this one, too. No
        message can be read from it. It is closed when the channel stops; then `KernelNotRunning`
        is raised.
        """
        if not self._is_usable():
            raise KernelNotRunning(f"The {self.channel_name} channel is not running.")
        if self._signal is None:
            self._signal = _Signal()
            self._update_signal()
        return self._signal.fileno()

    def start(self) -> None:
        """Begin to take messages."""
        self._running = True

    def stop(self) -> None:
        """Take no more messages; forget those that nobody fetched."""
        self._running = False
        if self._signal is not None:
            self._signal.close()
            self._signal = None
        self._mailbox.clear()
        self._mailbox.wake()

    close = stop

    def end_messages(self) -> None:
        """Take no more messages, for there are none; those that are here can be fetched."""
        self._running = False
        self._mailbox.wake()

    def is_alive(self) -> bool:
        """Whether it has been started, and not stopped."""
        return bool(self._running)

    def put(self, message: Message) -> None:
        """Take a message that came."""
        if self._running:
            self._mailbox.append(message)
            self._update_signal()

    def send(self, msg: MessageDict) -> None:
        """Send a message on this channel. Raises `KernelNotRunning` if it has been stopped."""
        if not self._is_usable():
            raise KernelNotRunning(f"The {self.channel_name} channel is not running.")
        self._send(to_message(self.channel_name, msg, self._session))

    async def get_msg(self, timeout: float | None = None) -> MessageDict:
        """Wait for the next message, at most ``timeout`` seconds, or for ever if that is None.

        Raises `queue.Empty` when the time is up, `KernelNotRunning` if the channel stops, and
        `ValueError` for a time below 0.
        """
        if (message := self._next()) is None:
            message = await self._wait(timeout)
        return to_dict(message)

    async def get_msgs(self) -> list[MessageDict]:
        """Return all messages that are here."""
        messages = []
        while (message := self._next()) is not None:
            messages.append(to_dict(message))
        return messages

    async def msg_ready(self) -> bool:
        """Whether a message is here."""
        return len(self._mailbox) > 0

    def _is_usable(self) -> bool:
        if self._running is None and self._first_use is not None:
            self._first_use()
        return self.is_alive()

    def _next(self) -> Message | None:
        message = self._mailbox.pop()
        self._update_signal()
        return message

    async def _wait(self, timeout: float | None) -> Message:
        if timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        try:
            async with asyncio.timeout(timeout):
                while (message := self._next()) is None:
                    if not self._is_usable():
                        raise KernelNotRunning(f"The {self.channel_name} channel is not running.")
                    await self._mailbox.changed()
        except TimeoutError:
            raise Empty from None
        return message

    def _update_signal(self) -> None:
        """Make the file descriptor readable if a message is here, and not readable if none is."""
        if self._signal is not None:
            self._signal.show(len(self._mailbox) > 0)


class _Signal:
    """A file descriptor that is readable, or not, as is said."""

    def __init__(self) -> None:
        self._readable, self._writable = socket.socketpair()
        self._readable.setblocking(False)
        self._writable.setblocking(False)
        self._shown = False

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._readable.fileno()

    def show(self, readable: bool) -> None:
        """Make it readable, or not."""
        if readable and not self._shown:
            self._writable.send(b"m")
        elif self._shown and not readable:
            self._readable.recv(1)
        self._shown = readable

    def close(self) -> None:
        """Close it."""
        self._readable.close()
        self._writable.close()


class HBChannelQueue(HBChannelABC):
    """The heartbeat of a kernel behind a gateway: it never crosses the websocket, so it beats as
    long as the gateway does not say that the kernel is gone."""

    channel_name = "hb"

    def __init__(self, beating: Callable[[], bool]) -> None:
        self._beating = beating
        self._running = False

    @property
    def time_to_dead(self) -> float:
        """The seconds after which a silent kernel counts as dead: there is no beat to miss."""
        return float("inf")

    def start(self) -> None:
        """Begin to listen."""
        self._running = True

    def stop(self) -> None:
        """Listen no more."""
        self._running = False

    close = stop

    def is_alive(self) -> bool:
        """Whether it has been started, and not stopped."""
        return self._running

    def pause(self) -> None:
        """Do nothing: there is no beat to leave out."""

    def unpause(self) -> None:
        """Do nothing: there is no beat to leave out."""

    def is_beating(self) -> bool:
        """Whether the kernel is there, as far as is known."""
        return self._running and self._beating()


def to_message(channel: Channel, msg: MessageDict, session: Session) -> Message:
    """Write jupyter_client's form of a message as ours."""
    pack = session.pack
    return Message(
        channel=channel,
        header=pack(msg["header"]),
        parent_header=pack(msg["parent_header"]),
        metadata=pack(msg["metadata"]),
        content=pack(msg["content"]),
        buffers=tuple(bytes(buffer) for buffer in msg.get("buffers") or ()),
    )


def to_dict(message: Message) -> MessageDict:
    """Write a message in jupyter_client's form: parsed, with dates as datetimes."""
    header = _parse_header(message.header)
    return {
        "header": header,
        "msg_id": header["msg_id"],
        "msg_type": header["msg_type"],
        "parent_header": _parse_header(message.parent_header) or {},
        "metadata": _parse(message.metadata),
        "content": _parse(message.content),
        "buffers": list(message.buffers),
    }


def _parse_header(part: Part) -> Any:
    """Parse a header. jupyter_client's own `extract_dates` takes ten times as long as all else."""
    header = _parse(part)
    if header and (date := read_date(header.get("date"))) is not None:
        header["date"] = date
    return header


def _parse(part: Part) -> Any:  # whatever the kernel said
    try:
        return msgspec.json.decode(part)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        # Python's own reader also takes the NaN and Infinity that some kernels write; bytes that
        # are not UTF-8 are replaced, as jupyter_client does.
        return json.loads(bytes(part).decode(errors="replace"))
    except ValueError as error:
        raise MalformedFrame(f"A message of the kernel is not JSON: {error}.") from error
