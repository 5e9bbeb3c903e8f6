"""Handlers of Jupyter Server that would hide what went wrong, or tell it where it must not be."""

from __future__ import annotations

import asyncio
import json
import mimetypes
import sys
from collections.abc import Iterable, Iterator
from functools import cached_property
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, cast

import msgspec
from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler, JupyterHandler
from jupyter_server.services.kernels.handlers import (
    KernelActionHandler,
    KernelHandler,
    MainKernelHandler,
)
from jupyter_server.services.kernels.websocket import KernelWebsocketHandler
from jupyter_server.services.kernelspecs.handlers import (
    KernelSpecHandler,
    KernelSpecsAPIHandler,
)
from jupyter_server.services.sessions.handlers import (
    SessionHandler,
    SessionRootHandler,
)
from tornado import web
from tornado.iostream import StreamClosedError
from tornado.log import app_log

from jupyter_relay.redact import MAX_QUOTED
from jupyter_relay.server.http.bodies import read_body
from jupyter_relay.server.http.http_errors import PlainHTTPError, cut_short
from jupyter_relay.server.jupyter_server_private import (
    KERNEL_ACTION_PATTERN,
    KERNEL_ID_PATTERN,
    SESSION_ID_PATTERN,
)
from jupyter_relay.server.kernels import GatewayMappingKernelManager
from jupyter_relay.server.kernelspecs import GatewayKernelSpecManager, Model
from jupyter_relay.wire.message import quoted

_PIECE: Final = 256 * 1024
"""How many bytes of an answer are encoded or compressed in one go; that takes some milliseconds."""

_MONTH = 30 * 24 * 60 * 60


class _Tells(web.RequestHandler):
    """Tells the HTTP error of a gateway, also where another covers it, and logs that one."""

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Send an error; one that a gateway caused keeps its status and sentence."""
        error = _told(kwargs.get("exc_info", (None, None, None))[1])
        if error is not None:
            status_code = error.status_code
            kwargs["exc_info"] = (type(error), error, error.__traceback__)
        super().send_error(status_code, **kwargs)

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Log an error by the request's method and path alone: its query may hold a token."""
        error = _told(value)
        method, path = self.request.method, quoted(self.request.path, MAX_QUOTED)
        if error is None:
            what = "Unexpected error at %s %s"
            app_log.error(what, method, path, exc_info=(typ, value, tb))  # type: ignore[arg-type]  # all three are set
        elif text := error.get_message():
            app_log.warning("%d %s %s: %s", error.status_code, method, path, text)


class _Reads(_Tells, APIHandler):
    """Takes only bodies that say what they must."""

    @cached_property
    def _body(self) -> dict[str, Any] | None:
        return read_body(self.request.body)

    def get_json_body(self) -> dict[str, Any] | None:
        """Return the body, which is an object; None if there is none. Raises a 400."""
        return self._body


def _told(error: BaseException | None) -> web.HTTPError | None:
    """The HTTP error to tell for what was raised: itself, or rather the one that it covers, cut."""
    cause = error.__cause__ if error is not None else None
    for candidate in (cause, error):
        if isinstance(candidate, web.HTTPError):
            return cut_short(candidate)
    return None


async def _finish_in_pieces(handler: JupyterHandler, pieces: Iterable[bytes]) -> None:
    """Write an answer that may be of many megabytes. To encode it, and to compress it, takes its
    time; others have their turn after each piece. The rest is left out if the client goes away."""
    waiting = b""
    for piece in pieces:
        waiting += piece
        if len(waiting) > _PIECE:
            handler.write(waiting)
            try:
                await handler.flush()
            except StreamClosedError:
                return
            await asyncio.sleep(0)
            waiting = b""
    handler.finish(waiting)


