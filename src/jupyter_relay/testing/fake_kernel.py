"""A kernel that is a script: it answers what a test tells it to, in the order a real one would."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import uuid4

import msgspec

from jupyter_relay.testing.audience import Audience
from jupyter_relay.testing.changes import Changes
from jupyter_relay.testing.fake_socket import FakeSocket
from jupyter_relay.testing.kernel_scripts import (
    Handler,
    answer_ok,
    default_handlers,
    print_code,
    read_content,
)
from jupyter_relay.wire.json import Json
from jupyter_relay.wire.message import EMPTY, Channel, Message, Part

_PID_RANGE = 4000


class FakeKernel:
    """A scripted kernel behind a `FakeGateway`.

    ``on_execute`` is what an ``execute_request`` runs; by default it prints the code. A reply with
    status ``ok`` follows unless the script has replied; an exception it raises becomes an error
    output and an error reply. ``handlers`` takes a script for any other ``msg_type``.

    ``received`` holds all messages from clients in the order they came, ``received_on`` those of
    one channel. Each channel is first-in first-out, and control runs beside shell. Messages are
    numbered as ipykernel does, ``<session>_<pid>_<n>``, with one count for all channels; each
    incarnation has its own session and pid.
    """

    def __init__(
        self,
        *,
        kernel_id: str,
        name: str,
        env: Mapping[str, Json],
        audience: Audience,
        changes: Changes,
        on_execute: Handler = print_code,
    ) -> None:
        self.id = kernel_id
        self.name = name
        self.env = env
        self.audience = audience
        self.received: list[Message] = []
        self.incarnation = 0
        self.execution_state = "starting"
        self.execution_count = 0
        self.last_activity = datetime.now(UTC)
        self.on_execute = on_execute
        self.handlers = default_handlers()
        self._changes = changes
        self._origins: dict[str, str] = {}
        self._replied: set[str] = set()
        self._queues: dict[str, asyncio.Queue[Message]] = {}
        self._workers: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._script: asyncio.Task[None] | None = None
        self._answers: asyncio.Queue[Message] = asyncio.Queue()
        self._start()

    # What tests look at

    @property
    def connections(self) -> int:
        """How many websockets are open to it."""
        return len(self.audience.sockets)

    @property
    def is_alive(self) -> bool:
        """Whether it has a process."""
        return bool(self._workers)

    def received_on(self, channel: Channel) -> list[Message]:
        """Return what came on one channel, in order."""
        return [message for message in self.received if message.channel is channel]

    # What scripts say

    def publish(
        self,
        msg_type: str,
        content: Mapping[str, Json],
        parent: Message | None = None,
        buffers: Sequence[Part] = (),
    ) -> Message:
        """Send a message on iopub, to everyone."""
        message = self.compose(Channel.IOPUB, msg_type, content, parent, buffers)
        self.audience.publish(message)
        return message

    def print(self, text: str, parent: Message, stream: str = "stdout") -> Message:
        """Publish a ``stream`` output."""
        return self.publish("stream", {"name": stream, "text": text}, parent)

    def set_status(self, state: str, parent: Message | None = None) -> Message:
        """Publish a ``status``; the kernel's model says the same from now on."""
        self.execution_state = state
        return self.publish("status", {"execution_state": state}, parent)

    def reply(
        self,
        request: Message,
        content: Mapping[str, Json] | None = None,
        buffers: Sequence[Part] = (),
    ) -> Message:
        """Answer a request on its own channel, to the client that asked."""
        msg_type = request.head.msg_type.replace("_request", "_reply")
        message = self.compose(
            request.channel, msg_type, content or {"status": "ok"}, request, buffers
        )
        self._replied.add(request.head.msg_id)
        self.audience.answer(self._origins.get(request.head.msg_id, ""), message)
        return message

    def report(self, error: BaseException, request: Message) -> None:
        """Publish an error output and reply with it."""
        described: dict[str, Json] = {
            "ename": type(error).__name__,
            "evalue": str(error),
            "traceback": [f"{type(error).__name__}: {error}"],
        }
        self.publish("error", described, request)
        self.reply(
            request,
            {"status": "error", "execution_count": self.execution_count, **described},
        )

    def has_replied(self, request: Message) -> bool:
        """Whether a request has its reply."""
        return request.head.msg_id in self._replied

    async def run_script(self, request: Message) -> BaseException | None:
        """Run ``on_execute`` so that `interrupt` can reach it; return what it raised."""
        script = asyncio.ensure_future(self.on_execute(request, self))
        self._script = script
        try:
            await asyncio.wait((script,))
        except asyncio.CancelledError:
            script.cancel()
            await asyncio.wait((script,))
            raise
        finally:
            self._script = None
        return KeyboardInterrupt() if script.cancelled() else script.exception()

    def add_subshell(self) -> str:
        """Open a queue for requests beside the main shell and return its id."""
        subshell_id = uuid4().hex
        self._add_queue(subshell_id)
        return subshell_id

    async def ask_input(self, prompt: str, request: Message, *, password: bool = False) -> str:
        """Ask the client that sent ``request`` for a line, and return it."""
        content: dict[str, Json] = {"prompt": prompt, "password": password}
        question = self.compose(Channel.STDIN, "input_request", content, request)
        self.audience.answer(self._origins.get(request.head.msg_id, ""), question)
        reply = await self._answers.get()
        return str(read_content(reply).get("value", ""))

    def compose(
        self,
        channel: Channel,
        msg_type: str,
        content: Mapping[str, Json],
        parent: Message | None = None,
        buffers: Sequence[Part] = (),
        *,
        msg_id: str | None = None,
    ) -> Message:
        """Make a message of this kernel, with the next number, and send it nowhere."""
        header = {
            "msg_id": msg_id or f"{self.session}_{self.pid}_{next(self._numbers)}",
            "msg_type": msg_type,
            "session": self.session,
            "username": "kernel",
            "date": datetime.now(UTC),
            "version": "5.4",
        }
        self.last_activity = datetime.now(UTC)
        return Message(
            channel=channel,
            header=msgspec.json.encode(header),
            parent_header=EMPTY if parent is None else parent.header,
            content=msgspec.json.encode(content),
            buffers=tuple(buffers),
        )

    # What happens to kernels

    def die(self, *, restarts: bool = True) -> None:
        """End as by SIGKILL. The gateway notices, and says ``restarting``, or ``dead``."""
        self._stop()
        self.execution_state = "restarting" if restarts else "dead"
        _announce(self, self.execution_state)
        if restarts:
            self._start()
        self._changes.notify()

    def restart(self) -> None:
        """Begin a new incarnation, as the REST call does; what was running is gone."""
        self._stop()
        self._start()
        self.publish("status", {"execution_state": "starting"})
        self._changes.notify()

    def interrupt(self) -> None:
        """Raise ``KeyboardInterrupt`` in the script of the running ``execute_request``, if any."""
        if self._script is not None:
            self._script.cancel()

    def kill(self) -> None:
        """End without a word to anyone, as an evicted pod does."""
        self._stop()

    async def aclose(self) -> None:
        """End, and wait for what it was running."""
        self._stop()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def nudge(self) -> None:
        """Answer the ``kernel_info_request`` that a gateway sends by itself around a handshake."""
        foreign = self.compose(Channel.SHELL, "kernel_info_request", {})
        state = self.execution_state
        self.publish("status", {"execution_state": "busy"}, foreign)
        self.publish("status", {"execution_state": state}, foreign)

    def deliver(self, socket: FakeSocket, message: Message) -> None:
        """Take a message from a client."""
        self.received.append(message)
        self._changes.notify()
        if not self.is_alive:
            return
        self._origins[message.head.msg_id] = socket.session_id
        if message.channel is Channel.STDIN:
            self._answers.put_nowait(message)
        else:
            subshell = message.head.subshell_id if message.channel is Channel.SHELL else None
            queue = self._queues.get(subshell or message.channel, self._queues[Channel.SHELL])
            queue.put_nowait(message)

    def _start(self) -> None:
        self.incarnation += 1
        self.session = uuid4().hex
        self.pid = _PID_RANGE + self.incarnation
        self._numbers = itertools.count()
        self.execution_count = 0
        self.execution_state = "idle"
        self._answers = asyncio.Queue()
        self._queues.clear()
        for queue in (Channel.SHELL, Channel.CONTROL):
            self._add_queue(queue)

    def _stop(self) -> None:
        for worker in self._workers:
            worker.cancel()
        self._workers.clear()

    def _add_queue(self, name: str) -> None:
        queue: asyncio.Queue[Message] = asyncio.Queue()
        self._queues[name] = queue
        worker = asyncio.create_task(self._work(queue), name=f"fake kernel {name}")
        self._workers.append(worker)
        self._tasks.add(worker)

    async def _work(self, queue: asyncio.Queue[Message]) -> None:
        while True:
            request = await queue.get()
            self._replied.discard(request.head.msg_id)
            self.set_status("busy", request)
            msg_type = request.head.msg_type
            try:
                await self.handlers.get(msg_type, answer_ok)(request, self)
            except Exception as error:  # noqa: BLE001  # a kernel survives what it runs
                self.report(error, request)
            self.set_status("idle", request)
            self._changes.notify()


def _announce(kernel: FakeKernel, state: str) -> None:
    """Report a status as the gateway does: once on each socket, in that socket's own session."""
    for socket in kernel.audience.sockets:
        header = {
            "msg_id": f"{socket.session_id}_1_{uuid4().hex}",
            "msg_type": "status",
            "session": socket.session_id,
            "username": "gateway",
            "date": datetime.now(UTC),
            "version": "5.4",
        }
        content = {"execution_state": state}
        socket.send(
            Message(
                channel=Channel.IOPUB,
                header=msgspec.json.encode(header),
                content=msgspec.json.encode(content),
            )
        )
