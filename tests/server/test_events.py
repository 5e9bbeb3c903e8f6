"""The events that the server emits about its kernels."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jupyter_events import EventLogger

from jupyter_relay.testing import Answer, FakeGateway
from tests.support.server import TestServer

KERNEL_ACTIONS = "https://events.jupyter.org/jupyter_server/kernel_actions/v1"

_opened: list[str] | None = None


def _note_opened(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _opened is not None and isinstance(arguments[0], str):
        _opened.append(arguments[0])


sys.addaudithook(_note_opened)


@contextmanager
def opened_files() -> Iterator[list[str]]:
    """Give the names of all files that are opened meanwhile."""
    global _opened  # an audit hook cannot be removed, only idle
    names: list[str] = []
    _opened = names
    yield names
    _opened = None


def logger_of(server: TestServer) -> EventLogger:
    """The server's event logger."""
    assert server.app.event_logger is not None
    return server.app.event_logger


def listen(server: TestServer) -> list[dict[str, Any]]:
    """Return a list that kernel action events are added to."""
    heard: list[dict[str, Any]] = []

    async def note(logger: EventLogger, schema_id: str, data: dict[str, Any]) -> None:
        heard.append(data)

    logger_of(server).add_listener(schema_id=KERNEL_ACTIONS, listener=note)
    return heard


async def test_kernel_event_of_each_action_is_emitted_once(server: TestServer) -> None:
    heard = listen(server)
    kernel_id = await server.start_kernel()
    await server.call("POST", f"/api/kernels/{kernel_id}/interrupt")
    await server.call("POST", f"/api/kernels/{kernel_id}/restart")
    await server.call("DELETE", f"/api/kernels/{kernel_id}")
    await logger_of(server).gather_listeners()
    assert [event["action"] for event in heard] == ["start", "interrupt", "restart", "shutdown"]
    assert {event["status"] for event in heard} == {"success"}
    assert {event["kernel_id"] for event in heard} == {kernel_id}
    assert {event["kernel_name"] for event in heard} == {"python3"}
    assert heard[0]["msg"] == f"Kernel {kernel_id} was started."


async def test_kernel_event_of_failed_action_has_its_reason(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    heard = listen(server)
    fake_gateway.fault(
        "POST", "/api/kernels", Answer.json({"reason": "the quota is used up", "message": ""}, 507)
    )
    answer = await server.call("POST", "/api/kernels", {"name": "python3"})
    await logger_of(server).gather_listeners()
    assert answer.status == 507
    assert [(event["action"], event["status"]) for event in heard] == [("start", "error")]
    assert heard[0]["status_code"] == 507
    assert "the quota is used up" in heard[0]["msg"]


async def test_event_schema_with_many_kernels_is_read_once(
    server: TestServer,
) -> None:
    with opened_files() as opened:
        for _ in range(3):
            await server.start_kernel()
    assert not [name for name in opened if "kernel_actions" in name]
