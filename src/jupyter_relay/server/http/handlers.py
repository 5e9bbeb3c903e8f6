"""Handlers in the place of those of Jupyter Server that hide a gateway's error, or log secrets."""

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

_PIECE_BYTES: Final = 256 * 1024
"""How many bytes of an answer are encoded or compressed at a time; that takes some milliseconds."""

_MONTH_SECONDS: Final = 30 * 24 * 60 * 60


class _ReportsGatewayErrors(web.RequestHandler):
    """Sends and logs the HTTP error of a gateway, also if another error wraps it."""

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Send an error; one that a gateway caused, with its status and its sentence."""
        error = _error_to_send(kwargs.get("exc_info", (None, None, None))[1])
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
        """Log an error with the request's method and path alone: its query may contain a token."""
        error = _error_to_send(value)
        method, path = self.request.method, quoted(self.request.path, MAX_QUOTED)
        if error is None:
            what = "Unexpected error at %s %s"
            app_log.error(what, method, path, exc_info=(typ, value, tb))  # type: ignore[arg-type]  # all three are set
        elif text := error.get_message():
            app_log.warning("%d %s %s: %s", error.status_code, method, path, text)


class _ChecksBody(_ReportsGatewayErrors, APIHandler):
    """Refuses bodies that are not as `read_body` wants them."""

    @cached_property
    def _body(self) -> dict[str, Any] | None:
        return read_body(self.request.body)

    def get_json_body(self) -> dict[str, Any] | None:
        """Return the body, which is an object; None if there is none. Raises a 400."""
        return self._body


def _error_to_send(error: BaseException | None) -> web.HTTPError | None:
    """Return the HTTP error to send for what was raised: one that it wraps, or itself; cut."""
    cause = error.__cause__ if error is not None else None
    for candidate in (cause, error):
        if isinstance(candidate, web.HTTPError):
            return cut_short(candidate)
    return None


async def _finish_in_pieces(handler: JupyterHandler, pieces: Iterable[bytes]) -> None:
    """Write an answer that may have many megabytes. After each piece, which is encoded and
    compressed, other requests have their turn. If the client goes away, the rest is left out."""
    waiting = b""
    for piece in pieces:
        waiting += piece
        if len(waiting) > _PIECE_BYTES:
            handler.write(waiting)
            try:
                await handler.flush()
            except StreamClosedError:
                return
            await asyncio.sleep(0)
            waiting = b""
    handler.finish(waiting)


def _encoded(model: Model) -> Iterator[bytes]:
    """Yield the JSON of a list of kernelspecs, each of them by itself."""
    rest = {key: value for key, value in model.items() if key != "kernelspecs"}
    yield msgspec.json.encode(rest)[:-1] + b',"kernelspecs":{'
    for number, (name, spec) in enumerate(model["kernelspecs"].items()):
        yield (b"," if number else b"") + msgspec.json.encode({name: spec})[1:-1]
    yield b"}}"


def _pieces(content: bytes) -> Iterator[bytes]:
    for at in range(0, len(content), _PIECE_BYTES):
        yield content[at : at + _PIECE_BYTES]


class GatewayKernelsHandler(_ChecksBody, MainKernelHandler):
    """Lists and starts kernels."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Get the list of kernels; each page asks for it every 10 s, however many there are."""
        kernels = cast(GatewayMappingKernelManager, self.kernel_manager)
        self.finish(msgspec.json.encode(await kernels.list_kernels()))


class GatewayKernelHandler(_ReportsGatewayErrors, KernelHandler):
    """Gets and deletes kernels."""

    @web.authenticated
    @authorized
    async def get(self, kernel_id: str) -> None:
        """Get the model of a kernel; the gateway is asked for it."""
        kernels = cast(GatewayMappingKernelManager, self.kernel_manager)
        await kernels.known.look_again(kernel_id)
        self.finish(msgspec.json.encode(await kernels.kernel_model(kernel_id)))


