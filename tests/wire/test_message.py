"""A message parses and computes what is read of it once; messages of our own are complete."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from jupyter_relay.wire.message import (
    BUFFER_COST,
    EMPTY,
    MESSAGE_COST,
    USERNAME,
    Channel,
    Header,
    Message,
    compose,
    quoted,
)
from jupyter_relay.wire.subprotocol import Subprotocol

HEADER = b'{"msg_id": "1", "msg_type": "status", "session": "kernel"}'


def status(content: bytes, header: bytes = HEADER) -> Message:
    return Message(channel=Channel.IOPUB, header=header, content=content)


def test_headers_are_parsed_once() -> None:
    message = Message(channel=Channel.IOPUB, header=HEADER, parent_header=b'{"msg_id": "0"}')
    assert message.head == Header(msg_id="1", msg_type="status", session="kernel")
    assert message.parent == Header(msg_id="0")
    assert message.head is message.head
    assert message.parent is message.parent


@pytest.mark.parametrize(
    ("content", "state"),
    [
        (b'{"execution_state": "busy"}', "busy"),
        (b"{}", ""),
        (b"no JSON", ""),
        (b'{"execution_state": 7}', ""),
    ],
)
def test_execution_state_is_that_of_a_status(content: bytes, state: str) -> None:
    message = status(content)
    assert [message.execution_state, message.execution_state] == [state, state]


def test_execution_state_of_another_message_is_empty() -> None:
    header = b'{"msg_id": "1", "msg_type": "stream"}'
    assert status(b'{"execution_state": "busy"}', header).execution_state == ""


def test_sizes_count_parts_objects_and_offsets() -> None:
    message = Message(channel=Channel.IOPUB, header=HEADER, buffers=(b"12345", b""))
    parts = len(HEADER) + 3 * len(EMPTY) + 5
    assert message.size == parts + MESSAGE_COST + 2 * BUFFER_COST
    assert message.size == message.size
    assert message.frame_size == parts + 8 * 6


def test_messages_with_equal_parts_are_equal_and_have_no_hash() -> None:
    message = status(b"{}")
    assert message == status(bytearray(b"{}"))  # type: ignore[arg-type]  # equal, of another type
    assert not message != status(b"{}")  # noqa: SIM202  # has a method of its own
    assert message != status(b"[]")
    assert message != "a text"
    with pytest.raises(TypeError, match="unhashable"):
        hash(message)


def test_repr_shows_no_content() -> None:
    assert "secret" not in repr(status(b'"secret"'))
    assert repr(status(b"{}")).startswith("<Message iopub ")


def test_quoted_is_short_and_on_one_line() -> None:
    assert quoted("one\ntwo\x1b") == "one two "
    assert quoted("a" * 101) == "a" * 100 + "…"
    assert quoted("abc", 2) == "ab…"


@pytest.mark.parametrize("subshell_id", [None, "side"])
def test_compose_writes_a_complete_header(subshell_id: str | None) -> None:
    message = compose(
        Channel.SHELL,
        "kernel_info_request",
        {},
        msg_id="1",
        session="ours",
        date=datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC),
        subshell_id=subshell_id,
    )
    header = msgspec.json.decode(message.header)
    assert header.pop("subshell_id", None) == subshell_id
    assert header == {
        "msg_id": "1",
        "msg_type": "kernel_info_request",
        "session": "ours",
        "username": USERNAME,
        "date": "2026-05-04T03:02:01Z",
        "version": "5.4",
    }
    assert (message.parent_header, message.content) == (EMPTY, b"{}")


@pytest.mark.parametrize("subprotocol", Subprotocol)
def test_message_is_encoded_once(subprotocol: Subprotocol) -> None:
    message = status(b"{}")
    assert subprotocol.encode(message) is subprotocol.encode(message)
