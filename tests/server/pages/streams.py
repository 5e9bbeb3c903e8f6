"""Two ends of a connection: a tornado stream and a plain socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

from tornado.iostream import IOStream


@asynccontextmanager
async def connection() -> AsyncIterator[tuple[IOStream, socket.socket]]:
    """Give the stream of a server, and the socket of a client that reads when it is told to."""
    loop = asyncio.get_running_loop()
    with closing(socket.create_server(("127.0.0.1", 0))) as listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await loop.sock_connect(client, listener.getsockname())
        accepted, _ = listener.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        stream = IOStream(accepted)
        try:
            yield stream, client
        finally:
            stream.close()


async def read(client: socket.socket, size: int) -> bytes:
    """Read so many bytes."""
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < size:
        data += await loop.sock_recv(client, size - len(data))
    return data
