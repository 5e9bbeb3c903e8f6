"""Whatever a peer sends, reading it gives a message or `MalformedFrame`, and nothing else."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jupyter_relay.errors import MalformedFrame, UnsendableMessage, WireError
from jupyter_relay.wire import legacy, v1
from jupyter_relay.wire.message import MAX_BUFFERS, Channel, Frame, Header, Message, parse_header
from jupyter_relay.wire.subprotocol import Subprotocol

from .strategies import messages, subprotocols

V1, LEGACY = Subprotocol.V1, Subprotocol.LEGACY
DEEP = b"[" * 100_000 + b"]" * 100_000


def read_all(frame: Frame, subprotocol: Subprotocol) -> Message | None:
    """Read a frame and both headers, and write it for each kind of client."""
    try:
        message = subprotocol.decode(frame)
    except MalformedFrame:
        return None
    for name in ("head", "parent"):
        with suppress(MalformedFrame):
            assert isinstance(getattr(message, name), Header)
    assert message.size >= 0
    repr(message)
    for leg in Subprotocol:
        with suppress(MalformedFrame, UnsendableMessage):
            assert leg.encode(message).data
    return message


@given(st.binary(max_size=300), st.booleans(), subprotocols)
@example(b"", False, V1)
@example(b"", False, LEGACY)
@example(b"", True, LEGACY)
@example(b"null", True, V1)
@example(b"[]", True, LEGACY)
@example(b"\xff\xfe\xfd", True, LEGACY)
@example(b'{"header": {}, "content": ' + DEEP + b"}", True, LEGACY)
@example(b'{"header": {"x": ' + DEEP + b"}}", True, LEGACY)
def test_decode_of_arbitrary_bytes_is_a_message_or_malformed(
    data: bytes, text: bool, subprotocol: Subprotocol
) -> None:
    read_all(Frame(data, text), subprotocol)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=12), st.binary(max_size=80))
def test_decode_of_arbitrary_v1_offsets_is_a_message_or_malformed(
    offsets: list[int], rest: bytes
) -> None:
    table = struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets)
    read_all(Frame(table + rest), V1)


@given(st.lists(st.integers(0, 2**32 - 1), max_size=12), st.binary(max_size=80))
def test_decode_of_arbitrary_legacy_offsets_is_a_message_or_malformed(
    offsets: list[int], rest: bytes
) -> None:
    table = struct.pack(f"!{len(offsets) + 1}I", len(offsets), *offsets)
    read_all(Frame(table + rest), LEGACY)


@given(st.data(), messages(), subprotocols)
def test_decode_of_a_truncated_frame_is_malformed(
    data: st.DataObject, message: Message, subprotocol: Subprotocol
) -> None:
    frame = subprotocol.encode(message)
    end = data.draw(st.integers(0, len(frame.data) - 1))
    read = read_all(Frame(frame.data[:end], frame.text), subprotocol)
    # Only a legacy binary frame does not know its own end; a v1 frame does.
    assert read is None or (subprotocol is LEGACY and not frame.text)


@given(st.data(), messages(), subprotocols)
def test_decode_of_flipped_bits_is_a_message_or_malformed(
    data: st.DataObject, message: Message, subprotocol: Subprotocol
) -> None:
    frame = subprotocol.encode(message)
    flipped = bytearray(frame.data)
    for bit in data.draw(st.lists(st.integers(0, 8 * len(flipped) - 1), min_size=1, max_size=4)):
        flipped[bit // 8] ^= 1 << bit % 8
    read_all(Frame(bytes(flipped), frame.text), subprotocol)


@given(messages(), subprotocols, subprotocols)
def test_decode_of_the_other_protocols_binary_is_a_message_or_malformed(
    message: Message, written: Subprotocol, agreed: Subprotocol
) -> None:
    read_all(Frame(written.encode(message).data), agreed)


@pytest.mark.parametrize("count", [2**63, 2**64 - 1, 2**32])
def test_decode_of_a_huge_v1_count_is_malformed(count: int) -> None:
    with pytest.raises(MalformedFrame, match=f"claims to have {count} offsets"):
        v1.decode(struct.pack("<Q", count) + bytes(64))


@pytest.mark.parametrize("last", [100, 112, 2**63])
def test_decode_of_v1_buffers_out_of_order_is_malformed(last: int) -> None:
    offsets = (72, 77, 79, 81, 83, 85, 110, last)
    frame = struct.pack("<9Q", len(offsets), *offsets) + b"shell" + b"{}" * 4 + b"x" * 25
    with pytest.raises(MalformedFrame, match="do not lie in order"):
        v1.decode(frame)


def test_decode_of_a_huge_legacy_count_is_malformed() -> None:
    with pytest.raises(MalformedFrame, match="claims to have 4294967295 parts"):
        legacy.decode_binary(b"\xff" * 64)


@given(messages(), st.sampled_from([b"", b"hb", b"SHELL", b"shell ", b"\xff\xff", b"x" * 500]))
def test_decode_of_an_unknown_v1_channel_is_malformed(message: Message, name: bytes) -> None:
    parts = (name, *(bytes(part) for part in message.parts))
    offsets = [8 * (len(parts) + 2)]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    table = struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets)
    with pytest.raises(MalformedFrame, match="unknown channel"):
        v1.decode(b"".join((table, *parts)))


@pytest.mark.parametrize("channel", ['"hb"', '"SHELL"', "5", "[]"])
def test_decode_of_an_unknown_legacy_channel_is_malformed(channel: str) -> None:
    with pytest.raises(MalformedFrame):
        legacy.decode_text(b'{"header": {}, "channel": %s}' % channel.encode())


@pytest.mark.parametrize("text", [b'{"header": {}}', b'{"header": {}, "channel": null}'])
def test_legacy_message_without_a_channel_is_for_the_shell(text: bytes) -> None:
    assert legacy.decode_text(text).channel is Channel.SHELL


@pytest.mark.parametrize(
    ("part", "header"),
    [
        (b"{}", Header()),
        (b"null", Header()),
        (b'{"msg_id": "a", "more": [1]}', Header(msg_id="a")),
        (b'{"subshell_id": null}', Header()),
    ],
)
def test_parse_header_of_a_sparse_header_fills_in_empty_fields(part: bytes, header: Header) -> None:
    assert parse_header(part) == header
    assert parse_header(memoryview(part)) == header


@pytest.mark.parametrize(
    "part", [b"", b"[]", b'"text"', b'{"msg_id": 5}', b'{"msg_id": "\xff"}', b'{"x": ' + DEEP]
)
def test_parse_header_of_anything_else_raises(part: bytes) -> None:
    with pytest.raises(MalformedFrame, match="header cannot be read"):
        parse_header(part)


def test_text_that_is_not_utf8_is_unsendable_to_a_legacy_client() -> None:
    message = Message(channel=Channel.IOPUB, header=b"{}", content=b'{"text": "\xff"}')
    with pytest.raises(UnsendableMessage, match="not UTF-8"):
        LEGACY.encode(message)
    assert V1.decode(V1.encode(message)) == message


def test_buffers_past_4_gib_are_unsendable_to_a_legacy_client() -> None:
    class Vast(bytes):
        """Says that it is large, and is not."""

        def __len__(self) -> int:
            return 2**32

    message = Message(channel=Channel.IOPUB, header=b"{}", buffers=(Vast(), b"x"))
    with pytest.raises(UnsendableMessage, match="4 GiB"):
        LEGACY.encode(message)


def test_subprotocol_that_was_not_offered_raises() -> None:
    assert Subprotocol.answered(None) is LEGACY
    assert Subprotocol.answered("") is LEGACY
    assert Subprotocol.answered("v1.kernel.websocket.jupyter.org") is V1
    with pytest.raises(WireError, match="not known"):
        Subprotocol.answered("v2.kernel.websocket.jupyter.org")


@pytest.mark.parametrize("subprotocol", [V1, LEGACY])
def test_message_with_too_many_buffers_is_refused_before_they_are_read(
    subprotocol: Subprotocol,
) -> None:
    header = b'{"msg_id": "1", "msg_type": "comm_msg"}'
    for count in (MAX_BUFFERS, MAX_BUFFERS + 1):
        message = Message(channel=Channel.IOPUB, header=header, buffers=(b"",) * count)
        frame = subprotocol.encode(message)
        if count == MAX_BUFFERS:
            assert len(subprotocol.decode(frame).buffers) == count
        else:
            with pytest.raises(MalformedFrame, match=f"has {count} buffers, and 16384 are the"):
                subprotocol.decode(frame)


@pytest.mark.parametrize(
    ("frame", "subprotocol"),
    [
        (Frame(b'{"header": {}, "channel": "' + b"x\\n" * 10_000 + b'"}', text=True), LEGACY),
        (Frame(b'{"header": {"' + b"\\u001b" * 10_000 + b'": 1', text=True), LEGACY),
    ],
)
def test_error_quotes_little_of_a_frame_and_on_one_line(
    frame: Frame, subprotocol: Subprotocol
) -> None:
    with pytest.raises(MalformedFrame) as raised:
        subprotocol.decode(frame)
    assert len(str(raised.value)) < 200
    assert str(raised.value).isprintable()


def test_unsendable_message_is_described_briefly() -> None:
    named = b'{"msg_id": "1", "msg_type": "' + b"a" * 1000 + b'\\n"}'
    with pytest.raises(UnsendableMessage) as raised:
        LEGACY.encode(Message(channel=Channel.SHELL, header=named, content=b'"\xff"'))
    assert len(str(raised.value)) < 300
    assert str(raised.value).isprintable()
