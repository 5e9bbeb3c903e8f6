"""What came from a gateway, before anything of ours has looked at it."""

from __future__ import annotations

from collections.abc import Mapping

from jupyter_relay.rest.response import Response
from jupyter_relay.settings.transport import TransportSettings
from jupyter_relay.transport.aiohttp_transport import AiohttpTransport
from jupyter_relay.transport.transport import Request, Socket
from jupyter_relay.wire.message import Frame
from jupyter_relay.wire.subprotocol import Subprotocol


class Recorder:
    """A transport that adds to ``msg_ids`` that of each message that its websockets bring."""

    def __init__(self, settings: TransportSettings, msg_ids: set[str]) -> None:
        self._transport = AiohttpTransport(settings)
        self._msg_ids = msg_ids

    async def request(self, request: Request) -> Response:
        """See `Transport.request`."""
        return await self._transport.request(request)

    async def connect(
        self, url: str, *, headers: Mapping[str, str], subprotocols: tuple[str, ...]
    ) -> Socket:
        """See `Transport.connect`."""
        socket = await self._transport.connect(url, headers=headers, subprotocols=subprotocols)
        return _RecordedSocket(socket, self._msg_ids)

    async def close(self) -> None:
        """See `Transport.close`."""
        await self._transport.close()


class _RecordedSocket:
    def __init__(self, socket: Socket, msg_ids: set[str]) -> None:
        self._socket = socket
        self._msg_ids = msg_ids

    @property
    def subprotocol(self) -> str | None:
        return self._socket.subprotocol

    async def receive(self) -> Frame:
        frame = await self._socket.receive()
        message = Subprotocol.answered(self.subprotocol).decode(frame)
        self._msg_ids.add(message.head.msg_id)
        return frame

    async def send(self, frame: Frame) -> None:
        await self._socket.send(frame)

    async def close(self) -> None:
        await self._socket.close()
