"""The handshakes for one socket: more than one if the first may be lost on its way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from jupyter_relay.errors import GatewayUnavailable, KernelNotFound
from jupyter_relay.transport.transport import Socket

_log = logging.getLogger(__name__)


class Handshakes:
    """Makes handshakes, each under a session id of its own; the first that is answered counts.

    ``open_socket`` makes a handshake under a session id. The other handshakes go on, and what they
    open is closed at once. They are not cancelled: when a client cuts off a handshake that its
    gateway holds, Jupyter Server (2.21) counts one client too few from then on. It then keeps no
    output for a client that is away, and takes a kernel with a client for an unused one.
    """

    __slots__ = ("_cancelled", "_ended", "_leaving", "_open_socket", "_under_way", "_unneeded")

    def __init__(self, open_socket: Callable[[str], Awaitable[Socket]]) -> None:
        self._open_socket = open_socket
        self._under_way: dict[asyncio.Task[Socket], str] = {}
        """Those that `first_socket` waits for, each with its session id."""

        self._unneeded: set[asyncio.Task[Socket]] = set()
        """Those that go on though another one was answered first."""

        self._cancelled: set[asyncio.Task[None]] = set()
        """One task for each cancelled handshake: waits for its end, and closes what it opened."""

        self._leaving: set[asyncio.Task[None]] = set()
        """One task for each unneeded handshake: waits for it, and closes what it opens."""

        self._ended: asyncio.Event | None = None
        """Set when one has ended; None while `first_socket` does not wait."""

    @property
    def are_over(self) -> bool:
        """True if no handshake is under way."""
        return not (self._under_way or self._cancelled or self._leaving)

    async def first_socket(self, session: str) -> tuple[Socket, str]:
        """Begin a handshake under this session id; return the first socket that opens, and its
        session id.

        Raises the error of the last handshake that fails, and at once a `KernelNotFound` of any.
        """
        if self._cancelled:
            await asyncio.wait(self._cancelled)  # one of them may be of the same session id
        self._ended = ended = asyncio.Event()
        self.begin_beside(session)
        try:
            while True:
                await ended.wait()
                ended.clear()
                for task in [task for task in self._under_way if task.done()]:
                    of = self._under_way.pop(task)
                    error = _error_of(task)
                    if error is None:
                        self._leave_others()
                        return task.result(), of
                    if isinstance(error, KernelNotFound) or not self._under_way:
                        raise error
                    _log.debug("A handshake failed beside another: %s", error)
        finally:
            self._ended = None
            self._cancel_all()
            if self._cancelled:
                await asyncio.wait(self._cancelled)

    def begin_beside(self, session: str) -> None:
        """Begin another handshake beside those that `first_socket` waits for, if it does."""
        ended = self._ended
        if ended is None:
            return
        task = asyncio.ensure_future(self._make(session))
        self._under_way[task] = session
        task.add_done_callback(lambda _: ended.set())

    async def close(self) -> None:
        """Cancel the handshakes that are not needed, and wait until all have ended."""
        for task in self._unneeded:
            task.cancel()
        ending = self._leaving | self._cancelled
        if ending:
            await asyncio.wait(ending)

    async def _make(self, session: str) -> Socket:
        return await self._open_socket(session)

    def _leave_others(self) -> None:
        """Let all that are under way end by themselves, and close what they open."""
        for task in self._under_way:
            self._unneeded.add(task)
            task.add_done_callback(self._unneeded.discard)
            _close_at_end(task, self._leaving)
        self._under_way.clear()

    def _cancel_all(self) -> None:
        """Cancel all that are under way. One may have opened in this instant, and takes some
        seconds to close."""
        for task in self._under_way:
            task.cancel()
            _close_at_end(task, self._cancelled)
        self._under_way.clear()


def _close_at_end(handshake: asyncio.Task[Socket], watchers: set[asyncio.Task[None]]) -> None:
    """Close what a handshake opens; ``watchers`` has the task of it until then."""
    watcher = asyncio.create_task(_close_when_open(handshake))
    watchers.add(watcher)
    watcher.add_done_callback(watchers.discard)


def _error_of(handshake: asyncio.Task[Socket]) -> BaseException | None:
    """Return what a handshake has failed with; that it was cancelled by somebody else is a failure
    like others."""
    if handshake.cancelled():
        return GatewayUnavailable("The handshake was cancelled.")
    return handshake.exception()


async def _close_when_open(handshake: asyncio.Task[Socket]) -> None:
    """Wait for a handshake that is not needed, and close what it opens."""
    await asyncio.wait([handshake])
    if handshake.cancelled():
        return
    error = handshake.exception()
    if error is None:
        await handshake.result().close()
    else:
        _log.debug("A handshake that is not needed failed: %s", error)
