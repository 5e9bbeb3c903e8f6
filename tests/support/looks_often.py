"""An extension of Jupyter Server that has it look every 100 ms whether it is to end for want of
activity, from its first kernel on; by itself the server looks once a minute. Each look is a line in
the log."""

from __future__ import annotations

from datetime import UTC, datetime

from jupyter_server.serverapp import ServerApp
from tornado.ioloop import PeriodicCallback

LOOKED = "looked: {kernels} kernels, {idle} idle"
"""The line; ``idle`` is how the time without activity is to the server's timeout."""


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(app: ServerApp) -> None:
    ever: set[str] = set()

    def look() -> None:
        kernels = len(app.kernel_manager)
        ever.update(app.kernel_manager.list_kernel_ids())
        if not ever:
            return
        last: datetime = app.web_app.last_activity()  # type: ignore[no-untyped-call]  # theirs
        passed = (datetime.now(UTC) - last).total_seconds() > app.shutdown_no_activity_timeout
        app.log.info(LOOKED.format(kernels=kernels, idle="long" if passed else "not long"))
        app.shutdown_no_activity()

    PeriodicCallback(look, 100).start()
