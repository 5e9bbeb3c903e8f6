"""The names of jupyter_client that are not public, and that we need. No other file names one.

jupyter_client writes each asynchronous method twice: as ``_async_NAME``, which its own code calls,
and as ``NAME``, which is either the same function or runs it to its end. A subclass of its classes
must have both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from jupyter_client.asynchronous.client import AsyncKernelClient

C = TypeVar("C", bound=type[Any])

CLIENT_METHODS: Final = ("execute_interactive", "is_alive", "wait_for_ready")
"""The methods of a client that stand under both names."""

MANAGER_METHODS: Final = (
    "cleanup_resources",
    "finish_shutdown",
    "interrupt_kernel",
    "is_alive",
    "post_start_kernel",
    "pre_start_kernel",
    "request_shutdown",
    "restart_kernel",
    "shutdown_kernel",
    "signal_kernel",
    "start_kernel",
)
"""The methods of a manager that stand under both names."""

MANAGER_STEPS: Final = ("kill_kernel", "launch_kernel", "send_kernel_sigterm")
"""Methods of a manager that are private under both: ``_NAME`` and ``_async_NAME``."""


class OpenKernelClient(AsyncKernelClient):
    """`AsyncKernelClient`, with public names for what a subclass needs of it."""

    async def receive_reply(self, msg_id: str) -> dict[str, Any]:
        """Return the reply to a request on the shell channel; other replies are dropped."""
        reply: dict[str, Any] = await self._async_recv_reply(msg_id)
        return reply

    def note_kernel_info(self, reply: dict[str, Any]) -> None:
        """Adapt the session's protocol to the kernel's, which its ``kernel_info_reply`` says."""
        self._handle_kernel_info_reply(reply)

    @property
    def default_output_hook(self) -> Callable[[dict[str, Any]], None]:
        """What `execute_interactive` does with output by default: it prints it."""
        return self._output_hook_default

    @property
    def default_stdin_hook(self) -> Callable[[dict[str, Any]], Awaitable[None]]:
        """What `execute_interactive` does with a question by default: it asks the person."""
        return self._stdin_hook_default


def with_private_names_of_client(cls: C) -> C:
    """Decorate a client: put its public methods under their private names, too."""
    for name in CLIENT_METHODS:
        setattr(cls, f"_async_{name}", getattr(cls, name))
    return cls


def with_private_names_of_manager(**steps: str) -> Callable[[C], C]:
    """Decorate a manager: put its public methods under their private names, too.

    ``steps`` has, for each of `MANAGER_STEPS`, the name of the method that does it.
    """

    def decorate(cls: C) -> C:
        for name in MANAGER_METHODS:
            setattr(cls, f"_async_{name}", getattr(cls, name))
        for step in MANAGER_STEPS:
            for prefix in ("_", "_async_"):
                setattr(cls, f"{prefix}{step}", getattr(cls, steps[step]))
        return cls

    return decorate
