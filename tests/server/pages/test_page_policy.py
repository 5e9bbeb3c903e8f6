"""What a page may send, and what it is shown of errors."""

from __future__ import annotations

import msgspec
import pytest

from jupyter_relay.errors import MalformedFrame
from jupyter_relay.server.pages.page_policy import PagePolicy
from jupyter_relay.wire.message import Channel, Message
from jupyter_relay.wire.subprotocol import Subprotocol

HIDDEN = "not shown"
ERROR = {"ename": "NameError", "evalue": "secret", "traceback": ["secret", "secret"]}


def message(msg_type: str, content: object, channel: Channel = Channel.IOPUB) -> Message:
    """Make a message."""
    encode = msgspec.json.encode
    return Message(
        channel=channel, header=encode({"msg_type": msg_type}), content=encode(content),
        parent_header=b'{"msg_id":"asked"}', metadata=b'{"a":1}', buffers=(b"buffer",),
    )  # fmt: skip


def sent(header: bytes) -> Message:
    """Make a message of a page."""
    return Message(channel=Channel.SHELL, header=header)


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        (b'{"msg_type":"comm_msg"}', True),
        (b'{"msg_type":"execute_request"}', False),
        (b'{"msg_typ\\u0065":"execute_request"}', False),
        # Readers of JSON, Python's and those of kernels, take the last of two values.
        (b'{"msg_type":"comm_msg","msg_type":"execute_request"}', False),
        (b'{"msg_type":"COMM_MSG"}', False),
        (b'{"msg_type":""}', False),
        (b"{}", False),
        (b"null", False),
    ],
)
def test_page_policy_with_allowed_types_admits_only_them(header: bytes, allowed: bool) -> None:
    policy = PagePolicy(allowed_types=frozenset({"comm_msg"}))
    assert policy.allows(sent(header)) is allowed


def test_page_policy_with_unreadable_header_refuses_message() -> None:
    with pytest.raises(MalformedFrame):
        PagePolicy(allowed_types=frozenset({"comm_msg"})).allows(sent(b"no JSON"))


def test_page_policy_without_allowed_types_admits_every_type() -> None:
    assert PagePolicy().allows(sent(b'{"msg_type":"execute_request"}'))


def test_page_policy_with_hidden_traceback_blanks_error_output() -> None:
    error = message("error", ERROR)
    shown = PagePolicy(hidden_traceback=HIDDEN).shown(error)
    assert msgspec.json.decode(shown.content) == {
        "ename": "ExecutionError", "evalue": "Execution error", "traceback": [HIDDEN],
    }  # fmt: skip
    assert (shown.channel, shown.parts[:3]) == (error.channel, error.parts[:3])


@pytest.mark.parametrize("channel", [Channel.SHELL, Channel.CONTROL])
def test_page_policy_with_hidden_traceback_keeps_rest_of_error_reply(channel: Channel) -> None:
    reply = message("execute_reply", {"status": "error", "execution_count": 3, **ERROR}, channel)
    shown = PagePolicy(hidden_traceback=HIDDEN).shown(reply)
    assert msgspec.json.decode(shown.content) == {
        "status": "error", "execution_count": 3,
        "ename": "ExecutionError", "evalue": "Execution error", "traceback": [HIDDEN],
    }  # fmt: skip


def test_page_policy_with_unreadable_reply_hides_it() -> None:
    reply = Message(
        channel=Channel.SHELL, header=b"{}",
        content=b'{"status": "error", "traceback": ["secret"], "count": NaN}',
    )  # fmt: skip
    assert b"secret" not in bytes(PagePolicy(hidden_traceback=HIDDEN).shown(reply).content)


@pytest.mark.parametrize(
    "other",
    [
        message("stream", {"name": "stderr", "text": "secret"}),
        message("execute_reply", {"status": "ok"}, Channel.SHELL),
        message("input_request", {"prompt": "?"}, Channel.STDIN),
    ],
)
def test_page_policy_with_message_without_error_passes_it_unchanged(other: Message) -> None:
    assert PagePolicy(hidden_traceback=HIDDEN).shown(other) is other


@pytest.mark.parametrize("subprotocol", Subprotocol)
def test_page_policy_with_hidden_traceback_drops_original_frame(subprotocol: Subprotocol) -> None:
    came = subprotocol.decode(subprotocol.encode(message("error", ERROR)))
    assert PagePolicy().shown(came) is came
    shown = PagePolicy(hidden_traceback=HIDDEN).shown(came)
    assert b"secret" not in subprotocol.encode(shown).data


def test_page_policy_with_hidden_traceback_does_not_show_all() -> None:
    assert PagePolicy().shows_all
    assert not PagePolicy(hidden_traceback=HIDDEN).shows_all
