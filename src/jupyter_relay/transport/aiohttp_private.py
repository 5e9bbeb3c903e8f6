"""The names of aiohttp that are not public, and that we need. No other file names one.

aiohttp has no public way to make the connection of a request by other means than its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import aiohttp
from aiohttp.client_proto import ResponseHandler


class OwnConnector(aiohttp.TCPConnector, ABC):
    """A connector whose connections are made by `open_connection`; ``limit`` is of their number,
    0 for none."""

    def __init__(self, *, limit: int) -> None:
        super().__init__(limit=limit)

    @abstractmethod
    async def open_connection(
        self, request: aiohttp.ClientRequest, timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        """Return a protocol, made by `new_protocol`, that is connected for the request.

        Raises `aiohttp.ClientConnectorError` or `aiohttp.ClientHttpProxyError` if that fails.
        """

    def new_protocol(self) -> ResponseHandler:
        """Return a new protocol, which reads aiohttp's answers from a connection."""
        return self._factory()

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: object, timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        return await self.open_connection(req, timeout)
