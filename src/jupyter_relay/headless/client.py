"""The client of a kernel behind a gateway, for programs that expect jupyter_client's."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Protocol, cast, runtime_checkable

from jupyter_client.clientabc import KernelClientABC

from jupyter_relay.config import GatewayClient
from jupyter_relay.errors import ConfigurationError, KernelNotRunning
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.headless.channels import ChannelQueue, HBChannelQueue, MessageDict
from jupyter_relay.headless.jupyter_client_private import (
    OpenKernelClient,
    with_private_names_of_client,
)
from jupyter_relay.headless.usage import UsageRequests
from jupyter_relay.kernels.kernel import RemoteKernel
from jupyter_relay.kernels.roster import Roster
from jupyter_relay.kernels.subscription import Subscription
from jupyter_relay.link.answers import is_ours
from jupyter_relay.link.backlog import Dropped
from jupyter_relay.link.life import DEAD
from jupyter_relay.redact import MAX_QUOTED
from jupyter_relay.rest.urls import read_channels
from jupyter_relay.settings.settings import GatewaySettings
from jupyter_relay.wire.message import Channel, Message, quoted

_SUBSTITUTE_REPLY_SECONDS = 2.5
"""For how many seconds a reply is held back that was written in the place of a kernel that died.

nbclient checks once a second whether the kernel lives, until it has a reply. With the reply first,
it would see an error of the cell, and maybe go on in a new process that knows nothing."""


@runtime_checkable
class ClientsManager(Protocol):
    """What a client needs of the manager that it is made by; see `GatewayKernelManager`."""

    remote: RemoteKernel | None

    @property
    def is_dead(self) -> bool: ...
    async def is_alive(self) -> bool: ...


def _channel(name: Channel) -> property:
    def get(self: GatewayKernelClient) -> ChannelQueue:
        return self._queues[name]

    return property(get, doc=f"The {name} channel; its messages are waited for with `get_msg`.")


class _Done:
    """Nothing to wait for. Those who know Jupyter Server's client await its `start_channels`."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