def _encoded(model: Model) -> Iterator[bytes]:
    """Write the model of a list of kernelspecs as JSON, each of them by itself."""
    rest = {key: value for key, value in model.items() if key != "kernelspecs"}
    yield msgspec.json.encode(rest)[:-1] + b',"kernelspecs":{'
    for number, (name, spec) in enumerate(model["kernelspecs"].items()):
        yield (b"," if number else b"") + msgspec.json.encode({name: spec})[1:-1]
    yield b"}}"


def _pieces(content: bytes) -> Iterator[bytes]:
    for at in range(0, len(content), _PIECE):
        yield content[at : at + _PIECE]


class GatewayKernelsHandler(_Reads, MainKernelHandler):
    """Lists and starts kernels."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Get the list of kernels; each page asks for it every 10 s, however many there are."""
        kernels = cast(GatewayMappingKernelManager, self.kernel_manager)
        self.finish(msgspec.json.encode(await kernels.list_kernels()))


class GatewayKernelHandler(_Tells, KernelHandler):
    """Gives and deletes kernels."""

    @web.authenticated
    @authorized
    async def get(self, kernel_id: str) -> None:
        """Get the model of a kernel, by what the gateway says at this time."""
        kernels = cast(GatewayMappingKernelManager, self.kernel_manager)
        await kernels.known.look_again(kernel_id)
        self.finish(msgspec.json.encode(await kernels.kernel_model(kernel_id)))


class GatewayKernelActionHandler(_Tells, KernelActionHandler):
    """Interrupts and restarts kernels.

    Jupyter Server before 2.20 hides why a restart failed, in an answer of its own.
    """

    @web.authenticated
    @authorized
    async def post(self, kernel_id: str, action: str) -> None:
        """Interrupt or restart a kernel."""
        kernels = cast(GatewayMappingKernelManager, self.kernel_manager)
        if action == "interrupt":
            await kernels.interrupt_kernel(kernel_id)
            self.set_status(HTTPStatus.NO_CONTENT)
            self.finish()
            return
        await kernels.restart_kernel(kernel_id)
        self.finish(msgspec.json.encode(await kernels.kernel_model(kernel_id)))


class GatewayKernelWebSocketHandler(_Tells, KernelWebsocketHandler):
    """Opens the websocket of a page."""

    @property
    def max_message_size(self) -> int:
        """The largest message of a page that is read: as large as the server's other requests may
        be, unless its ``websocket_max_message_size`` is set. At a larger one Tornado closes the
        websocket; one that is read and too large for the kernel is answered."""
        most: int | None = self.settings.get("websocket_max_message_size")
        if most is None and self.serverapp is not None:
            most = self.serverapp.max_buffer_size
        return most or super().max_message_size


class _ChecksKernel(_Reads):
    """Takes for a session no kernel of this server that is gone."""

    async def check_kernel(self, gone: HTTPStatus) -> None:
        """Look at the kernel that the body asks for by its id. Raises an HTTP error, with the
        status ``gone``, if the kernel is gone.

        For users who are authorized: the answer tells whether there is such a kernel.
        """
        model = self.get_json_body()
        kernel = model.get("kernel") if model is not None else None
        kernel_id = kernel.get("id") if kernel is not None else None
        if kernel_id is None:
            return
        kernels = cast(GatewayMappingKernelManager, self.kernel_manager)
        await kernels.known.look_again(kernel_id)
        reason = kernels.known.why_lost(kernel_id)
        if reason is not None:
            raise PlainHTTPError(gone.value, reason)


class GatewaySessionRootHandler(_ChecksKernel, SessionRootHandler):
    """Lists and starts sessions."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Start a session, or get the one that there is for the path."""
        await self.check_kernel(HTTPStatus.NOT_FOUND)
        await ensure_async(super().post())


class GatewaySessionHandler(_ChecksKernel, SessionHandler):
    """Gives, changes and deletes sessions."""

    @web.authenticated
    @authorized
    async def patch(self, session_id: str) -> None:
        """Change a session."""
        # 400 is Jupyter Server's own answer about a kernel that it does not know.
        await self.check_kernel(HTTPStatus.BAD_REQUEST)
        await ensure_async(super().patch(session_id))

    def set_status(self, status_code: int, reason: str | None = None) -> None:
        """Set the status; not the one by which a change covers why its kernel was not started."""
        error = sys.exception()  # the change is answered while that is being handled
        if status_code == HTTPStatus.NOT_IMPLEMENTED and isinstance(error, web.HTTPError):
            raise error
        super().set_status(status_code, reason)


