"""The sessions of a Jupyter Server whose kernels run on a gateway."""

from __future__ import annotations

import asyncio
from typing import Any, TypeAlias

from traitlets import Instance

from jupyter_relay.server.jupyter_server_private import OpenSessionManager
from jupyter_relay.server.kernels import GatewayMappingKernelManager

Model: TypeAlias = dict[str, Any]
"""A model of the server's REST API."""


class GatewaySessionManager(OpenSessionManager):
    """Sessions that end when their kernel is gone from the gateway, or its start has failed.

    A notebook that is opened again then gets a new kernel, as it does on a server with local ones.
    So the kernel of a session that is asked for is asked for, too, if the gateway's last word on it
    is older than ``listing_ttl``.
    """

    kernel_manager = Instance(GatewayMappingKernelManager)

    async def kernel_culled(self, kernel_id: str) -> bool:
        """Whether a kernel is gone, or was not started, by what is known."""
        if kernel_id not in self.kernel_manager:
            return True
        if self.kernel_manager.get_kernel(kernel_id).remote is None:
            return True
        return self.kernel_manager.known.why_lost(kernel_id) is not None

    async def session_exists(self, path: str) -> bool:
        """Whether there is a session for this path, with a kernel that exists."""
        await self._look_again(path=path)
        exists: bool = await super().session_exists(path)
        return exists

    async def get_session(self, **kwargs: Any) -> Model:
        """Return the model of the session that has these values. Raises HTTP errors."""
        await self._look_again(**kwargs)
        model: Model = await super().get_session(**kwargs)
        return model

    async def list_sessions(self) -> list[Model]:
        """Return the models of all sessions, after the kernels were asked for, all at once."""
        await self.kernel_manager.known.refresh_all()
        models: list[Model] = await super().list_sessions()
        return models

    async def _look_again(self, **values: Any) -> None:
        """Look again at the kernels of the sessions that have these values."""
        if not values or not values.keys() <= self.columns:
            return  # Jupyter Server says what is wrong
        columns = " AND ".join(f"{column}=?" for column in values)
        query = f"SELECT DISTINCT kernel_id FROM session WHERE {columns}"  # noqa: S608
        rows = self.cursor.execute(query, list(values.values())).fetchall()
        known = self.kernel_manager.known
        await asyncio.gather(*(known.look_again(row["kernel_id"]) for row in rows))
