"""What only the server itself can say: an extension that each measured server runs.

It says which classes serve, what the process has used, and does in the server what no request asks
for. Its cost is the same for all.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
from typing import TYPE_CHECKING

import psutil
from jupyter_core.utils import ensure_async
from jupyter_server.base.handlers import JupyterHandler
from tornado import web
from tornado.websocket import WebSocketHandler

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp


_TICK = 0.005


class _State(JupyterHandler):
    """Which classes serve, and the CPU seconds, bytes and threads of the process."""

    @web.authenticated
    async def get(self) -> None:
        if self.get_query_argument("collect", ""):
            gc.collect()
        process = psutil.Process()
        app = self.settings["serverapp"]
        self.finish(
            json.dumps(
                {
                    "classes": [
                        type(app.kernel_manager).__module__,
                        type(app.kernel_spec_manager).__module__,
                        type(app.session_manager).__module__,
                        app.kernel_websocket_connection_class.__module__,
                    ],
                    "cpu": time.process_time(),
                    "uss": process.memory_full_info().uss,
                    "threads": process.num_threads(),
                }
            )
        )


class _Pace:
    """Looks every 5 ms how late the event loop is.

    ``late`` is the longest by the clock, in seconds, and ``cpu`` by the CPU time of this process,
    threads and all, which the load of other processes does not add to.
    """

    def __init__(self) -> None:
        self.late = self.cpu = 0.0
        self._ticking: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Look from here on."""
        self.late = self.cpu = 0.0
        if self._ticking is None:
            self._ticking = asyncio.create_task(self._tick())

    def end(self) -> None:
        """Look no more."""
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None

    async def _tick(self) -> None:
        at, used = time.perf_counter(), time.process_time()
        while True:
            await asyncio.sleep(_TICK)
            before, used_before = at, used
            at, used = time.perf_counter(), time.process_time()
            late = at - before - _TICK
            self.late = max(self.late, late)
            self.cpu = max(self.cpu, min(late, used - used_before))


class _HeldUp(JupyterHandler):
    """POST: look from here on how long the event loop is held up; GET: answer the longest."""

    def initialize(self, pace: _Pace) -> None:
        self._pace = pace

    @web.authenticated
    async def post(self) -> None:
        self._pace.begin()
        self.set_status(204)

    @web.authenticated
    async def get(self) -> None:
        self._pace.end()
        self.finish(json.dumps({"late": self._pace.late, "cpu": self._pace.cpu}))


class _ShutdownAll(JupyterHandler):
    """Shut down all kernels, as the server does when it ends; answer the seconds."""

    @web.authenticated
    async def post(self) -> None:
        started = time.perf_counter()
        await ensure_async(self.settings["kernel_manager"].shutdown_all())
        self.finish(json.dumps({"seconds": time.perf_counter() - started}))


class _FrameWrites(WebSocketHandler, JupyterHandler):  # type: ignore[misc]  # as in Jupyter Server
    """Write COUNT frames of SIZE bytes when told ``COUNT SIZE``: what one frame costs here."""

    async def get(self, *args: str, **kwargs: str) -> None:
        if not self.current_user:
            raise web.HTTPError(403)
        await super().get(*args, **kwargs)

    async def on_message(self, message: str | bytes) -> None:
        count, size = map(int, message.split())
        data = b"x" * size
        for _ in range(count):
            written = self.write_message(data, binary=True)
            connection = self.ws_connection
            if connection is None or connection.stream is None or connection.stream.writing():
                await written
        await asyncio.sleep(0)


def _load_jupyter_server_extension(serverapp: ServerApp) -> None:
    serverapp.web_app.settings["serverapp"] = serverapp
    serverapp.web_app.add_handlers(  # type: ignore[no-untyped-call]  # tornado's own
        ".*$",
        [
            (r"/bench/state", _State),
            (r"/bench/shutdown_all", _ShutdownAll),
            (r"/bench/frames", _FrameWrites),
            (r"/bench/held_up", _HeldUp, {"pace": _Pace()}),
        ],
    )
