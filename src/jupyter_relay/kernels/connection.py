"""The live socket of a link: does what the link asks for, and reports to it what happened."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final, Protocol

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

MAX_PROBES: Final = 2
"""How many requests for a kernel's model may be under way at once."""

MAX_UNREADABLE_FRAMES: Final = 1_000
"""After how many frames in a row that are no messages a socket is given up: the HTTP library bounds
what it holds by the bytes in frames, of which empty ones have none."""

_log = logging.getLogger(__name__)


class Host(Protocol):
    """What a connection needs of the kernel that it connects; `Upstream` is one."""

    async def open_socket(self, session: str) -> Socket:
        """Open a socket under this session id. Raises `RelayError`."""

    async def probe(self) -> KernelModel:
        """Ask the gateway for the kernel's model. Raises `RelayError`."""

    def on_session(self, session: str) -> None:
        """Called when a socket has opened, with its session id."""

    def on_report(self, report: Report) -> None:
        """Called with what happened to the link."""

    def on_unreadable_frame(self, why: str) -> None:
        """Called when a frame was no message; ``why`` is a sentence."""


class Receivers(Protocol):
    """Who receives the kernel's messages; `Audience` is one."""

    def deliver(self, message: Message, to: str | None) -> None:
        """Hand a message to one subscriber, or to all if ``to`` is None."""

    async def throttle(self) -> None:
        """Wait for a moment if a subscriber falls behind."""


