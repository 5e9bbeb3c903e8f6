"""The header of a websocket frame, against RFC 6455."""

from __future__ import annotations

import pytest

from jupyter_relay.wire.framing import server_header
from jupyter_relay.wire.message import Frame


@pytest.mark.parametrize(
    ("frame", "header"),
    [
        (
            Frame(b"Hello", text=True),
            "81 05",
        ),  # this one, and those of 256 and 65536: RFC 6455, 5.7
        (Frame(bytes(256)), "82 7e 01 00"),
        (Frame(bytes(65536)), "82 7f 00 00 00 00 00 01 00 00"),
        (Frame(b""), "82 00"),
        (Frame(bytes(125)), "82 7d"),
        (Frame(bytes(126)), "82 7e 00 7e"),
        (Frame(bytes(65535)), "82 7e ff ff"),
    ],
)
def test_server_header_is_that_of_the_rfc(frame: Frame, header: str) -> None:
    assert server_header(frame) == bytes.fromhex(header)
