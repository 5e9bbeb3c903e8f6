"""Jupyter Server's own reading and writing of both protocols agrees with ours."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from jupyter_client.jsonutil import json_default
from jupyter_client.session import Session
from jupyter_server.services.kernels.connection import base

from jupyter_relay.wire import legacy, v1
from jupyter_relay.wire.message import Channel, Message, compose

from .strategies import messages


def loaded(message: Message) -> dict[str, Any]:
    """Return a message as Jupyter Server holds it."""
    return {
        "channel": message.channel.value,
        "header": json.loads(bytes(message.header)),
        "parent_header": json.loads(bytes(message.parent_header)),
        "metadata": json.loads(bytes(message.metadata)),
        "content": json.loads(bytes(message.content)),
        "buffers": [bytes(buffer) for buffer in message.buffers],
    }


@given(messages())
def test_v1_frames_are_the_very_same(message: Message) -> None:
    parts = [bytes(part) for part in message.parts]
    theirs = base.serialize_msg_to_ws_v1(parts, message.channel.value)  # type: ignore[no-untyped-call]
    assert v1.encode(message).data == theirs
    assert v1.decode(theirs) == message


@given(messages())
def test_v1_message_written_by_us_is_read_by_jupyter_server(message: Message) -> None:
    channel, parts = base.deserialize_msg_from_ws_v1(v1.encode(message).data)  # type: ignore[no-untyped-call]
    assert channel == message.channel
    assert parts == [bytes(part) for part in message.parts]


@given(messages())
def test_v1_message_packed_by_jupyter_server_is_read_by_us(message: Message) -> None:
    pack = Session().pack
    theirs = base.serialize_msg_to_ws_v1(loaded(message), message.channel.value, pack)  # type: ignore[no-untyped-call]
    ours = v1.decode(theirs)
    assert loaded(ours) == {**loaded(message), "buffers": []}


@given(messages(with_buffers=True))
def test_legacy_binary_written_by_jupyter_server_is_read_by_us(message: Message) -> None:
    theirs = base.serialize_binary_message(loaded(message))  # type: ignore[no-untyped-call]
    assert loaded(legacy.decode_binary(theirs)) == loaded(message)


@given(messages(with_buffers=False))
def test_legacy_text_written_by_jupyter_server_is_read_by_us(message: Message) -> None:
    theirs = json.dumps(loaded(message), default=json_default).encode()
    assert loaded(legacy.decode_text(theirs)) == loaded(message)


@pytest.mark.parametrize("channel", Channel)
@pytest.mark.parametrize("buffers", [(b"",), (b"one", b"", b"\x00\xff" * 5000)])
def test_legacy_binary_written_by_us_is_read_by_jupyter_server(
    channel: Channel, buffers: tuple[bytes, ...]
) -> None:
    request = compose(
        channel,
        "comm_msg",
        {"data": {"text": "žluť 🐴"}},
        msg_id="a_1_2",
        session="a",
        date=datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC),
    )
    message = Message(
        channel=channel,
        header=request.header,
        parent_header=request.header,
        content=request.content,
        buffers=buffers,
    )
    theirs = base.deserialize_binary_message(legacy.encode(message).data)  # type: ignore[no-untyped-call]
    assert theirs["buffers"] == list(buffers)
    assert theirs["channel"] == channel
    assert theirs["content"] == {"data": {"text": "žluť 🐴"}}
    for header in (theirs["header"], theirs["parent_header"]):
        assert header["date"] == datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC)
        assert header["msg_id"] == theirs["msg_id"] == "a_1_2"
        assert header["msg_type"] == theirs["msg_type"] == "comm_msg"
