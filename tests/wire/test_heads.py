"""The head of a frame that is too large to be passed on, read without the rest of it."""

from __future__ import annotations

import json

import pytest

from jupyter_relay.errors import MalformedFrame
from jupyter_relay.wire.message import Channel, Frame
from jupyter_relay.wire.subprotocol import Subprotocol
from tests.support.messages import request

LEGACY = Subprotocol.LEGACY
LARGE = 10 * 2**20
HEADER = {"msg_id": "1", "msg_type": "execute_request", "session": "tab"}
CONTENT = {"code": 'x = {"header": {"msg_id": "no"}}\n' * (LARGE // 32)}


def legacy_text(*keys: str) -> Frame:
    """Return a large message with the keys of its JSON object in this order."""
    values: dict[str, object] = {
        "header": HEADER,
        "parent_header": {},
        "metadata": {},
        "content": CONTENT,
        "channel": "control",
        "buffers": [],
    }
    return Frame(json.dumps({key: values[key] for key in keys}).encode(), text=True)


OF_JUPYTERLAB = legacy_text("buffers", "channel", "content", "header", "metadata", "parent_header")
OF_JUPYTER_CLIENT = legacy_text(
    "header", "parent_header", "metadata", "content", "channel", "buffers"
)


@pytest.mark.parametrize("frame", [OF_JUPYTERLAB, OF_JUPYTER_CLIENT], ids=["lab", "client"])
def test_decode_head_finds_header_and_channel_before_and_behind_the_content(frame: Frame) -> None:
    message = LEGACY.decode_head(frame)
    read = LEGACY.decode(frame)
    assert (message.head, message.channel) == (read.head, Channel.CONTROL)
    assert bytes(message.header) == bytes(read.header)
    assert message.frame_size >= len(frame.data)


def test_decode_head_does_not_parse_what_is_between_the_ends() -> None:
    data = bytearray(OF_JUPYTERLAB.data)
    data[LARGE // 2 : LARGE // 2 + 3] = b"\n\xff]"
    frame = Frame(bytes(data), text=True)
    with pytest.raises(MalformedFrame):
        LEGACY.decode(frame)
    assert LEGACY.decode_head(frame).head.msg_id == "1"


@pytest.mark.parametrize("subprotocol", Subprotocol)
def test_decode_head_reads_frames_with_buffers(subprotocol: Subprotocol) -> None:
    asked = request(content={"code": "x" * LARGE})
    asked.buffers = (b"abc",)
    message = subprotocol.decode_head(subprotocol.encode(asked))
    assert message.head == asked.head
    assert message.frame_size >= LARGE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"\xff" * 100_000,
        b'{"header": ' * 5_000,
        b'{"header": {"msg_id": 1' + b"[" * 60_000,
        b'{"header": ' + b'{"a":' * 12_000,
        b'{"header": {"msg_type": "no id"}}',
        b'{"header": {"msg_id": "1"}, "channel": "unknown"}',
    ],
)
@pytest.mark.parametrize("text", [True, False])
def test_decode_head_of_a_frame_without_one_raises(data: bytes, text: bool) -> None:
    with pytest.raises(MalformedFrame):
        LEGACY.decode_head(Frame(data, text))
