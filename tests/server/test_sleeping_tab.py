"""A tab whose machine falls asleep: what its TCP has not acknowledged is kept for its return."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from urllib.parse import urlsplit
from uuid import uuid4

from jupyter_relay.testing import FakeGateway, FakeKernel, read_content
from jupyter_relay.wire.message import Channel, Frame, Message, compose
from jupyter_relay.wire.subprotocol import Subprotocol
from tests.support.server import TOKEN, TestServer
from tests.support.tab import printed, status_of

LINES = 6000
WIDTH = 1000
"""Together more than a server's socket takes when nobody reads (4 MB on Linux)."""

READ = 400_000
"""The bytes that the tab reads before it falls asleep: a part of what the server writes at once."""

UNACKNOWLEDGED = 8
"""Some lines that have arrived come again: TCP acknowledges the last ones up to 40 ms later."""


async def open_websocket(server: TestServer, kernel_id: str, session_id: str) -> socket.socket:
    """Open a websocket by hand, with as little room for what is not read as there can be."""
    address = urlsplit(server.url)
    loop = asyncio.get_running_loop()
    tcp = socket.socket()
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    tcp.setblocking(False)
    await loop.sock_connect(tcp, (address.hostname, address.port))
    request = (
        f"GET /api/kernels/{kernel_id}/channels?session_id={session_id} HTTP/1.1",
        f"Host: {address.netloc}",
        f"Authorization: token {TOKEN}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        f"Sec-WebSocket-Protocol: {Subprotocol.V1.value}",
    )
    await loop.sock_sendall(tcp, "\r\n".join([*request, "", ""]).encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += await loop.sock_recv(tcp, 1)
    assert answer.startswith(b"HTTP/1.1 101")
    return tcp


def masked(frame: Frame) -> bytes:
    """Put a frame as a client puts it on the wire, with a mask of zeros (RFC 6455, 5.2)."""
    return struct.pack("!BBH", 0x82, 0x80 | 126, len(frame.data)) + bytes(4) + frame.data


def whole_frames(data: bytes) -> Iterator[Frame]:
    """Read a server's frames, up to the first one that is not all there."""
    while len(data) >= 4:
        length, start = data[1], 2
        if length == 126:
            length, start = int.from_bytes(data[2:4], "big"), 4
        if len(data) < start + length:
            return
        yield Frame(data[start : start + length])
        data = data[start + length :]


async def test_websocket_of_sleeping_tab_on_waking_delivers_missed_output(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    async def print_lines(request: Message, kernel: FakeKernel) -> None:
        for number in range(LINES):
            kernel.print(f"{number}".rjust(WIDTH) + "\n", request)

    kernel_id = await server.start_kernel()
    kernel = fake_gateway.kernels[kernel_id]
    kernel.on_execute = print_lines
    request = compose(
        Channel.SHELL,
        "execute_request",
        {"code": "lines"},
        msg_id=uuid4().hex,
        session="sleeper",
        date=datetime.now(UTC),
    )
    with closing(await open_websocket(server, kernel_id, "sleeper")) as tcp:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(tcp, masked(Subprotocol.V1.encode(request)))
        await fake_gateway.wait_for(lambda: kernel.execution_count == 1)
        read = b""
        while len(read) < READ:
            read += await loop.sock_recv(tcp, READ - len(read))
        socket_to_gateway = await fake_gateway.wait_for_socket(1)
        await socket_to_gateway.flushed()
        # The rest is on its way when the machine dies.
        arrived = read + tcp.recv(2**20, socket.MSG_PEEK)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    before = [Subprotocol.V1.decode(frame) for frame in whole_frames(arrived)]

    received = []
    async with server.tab(kernel_id, "sleeper") as tab:
        idle = reply = False
        while not (idle and reply):
            message = await tab.receive()
            received.append(message)
            if message.parent.msg_id == request.head.msg_id:
                idle = idle or status_of(message) == "idle"
                reply = reply or message.channel is Channel.SHELL

    def lines_of(messages: list[Message]) -> list[int]:
        mine = [message for message in messages if message.parent.msg_id == request.head.msg_id]
        return [int(line) for line in printed(mine).split()]

    had = lines_of(before)
    missed = lines_of(received)
    again = len(had) - missed[0]
    assert 0 <= again <= UNACKNOWLEDGED
    assert had[: missed[0]] + missed == list(range(LINES))
    replies = [m for m in received if m.channel is Channel.SHELL]
    assert [read_content(m)["status"] for m in replies] == ["ok"]
