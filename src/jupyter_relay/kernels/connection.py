"""The live socket that drives a link: it does what the link says and tells it what happened."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from jupyter_relay.errors import (
    GatewayClosed,
    KernelNotFound,
    MalformedFrame,
    RelayError,
    UnsendableMessage,
)
from jupyter_relay.kernels.handshakes import Handshakes
from jupyter_relay.link.actions import (
    Action,
    Connect,
    ConnectBeside,
    Deliver,
    Disconnect,
    Flush,
    Probe,
    Report,
    StartTimer,
    StopTimer,
    Timer,
)
from jupyter_relay.link.link import Link
from jupyter_relay.rest.models import KernelModel
from jupyter_relay.transport.transport import Socket, SocketClosed
from jupyter_relay.wire.message import MESSAGE_COST, Message
from jupyter_relay.wire.subprotocol import Subprotocol

_MOST_PROBERS = 2
"""How many questions for a kernel's model may be under way at once."""

_MOST_UNREADABLE = 1_000
"""After how many frames in a row that are no messages a socket is given up: the HTTP library bounds
what it holds by the bytes in frames, of which empty ones have none."""

_log = logging.getLogger(__name__)


class Connection:
    """Runs one link in the current event loop.

    ``connect`` opens a socket under a session id; ``probe`` asks for the kernel's model, and raises
    `KernelNotFound`; ``deliver`` hands a message to a subscriber, or to all; ``report`` is told
    what happened, and ``skip`` why a frame was no message. ``ease`` is awaited whenever what was
    read takes ``stride`` more bytes of memory.
    """

    __slots__ = (
        "_cancelled",
        "_connect",
        "_deliver",
        "_ease",
        "_flush",
        "_handshakes",
        "_link",
        "_probe",
        "_probers",
        "_report",
        "_runners",
        "_skip",
        "_stride",
        "_timers",
        "_turn",
        "_writing",
    )

    def __init__(
        self,
        link: Link,
        *,
        connect: Callable[[str], Awaitable[Socket]],
        probe: Callable[[], Awaitable[KernelModel]],
        deliver: Callable[[Message, str | None], None],
        report: Callable[[Report], None],
        skip: Callable[[str], None],
        ease: Callable[[], Awaitable[object]],
        stride: int,
    ) -> None:
        self._link = link
        self._connect = connect
        self._handshakes: Handshakes | None = None
        self._probe = probe
        self._deliver = deliver
        self._report = report
        self._skip = skip
        self._ease = ease
        self._stride = stride
        self._timers: dict[Timer, asyncio.TimerHandle] = {}
        # Of few tasks; empty sets would take four times the memory of lists.
        self._runners: list[asyncio.Task[None]] = []
        self._turn = asyncio.Lock()
        self._probers: list[asyncio.Task[None]] = []
        self._cancelled: list[asyncio.Task[None]] = []
        self._flush: asyncio.Event | None = None
        """Set when there is something to write; there is one while a socket is served, since an
        event takes 800 bytes."""

        self._writing: Message | None = None

    def perform(self, actions: Iterable[Action]) -> None:
        """Do what the link says."""
        for action in actions:
            match action:
                case Deliver():
                    self._deliver(action.message, action.to)
                case Flush():
                    if self._flush is not None:
                        self._flush.set()
                case StartTimer(timer, seconds):
                    self._start_timer(timer, seconds)
                case StopTimer(timer):
                    self._stop_timer(timer)
                case Connect():
                    self._stop_probers()  # what they find out is about the last socket
                    runner = asyncio.create_task(self._run())
                    self._runners.append(runner)
                    runner.add_done_callback(self._runners.remove)
                case ConnectBeside(session):
                    if self._handshakes is not None:
                        self._handshakes.begin_beside(session)
                case Disconnect():
                    for runner in self._runners:
                        runner.cancel()
                case Probe():
                    self._start_prober()
                case Report():
                    self._report(action)

    async def settle(self) -> None:
        """Wait until a socket that was told to close is closed."""
        if self._runners:
            await asyncio.wait(self._runners)

    async def close(self, reason: str, *, leave_work: bool = False) -> None:
        """End the link, see `Link.close`, and wait until nothing of it is left."""
        self.perform(self._link.close(reason, leave_work=leave_work))
        self._stop_probers()
        if self._cancelled:
            await asyncio.wait(self._cancelled)
        await self.settle()
        if self._handshakes is not None:
            await self._handshakes.close()

    async def _run(self) -> None:
        """One socket, from its handshake to its end, and never two of one session id at once.

        They would fight over the kernel's replies, and a second handshake deadlocks Enterprise
        Gateway (seen on 3.3.0).
        """
        async with self._turn:
            try:
                closed = await self._open()
            except KernelNotFound as error:
                end = self._link.gone(str(error))
            except GatewayClosed as error:
                end = self._link.close(str(error))
            except RelayError as error:
                end = self._link.dropped(str(error))
            except Exception as error:  # noqa: BLE001  # whatever is wrong, no cell may wait
                _log.exception("The connection to a kernel failed in a way that was not foreseen.")
                end = self._link.dropped(f"{type(error).__name__} (see the log).")
            else:
                end = self._link.dropped(
                    str(closed),
                    silent=closed.silent,
                    too_large=closed.too_large,
                    unfinished=self._writing,
                )
        self.perform(end)

    async def _open(self) -> SocketClosed:
        """Open a socket and serve it; return why it ended."""
        self._handshakes = handshakes = self._handshakes or Handshakes(self._connect)
        try:
            socket, session = await handshakes.first(self._link.inbound.upstream)
        finally:
            if handshakes.is_settled:
                self._handshakes = None
        try:
            return await self._serve(socket, session)
        finally:
            await socket.close()

    async def _serve(self, socket: Socket, session: str) -> SocketClosed:
        """Pass messages both ways until the socket ends; return why it did."""
        subprotocol = Subprotocol.answered(socket.subprotocol)
        self._writing = None
        self._flush = asyncio.Event()
        writer = asyncio.create_task(self._write(socket, subprotocol, self._flush))
        try:
            self._stop_probers()  # what they find out is about the handshake
            self.perform(self._link.opened(session))
            return await self._read(socket, subprotocol)
        finally:
            self._flush = None
            writer.cancel()
            await asyncio.wait([writer])

    async def _read(self, socket: Socket, subprotocol: Subprotocol) -> SocketClosed:
        unweighed = unreadable = 0
        while True:
            try:
                frame = await socket.receive()
            except SocketClosed as error:
                return error
            unweighed += len(frame.data) + MESSAGE_COST
            if unweighed > self._stride:
                unweighed = 0
                await self._ease()
                await asyncio.sleep(0)  # frames that are there already are read without a wait
            try:
                actions = self._link.receive(subprotocol.decode(frame))
            except MalformedFrame as error:
                self._skip(str(error))
                unreadable += 1
                if unreadable > _MOST_UNREADABLE:
                    return SocketClosed("it sends nothing but frames that are no messages.")
            else:
                unreadable = 0
                self.perform(actions)

    async def _write(self, socket: Socket, subprotocol: Subprotocol, flush: asyncio.Event) -> None:
        try:
            while True:
                await flush.wait()
                flush.clear()
                while (message := self._link.next_message()) is not None:
                    try:
                        frame = subprotocol.encode(message)
                    except UnsendableMessage as error:
                        self.perform(self._link.unsendable(message, str(error)))
                    else:
                        self._writing = message
                        await socket.send(frame)
                        self._writing = None
        except SocketClosed:
            # The reader meets the same end, and says why.
            await socket.close()
        except Exception:  # noqa: BLE001  # the next socket finds out what is lost
            _log.exception("Writing to a kernel failed in a way that was not foreseen.")
            await socket.close()

    def _start_prober(self) -> None:
        """Ask for the kernel's model. The question before, if it has no answer yet, may hang on a
        connection that is dead, or its gateway may be slow: the first answer counts, for both."""
        self._probers = [prober for prober in self._probers if not prober.done()]
        while len(self._probers) >= _MOST_PROBERS:
            self._cancel(self._probers.pop(0))
        self._probers.append(asyncio.create_task(self._ask()))

    def _stop_probers(self) -> None:
        """Give up all questions: the answer is there, or they are about a socket that has ended."""
        for prober in self._probers:
            self._cancel(prober)
        self._probers.clear()

    def _cancel(self, prober: asyncio.Task[None]) -> None:
        if prober is not asyncio.current_task() and prober.cancel():
            self._cancelled.append(prober)
            prober.add_done_callback(self._cancelled.remove)

    async def _ask(self) -> None:
        try:
            model = await self._probe()
        except KernelNotFound as error:
            self.perform(self._link.gone(str(error)))
        except RelayError as error:
            _log.debug("A silent kernel could not be asked for: %s", error)
        except Exception:  # noqa: BLE001  # whatever is wrong, no cell may wait
            _log.exception("A silent kernel could not be asked for, in a way not foreseen.")
        else:
            if asyncio.current_task() not in self._probers:
                return  # the handshake, or the socket, that this was about has ended meanwhile
            self._stop_probers()
            self.perform(self._link.probed(model.execution_state))

    def _start_timer(self, timer: Timer, seconds: float) -> None:
        self._stop_timer(timer)
        loop = asyncio.get_running_loop()
        self._timers[timer] = loop.call_later(seconds, self._fire, timer)

    def _stop_timer(self, timer: Timer) -> None:
        handle = self._timers.pop(timer, None)
        if handle is not None:
            handle.cancel()

    def _fire(self, timer: Timer) -> None:
        del self._timers[timer]
        self.perform(self._link.fired(timer))
