"""The TCP options of our sockets, read from the sockets themselves."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from jupyter_relay.testing import FakeGateway
from tests.support.server import TestServer

linux_only = pytest.mark.skipif(
    not hasattr(socket, "TCP_QUICKACK"), reason="TCP_QUICKACK is Linux's"
)


@contextmanager
def tcp_sockets(*, to: int | None = None, at: int | None = None) -> Iterator[list[socket.socket]]:
    """Give the connected sockets of this process whose peer's, or own, port this is."""
    with ExitStack() as stack:
        found = []
        for entry in list(Path("/proc/self/fd").iterdir()):
            try:
                if not str(entry.readlink()).startswith("socket:"):
                    continue
                tcp = stack.enter_context(socket.socket(fileno=os.dup(int(entry.name))))
                peer, own = tcp.getpeername(), tcp.getsockname()
            except OSError:  # closed in this instant, or not connected
                continue
            if tcp.family == socket.AF_INET and (peer[1] == to or own[1] == at):
                found.append(tcp)
        yield found


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc to find sockets in")
async def test_sockets_to_gateway_and_page_have_tcp_nodelay(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel_id = await server.start_kernel()
    async with server.tab(kernel_id) as tab:
        await tab.run("1")
        await server.call("GET", "/api/kernels")
        page = tab.websocket.get_extra_info("sockname")[1]
        with tcp_sockets(to=fake_gateway.port) as upstream, tcp_sockets(to=page) as downstream:
            assert len(upstream) == 2  # REST, and the websocket
            assert downstream
            for tcp in (*upstream, *downstream):
                assert tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@linux_only
async def test_gateway_socket_after_each_read_sets_quick_acknowledgement(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel_id = await server.start_kernel()
    async with server.tab(kernel_id) as tab:
        for _ in range(3):
            with tcp_sockets(to=fake_gateway.port) as upstream:
                for tcp in upstream:  # as the operating system does by itself
                    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
            await tab.run("1")
            await asyncio.sleep(0)
        with tcp_sockets(to=fake_gateway.port) as upstream:
            armed = [tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK) for tcp in upstream]
    assert any(armed)
