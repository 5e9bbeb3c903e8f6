"""Who is not allowed to do something learns nothing of kernels, and has nothing asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from jupyter_server.auth import Authorizer, User
from jupyter_server.base.handlers import JupyterHandler
from tornado.web import RequestHandler

from jupyter_relay.server.http.handlers import KERNEL_HANDLERS, KERNELSPEC_HANDLERS
from jupyter_relay.testing import FakeGateway
from tests.support.server import server_on

_METHODS = ("get", "head", "post", "put", "patch", "delete")


class Switchable(Authorizer):
    """Allows everything until it is told to allow nothing."""

    allows = True

    def is_authorized(self, _: JupyterHandler, __: User, ___: str, ____: str) -> bool:
        """Whether a user may do something."""
        return self.allows


def requests(**values: str) -> Iterator[tuple[str, str]]:
    """The method and the path of everything that handlers of ours answer."""
    for pattern, kind in KERNEL_HANDLERS + KERNELSPEC_HANDLERS:
        path = re.sub(r"\(\?P<(\w+)>[^)]*\)", lambda group: values[group[1]], pattern)
        assert re.fullmatch(pattern, path)
        for method in _METHODS:
            if getattr(kind, method) is not getattr(RequestHandler, method):
                yield method.upper(), path


async def test_authorization_denied_to_user_answers_403_without_asking_gateway(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    argv = (
        f"--ServerApp.authorizer_class={__name__}.Switchable",
        "--GatewayClient.listing_ttl=0",  # each answer would ask the gateway
    )
    body = {"path": "a.ipynb", "type": "notebook", "kernel": {"name": "python3"}}
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        running = (await server.call("POST", "/api/sessions", body)).json
        gone = await server.start_kernel()
        fake_gateway.lose_kernel(gone)
        assert (await server.call("GET", f"/api/kernels/{gone}")).json["execution_state"] == "dead"
        authorizer = server.app.authorizer
        assert isinstance(authorizer, Switchable)
        authorizer.allows = False
        asked = len(fake_gateway.requests)
        statuses = {}
        for kernel_id in (running["kernel"]["id"], gone, "00000000-0000-4000-8000-000000000000"):
            body["kernel"] = {"id": kernel_id}
            for method, path in requests(
                session_id=running["id"],
                kernel_id=kernel_id,
                action="interrupt",
                kernel_name="python3",
                path="logo-64x64.png",
            ):
                sent = body if method in {"POST", "PATCH"} else None
                statuses[method, path, kernel_id] = (await server.call(method, path, sent)).status
        assert set(statuses.values()) == {403}, statuses
        assert len(statuses) == 3 * 15
        assert len(fake_gateway.requests) == asked
