"""Handlers of Jupyter Server that would hide what went wrong, or tell what was, without that."""

from __future__ import annotations

import json
import mimetypes
from typing import Any, cast

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.services.kernels.handlers import (
    KernelActionHandler,
    _kernel_action_regex,
    _kernel_id_regex,
)
from jupyter_server.services.kernelspecs.handlers import (
    KernelSpecsAPIHandler,
    kernel_name_regex,
)
from jupyter_server.services.sessions.handlers import SessionRootHandler
from tornado import web

from jupyter_relay.server.kernelspecs import GatewayKernelSpecManager

_MONTH = 30 * 24 * 60 * 60


class _KeepsStatus(web.RequestHandler):
    """Answers with the HTTP error that another one covers."""

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Send an error; one that a gateway caused keeps its status and sentence."""
        _, error, _ = kwargs.get("exc_info", (None, None, None))
        cause = error.__cause__ if error is not None else None
        if isinstance(cause, web.HTTPError):
            status_code = cause.status_code
            kwargs["exc_info"] = (type(cause), cause, cause.__traceback__)
        super().send_error(status_code, **kwargs)


class GatewaySessionRootHandler(_KeepsStatus, SessionRootHandler):
    """Starts sessions; a gateway's error keeps its status and sentence."""


class GatewayKernelActionHandler(_KeepsStatus, KernelActionHandler):
    """Interrupts and restarts kernels; a gateway's error keeps its status and sentence."""


class GatewayKernelSpecsHandler(KernelSpecsAPIHandler):
    """Lists kernelspecs; the default one is the gateway's of now, not of the time before."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Get the list of kernelspecs."""
        specs = await cast(GatewayKernelSpecManager, self.kernel_spec_manager).get_all_specs()
        default = self.kernel_manager.default_kernel_name
        self.finish(json.dumps({"default": default, "kernelspecs": specs}))


class GatewayKernelSpecResourceHandler(JupyterHandler):
    """Gives files of kernelspecs; one that the gateway lacks is not looked for here."""

    auth_resource = "kernelspecs"

    @web.authenticated
    @authorized
    async def get(self, kernel_name: str, path: str) -> None:
        """Get a file of a kernelspec."""
        specs = cast(GatewayKernelSpecManager, self.kernel_spec_manager)
        content = await specs.get_kernel_spec_resource(kernel_name, path)
        if content is None:
            raise web.HTTPError(404, f"The kernelspec {kernel_name!r} has no file {path!r}.")
        if path.lower().endswith(".png"):
            self.set_header("Cache-Control", f"max-age={_MONTH}")
        self.set_header("Content-Type", mimetypes.guess_type(path)[0] or "text/plain")
        self.finish(content)

    head = get


KERNEL_HANDLERS = (
    (r"/api/sessions", GatewaySessionRootHandler),
    (rf"/api/kernels/{_kernel_id_regex}/{_kernel_action_regex}", GatewayKernelActionHandler),
)
"""Handlers for kernels of ours, and their URL patterns below the server's base URL."""

KERNELSPEC_HANDLERS = (
    (r"/api/kernelspecs", GatewayKernelSpecsHandler),
    (rf"/kernelspecs/{kernel_name_regex}/(?P<path>.*)", GatewayKernelSpecResourceHandler),
)
"""Handlers for kernelspecs of ours, and their URL patterns below the server's base URL."""
