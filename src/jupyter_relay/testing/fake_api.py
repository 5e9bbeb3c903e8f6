"""The REST API of a fake gateway: what it answers when no fault is in force.

Statuses and bodies are those of Kernel Gateway 3.0.1, where its settings do not say otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from jupyter_relay.testing.fake_kernel import FakeKernel
from jupyter_relay.wire.json import Json

if TYPE_CHECKING:
    from jupyter_relay.testing.fake_gateway import FakeGateway

_LOGO = b"\x89PNG\r\n\x1a\n a logo"


@dataclass(frozen=True, slots=True)
class Request:
    """A request that a fake gateway has seen. ``path`` is without the base path."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        """The body as JSON. Raises `msgspec.DecodeError` if it is none."""
        value: Json = msgspec.json.decode(self.body)
        return value


@dataclass(frozen=True, slots=True)
class RestApi:
    """Answers requests from the state of one gateway."""

    gateway: FakeGateway

    def refusal(self, request: Request) -> web.Response | None:
        """Return the answer to a request without the right token, or None."""
        token = self.gateway.token
        given = (request.query.get("token"), request.headers.get("Authorization"))
        if not token or given[0] == token or given[1] == f"token {token}":
            return None
        if self.gateway.unauthorized == 403:
            return _error(403, "Forbidden", reason=None)
        return _error(self.gateway.unauthorized, "", reason="Unauthorized")

    def respond(self, request: Request, path: Sequence[str]) -> web.Response:
        """Answer a request whose path has these segments, unquoted."""
        match request.method, path:
            case "GET", ["api"]:
                return _json({"version": "2.21.1"})
            case "GET", ["api", "kernelspecs"]:
                return _json(self._kernelspecs())
            case "GET", ["api", "kernelspecs", name] if name in self.gateway.kernelspecs:
                return _json(self._kernelspec(name))
            case "GET", ["kernelspecs", name, _] if name in self.gateway.kernelspecs:
                return web.Response(body=_LOGO, content_type="image/png")
            case "GET", ["api", "kernels"] if not self.gateway.list_kernels:
                return _error(403, "Forbidden", reason="Forbidden")
            case "GET", ["api", "kernels"]:
                return _json([self._model(kernel) for kernel in self.gateway.kernels.values()])
            case "POST", ["api", "kernels"]:
                return self._start(request)
            case method, ["api", "kernels", kernel_id, *action]:
                kernel = self.gateway.kernels.get(kernel_id)
                if kernel is None:
                    return no_such_kernel(kernel_id)
                return self._act(method, kernel, *action)
        return _error(404, "", reason="Not Found")

    def _act(self, method: str, kernel: FakeKernel, *action: str) -> web.Response:
        match method, action:
            case "GET", ():
                return _json(self._model(kernel))
            case "DELETE", ():
                self.gateway.lose_kernel(kernel.id)
                return web.Response(status=204)
            case "POST", ("interrupt",):
                kernel.interrupt()
                return web.Response(status=204)
            case "POST", ("restart",):
                kernel.restart()
                return _json(self._model(kernel))
        return _error(405, "Method Not Allowed", reason=None)

    def _start(self, request: Request) -> web.Response:
        body = request.json if request.body else {}
        body = body if isinstance(body, Mapping) else {}
        name = body.get("name") or self.gateway.kernelspecs[0]
        env = body.get("env")
        env = env if isinstance(env, Mapping) else {}
        if name not in self.gateway.kernelspecs:
            return _failure("KeyError", f"No such kernel named {name}")
        chosen: Json = None
        if self.gateway.kernel_ids in {"body", "attached"}:
            chosen = body.get("kernel_id")
        elif self.gateway.kernel_ids == "env":
            chosen = env.get("KERNEL_ID")
        kernel_id = str(chosen) if chosen else None
        kernel = self.gateway.kernels.get(kernel_id or "")
        if kernel is not None and self.gateway.kernel_ids == "env":
            return _failure("DuplicateKernelError", f"Kernel {kernel_id} already exists")
        if kernel is None and kernel_id and self.gateway.kernel_ids == "attached":
            return _error(404, f"The far gateway has no kernel {kernel_id}.", reason=None)
        if kernel is None:
            kernel = self.gateway.start_kernel(str(name), kernel_id=kernel_id, env=env)
        location = f"{self.gateway.base_path}/api/kernels/{kernel.id}"
        return _json(self._model(kernel), status=201, headers={"Location": location})

    def _model(self, kernel: FakeKernel) -> dict[str, Json]:
        return kernel_model(kernel, ahead=self.gateway.clock_ahead)

    def _kernelspecs(self) -> Json:
        names = self.gateway.kernelspecs
        return {
            "default": names[0] if names else "",
            "kernelspecs": {name: self._kernelspec(name) for name in names},
        }

    def _kernelspec(self, name: str) -> Json:
        return {
            "name": name,
            "spec": {
                "argv": ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
                "env": {},
                "display_name": f"Fake {name}",
                "language": "python",
                "interrupt_mode": "signal",
                "metadata": {"debugger": True},
            },
            "resources": {
                "logo-64x64": f"{self.gateway.base_path}/kernelspecs/{name}/logo-64x64.png"
            },
        }


def kernel_model(kernel: FakeKernel, ahead: timedelta = timedelta(0)) -> dict[str, Json]:
    """Return a kernel as the API of a gateway whose clock is so much ``ahead`` describes it."""
    return {
        "id": kernel.id,
        "name": kernel.name,
        "last_activity": (kernel.last_activity + ahead).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "execution_state": kernel.execution_state,
        "connections": kernel.connections,
    }


def no_such_kernel(kernel_id: str) -> web.Response:
    """Return the answer where a kernel does not exist."""
    return _error(404, f"Kernel does not exist: {kernel_id}", reason="Not Found")


def _json(
    value: Json, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    # json and not msgspec: the spacing that real gateways use.
    text = json.dumps(value)
    return web.Response(text=text, status=status, content_type="application/json", headers=headers)


def _error(status: int, message: str, *, reason: str | None) -> web.Response:
    return _json({"reason": reason, "message": message}, status=status)


def _failure(name: str, text: str) -> web.Response:
    traceback = (
        f'Traceback (most recent call last):\n  File "handlers.py", line 1\n{name}: {text}\n'
    )
    return _json(
        {"reason": "Internal Server Error", "message": text, "traceback": traceback}, status=500
    )