@with_private_names_of_client
class GatewayKernelClient(OpenKernelClient):
    """A client of one kernel, over the one websocket that its `RemoteKernel` owns.

    It has the methods of `jupyter_client.AsyncKernelClient`. Made by a `GatewayKernelManager`, or
    with one as its ``parent``, it shares that manager's kernel. Made with the ``kernel_id`` of any
    other kernel it attaches to that one on the configured gateway, and releases it in
    `stop_channels`.

    ``ws_url`` is the URL of that kernel's websocket, ``wss://…/api/kernels/<id>/channels``; then
    the id may be left out, and without a configured gateway the same host is asked over HTTP. It
    raises `ConfigurationError` for another URL, or one of another kernel.
    """

    allow_stdin = False

    shell_channel = _channel(Channel.SHELL)
    control_channel = _channel(Channel.CONTROL)
    stdin_channel = _channel(Channel.STDIN)
    iopub_channel = _channel(Channel.IOPUB)

    def __init__(
        self,
        kernel_id: str | None = None,
        *,
        remote: RemoteKernel | None = None,
        ws_url: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if remote is None and ws_url is None:
            remote = self._kernel_of_manager(kernel_id)
            kernel_id = remote.id if remote is not None else kernel_id
        self._settings: GatewaySettings | None = None
        """Those of its own gateway, if it attaches to a kernel by itself."""
        self._roster: Roster | None = None
        """The owner of the kernel that it has attached to by itself; None while it is stopped."""
        if remote is None and (kernel_id is not None or ws_url is not None):
            options = GatewayClient(parent=self)
            if ws_url is not None:
                kernel_id = _use_websocket(options, ws_url, kernel_id)
            self._settings = options.settings()
        self.kernel_id = kernel_id
        self._remote = remote
        self._subscription: Subscription | None = None
        self._releasing: asyncio.Task[None] | None = None
        self._usage = UsageRequests()
        self._heartbeat = HBChannelQueue(self._is_there)
        self._queues = {name: self._queue(name) for name in Channel}

    @property
    def _manager(self) -> ClientsManager | None:
        """The manager of ours that this client was made by, if it was."""
        return self.parent if isinstance(self.parent, ClientsManager) else None

    def _kernel_of_manager(self, kernel_id: str | None) -> RemoteKernel | None:
        """Return the manager's kernel, if it has one of this id; None stands for any."""
        remote = self._manager.remote if self._manager is not None else None
        return remote if remote is not None and kernel_id in {None, remote.id} else None

    @property
    def hb_channel(self) -> HBChannelQueue:
        """The heartbeat, which is the gateway's word."""
        return self._heartbeat

    @property
    def channels_running(self) -> bool:
        """Whether any channel is started."""
        return self._heartbeat.is_alive() or any(q.is_alive() for q in self._queues.values())

    def start_channels(
        self,
        shell: bool = True,
        iopub: bool = True,
        stdin: bool = True,
        hb: bool = True,
        control: bool = True,
    ) -> Awaitable[None]:
        """Start the channels: subscribe to the kernel. Needs a running event loop.

        The websocket opens in the background; what is sent meanwhile waits for it. What is
        returned may be awaited, and need not be. Raises `KernelNotRunning` if there is no kernel.
        """
        if self._remote is None and self._settings is not None and self.kernel_id is not None:
            self._roster = Roster(Gateway(self._settings), log=self.log)
            self._remote = self._roster.visit(self.kernel_id)
        if self._remote is None:
            raise KernelNotRunning
        wanted = {
            Channel.SHELL: shell,
            Channel.IOPUB: iopub,
            Channel.STDIN: stdin,
            Channel.CONTROL: control,
        }
        for name, queue in self._queues.items():
            if wanted[name]:
                queue.start()
        if hb:
            self._heartbeat.start()
        self.allow_stdin = stdin
        if self._subscription is None:
            self._subscription = self._remote.subscribe(
                self.session.session, self._on_message, self._on_end
            )
        return _Done()

    def stop_channels(self) -> Awaitable[None]:
        """Stop the channels. It may be called at any time, any number of times.

        What is returned may be awaited: a client that attached by itself has closed its link then.
        """
        if self._subscription is not None:
            self._subscription.leave()
        for queue in self._queues.values():
            queue.stop()
        self._heartbeat.stop()
        if self._roster is None or self._remote is None:
            return self._releasing or _Done()
        release = _release(self._roster, self._remote)
        self._roster = self._remote = None
        self._releasing = asyncio.get_running_loop().create_task(release)
        return self._releasing

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Wait until the kernel answers, at most ``timeout`` seconds.

        Raises `RuntimeError`, as jupyter_client does, if it does not.
        """
        try:
            async with asyncio.timeout(timeout):
                msg_id = self.kernel_info()
                reply = await self.receive_reply(msg_id)
                # The output of the request ends with its idle status; what comes later is ours.
                if self.iopub_channel.is_alive():
                    await self._output_of(msg_id, _ignore)
        except TimeoutError:
            raise RuntimeError(f"Kernel didn't respond in {timeout} seconds") from None
        if reply["content"].get("status") == "error":
            why = quoted(reply["content"].get("evalue"), MAX_QUOTED)
            raise KernelNotRunning(f"Kernel died before replying to kernel_info: {why}")
        self.note_kernel_info(reply)

    async def execute_interactive(
        self,
        code: str,
        silent: bool = False,
        store_history: bool = True,
        user_expressions: dict[str, Any] | None = None,
        allow_stdin: bool | None = None,
        stop_on_error: bool = True,
        timeout: float | None = None,
        output_hook: Callable[[MessageDict], object] | None = None,
        stdin_hook: Callable[[MessageDict], object] | None = None,
    ) -> MessageDict:
        """Execute code, hand over its output as it comes, and return the reply.

        The arguments are those of `jupyter_client.KernelClient.execute_interactive`. Raises
        `TimeoutError` after ``timeout`` seconds.
        """
        if allow_stdin is None:
            allow_stdin = self.allow_stdin
        if output_hook is None:
            output_hook = self.default_output_hook
        if stdin_hook is None:
            stdin_hook = self.default_stdin_hook
        try:
            async with asyncio.timeout(timeout):
                msg_id = self.execute(
                    code,
                    silent=silent,
                    store_history=store_history,
                    user_expressions=user_expressions,
                    allow_stdin=allow_stdin,
                    stop_on_error=stop_on_error,
                )
                hearing = [self._output_of(msg_id, output_hook)]
                if allow_stdin:
                    hearing.append(self._answer(msg_id, stdin_hook))
                await _first_of(hearing)
                return await self.receive_reply(msg_id)
        except TimeoutError:
            raise TimeoutError("Timeout waiting for output") from None

    async def is_alive(self) -> bool:
        """Whether the kernel is there."""
        manager = self._manager
        return await manager.is_alive() if manager is not None else self._heartbeat.is_beating()

    async def _output_of(self, msg_id: str, hook: Callable[[MessageDict], object]) -> None:
        """Hand over the output of one request until its idle status has come."""
        while True:
            msg = await self.iopub_channel.get_msg()
            if msg["parent_header"].get("msg_id") != msg_id:
                continue
            await _call(hook, msg)
            if msg["msg_type"] == "status" and msg["content"]["execution_state"] == "idle":
                return

    async def _answer(self, msg_id: str, hook: Callable[[MessageDict], object]) -> None:
        """Put the kernel's questions during one request to the hook."""
        while True:
            msg = await self.stdin_channel.get_msg()
            if msg["parent_header"].get("msg_id") == msg_id:
                await _call(hook, msg)

    def _queue(self, name: Channel) -> ChannelQueue:
        settings = self._remote.gateway.settings if self._remote is not None else self._settings
        bound = settings.backlog_bytes if settings is not None else 0
        return ChannelQueue(
            name,
            self.session,
            send=self._send,
            max_bytes=bound,
            first_use=self._begin,
            describe=self._describe if name is Channel.IOPUB else None,
        )

    def _describe(self, dropped: Dropped) -> Message:
        if self._remote is None:
            raise KernelNotRunning
        return self._remote.audience.describe(dropped)

    def _is_there(self) -> bool:
        return self._remote is not None and self._remote.life not in DEAD

    def _begin(self) -> None:
        """Start all channels, if none is started."""
        if not self.channels_running:
            self.start_channels()

    def _send(self, message: Message) -> None:
        if self._subscription is None:
            raise KernelNotRunning
        self._subscription.send(message)
        behind = self._usage.follow(message)
        if behind is not None:
            self._subscription.send(behind)

    def _on_message(self, given: Message) -> None:
        message = self._usage.hear(given)
        if message is None:
            return
        put = self._queues[message.channel].put
        if message.channel is Channel.SHELL and self._is_of_dead_kernel(message):
            asyncio.get_running_loop().call_later(_SUBSTITUTE_REPLY_SECONDS, put, message)
        else:
            put(message)

    def _on_end(self) -> None:
        """End what waits for messages: none will come."""
        self._subscription = None
        for queue in self._queues.values():
            queue.end_messages()

    def _is_of_dead_kernel(self, message: Message) -> bool:
        """True if a reply was written in the place of a kernel that is dead."""
        return self._manager is not None and self._manager.is_dead and is_ours(message)


KernelClientABC.register(GatewayKernelClient)


def _use_websocket(options: GatewayClient, ws_url: str, kernel_id: str | None) -> str:
    """Have options lead to a kernel's websocket, and return the kernel's id."""
    try:
        base, found = read_channels(ws_url, options.kernels_endpoint)
    except ValueError:
        raise ConfigurationError(
            f"ws_url must be wss://…/{options.kernels_endpoint.strip('/')}/<kernel id>/channels.",
            option="ws_url",
        ) from None
    if kernel_id not in {None, found}:
        raise ConfigurationError(
            f"ws_url leads to the kernel {quoted(found)}, not to {quoted(kernel_id)}.",
            option="ws_url",
        )
    options.ws_url = base
    if not options.configured:
        options.url = "http" + base[len("ws") :]
    return found


def _ignore(_: MessageDict) -> None:
    """Want no output."""


async def _first_of(coroutines: list[Coroutine[Any, Any, None]]) -> None:
    """Wait until one of them ends, and end the others. Raises what it raised."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _call(hook: Callable[[MessageDict], object], msg: MessageDict) -> None:
    result = hook(msg)
    if inspect.isawaitable(result):
        await cast("Awaitable[object]", result)


async def _release(roster: Roster, remote: RemoteKernel) -> None:
    """Close the link to a kernel that a client has attached to by itself."""
    await roster.release(remote)
    await roster.close()
