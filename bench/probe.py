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
        ],
    )