class GatewayKernelSpecsHandler(_Tells, KernelSpecsAPIHandler):
    """Lists kernelspecs; the default one is the gateway's of now, not of the time before."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Get the list of kernelspecs."""
        specs = cast(GatewayKernelSpecManager, self.kernel_spec_manager)
        model = await specs.list_kernel_specs()
        self.set_header("Content-Type", "application/json")
        await _finish_in_pieces(self, _encoded(model))


class GatewayKernelSpecHandler(_Tells, KernelSpecHandler):
    """Gives one kernelspec. Its name is unquoted once: one with a percent sign is no other's."""

    @web.authenticated
    @authorized
    async def get(self, kernel_name: str) -> None:
        """Get the model of a kernelspec."""
        specs = cast(GatewayKernelSpecManager, self.kernel_spec_manager)
        try:
            model = await specs.get_kernel_spec(kernel_name)
        except KeyError as error:
            raise PlainHTTPError(404, f"Kernel spec {quoted(kernel_name)} not found") from error
        self.finish(json.dumps(model))


class GatewayKernelSpecResourceHandler(_Tells, JupyterHandler):
    """Gives files of kernelspecs; one that the gateway lacks is not looked for here."""

    auth_resource = "kernelspecs"

    @property
    def content_security_policy(self) -> str:
        """The server's, and that a page among the files is not one of the server's own."""
        return f"{super().content_security_policy}; sandbox allow-scripts"

    @web.authenticated
    @authorized
    async def get(self, kernel_name: str, path: str) -> None:
        """Get a file of a kernelspec."""
        specs = cast(GatewayKernelSpecManager, self.kernel_spec_manager)
        content = await specs.get_kernel_spec_resource(kernel_name, path)
        if content is None:
            name, file = quoted(kernel_name), quoted(path)
            raise PlainHTTPError(404, f"The kernelspec {name!r} has no file {file!r}.")
        if path.lower().endswith(".png"):
            self.set_header("Cache-Control", f"max-age={_MONTH}")
        self.set_header("Content-Type", mimetypes.guess_type(path)[0] or "text/plain")
        await _finish_in_pieces(self, _pieces(content))

    head = get


KERNEL_HANDLERS = (
    (r"/api/sessions", GatewaySessionRootHandler),
    (rf"/api/sessions/{SESSION_ID_PATTERN}", GatewaySessionHandler),
    (r"/api/kernels", GatewayKernelsHandler),
    (rf"/api/kernels/{KERNEL_ID_PATTERN}", GatewayKernelHandler),
    (rf"/api/kernels/{KERNEL_ID_PATTERN}/{KERNEL_ACTION_PATTERN}", GatewayKernelActionHandler),
    (rf"/api/kernels/{KERNEL_ID_PATTERN}/channels", GatewayKernelWebSocketHandler),
)
"""Handlers for kernels of ours, and their URL patterns below the server's base URL."""

_KERNEL_NAME = r"(?P<kernel_name>[^/]+)"
"""The name of a kernelspec in a URL: whatever the gateway lists, quoted or not. In the pattern of
Jupyter Server a ~, @ or parentheses must be quoted, which browsers do not do."""

KERNELSPEC_HANDLERS = (
    (r"/api/kernelspecs", GatewayKernelSpecsHandler),
    (rf"/api/kernelspecs/{_KERNEL_NAME}", GatewayKernelSpecHandler),
    (rf"/kernelspecs/{_KERNEL_NAME}/(?P<path>.*)", GatewayKernelSpecResourceHandler),
)
"""Handlers for kernelspecs of ours, and their URL patterns below the server's base URL."""
