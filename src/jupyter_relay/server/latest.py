"""What a gateway has last answered to one question, for those who must not wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from typing import Final, Generic, TypeVar

from jupyter_relay.errors import GatewayTimeout, GatewayUnavailable, RelayError
from jupyter_relay.log import Log

T = TypeVar("T")

PATIENCE: Final = 1.5
"""How many seconds whoever asks may wait where an earlier answer is known: a page that loads is to
have its answer within 2 s."""

SILENCE: Final = 10.0
"""The seconds after which a gateway that has not answered counts as silent. One that answers sooner
is slow: some look for the environments of conda at each listing of the kernelspecs."""


DOWN: Final = 30.0
"""For how many seconds a gateway that could not be reached counts as down, if nobody asks it again:
three rounds of JupyterLab, which lists the kernels every 10 s."""

_EARLY: Final = 0.001


class Latest(Generic[T]):
    """Asks a gateway one question, once at a time, and remembers the answer.

    ``value`` is the last answer, None before the first. Whoever asks while the question is under
    way shares the answer. How long they wait, counted from when it was put:

    * ``first_patience`` seconds where there was neither an answer nor a failure before;
    * ``patience`` seconds later, when something is known;
    * not at all where something is known and the last answer took longer than that. The gateway is
      slow then: its answer is for whoever asks next.

    So while a gateway is silent one request waits, and all others have at once what is known.

    With ``newest_only`` an older answer is of little use, as where a kernel that ended meanwhile
    would be shown again. Then whoever asks waits until the gateway counts as silent, after
    ``silence`` seconds, and only for ``patience`` seconds where the gateway is `down`.

    The beginning and the end of a time without answers are one line each in the log, which says of
    ``what`` that it cannot be ``asked_for``, as "listed"; with ``quiet`` there are none, where
    something else tells of it. It begins with a failure, or at the first question with silence,
    since pages are then shown less than there is. Then, and after each answer, ``watch`` is called
    with the `error` there is, or None.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[T]],
        *,
        what: str,
        asked_for: str = "listed",
        gateway: str,
        log: Log,
        quiet: bool = False,
        watch: Callable[[RelayError | None], None] | None = None,
        patience: float = PATIENCE,
        first_patience: float = PATIENCE,
        silence: float = SILENCE,
        newest_only: bool = False,
    ) -> None:
        self.value: T | None = None
        self._error: RelayError | None = None
        self._ask = ask
        self._what = what
        self._asked_for = asked_for
        self._gateway = gateway
        self._log = log
        self._quiet = quiet
        self._watch = watch
        self._patience = patience
        self._first_patience = first_patience
        self._silence = silence
        self._newest_only = newest_only
        self._silence_error: GatewayTimeout | None = None
        self._unavailable_at: float | None = None
        self._asking: asyncio.Task[None] | None = None
        self._asked_at = 0.0
        self._slow = False
        self._ended = False
        self._told: type[RelayError] | None = None
        self._telling: asyncio.TimerHandle | None = None

    @property
    def asking(self) -> bool:
        """Whether the question is under way."""
        return self._asking is not None

    @property
    def error(self) -> RelayError | None:
        """Why the last answer is an old one: the question failed, or has been under way for so long
        that the gateway counts as silent. None while neither is so."""
        if not self._silent:
            return self._error
        if self._silence_error is None:
            self._silence_error = GatewayTimeout(
                f"{self._gateway} has not answered for {self._silence:g} s.",
                hint="It is still waited for; ask again later.",
                gateway=self._gateway,
            )
        return self._silence_error

    @property
    def down(self) -> bool:
        """Whether the gateway is known to be down: it has been silent for too long, or could not be
        reached when it was last asked, and that is less than `DOWN` seconds ago."""
        if self._silent:
            return True
        since = self._unavailable_at
        return since is not None and asyncio.get_running_loop().time() - since < DOWN

    @property
    def until_silent(self) -> float | None:
        """In how many seconds the gateway counts as silent, if it does not answer; None if it is
        not asked."""
        if self._asking is None:
            return None
        # An event loop's timers may be early by as much.
        left = self._asked_at + self._silence - asyncio.get_running_loop().time()
        return left if left > _EARLY else 0.0

    def begin(self) -> None:
        """Ask, unless the question is under way, and wait for nothing."""
        if self._asking is None:
            loop = asyncio.get_running_loop()
            self._asked_at = loop.time()
            self._silence_error = None
            if not self._ended:
                self._telling = loop.call_at(self._asked_at + self._silence, self._tell_silence)
            self._asking = asyncio.create_task(self._take())
            self._asking.add_done_callback(self._answered)

    async def refresh(self, *, at_most: float = inf) -> None:
        """Ask, and wait for the answer as long as there is patience, or for ``at_most`` seconds
        after the question was put, if that is shorter."""
        self.begin()
        until = self._asked_at + min(self._patience_left, at_most)
        await self._wait(max(0.0, until - asyncio.get_running_loop().time()))

    async def answer(self) -> None:
        """Ask, and wait until the question is answered or has failed."""
        self.begin()
        await self._wait(None)

    async def close(self) -> None:
        """Stop asking."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    @property
    def _patience_left(self) -> float:
        """How long the question may be under way for one who waits."""
        if self._newest_only:
            return self._patience if self.down else self._silence
        if not self._ended and not self._silent:
            return self._first_patience
        known = self.value is not None
        return 0.0 if known and self._slow else self._patience

    @property
    def _silent(self) -> bool:
        left = self.until_silent
        return left is not None and left <= 0.0

    async def _wait(self, seconds: float | None) -> None:
        if self._asking is not None:
            await asyncio.wait([self._asking], timeout=seconds)

    async def _take(self) -> None:
        try:
            self.value = await self._ask()
        except RelayError as error:
            self._error = error
            self._note_reach(error)
            self._tell(error)
        except Exception:  # noqa: BLE001  # what is old must not be taken for new
            self._log.exception(
                "%s cannot be %s, in a way not foreseen.", self._what, self._asked_for
            )
            self._error = RelayError(
                f"{self._what} cannot be {self._asked_for} (see the log).", gateway=self._gateway
            )
        else:
            self._error = self._unavailable_at = None
            if self._told is not None:
                self._told = None
                self._log.info("%s can be %s again.", self._what, self._asked_for)

    def _note_reach(self, error: RelayError) -> None:
        """Note whether an error says that the gateway could not be reached."""
        unreached = isinstance(error, GatewayUnavailable)
        self._unavailable_at = asyncio.get_running_loop().time() if unreached else None

    def _tell_silence(self) -> None:
        if self._silent and self.error is not None:
            self._tell(self.error)
            self._show(self.error)

    def _show(self, error: RelayError | None) -> None:
        if self._watch is not None:
            self._watch(error)

    def _tell(self, error: RelayError) -> None:
        """Log why there is no answer, unless the last failure was of the same kind."""
        if not self._quiet and self._told is not type(error):
            self._told = type(error)
            self._log.warning("%s cannot be %s: %s", self._what, self._asked_for, error)

    def _answered(self, task: asyncio.Task[None]) -> None:
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        took = asyncio.get_running_loop().time() - self._asked_at
        self._slow = took > self._patience
        self._ended = True
        self._asking = None
        if not task.cancelled():
            self._show(self._error)
