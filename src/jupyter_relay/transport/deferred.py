"""Makes the aiohttp transport at its first use, in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from jupyter_relay.rest.failures import closed
from jupyter_relay.rest.response import Response
from jupyter_relay.settings.transport import TransportSettings
from jupyter_relay.transport.transport import Request, Socket, Transport


class DeferredTransport:
    """An `AiohttpTransport` that is imported and made at the first request.

    That takes some 80 ms, half of it to read the system's certificates. A thread does it, so that a
    server listens earlier, and its event loop is not blocked.
    """

    def __init__(self, settings: TransportSettings) -> None:
        self._settings = settings
        self._transport: Transport | None = None
        self._lock = asyncio.Lock()
        self._closed = False

    async def request(self, request: Request) -> Response:
        """See `Transport.request`."""
        transport = self._transport or await self._get_transport()
        return await transport.request(request)

    async def connect(
        self, url: str, *, headers: Mapping[str, str], subprotocols: tuple[str, ...]
    ) -> Socket:
        """See `Transport.connect`."""
        transport = self._transport or await self._get_transport()
        return await transport.connect(url, headers=headers, subprotocols=subprotocols)

    async def close(self) -> None:
        """See `Transport.close`."""
        self._closed = True
        if self._transport is not None:
            await self._transport.close()

    async def _get_transport(self) -> Transport:
        async with self._lock:
            if self._transport is None and not self._closed:
                self._transport = await _in_a_thread(lambda: _make(self._settings))
            if self._transport is None or self._closed:
                raise closed(self._settings.name)
            return self._transport


def _make(settings: TransportSettings) -> Transport:
    from jupyter_relay.transport.aiohttp_transport import AiohttpTransport

    return AiohttpTransport(settings)


async def _in_a_thread(make: Callable[[], Transport]) -> Transport:
    """Return what ``make`` returns in a thread of its own, which ends then; threads of the event
    loop's own executor would stay."""
    executor = ThreadPoolExecutor(1, thread_name_prefix="jupyter_relay")
    try:
        return await asyncio.get_running_loop().run_in_executor(executor, make)
    finally:
        executor.shutdown(wait=False)