class GatewayKernelActionHandler(_ReportsGatewayErrors, KernelActionHandler):
    """Interrupts and restarts kernels.

    Jupyter Server before 2.20 answers a failed restart without the reason.
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


class GatewayKernelWebSocketHandler(_ReportsGatewayErrors, KernelWebsocketHandler):
    """Opens the websocket of a page."""

    async def pre_get(self) -> None:
        """Make the page's connection to the kernel. Raises a 400 for a session id that is not
        ASCII, as jupyter_client's `Session` needs it."""
        if not self.get_argument("session_id", "").isascii():
            raise PlainHTTPError(400, "The session_id is not ASCII.")
        await super().pre_get()

    @property
    def max_message_size(self) -> int:
        """How many bytes a message of a page may have: the server's ``websocket_max_message_size``,
        or else what its other requests may have. At a larger message Tornado closes the websocket.
        A smaller one that is too large for the kernel gets an answer."""
        most: int | None = self.settings.get("websocket_max_message_size")
        if most is None and self.serverapp is not None:
            most = self.serverapp.max_buffer_size
        return most or super().max_message_size


class _RefusesGoneKernel(_ChecksBody):
    """Refuses a session with a kernel of this server that is gone."""

    async def check_kernel(self, gone: HTTPStatus) -> None:
        """Look for the kernel whose id is in the body. Raises an HTTP error with the status
        ``gone`` if the kernel is gone.

        Only for authorized users: the answer shows whether there is such a kernel.
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


class GatewaySessionRootHandler(_RefusesGoneKernel, SessionRootHandler):
    """Lists and starts sessions."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Start a session, or get the one that there is for the path."""
        await self.check_kernel(HTTPStatus.NOT_FOUND)
        await ensure_async(super().post())


class GatewaySessionHandler(_RefusesGoneKernel, SessionHandler):
    """Gets, changes and deletes sessions."""

    @web.authenticated
    @authorized
    async def patch(self, session_id: str) -> None:
        """Change a session."""
        # 400 is Jupyter Server's own answer about a kernel that it does not know.
        await self.check_kernel(HTTPStatus.BAD_REQUEST)
        await ensure_async(super().patch(session_id))

    def set_status(self, status_code: int, reason: str | None = None) -> None:
        """Set the status; raise the gateway's error where Jupyter Server would answer a 501."""
        error = sys.exception()  # the 501 is set while it is being handled
        if status_code == HTTPStatus.NOT_IMPLEMENTED and isinstance(error, web.HTTPError):
            raise error
        super().set_status(status_code, reason)


class GatewayKernelSpecsHandler(_ReportsGatewayErrors, KernelSpecsAPIHandler):
    """Lists kernelspecs; the default is the one that the gateway names at this time."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Get the list of kernelspecs."""
        specs = cast(GatewayKernelSpecManager, self.kernel_spec_manager)
        model = await specs.list_kernel_specs()
        self.set_header("Content-Type", "application/json")
        await _finish_in_pieces(self, _encoded(model))


class GatewayKernelSpecHandler(_ReportsGatewayErrors, KernelSpecHandler):
    """Gets a kernelspec. Its name is unquoted once, so that it may have a percent sign."""

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


class GatewayKernelSpecResourceHandler(_ReportsGatewayErrors, JupyterHandler):
    """Gets files of kernelspecs, from the gateway alone."""

    auth_resource = "kernelspecs"

    @property
    def content_security_policy(self) -> str:
        """The server's policy, and a sandbox for a page among the files."""
        return f"{super().content_security_policy}; sandbox allow-scripts"

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write an error as Jupyter Server's page, which names the user; as Tornado's if the path
        could not be decoded, since no user is known yet at that time."""
        if hasattr(self, "path_kwargs"):  # Tornado sets it once it has decoded the path
            super().write_error(status_code, **kwargs)
        else:
            web.RequestHandler.write_error(self, status_code, **kwargs)

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
            self.set_header("Cache-Control", f"max-age={_MONTH_SECONDS}")
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
"""The name of a kernelspec in a URL, quoted or not. In Jupyter Server's own pattern ~, @ and
parentheses must be quoted, which browsers do not do."""

KERNELSPEC_HANDLERS = (
    (r"/api/kernelspecs", GatewayKernelSpecsHandler),
    (rf"/api/kernelspecs/{_KERNEL_NAME}", GatewayKernelSpecHandler),
    (rf"/kernelspecs/{_KERNEL_NAME}/(?P<path>.*)", GatewayKernelSpecResourceHandler),
)
"""Handlers for kernelspecs of ours, and their URL patterns below the server's base URL."""
