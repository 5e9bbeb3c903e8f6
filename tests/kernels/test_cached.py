"""What a gateway has last answered, for those who must not wait for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from jupyter_relay.errors import AuthenticationFailed, ConnectionFailed, GatewayTimeout, RelayError
from jupyter_relay.kernels.cached import Cached

LONG = 60.0


class Oracle:
    """Answers a question as it is told, when it is told."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers = asyncio.Queue[str | Exception]()
        self.given = asyncio.Event()

    async def __call__(self) -> str:
        self.asked += 1
        answer = await self.answers.get()
        self.given.set()
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
async def oracle() -> Oracle:
    return Oracle()


def cached_of(
    oracle: Oracle,
    patience: float = LONG,
    *,
    first_patience: float | None = None,
    silence: float | None = None,
    newest_only: bool = False,
    on_outcome: Callable[[RelayError | None], None] | None = None,
) -> Cached[str]:
    return Cached(
        oracle,
        what="The moon",
        gateway="gpu",
        log=logging.getLogger("test"),
        patience=patience,
        first_patience=patience if first_patience is None else first_patience,
        silence=patience if silence is None else silence,
        newest_only=newest_only,
        on_outcome=on_outcome,
    )


async def settled() -> None:
    """Let the tasks run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_cached_asked_by_many_at_once_shares_one_answer(oracle: Oracle) -> None:
    cached = cached_of(oracle)
    oracle.answers.put_nowait("full")
    await asyncio.gather(*(cached.refresh() for _ in range(5)))
    assert (cached.value, cached.error, oracle.asked) == ("full", None, 1)


async def test_cached_asked_again_later_has_a_newer_answer(oracle: Oracle) -> None:
    cached = cached_of(oracle)
    for answer in ("full", "new"):
        oracle.answers.put_nowait(answer)
        await cached.refresh()
        assert cached.value == answer


async def test_cached_of_a_silent_gateway_lets_one_caller_wait_a_while_and_no_later_one(
    oracle: Oracle,
) -> None:
    cached = cached_of(oracle, patience=0.05)
    await cached.refresh()
    assert isinstance(cached.error, GatewayTimeout)
    assert str(cached.error).startswith("gpu has not answered for 0.05 s.")
    behind = asyncio.create_task(cached.refresh())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert oracle.asked == 1
    await behind
    await cached.close()


async def test_cached_error_of_a_silent_gateway_replaces_the_earlier_error(oracle: Oracle) -> None:
    cached = cached_of(oracle, patience=0.05)
    oracle.answers.put_nowait(ConnectionFailed("Clouds."))
    await cached.refresh()
    assert isinstance(cached.error, ConnectionFailed)
    await cached.refresh()
    assert isinstance(cached.error, GatewayTimeout)
    await cached.close()


async def test_cached_answer_that_is_late_for_all_callers_is_kept(oracle: Oracle) -> None:
    cached = cached_of(oracle, patience=0.0)
    await cached.refresh()
    oracle.answers.put_nowait("full")
    async with asyncio.timeout(LONG):
        await oracle.given.wait()
    await asyncio.sleep(0)
    assert (cached.value, cached.error, oracle.asked) == ("full", None, 1)


async def test_cached_value_stays_when_the_question_fails(oracle: Oracle) -> None:
    cached = cached_of(oracle)
    oracle.answers.put_nowait("full")
    await cached.refresh()
    oracle.answers.put_nowait(ConnectionFailed("Clouds."))
    await cached.refresh()
    assert (cached.value, str(cached.error)) == ("full", "Clouds.")
    oracle.answers.put_nowait("new")
    await cached.refresh()
    assert (cached.value, cached.error) == ("new", None)


async def test_cached_question_goes_on_when_one_caller_is_cancelled(oracle: Oracle) -> None:
    cached = cached_of(oracle)
    impatient, patient = (asyncio.create_task(cached.refresh()) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    oracle.answers.put_nowait("full")
    await patient
    assert (cached.value, oracle.asked) == ("full", 1)


async def test_cached_log_has_the_begin_and_the_end_of_a_time_without_answers(
    oracle: Oracle, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "test")
    cached = cached_of(oracle)
    down = ConnectionFailed("Clouds.")
    refused = AuthenticationFailed("A wall.", status=401)
    for answer in ("full", down, down, refused, refused, "full", "full", down):
        oracle.answers.put_nowait(answer)
        await cached.refresh()
    assert [record.getMessage() for record in caplog.records] == [
        "The moon cannot be listed: Clouds.",
        "The moon cannot be listed: A wall.",
        "The moon can be listed again.",
        "The moon cannot be listed: Clouds.",
    ]


async def test_cached_log_has_the_silence_of_a_first_question_before_it_fails(
    oracle: Oracle, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "test")
    logged = asyncio.Event()

    class Sets(logging.Filter):
        """Sets the event at each line."""

        def filter(self, _: logging.LogRecord) -> bool:
            logged.set()
            return True

    cached = cached_of(oracle, patience=0.01)
    with caplog.filtering(Sets()):
        cached.begin()
        await logged.wait()
    silence = cached.error
    oracle.answers.put_nowait(GatewayTimeout("Too late."))
    await cached.answer()
    oracle.answers.put_nowait("full")
    await cached.answer()
    assert [record.getMessage() for record in caplog.records] == [
        f"The moon cannot be listed: {silence}",
        "The moon can be listed again.",
    ]


async def test_cached_closed_cancels_the_question(oracle: Oracle) -> None:
    cached = cached_of(oracle, patience=0.0)
    await cached.refresh()
    await cached.close()
    await cached.close()
    oracle.answers.put_nowait("full")
    await cached.refresh()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (cached.value, oracle.asked) == ("full", 2)


async def test_cached_question_that_fails_unforeseen_is_an_error(
    oracle: Oracle, caplog: pytest.LogCaptureFixture
) -> None:
    cached = cached_of(oracle)
    for answer in ("full", RuntimeError("a fault")):
        oracle.answers.put_nowait(answer)
        await cached.refresh()
    assert cached.value == "full"
    assert "see the log" in str(cached.error)
    assert "a fault" in caplog.text


async def test_cached_without_a_value_waits_longer_for_the_first_answer(oracle: Oracle) -> None:
    cached = cached_of(oracle, patience=0.0, first_patience=LONG, silence=LONG)
    first = asyncio.create_task(cached.refresh())
    await settled()
    assert not first.done()
    oracle.answers.put_nowait("full")
    await first
    assert cached.value == "full"
    await cached.refresh()  # with an answer that is known, nobody waits
    assert (cached.value, cached.error) == ("full", None)
    await cached.close()


async def test_cached_of_a_slow_gateway_has_no_error(oracle: Oracle) -> None:
    cached = cached_of(oracle, patience=0.0, silence=LONG)
    oracle.answers.put_nowait("full")
    await cached.answer()
    await cached.refresh()
    assert (cached.value, cached.error, oracle.asked) == ("full", None, 2)
    oracle.answers.put_nowait("new")
    await cached.answer()
    assert (cached.value, cached.error, oracle.asked) == ("new", None, 2)


async def test_cached_answer_of_a_slow_gateway_is_for_the_next_caller(oracle: Oracle) -> None:
    cached = cached_of(oracle, patience=0.05, silence=LONG)
    await cached.refresh()
    oracle.answers.put_nowait("full")
    await cached.answer()
    # Known, and slow the last time: what is known is given at once, and the question put behind it.
    late = asyncio.create_task(cached.refresh())
    await settled()
    assert (late.done(), cached.value, oracle.asked) == (True, "full", 2)
    await cached.close()


async def test_cached_with_newest_only_waits_for_a_slow_gateway(
    oracle: Oracle,
) -> None:
    cached = cached_of(oracle, patience=0.0, silence=LONG, newest_only=True)
    for answer in ("full", "new"):
        asking = asyncio.create_task(cached.refresh())
        await settled()
        assert not asking.done()
        oracle.answers.put_nowait(answer)
        await asking
        assert cached.value == answer
    await cached.refresh(at_most=0.0)
    assert (cached.value, cached.asking) == ("new", True)
    await cached.close()


@pytest.mark.parametrize("error", [ConnectionFailed("Clouds."), GatewayTimeout("Night.")])
async def test_cached_with_newest_only_does_not_wait_for_a_gateway_that_is_down(
    oracle: Oracle, error: Exception
) -> None:
    cached = cached_of(oracle, patience=0.0, silence=LONG, newest_only=True)
    oracle.answers.put_nowait(error)
    await cached.refresh()
    assert cached.down
    await cached.refresh()
    assert cached.asking
    oracle.answers.put_nowait("full")
    await cached.answer()
    assert not cached.down


async def test_cached_of_a_gateway_that_refuses_is_not_down(oracle: Oracle) -> None:
    cached = cached_of(oracle)
    oracle.answers.put_nowait(AuthenticationFailed("A wall.", status=401))
    await cached.refresh()
    assert (cached.down, str(cached.error)) == (False, "A wall.")


async def test_cached_error_of_a_silent_gateway_is_one_object_for_each_question(
    oracle: Oracle,
) -> None:
    cached = cached_of(oracle, patience=0.0)
    await cached.refresh()
    first = cached.error
    assert first is cached.error
    oracle.answers.put_nowait("full")
    await cached.answer()
    await cached.refresh()
    assert isinstance(cached.error, GatewayTimeout)
    assert cached.error is not first
    await cached.close()


async def test_cached_log_names_the_question_in_the_given_words(
    oracle: Oracle, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "test")
    cached = Cached(
        oracle, what="The moon", asked_for="seen", gateway="gpu", log=logging.getLogger("test")
    )
    for answer in (ConnectionFailed("Clouds."), "full", RuntimeError("a fault")):
        oracle.answers.put_nowait(answer)
        await cached.refresh()
    assert [record.getMessage() for record in caplog.records] == [
        "The moon cannot be seen: Clouds.",
        "The moon can be seen again.",
        "The moon cannot be seen, in a way not foreseen.",
    ]
    assert str(cached.error).startswith("The moon cannot be seen (see the log).")


class Watching:
    """Keeps the errors that are reported, by their types."""

    def __init__(self) -> None:
        self.seen: list[type[RelayError] | None] = []

    def __call__(self, error: RelayError | None) -> None:
        self.seen.append(None if error is None else type(error))


async def test_cached_on_outcome_is_called_at_the_end_of_each_question_and_at_silence(
    oracle: Oracle,
) -> None:
    watching = Watching()
    cached = cached_of(oracle, patience=0.05, on_outcome=watching)
    await cached.refresh()  # nobody answers
    assert watching.seen == [GatewayTimeout]
    oracle.answers.put_nowait("full")
    await cached.answer()
    oracle.answers.put_nowait(ConnectionFailed("No route."))
    await cached.answer()
    assert watching.seen == [GatewayTimeout, None, ConnectionFailed]


async def test_cached_on_outcome_is_not_called_for_a_cancelled_question(oracle: Oracle) -> None:
    watching = Watching()
    cached = cached_of(oracle, on_outcome=watching)
    cached.begin()
    await cached.close()
    assert watching.seen == []
