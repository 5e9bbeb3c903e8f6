"""Reports of links as Jupyter events."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from jupyter_events import EventLogger

from jupyter_relay.link.actions import Happening, Report
from jupyter_relay.server.events.links import LINK_EVENTS, emit, register


@pytest.fixture
def logger() -> EventLogger:
    """An event logger without schemas."""
    return EventLogger()


async def emitted(logger: EventLogger, report: Report) -> list[dict[str, Any]]:
    """Return the events that are emitted for a report."""
    heard: list[dict[str, Any]] = []
    came = asyncio.Event()

    async def listen(logger: EventLogger, schema_id: str, data: dict[str, Any]) -> None:
        heard.append(data)
        came.set()

    logger.add_listener(schema_id=LINK_EVENTS, listener=listen)
    emit(logger, report, gateway="http://gateway.example", kernel_id="k")
    async with asyncio.timeout(10):
        await came.wait()
    return heard


@pytest.mark.parametrize("happening", Happening)
async def test_emit_of_each_happening_fits_the_schema(
    logger: EventLogger, happening: Happening
) -> None:
    register(logger)
    (event,) = await emitted(logger, Report(happening, "It happened.", seconds=1.5, count=3))
    assert {key: value for key, value in event.items() if not key.startswith("__")} == {
        "happening": happening.value, "gateway": "http://gateway.example", "kernel_id": "k",
        "msg": "It happened.", "seconds": 1.5, "count": 3,
    }  # fmt: skip


async def test_emit_leaves_out_what_a_report_does_not_say(logger: EventLogger) -> None:
    register(logger)
    (event,) = await emitted(logger, Report(Happening.OPENED, "It is open."))
    assert not {"seconds", "count"} & event.keys()


def test_register_twice_registers_once(logger: EventLogger) -> None:
    register(logger)
    register(logger)
    assert LINK_EVENTS in logger.schemas


def test_emit_without_the_schema_does_nothing(logger: EventLogger) -> None:
    emit(logger, Report(Happening.OPENED, "It is open."), gateway="g", kernel_id="k")
    register(None)
    assert LINK_EVENTS not in logger.schemas
