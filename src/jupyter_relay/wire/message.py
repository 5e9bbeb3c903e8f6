"""Jupyter messages whose parts stay bytes.

A message is passed on in the form it came in. A header is parsed when it is first read; metadata,
content and buffers are never parsed here, apart from the state in a status message.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeAlias

import msgspec

from jupyter_relay.errors import MalformedFrame
from jupyter_relay.wire.json import Json

Part: TypeAlias = bytes | memoryview
"""A section of a frame: a copy, or a view of the frame."""

EMPTY: Part = b"{}"
"""The empty JSON object."""

USERNAME = "jupyter-relay"
"""The username in the headers of our own messages."""

PROTOCOL_VERSION = "5.4"
"""The version of the messaging protocol in the headers of our own messages."""

MAX_BUFFERS: Final = 16_384
"""The most buffers of one message. Each costs time and memory, even an empty one: this many are cut
out of a frame in some 10 ms. A widget has one for each of its arrays."""

MESSAGE_COST: Final = 1024
"""The bytes of memory that a message takes beside its parts: objects and parsed headers (measured
with CPython 3.11, as are the next two)."""

VIEWS_COST: Final = 1024
"""The additional bytes of a message whose parts are views of a frame."""

BUFFER_COST: Final = 200
"""The bytes of memory that a buffer takes beside its data."""

_MAX_QUOTED: Final = 100
"""How many characters `quoted` returns, unless another number is given."""


class Channel(StrEnum):
    """A channel of a kernel. The heartbeat never crosses a websocket."""

    SHELL = "shell"
    CONTROL = "control"
    STDIN = "stdin"
    IOPUB = "iopub"


SHELL: Final = Channel.SHELL
"""This and the next three: aliases for code that runs with every message. Python 3.11 reads a
module variable ten times as fast as a member of an enum."""

CONTROL: Final = Channel.CONTROL
STDIN: Final = Channel.STDIN
IOPUB: Final = Channel.IOPUB


class Frame(msgspec.Struct, frozen=True, gc=False):
    """The payload of one websocket message; ``text`` is True for a text message."""

    data: bytes
    text: bool = False


class Header(msgspec.Struct, frozen=True, gc=False):
    """The fields of a header that a relay reads; the others are passed on unread.

    The parent_header of a message without a parent has empty strings and no subshell.
    """

    msg_id: str = ""
    msg_type: str = ""
    session: str = ""
    subshell_id: str | None = None


class _Status(msgspec.Struct):
    """The content of a status message."""

    execution_state: str = ""


_read_header = msgspec.json.Decoder(Header).decode
_read_status = msgspec.json.Decoder(_Status).decode
_to_json = msgspec.json.encode


class Message(msgspec.Struct, eq=False, gc=False, kw_only=True):
    """One Jupyter message: four parts of JSON, not parsed, and any number of binary buffers.

    Treat it as immutable. Only caches change: ``v1_frame`` and ``legacy_frame`` are its encodings
    (set when it is read from a frame, or first written as one), and the private fields hold what
    the properties of the same names have parsed or computed. So a message from the wire goes on as
    the frame it was, and one for many subscribers is encoded once. Two messages are equal if their
    channels and parts are.

    A msgspec struct without garbage collection, since one is made for every message, and thousands
    may wait.
    """

    channel: Channel
    header: Part
    parent_header: Part = EMPTY
    metadata: Part = EMPTY
    content: Part = EMPTY
    buffers: tuple[Part, ...] = ()
    v1_frame: Frame | None = None
    legacy_frame: Frame | None = None
    _head: Header | None = None
    _parent: Header | None = None
    _execution_state: str | None = None
    _size: int = -1

    @property
    def parts(self) -> tuple[Part, ...]:
        """Header, parent_header, metadata, content, then the buffers."""
        return (self.header, self.parent_header, self.metadata, self.content, *self.buffers)

    @property
    def head(self) -> Header:
        """The header, parsed. Raises `MalformedFrame` if it is not one."""
        head = self._head
        if head is None:
            head = self._head = parse_header(self.header)
        return head

    @property
    def parent(self) -> Header:
        """The parent's header, parsed. Raises `MalformedFrame` if it is not one."""
        parent = self._parent
        if parent is None:
            parent = self._parent = parse_header(self.parent_header)
        return parent

    @property
    def execution_state(self) -> str:
        """The kernel's state in a status message; empty for one without a state that can be read,
        and for every other message. Raises `MalformedFrame` if the header is not one."""
        state = self._execution_state
        if state is None:
            state = self._execution_state = _parse_state(self)
        return state

    @property
    def size(self) -> int:
        """The bytes of memory that it takes: parts, the rest of its frame, and objects.

        It is computed once, so that a sum of sizes can be reduced by the same number later.
        """
        size = self._size
        if size < 0:
            size = sum(map(len, self.parts)) + MESSAGE_COST + BUFFER_COST * len(self.buffers)
            self._size = size
        return size

    @property
    def frame_size(self) -> int:
        """The bytes of its frame, about: those of its parts, and eight for the offset of each."""
        parts = self.parts
        return sum(map(len, parts)) + 8 * len(parts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return self.channel == other.channel and self.parts == other.parts

    def __ne__(self, other: object) -> bool:
        return not self == other  # a struct's own compares identities

    __hash__ = None  # type: ignore[assignment]  # equal views may be of unhashable memory

    def __repr__(self) -> str:
        # Content may be private, and may be 200 MB.
        return f"<Message {self.channel} {self.size} bytes>"


def quoted(text: object, most: int = _MAX_QUOTED) -> str:
    """Return the first ``most`` characters of a foreign text, on one line and without control
    characters, for an error or a log.

    No error of this package quotes a gateway's text: which secrets it may hold is not known here.
    """
    full = str(text)
    cut = full[:most] + ("…" if len(full) > most else "")
    return "".join(sign if sign.isprintable() else " " for sign in cut)


def parse_header(part: Part) -> Header:
    """Parse a header or a parent_header. Raises `MalformedFrame` if it is not one."""
    if part == b"null":  # some kernels write null where there is no parent
        return Header()
    try:
        return _read_header(part)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise MalformedFrame(f"A message header cannot be read: {quoted(error)}.") from error


def _parse_state(message: Message) -> str:
    if message.head.msg_type != "status":
        return ""
    try:
        return _read_status(message.content).execution_state
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ""


def too_many_buffers(count: int) -> MalformedFrame:
    """Return the error for a message with more than `MAX_BUFFERS` buffers."""
    return MalformedFrame(f"A message has {count} buffers, and {MAX_BUFFERS} are the most allowed.")


def compose(
    channel: Channel,
    msg_type: str,
    content: Mapping[str, Json],
    *,
    msg_id: str,
    session: str,
    date: datetime,
    parent_header: Part = EMPTY,
    subshell_id: str | None = None,
) -> Message:
    """Compose a message of our own.

    ``date`` has an offset from UTC; ``parent_header`` is the header of the request it answers.
    Source of the header's fields: Jupyter messaging protocol, "General Message Format", and JEP 91
    for ``subshell_id``.
    """
    header: dict[str, object] = {
        "msg_id": msg_id,
        "msg_type": msg_type,
        "session": session,
        "username": USERNAME,
        "date": date,
        "version": PROTOCOL_VERSION,
    }
    if subshell_id is not None:
        header["subshell_id"] = subshell_id
    return Message(
        channel=channel,
        header=_to_json(header),
        parent_header=parent_header,
        content=_to_json(content),
    )