class Connection:
    """Runs one link in the current event loop.

    Whenever ``throttle_every_bytes`` more bytes of memory were read from the socket, ``audience``
    may throttle it.
    """

    __slots__ = (
        "_audience",
        "_cancelled",
        "_flush",
        "_handshakes",
        "_host",
        "_link",
        "_probes",
        "_runners",
        "_throttle_every_bytes",
        "_timers",
        "_turn",
        "_writing",
    )

    def __init__(
        self,
        link: Link,
        *,
        host: Host,
        audience: Receivers,
        throttle_every_bytes: int,
    ) -> None:
        self._link = link
        self._host = host
        self._audience = audience
        self._throttle_every_bytes = throttle_every_bytes
        self._handshakes: Handshakes | None = None
        """Those under way; None where there are none."""
        self._timers: dict[Timer, asyncio.TimerHandle] = {}
        """Those that run."""
        # Of few tasks; empty sets would take four times the memory of lists.
        self._runners: list[asyncio.Task[None]] = []
        """One for each socket that opens, is open or is being closed."""
        self._turn = asyncio.Lock()
        """Held by the runner whose socket it is."""
        self._probes: list[asyncio.Task[None]] = []
        """The requests for the kernel's model that are about this socket; the oldest first."""
        self._cancelled: list[asyncio.Task[None]] = []
        """Probes that were cancelled and have not ended yet."""
        self._flush: asyncio.Event | None = None
        """Set when there is something to write; there is one while a socket is served, since an
        event takes 800 bytes."""
        self._writing: Message | None = None
        """What the socket has begun to take; None between messages, and once the link knows of it.
        It may be as large as the largest message."""

    def perform(self, actions: Iterable[Action]) -> None:
        """Do what the link asks for."""
        for action in actions:
            match action:
                case Deliver():
                    self._audience.deliver(action.message, action.to)
                case Flush():
                    if self._flush is not None:
                        self._flush.set()
                case StartTimer(timer, seconds):
                    self._start_timer(timer, seconds)
                case StopTimer(timer):
                    self._stop_timer(timer)
                case Connect():
                    self._stop_probes()  # their answers are about the last socket
                    runner = asyncio.create_task(self._run_socket())
                    self._runners.append(runner)
                    runner.add_done_callback(self._runners.remove)
                case ConnectBeside(session):
                    if self._handshakes is not None:
                        self._handshakes.begin_beside(session)
                case Disconnect():
                    for runner in self._runners:
                        runner.cancel()
                case Probe():
                    self._start_probe()
                case Report():
                    self._host.on_report(action)

    async def socket_closed(self) -> None:
        """Wait until a socket that is to be closed is closed."""
        if self._runners:
            await asyncio.wait(self._runners)

    async def close(self, reason: str, *, leave_work: bool = False) -> None:
        """End the link, see `Link.close`, and wait until nothing of it is left."""
        self.perform(self._link.close(reason, leave_work=leave_work))
        self._stop_probes()
        if self._cancelled:
            await asyncio.wait(self._cancelled)
        await self.socket_closed()
        if self._handshakes is not None:
            await self._handshakes.close()

    async def _run_socket(self) -> None:
        """One socket, from its handshake to its end, and never two of one session id at once.

        They would fight over the kernel's replies, and a second handshake deadlocks Enterprise
        Gateway (seen on 3.3.0).
        """
        async with self._turn:
            try:
                closed = await self._open_and_serve()
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
            finally:
                self._writing = None
        self.perform(end)

    async def _open_and_serve(self) -> SocketClosed:
        """Open a socket and serve it; return why it ended."""
        self._handshakes = handshakes = self._handshakes or Handshakes(self._host.open_socket)
        try:
            socket, session = await handshakes.first_socket(self._link.inbound.upstream)
        finally:
            if handshakes.are_over:
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
        writer = asyncio.create_task(self._write_messages(socket, subprotocol, self._flush))
        try:
            self._stop_probes()  # their answers are about the handshake
            self._host.on_session(session)
            self.perform(self._link.opened(session))
            return await self._read_frames(socket, subprotocol)
        finally:
            self._flush = None
            writer.cancel()
            await asyncio.wait([writer])

    async def _read_frames(self, socket: Socket, subprotocol: Subprotocol) -> SocketClosed:
        unthrottled_bytes = unreadable_frames = 0
        while True:
            try:
                frame = await socket.receive()
            except SocketClosed as error:
                return error
            unthrottled_bytes += len(frame.data) + MESSAGE_COST
            if unthrottled_bytes > self._throttle_every_bytes:
                unthrottled_bytes = 0
                await self._audience.throttle()
                await asyncio.sleep(0)  # frames that are there already are read without a wait
            try:
                actions = self._link.receive(subprotocol.decode(frame))
            except MalformedFrame as error:
                self._host.on_unreadable_frame(str(error))
                unreadable_frames += 1
                if unreadable_frames > MAX_UNREADABLE_FRAMES:
                    return SocketClosed("it sends nothing but frames that are no messages.")
            else:
                unreadable_frames = 0
                self.perform(actions)

    async def _write_messages(
        self, socket: Socket, subprotocol: Subprotocol, flush: asyncio.Event
    ) -> None:
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
            # The reader meets the same end, and returns why.
            await socket.close()
        except Exception:  # noqa: BLE001  # the next socket finds out what is lost
            _log.exception("Writing to a kernel failed in a way that was not foreseen.")
            await socket.close()

    def _start_probe(self) -> None:
        """Ask for the kernel's model. A request before this that has no answer yet may hang on a
        dead connection, or the gateway may be slow: the first answer counts, for both."""
        self._probes = [probe for probe in self._probes if not probe.done()]
        while len(self._probes) >= MAX_PROBES:
            self._cancel_probe(self._probes.pop(0))
        self._probes.append(asyncio.create_task(self._probe()))

    def _stop_probes(self) -> None:
        """Cancel all probes: the answer is here, or they are about a socket that has ended."""
        for probe in self._probes:
            self._cancel_probe(probe)
        self._probes.clear()

    def _cancel_probe(self, probe: asyncio.Task[None]) -> None:
        if probe is not asyncio.current_task() and probe.cancel():
            self._cancelled.append(probe)
            probe.add_done_callback(self._cancelled.remove)

    async def _probe(self) -> None:
        try:
            model = await self._host.probe()
        except KernelNotFound as error:
            self.perform(self._link.gone(str(error)))
        except RelayError as error:
            _log.debug("A silent kernel could not be asked for: %s", error)
        except Exception:  # noqa: BLE001  # whatever is wrong, no cell may wait
            _log.exception("A silent kernel could not be asked for, in a way not foreseen.")
        else:
            if asyncio.current_task() not in self._probes:
                return  # the handshake, or the socket, that this was about has ended meanwhile
            self._stop_probes()
            self.perform(self._link.probed(model.execution_state))

    def _start_timer(self, timer: Timer, seconds: float) -> None:
        self._stop_timer(timer)
        loop = asyncio.get_running_loop()
        self._timers[timer] = loop.call_later(seconds, self._on_timer, timer)

    def _stop_timer(self, timer: Timer) -> None:
        handle = self._timers.pop(timer, None)
        if handle is not None:
            handle.cancel()

    def _on_timer(self, timer: Timer) -> None:
        del self._timers[timer]
        self.perform(self._link.fired(timer))
