"""Jupyter Server's private names are there, and mean what we take them for."""

from __future__ import annotations

import inspect
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from jupyter_events import EventLogger
from jupyter_server.services.kernels.handlers import default_handlers as kernel_handlers
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from jupyter_server.services.sessions.handlers import default_handlers as session_handlers
from jupyter_server.services.sessions.sessionmanager import SessionManager
from tornado.web import HTTPError
from traitlets import DottedObjectName

from jupyter_relay.server.jupyter_server_private import (
    KERNEL_ACTION_PATTERN,
    KERNEL_ID_PATTERN,
    SESSION_ID_PATTERN,
    OpenKernelManager,
    OpenMappingKernelManager,
    OpenSessionManager,
    isoformat,
    utcnow,
)

ID = "5fa3ae55-8f4a-4a3c-8a4c-0c9f3a6f5b6e"

FIRST = "jupyter_server.services.kernels.kernelmanager.ServerKernelManager"
SECOND = "jupyter_client.ioloop.manager.AsyncIOLoopKernelManager"
"""Two classes that can manage a kernel."""


class Kernels(OpenMappingKernelManager):
    """Uses one class in the place of another."""

    kernel_manager_class = DottedObjectName(FIRST, config=True)

    def usable_manager_class(self, named: str) -> str:
        """Return the other in the place of the one."""
        return SECOND if named == FIRST else named


def made(kind: Any, **options: str) -> Any:  # noqa: ANN401  # Jupyter Server is untyped
    """Make an object of a class."""
    return kind(**options)


@pytest.mark.parametrize(
    ("pattern", "group", "text"),
    [
        (KERNEL_ID_PATTERN, "kernel_id", ID),
        (KERNEL_ACTION_PATTERN, "action", "restart"),
        (KERNEL_ACTION_PATTERN, "action", "interrupt"),
        (SESSION_ID_PATTERN, "session_id", ID),
    ],
)
def test_pattern_with_matching_text_finds_its_named_group(
    pattern: str, group: str, text: str
) -> None:
    found = re.fullmatch(pattern, text)
    assert found is not None
    assert found.groupdict() == {group: text}


def test_patterns_equal_those_of_jupyter_servers_handlers() -> None:
    patterns = {handler[0] for handler in (*kernel_handlers, *session_handlers)}
    assert rf"/api/kernels/{KERNEL_ID_PATTERN}" in patterns
    assert rf"/api/kernels/{KERNEL_ID_PATTERN}/{KERNEL_ACTION_PATTERN}" in patterns
    assert rf"/api/sessions/{SESSION_ID_PATTERN}" in patterns


def test_utcnow_and_isoformat_write_a_date_in_utc_with_a_z() -> None:
    now = utcnow()
    assert now.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - now) < timedelta(minutes=1)
    summer = datetime(2026, 7, 1, 12, 0, 0, 5, tzinfo=UTC)
    assert isoformat(summer) == "2026-07-01T12:00:00.000005Z"


def test_managers_are_the_kernels_that_jupyter_server_knows() -> None:
    kernels = made(Kernels)
    assert kernels.managers == {}
    manager: Any = object()
    kernels.managers["a"] = manager
    assert kernels.get_kernel("a") is manager
    assert "a" in kernels
    kernels.check_kernel_id("a")
    with pytest.raises(HTTPError) as caught:
        kernels.check_kernel_id("b")
    assert caught.value.status_code == 404


def test_connection_counts_are_those_that_jupyter_server_counts_by() -> None:
    kernels = made(Kernels)
    kernels.managers["a"] = object()
    kernels.connection_counts["a"] = 2
    kernels.notify_connect("a")
    assert kernels.connection_counts == {"a": 3}
    kernels.notify_disconnect("a")
    assert kernels.connection_counts == {"a": 2}


def test_culls_is_true_once_the_culler_was_initialized() -> None:
    kernels = made(Kernels)
    assert not kernels.culls
    kernels.initialize_culler()
    assert kernels.culls


def test_kernel_manager_class_overridden_in_subclass_is_the_subclass_choice() -> None:
    assert made(Kernels).kernel_manager_class == FIRST
    assert made(Kernels, kernel_manager_class=FIRST).kernel_manager_class == SECOND
    assert made(Kernels, kernel_manager_class=SECOND).kernel_manager_class == SECOND


def test_manager_class_validation_of_jupyter_server_exists_to_be_replaced() -> None:
    assert hasattr(AsyncMappingKernelManager, "_validate_kernel_manager_class")


def test_new_event_logger_has_the_schemas_of_kernels_events() -> None:
    logger = made(OpenKernelManager).new_event_logger()
    assert isinstance(logger, EventLogger)
    assert "https://events.jupyter.org/jupyter_server/kernel_actions/v1" in logger.schemas


def test_columns_are_what_a_session_can_be_asked_for_by() -> None:
    assert {"session_id", "path", "name", "type", "kernel_id"} <= {
        *made(OpenSessionManager).columns
    }
    assert "self._columns" in inspect.getsource(SessionManager.get_session)
