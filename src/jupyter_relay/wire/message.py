"""Jupyter messages whose parts stay bytes.

A message passes through in the form it came in: a header is parsed when somebody asks for it, and
metadata, content and buffers are never parsed here at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeAlias

import msgspec

from jupyter_relay.errors import MalformedFrame

Part: TypeAlias = bytes | memoryview
"""A stretch of a frame; a view where it can be one."""

JSON: TypeAlias = Mapping[str, "JSON"] | Sequence["JSON"] | str | int | float | bool | None
"""What JSON can say."""

EMPTY: Part = b"{}"
"""The empty JSON object, for a header, metadata or content that says nothing."""

USERNAME = "jupyter-relay"
"""The username in composed headers."""

PROTOCOL_VERSION = "5.4"
"""The version of the messaging protocol that composed headers claim."""


MOST_BUFFERS: Final = 16_384
"""The most buffers that one message may have: each costs time and memory, even an empty one. So
many are cut out of a frame in some 10 ms; a widget has one for each of its arrays."""

MESSAGE_COST: Final = 1024
"""The bytes that a message costs beside its parts: its objects, and its headers as parsed (measured
with CPython 3.11, as the next two are)."""

VIEWS_COST: Final = 1024
"""The bytes that it costs more where its parts are views of a frame."""

BUFFER_COST: Final = 200
"""The bytes that each buffer costs beside what is in it."""

_MOST_QUOTED: Final = 100
"""How many characters of a text are quoted, unless the sentence has room for more."""


class Channel(StrEnum):
    """A channel of a kernel. The heartbeat never crosses a websocket."""

    SHELL = "shell"
    CONTROL = "control"
    STDIN = "stdin"
    IOPUB = "iopub"


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One websocket payload: its bytes, and whether it came, or goes, as text."""

    data: bytes
    text: bool = False


class Header(msgspec.Struct, frozen=True, gc=False):
    """The fields of a header that a relay has use for; the rest is passed on unread.

    The header of a message without a parent is empty: each field is then an empty string.
    """

    msg_id: str = ""
    msg_type: str = ""
    session: str = ""
    subshell_id: str | None = None


_read_header = msgspec.json.Decoder(Header).decode
_to_json = msgspec.json.encode

keep = msgspec.structs.force_setattr
"""Puts what was worked out of a frozen struct into it."""


class Message(msgspec.Struct, frozen=True, eq=False, gc=False, kw_only=True):
    """One Jupyter message: four parts of JSON, not parsed, and any number of binary buffers.

    A msgspec struct that the garbage collector does not look at, since one of these is made for
    every message that passes, and thousands may wait. What was worked out once is kept with it:
    its headers, its size, and its encodings, ``v1_frame`` and ``legacy_frame``, so that a message
    that came from the wire goes on as the frame it was, and one for many subscribers is encoded
    once. That is no part of what it says: two messages are equal if their parts are.
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
            head = parse_header(self.header)
            keep(self, "_head", head)
        return head

    @property
    def parent(self) -> Header:
        """The parent's header, parsed. Raises `MalformedFrame` if it is not one."""
        parent = self._parent
        if parent is None:
            parent = parse_header(self.parent_header)
            keep(self, "_parent", parent)
        return parent

    @property
    def size(self) -> int:
        """The bytes of memory that it takes: its parts, what a frame has beside them, and objects.

        It stays what it was at first, so that what is counted up can be counted down.
        """
        size = self._size
        if size < 0:
            size = sum(map(len, self.parts)) + MESSAGE_COST + BUFFER_COST * len(self.buffers)
            keep(self, "_size", size)
        return size

    @property
    def frame_size(self) -> int:
        """About the bytes of its frame: its parts, and eight for the place of each."""
        parts = self.parts
        return sum(map(len, parts)) + 8 * len(parts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return self.channel == other.channel and self.parts == other.parts

    __hash__ = None  # type: ignore[assignment]  # equal views may be of unhashable memory

    def __repr__(self) -> str:
        # Content may be private, and may be 200 MB.
        return f"<Message {self.channel} {self.size} bytes>"


def quoted(text: object, most: int = _MOST_QUOTED) -> str:
    """Return the first ``most`` characters of a text that others had a part in, on one line and
    without control characters, for an error or a log.

    No errors of this room quote what a gateway wrote, since its secrets are not known here.
    """
    said = str(text)
    cut = said[:most] + ("…" if len(said) > most else "")
    return "".join(sign if sign.isprintable() else " " for sign in cut)


def parse_header(part: Part) -> Header:
    """Parse a header or a parent_header. Raises `MalformedFrame` if it is not one."""
    if part == b"null":  # some kernels say so where there is no parent
        return Header()
    try:
        return _read_header(part)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise MalformedFrame(f"A message header cannot be read: {quoted(error)}.") from error


def too_many_buffers(count: int) -> MalformedFrame:
    """Return the error for a message of so many buffers."""
    return MalformedFrame(
        f"A message has {count} buffers, and {MOST_BUFFERS} are the most that are taken."
    )


def compose(
    channel: Channel,
    msg_type: str,
    content: Mapping[str, JSON],
    *,
    msg_id: str,
    session: str,
    date: datetime,
    parent_header: Part = EMPTY,
    subshell_id: str | None = None,
) -> Message:
    """Make a message of our own.

    ``date`` carries its offset from UTC; ``parent_header`` is the header of the request it answers.
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
