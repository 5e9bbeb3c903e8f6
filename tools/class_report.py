"""A server extension that writes the classes a Jupyter Server really uses into its log."""

from __future__ import annotations

from typing import Any

MARK = "class in use:"
OPTIONS = (
    "kernel_manager_class",
    "kernel_spec_manager_class",
    "session_manager_class",
    "kernel_websocket_connection_class",
)


def _load_jupyter_server_extension(server: Any) -> None:  # noqa: ANN401 - any ServerApp
    for option in OPTIONS:
        used = getattr(server, option)
        server.log.info("%s %s = %s.%s", MARK, option, used.__module__, used.__qualname__)


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def classes_in_use(log: str) -> dict[str, str]:
    """Read back from a server's log: option to the full name of the class."""
    lines = (line.partition(MARK)[2] for line in log.splitlines() if MARK in line)
    pairs = (line.partition("=") for line in lines)
    return {option.strip(): name.strip() for option, _, name in pairs}
