"""What goes in comes out, byte for byte, in each protocol and across both."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from jupyter_relay.wire.message import Channel, Frame, Message
from jupyter_relay.wire.subprotocol import Subprotocol

from .strategies import messages, subprotocols

V1, LEGACY = Subprotocol.V1, Subprotocol.LEGACY


def bytes_of(message: Message) -> list[bytes]:
    return [message.channel.value.encode(), *(bytes(part) for part in message.parts)]


def carry(message: Message, subprotocol: Subprotocol) -> Message:
    """Write a message and read it again, as a peer does: from a frame of its own."""
    frame = subprotocol.encode(message)
    return subprotocol.decode(Frame(bytes(bytearray(frame.data)), frame.text))


@given(messages(), subprotocols)
def test_round_trip(message: Message, subprotocol: Subprotocol) -> None:
    again = carry(message, subprotocol)
    assert again == message
    assert bytes_of(again) == bytes_of(message)


@given(messages())
def test_v1_to_legacy_to_v1_keeps_every_byte(message: Message) -> None:
    first = V1.encode(message)
    across = carry(V1.decode(first), LEGACY)
    assert V1.encode(across) == first


@given(messages())
def test_legacy_to_v1_to_legacy_keeps_every_byte(message: Message) -> None:
    first = LEGACY.encode(message)
    across = carry(LEGACY.decode(first), V1)
    assert LEGACY.encode(across) == first


@given(messages(), subprotocols)
def test_frame_is_passed_on_unchanged_where_both_legs_speak_the_same(
    message: Message, subprotocol: Subprotocol
) -> None:
    written = subprotocol.encode(message)
    frame = Frame(written.data, written.text)
    assert subprotocol.encode(subprotocol.decode(frame)) is frame


@given(messages(), subprotocols, subprotocols)
def test_message_for_many_is_encoded_once_for_each_protocol(
    message: Message, upstream: Subprotocol, downstream: Subprotocol
) -> None:
    arrived = carry(message, upstream)
    assert downstream.encode(arrived) is downstream.encode(arrived)


@given(messages(with_buffers=False))
def test_text_is_read_as_legacy_whatever_was_agreed(message: Message) -> None:
    frame = LEGACY.encode(message)
    assert frame.text
    read = V1.decode(frame)
    assert read == message
    assert LEGACY.encode(read) is frame
    assert not V1.encode(read).text


@given(messages(), subprotocols)
def test_headers_survive(message: Message, subprotocol: Subprotocol) -> None:
    again = carry(message, subprotocol)
    assert again.head == message.head
    assert again.parent == message.parent


@given(messages())
def test_legacy_text_is_one_json_object_with_what_old_clients_look_for(message: Message) -> None:
    frame = LEGACY.encode(message)
    if not message.buffers:
        read = json.loads(frame.data)
        assert read["channel"] == message.channel
        assert read["msg_id"] == message.head.msg_id
        assert read["msg_type"] == message.head.msg_type
        assert read["buffers"] == []
        assert read["content"] == json.loads(bytes(message.content))


@pytest.mark.parametrize("subprotocol", Subprotocol)
@pytest.mark.parametrize(
    "buffers",
    [
        pytest.param((b"",), id="one empty"),
        pytest.param((b"", b"x", b"", b""), id="empty among others"),
        pytest.param(tuple(bytes([n % 256]) for n in range(2000)), id="many"),
        pytest.param((b"\x00" * (32 << 20), b"end"), id="large"),
    ],
)
def test_unusual_buffers(subprotocol: Subprotocol, buffers: tuple[bytes, ...]) -> None:
    message = Message(channel=Channel.IOPUB, header=b'{"msg_id":"a"}', buffers=buffers)
    frame = subprotocol.encode(message)
    assert not frame.text
    assert [bytes(buffer) for buffer in subprotocol.decode(frame).buffers] == list(buffers)


@pytest.mark.parametrize("subprotocol", Subprotocol)
def test_large_part_is_a_view_of_its_frame(subprotocol: Subprotocol) -> None:
    large = b"x" * 5000
    message = Message(
        channel=Channel.IOPUB,
        header=b'{"msg_id":"a"}',
        content=b'"%b"' % large,
        buffers=(large, b"small", large),
    )
    frame = subprotocol.encode(message)
    read = subprotocol.decode(frame)
    assert read == message
    views = [part for part in read.parts if len(part) >= len(large)]
    assert len(views) == 3
    for view in views:
        assert isinstance(view, memoryview)
        assert view.obj is frame.data or subprotocol is Subprotocol.LEGACY
