"""Handlers of Jupyter Server that would hide what went wrong, without that."""

from __future__ import annotations

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import authorized
from jupyter_server.services.kernels.handlers import (
    KernelActionHandler,
    _kernel_action_regex,
    _kernel_id_regex,
)
from jupyter_server.services.sessions.handlers import SessionRootHandler
from tornado import web


class GatewaySessionRootHandler(SessionRootHandler):
    """Starts sessions; a gateway's error keeps its status and sentence."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Create a session."""
        try:
            await ensure_async(super().post())
        except web.HTTPError as error:
            raise _first(error) from error


class GatewayKernelActionHandler(KernelActionHandler):
    """Interrupts and restarts kernels; a gateway's error keeps its status and sentence."""

    @web.authenticated
    @authorized
    async def post(self, kernel_id: str, action: str) -> None:
        """Interrupt or restart a kernel."""
        try:
            await ensure_async(super().post(kernel_id, action))
        except web.HTTPError as error:
            raise _first(error) from error


def _first(error: web.HTTPError) -> web.HTTPError:
    """Return the HTTP error that another one covers, if it does."""
    return error.__cause__ if isinstance(error.__cause__, web.HTTPError) else error


HANDLERS = (
    (r"/api/sessions", GatewaySessionRootHandler),
    (rf"/api/kernels/{_kernel_id_regex}/{_kernel_action_regex}", GatewayKernelActionHandler),
)
"""The handlers and their URL patterns, below the server's base URL."""
