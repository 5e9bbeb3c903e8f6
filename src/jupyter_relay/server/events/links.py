"""Emits what happens to links as Jupyter events."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_relay.link.actions import Report

if TYPE_CHECKING:
    from jupyter_events import EventLogger

LINK_EVENTS = "https://events.jupyter.org/jupyter_relay/link/v1"
"""The id of the events' schema, by which listeners subscribe to them."""

# Read at the import, since a running server must not wait for files.
_SCHEMA = Path(__file__).with_name("link.v1.yaml").read_text(encoding="utf-8")


def register(logger: EventLogger | None) -> None:
    """Register the schema with a server's event logger, unless it is registered."""
    if logger is not None and LINK_EVENTS not in logger.schemas:
        logger.register_event_schema(_SCHEMA)


def emit(logger: EventLogger, report: Report, *, gateway: str, kernel_id: str) -> None:
    """Emit a report of a kernel's link; nothing if the schema is not registered."""
    if LINK_EVENTS not in logger.schemas:
        return
    data: dict[str, object] = {
        "happening": report.happening.value,
        "gateway": gateway,
        "kernel_id": kernel_id,
        "msg": report.text,
    }
    if report.seconds is not None:
        data["seconds"] = report.seconds
    if report.count is not None:
        data["count"] = report.count
    logger.emit(schema_id=LINK_EVENTS, data=data)
