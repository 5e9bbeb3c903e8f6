"""What jupyter_client's managers and clients do to local processes and sockets has a meaning for a
gateway's kernel, or says that it has none."""

from __future__ import annotations

import asyncio
import inspect
import signal
from collections.abc import Callable, Iterator
from select import select

import pytest
import zmq
import zmq.asyncio
from jupyter_client.manager import AsyncKernelManager, KernelManager
from jupyter_client.session import Session

from jupyter_relay.errors import KernelNotRunning, NotPossibleOnGateway
from jupyter_relay.headless.channels import ChannelQueue
from jupyter_relay.headless.client import GatewayKernelClient
from jupyter_relay.headless.manager import GatewayKernelManager
from jupyter_relay.server.kernel import GatewayKernelManager as ServersKernelManager
from jupyter_relay.testing import FakeGateway
from jupyter_relay.wire.message import Channel, Message


def uses_of_a_provisioner(kind: type) -> Iterator[str]:
    """Yield the names of what a class has, or inherits, that uses a provisioner."""
    for name in dir(kind):
        found = inspect.getattr_static(kind, name)
        code = getattr(found, "fget", None) or getattr(found, "__func__", found)
        # `run_sync` keeps what it wraps in a closure.
        for function in (code, *_enclosed(code)):
            if inspect.isfunction(function) and _uses_it(function):
                yield name
                break


def _enclosed(code: object) -> Iterator[object]:
    for cell in getattr(code, "__closure__", None) or ():
        yield cell.cell_contents


def _uses_it(function: Callable[..., object]) -> bool:
    unwrapped = inspect.unwrap(function)
    return "self.provisioner" in inspect.getsource(unwrapped)


def test_source_inspection_finds_methods_that_use_a_provisioner() -> None:
    found = set(uses_of_a_provisioner(AsyncKernelManager))
    assert {"has_kernel", "is_alive", "signal_kernel", "_async_kill_kernel"} <= found
    assert "_kill_kernel" in set(uses_of_a_provisioner(KernelManager))


@pytest.mark.parametrize("kind", [GatewayKernelManager, ServersKernelManager])
def test_manager_inherits_no_method_that_uses_a_provisioner(kind: type) -> None:
    assert list(uses_of_a_provisioner(kind)) == []


async def test_manager_passes_on_sigint_as_an_interrupt_and_refuses_other_signals(
    fake: FakeGateway,
) -> None:
    manager = GatewayKernelManager()
    await manager.start_kernel()
    await manager.signal_kernel(signal.SIGINT)
    assert fake.requests_to("POST", f"/api/kernels/{manager.kernel_id}/interrupt")
    with pytest.raises(NotPossibleOnGateway, match="does not send SIGTERM"):
        await manager.signal_kernel(signal.SIGTERM)
    with pytest.raises(NotPossibleOnGateway, match="does not send 99"):
        await manager.signal_kernel(99)
    await manager.shutdown_kernel()


@pytest.mark.parametrize("way", ["_async_kill_kernel", "_async_send_kernel_sigterm"])
async def test_killing_deletes_the_kernel(fake: FakeGateway, way: str) -> None:
    manager = GatewayKernelManager()
    await manager.start_kernel()
    await getattr(manager, way)()
    assert not fake.kernels
    assert not manager.has_kernel
    await getattr(manager, way)()


async def test_shutdown_in_two_parts_deletes_the_kernel(fake: FakeGateway) -> None:
    manager = GatewayKernelManager()
    await manager.start_kernel()
    await manager.request_shutdown(restart=True)
    assert fake.kernels
    await manager.request_shutdown()
    await manager.finish_shutdown()
    assert not fake.kernels


@pytest.mark.parametrize("part", ["pre_start_kernel", "_launch_kernel", "post_start_kernel"])
async def test_manager_launches_no_local_process(part: str) -> None:
    with pytest.raises(NotPossibleOnGateway, match="start_kernel is the only way"):
        await getattr(GatewayKernelManager(), part)([])


async def test_manager_resolves_no_path_of_the_kernels() -> None:
    assert GatewayKernelManager().resolve_path("a.ipynb") is None


# Clients that are not made by `client()`, and pollers.


async def test_client_with_a_manager_as_its_parent_shares_its_kernel(fake: FakeGateway) -> None:
    manager = GatewayKernelManager()
    await manager.start_kernel()
    client = manager.client_factory(parent=manager, config=manager.config)
    client.load_connection_info(manager.get_connection_info())
    client.start_channels()
    client.hb_channel.unpause()
    assert await client._async_is_alive()
    await client._async_wait_for_ready()
    texts: list[str] = []

    def hear(msg: dict[str, dict[str, str]]) -> None:
        texts.append(msg["content"].get("text", ""))

    reply = await client._async_execute_interactive("ran", output_hook=hear, allow_stdin=False)
    assert reply["content"]["status"] == "ok"
    assert "".join(texts) == "ran\n"
    assert client.kernel_id == manager.kernel_id
    assert len(fake.sockets) == 1
    client.stop_channels()
    await manager.shutdown_kernel()


async def test_client_whose_manager_has_no_kernel_raises_an_error_that_says_so() -> None:
    client = GatewayKernelClient(parent=GatewayKernelManager())
    with pytest.raises(KernelNotRunning):
        client.start_channels()


def queue_of(first_use: Callable[[], None] | None = None) -> ChannelQueue:
    return ChannelQueue(
        Channel.CONTROL, Session(), send=lambda _: None, max_bytes=10_000, first_use=first_use
    )


def a_message() -> Message:
    return Message(channel=Channel.CONTROL, header=b'{"msg_id":"1","msg_type":"usage_reply"}')


async def test_channel_socket_can_be_polled() -> None:
    queue = queue_of()
    queue.start()
    poller = zmq.asyncio.Poller()
    poller.register(queue.socket, zmq.POLLIN)
    polling = asyncio.ensure_future(poller.poll(10_000))
    await asyncio.sleep(0)
    assert not polling.done()
    queue.put(a_message())
    assert queue.socket in dict(await polling)
    assert (await queue.get_msg(timeout=0))["msg_type"] == "usage_reply"
    queue.stop()


async def test_channel_socket_is_readable_exactly_while_a_message_is_here() -> None:
    queue = queue_of()
    queue.start()

    def readable() -> bool:
        return bool(select([queue.socket], [], [], 0)[0])

    queue.put(a_message())
    queue.put(a_message())
    assert readable()
    await queue.get_msg()
    assert readable()
    await queue.get_msg()
    assert not readable()
    queue.put(a_message())
    await queue.get_msgs()
    assert not readable()
    queue.stop()
    with pytest.raises(KernelNotRunning):
        _ = queue.socket
