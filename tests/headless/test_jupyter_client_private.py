"""jupyter_client's private names are those that we give to our methods, and call."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.client import KernelClient
from jupyter_client.manager import AsyncKernelManager, KernelManager

from jupyter_relay.headless.client import GatewayKernelClient
from jupyter_relay.headless.jupyter_client_private import (
    CLIENT_METHODS,
    MANAGER_METHODS,
    MANAGER_STEPS,
    OpenKernelClient,
)
from jupyter_relay.headless.manager import GatewayKernelManager

HARMLESS = {
    "_async_wait",  # asks `is_alive` until the kernel is dead
    "_async_recv_reply",  # used by ours
    "_async_get_shell_msg", "_async_get_iopub_msg", "_async_get_stdin_msg",
    "_async_get_control_msg",  # ask the channel, which is ours
}  # fmt: skip
"""Those of which jupyter_client's own do the right thing for a kernel of a gateway."""


def private_twins(kind: type) -> set[str]:
    """Return the names of a class of jupyter_client's that begin with ``_async_``."""
    return {name for name in dir(kind) if name.startswith("_async_")}


@pytest.mark.parametrize(
    ("theirs", "ours", "methods"),
    [
        (KernelManager, GatewayKernelManager, (*MANAGER_METHODS, *MANAGER_STEPS)),
        (KernelClient, GatewayKernelClient, CLIENT_METHODS),
    ],
)
def test_private_twins_of_jupyter_clients_methods_are_replaced_by_ours(
    theirs: type, ours: type, methods: tuple[str, ...]
) -> None:
    assert private_twins(theirs) - HARMLESS == {f"_async_{name}" for name in methods}
    for name in private_twins(theirs) - HARMLESS:
        assert getattr(ours, name) is not getattr(theirs, name)
        assert getattr(ours, name).__module__.startswith("jupyter_relay.")


@pytest.mark.parametrize("name", MANAGER_METHODS)
def test_manager_method_is_the_same_under_both_names(name: str) -> None:
    assert callable(getattr(AsyncKernelManager, name))
    assert getattr(GatewayKernelManager, f"_async_{name}") is getattr(GatewayKernelManager, name)


@pytest.mark.parametrize("name", MANAGER_STEPS)
def test_manager_step_is_the_same_under_both_names(name: str) -> None:
    assert callable(getattr(AsyncKernelManager, f"_{name}"))
    ours = getattr(GatewayKernelManager, f"_{name}")
    assert ours is getattr(GatewayKernelManager, f"_async_{name}")
    assert ours is not getattr(AsyncKernelManager, f"_{name}")


def test_default_hooks_are_those_of_jupyter_client() -> None:
    client = OpenKernelClient()
    assert client.default_output_hook.__func__ is AsyncKernelClient._output_hook_default  # type: ignore[attr-defined]  # a bound method
    assert client.default_stdin_hook.__func__ is AsyncKernelClient._stdin_hook_default  # type: ignore[attr-defined]  # a bound method


def test_note_kernel_info_adapts_the_sessions_protocol() -> None:
    client = OpenKernelClient()
    assert client.session.adapt_version == 0
    client.note_kernel_info({"content": {"protocol_version": "4.1"}})
    assert client.session.adapt_version == 4


async def test_receive_reply_returns_the_reply_to_the_request_and_drops_others() -> None:
    class Client(OpenKernelClient):
        """Its replies come from a list."""

        replies: asyncio.Queue[dict[str, Any]]

        async def _async_get_shell_msg(self, *_: object, **__: object) -> dict[str, Any]:
            return await self.replies.get()

    client = Client()
    client.replies = asyncio.Queue()
    for msg_id in ("another", "ours"):
        client.replies.put_nowait({"parent_header": {"msg_id": msg_id}})
    async with asyncio.timeout(10):
        reply = await client.receive_reply("ours")
    assert reply["parent_header"]["msg_id"] == "ours"
