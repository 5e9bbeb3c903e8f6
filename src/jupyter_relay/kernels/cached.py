"""A cached answer of a gateway, for callers that must not wait long for a new one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from typing import Final, Generic, TypeVar

from jupyter_relay.errors import GatewayClosed, GatewayTimeout, GatewayUnavailable, RelayError
from jupyter_relay.log import Log

T = TypeVar("T")

PATIENCE: Final = 1.5
"""How many seconds a caller waits where an earlier answer is cached: a page that loads is to have
its answer within 2 s."""

SILENCE: Final = 10.0
"""The seconds after which a gateway that has not answered counts as silent. One that answers sooner
is slow: some search for conda environments at each listing of the kernelspecs."""

DOWN_SECONDS: Final = 30.0
"""For how many seconds a gateway that could not be reached counts as down, unless it is asked
again: three rounds of JupyterLab, which lists the kernels every 10 s."""

_TIMER_SLACK: Final = 0.001
"""How many seconds an event loop's timer may be early."""


class Cached(Generic[T]):
    """Asks a gateway one question, once at a time, and caches the answer.

    ``value`` is the last answer, None before the first. Callers who come while the question is
    under way share its answer. How long they wait, counted from when the question was asked:

    * ``first_patience`` seconds where there was neither an answer nor a failure before;
    * ``patience`` seconds later, when something is cached;
    * not at all where something is cached and the last answer took longer than that. The gateway
      is slow then, and its answer is for the callers that come next.

    So while a gateway is silent one caller waits, and all others have at once what is cached.

    With ``newest_only`` a cached answer is of little use, as where a kernel that ended meanwhile
    would be shown again. Then callers wait until the gateway counts as silent, after ``silence``
    seconds, and only for ``patience`` seconds where the gateway is `down`.

    The beginning and the end of a time without answers are one line each in the log, which says
    that ``what`` cannot be ``asked_for``, as in "listed"; with ``quiet`` there are none, for
    questions whose failures are reported elsewhere. Such a time begins with a failure, or at the
    first question with silence, since pages are then shown less than there is. ``on_outcome`` is
    called then, and after each answer, with the `error` at that time, or None.
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
        on_outcome: Callable[[RelayError | None], None] | None = None,
        patience: float = PATIENCE,
        first_patience: float = PATIENCE,
        silence: float = SILENCE,
        newest_only: bool = False,
    ) -> None:
        self.value: T | None = None
        self._error: RelayError | None = None
        """What the last question failed with; None after an answer."""
        self._ask_gateway = ask
        self._what = what
        self._asked_for = asked_for
        self._gateway = gateway
        self._log = log
        self._quiet = quiet
        self._on_outcome = on_outcome
        self._patience = patience
        self._first_patience = first_patience
        self._silence = silence
        self._newest_only = newest_only
        self._silence_error: GatewayTimeout | None = None
        """The error of the question under way, made when the gateway first counts as silent."""
        self._unreachable_since: float | None = None
        """When the gateway was last found unreachable, in the loop's time; None once it answers."""
        self._task: asyncio.Task[None] | None = None
        """The question under way."""
        self._asked_at = 0.0
        """When the last question was asked, in the loop's time."""
        self._slow = False
        """Whether the last answer took longer than ``patience``."""
        self._ended = False
        """Whether any question has ended, with an answer or a failure."""
        self._logged: type[RelayError] | None = None
        """The kind of failure that the log has last; None after an answer."""
        self._silence_timer: asyncio.TimerHandle | None = None
        """Reports the silence of the first question."""

    @property
    def asking(self) -> bool:
        """True while the question is under way."""
        return self._task is not None

    @property
    def error(self) -> RelayError | None:
        """Why the value is out of date: the question failed, or has been under way for so long
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
        """True if the gateway is known to be down: it counts as silent, or could not be reached
        when it was last asked, and that is less than `DOWN_SECONDS` ago."""
        if self._silent:
            return True
        since = self._unreachable_since
        return since is not None and asyncio.get_running_loop().time() - since < DOWN_SECONDS

    @property
    def until_silent(self) -> float | None:
        """In how many seconds the gateway counts as silent, if it does not answer; None if no
        question is under way."""
        if self._task is None:
            return None
        left = self._asked_at + self._silence - asyncio.get_running_loop().time()
        return left if left > _TIMER_SLACK else 0.0

    def begin(self) -> None:
        """Ask, unless the question is under way, and wait for nothing."""
        if self._task is None:
            loop = asyncio.get_running_loop()
            self._asked_at = loop.time()
            self._silence_error = None
            if not self._ended:
                silent_at = self._asked_at + self._silence
                self._silence_timer = loop.call_at(silent_at, self._report_silence)
            self._task = asyncio.create_task(self._ask_and_cache())
            self._task.add_done_callback(self._on_done)

    async def refresh(self, *, at_most: float = inf) -> None:
        """Ask, and wait for the answer as long as the class says, or for ``at_most`` seconds after
        the question was asked, if that is shorter."""
        self.begin()
        until = self._asked_at + min(self._patience_of_callers, at_most)
        await self._wait(max(0.0, until - asyncio.get_running_loop().time()))

    async def answer(self) -> None:
        """Ask, and wait until the question is answered or has failed."""
        self.begin()
        await self._wait(None)

    def cancel(self) -> None:
        """Cancel the question under way, and do not wait for its end."""
        if self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        """Cancel the question under way, and wait for its end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    @property
    def _patience_of_callers(self) -> float:
        """How many seconds after it was asked a question is waited for."""
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
        if self._task is not None:
            await asyncio.wait([self._task], timeout=seconds)

    async def _ask_and_cache(self) -> None:
        try:
            self.value = await self._ask_gateway()
        except RelayError as error:
            self._error = error
            unreachable = isinstance(error, GatewayUnavailable | GatewayClosed)
            self._unreachable_since = asyncio.get_running_loop().time() if unreachable else None
            self._log_failure(error)
        except Exception:  # noqa: BLE001  # an old value must not be taken for a new one
            self._log.exception(
                "%s cannot be %s, in a way not foreseen.", self._what, self._asked_for
            )
            self._error = RelayError(
                f"{self._what} cannot be {self._asked_for} (see the log).", gateway=self._gateway
            )
        else:
            self._error = self._unreachable_since = None
            if self._logged is not None:
                self._logged = None
                self._log.info("%s can be %s again.", self._what, self._asked_for)

    def _report_silence(self) -> None:
        if self._silent and self.error is not None:
            self._log_failure(self.error)
            self._report_outcome(self.error)

    def _report_outcome(self, error: RelayError | None) -> None:
        if self._on_outcome is not None:
            self._on_outcome(error)

    def _log_failure(self, error: RelayError) -> None:
        """Log why there is no answer, unless the last failure was of the same kind."""
        if not self._quiet and self._logged is not type(error):
            self._logged = type(error)
            self._log.warning("%s cannot be %s: %s", self._what, self._asked_for, error)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if self._silence_timer is not None:
            self._silence_timer.cancel()
            self._silence_timer = None
        took = asyncio.get_running_loop().time() - self._asked_at
        self._slow = took > self._patience
        self._ended = True
        self._task = None
        if not task.cancelled():
            self._report_outcome(self._error)
