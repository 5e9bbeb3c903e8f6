"""What happens to a link is emitted as Jupyter events, once each, by the server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from jupyter_events import EventLogger

from jupyter_relay.server.events.links import LINK_EVENTS
from jupyter_relay.testing import FakeGateway
from jupyter_relay.testing.changes import Changes
from tests.support.server import TestServer, server_on


def events_of(server: TestServer) -> EventLogger:
    """Return the event logger of a server."""
    assert server.app.event_logger is not None
    return server.app.event_logger


class Listening:
    """Keeps the events of a server, and can be waited for."""

    def __init__(self, server: TestServer) -> None:
        self.events: list[dict[str, Any]] = []
        self._changes = Changes()
        events_of(server).add_listener(schema_id=LINK_EVENTS, listener=self._take)

    async def until(self, happening: str) -> dict[str, Any]:
        """Return the event of this kind as soon as it is there."""

        def find() -> list[dict[str, Any]]:
            return [event for event in self.events if event["happening"] == happening]

        return (await self._changes.wait_for(find))[0]

    async def _take(self, logger: object, schema_id: str, data: dict[str, Any]) -> None:
        self.events.append(data)
        self._changes.notify()


async def test_loss_reopen_and_end_are_events(
    fake_gateway: FakeGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with server_on(
        fake_gateway, tmp_path, argv=("--GatewayClient.gateway_retry_interval=0.05",)
    ) as server:
        listening = Listening(server)
        kernel_id = await server.start_kernel()
        async with server.tab(kernel_id) as tab:
            await tab.run("1")
            caplog.clear()
            fake_gateway.drop_sockets()
            dropped = await listening.until("dropped")
            assert dropped["gateway"] == fake_gateway.url
            assert dropped["kernel_id"] == kernel_id
            assert "was lost:" in dropped["msg"]
            opened = await listening.until("opened")
            assert opened["seconds"] >= 0
            fake_gateway.lose_kernel(kernel_id, close=1001)
            gone = await listening.until("kernel_gone")
            assert kernel_id in gone["msg"]
        told = [record.getMessage() for record in caplog.records]
        for event in listening.events:
            assert told.count(f"Kernel {kernel_id}: {event['msg']}") == 1
        assert [event["happening"] for event in listening.events] == [
            "dropped", "opened", "dropped", "kernel_gone",
        ]  # fmt: skip


async def test_listener_that_fails_does_not_harm_the_link(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    def fail(schema_id: str, data: dict[str, Any]) -> dict[str, Any]:
        raise ValueError("not today")

    async with server_on(
        fake_gateway, tmp_path, argv=("--GatewayClient.gateway_retry_interval=0.05",)
    ) as server:
        Listening(server)
        events_of(server).add_modifier(schema_id=LINK_EVENTS, modifier=fail)
        kernel_id = await server.start_kernel()
        async with server.tab(kernel_id) as tab:
            await tab.run("1")
            fake_gateway.drop_sockets()
            await fake_gateway.wait_for_socket(2)
            async with asyncio.timeout(20):
                assert await tab.run("2") == "2\n"
