"""Credentials: one request at a time to their source, before the end and when refused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from jupyter_relay.credentials.credentials import Credentials, Headers
from jupyter_relay.credentials.source import TokenSource
from jupyter_relay.credentials.tokens import NoToken, Token
from jupyter_relay.errors import CredentialsUnavailable, GatewayClosed
from jupyter_relay.settings.origins import FromVariable
from jupyter_relay.settings.settings import GatewaySettings
from jupyter_relay.testing.changes import Changes
from tests.support.gateway import settings_for

NOW = 1_700_000_000.0


class Source(TokenSource):
    """A source in a test's hands. It waits before each answer until ``open`` is set."""

    def __init__(self, *, each_time: bool = False) -> None:
        super().__init__(FromVariable("TOKEN"))
        self.each_time = each_time
        self.token: Token | NoToken = Token("one")
        self.open = asyncio.Event()
        self.open.set()
        self.asked = 0
        self.given = 0
        self.changes = Changes()
        self.closed = False

    async def fetch(self, now: float) -> Token:
        """Give the token, or raise that there is none."""
        self.asked += 1
        self.changes.notify()
        await self.open.wait()
        self.given += 1
        self.changes.notify()
        if isinstance(self.token, NoToken):
            raise NoToken(str(self.token), hint=self.token.hint, detail=self.token.detail)
        return self.token

    async def close(self) -> None:
        """Note it."""
        self.closed = True


class Clock:
    """Unix time, as a test likes."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def source() -> Source:
    return Source()


@pytest.fixture
async def credentials(source: Source, clock: Clock) -> AsyncIterator[Credentials]:
    credentials = Credentials(settings().credentials, source, clock=clock)
    yield credentials
    await credentials.close()


def settings(**options: str) -> GatewaySettings:
    """Settings without a token."""
    return settings_for("http://gpu.example", auth_token=None, **options)


def shown(headers: Headers) -> str:
    """The token in headers."""
    return headers["Authorization"].removeprefix("token ")


async def authenticate(credentials: Credentials, *accepted: str) -> list[str]:
    """Ask a gateway that accepts these tokens; return those that it was shown."""
    seen: list[str] = []

    async def ask(headers: Headers) -> bool:
        seen.append(shown(headers))
        await asyncio.sleep(0)
        return seen[-1] in accepted

    await credentials.authenticate(ask, lambda accepted: not accepted)
    return seen


# Before the end.


async def test_renewal_with_many_waiting_callers_sends_one_request_to_the_source(
    credentials: Credentials, source: Source
) -> None:
    source.open.clear()
    waiting = [asyncio.create_task(credentials.headers()) for _ in range(50)]
    await asyncio.sleep(0)
    source.open.set()
    assert {shown(headers) for headers in await asyncio.gather(*waiting)} == {"one"}
    assert source.asked == 1


async def test_renewal_with_one_cancelled_caller_goes_on_for_the_others(
    credentials: Credentials, source: Source
) -> None:
    source.open.clear()
    first, second = (asyncio.create_task(credentials.headers()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    source.open.set()
    assert shown(await second) == "one"
    assert first.cancelled()
    assert source.asked == 1


async def test_token_near_its_end_is_renewed_while_the_old_one_is_used(
    credentials: Credentials, source: Source, clock: Clock
) -> None:
    source.token = Token("one", NOW + 80, NOW + 100)
    assert shown(await credentials.headers()) == "one"
    clock.now = NOW + 79
    assert shown(await credentials.headers()) == "one"
    assert source.asked == 1
    clock.now = NOW + 80
    source.token = Token("two", NOW + 180, NOW + 200)
    source.open.clear()
    assert [shown(await credentials.headers()) for _ in range(3)] == ["one"] * 3
    source.open.set()
    await source.changes.wait_for(lambda: source.given == 2, 10.0)
    assert shown(await credentials.headers()) == "two"
    assert source.asked == 2


async def test_token_past_its_end_is_not_sent(
    credentials: Credentials, source: Source, clock: Clock
) -> None:
    source.token = Token("one", NOW + 80, NOW + 100)
    await credentials.headers()
    clock.now = NOW + 100
    source.token = Token("two")
    assert shown(await credentials.headers()) == "two"


async def test_valid_token_is_used_while_its_source_fails_which_is_logged_once(
    credentials: Credentials, source: Source, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    source.token = Token("one", NOW + 80, NOW + 200)
    await credentials.headers()
    source.token = NoToken("is not set.", hint="Set it.")
    for step in range(80, 200, 10):
        clock.now = NOW + step
        assert shown(await credentials.headers()) == "one"
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert source.asked > 5
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "the variable TOKEN (auth_token_env) is not set. Set it." in caplog.text
    clock.now = NOW + 200
    with pytest.raises(CredentialsUnavailable, match="is not set") as caught:
        await credentials.headers()
    assert caught.value.hint == "Set it."
    assert len(caplog.records) == 1
    source.token = Token("two")
    assert shown(await credentials.headers()) == "two"
    assert credentials.failure is None
    assert caplog.records[-1].levelname == "INFO"


@pytest.mark.parametrize("fails", [True, False])
async def test_source_marked_each_time_is_asked_at_each_request(fails: bool, clock: Clock) -> None:
    source = Source(each_time=True)
    credentials = Credentials(settings().credentials, source, clock=clock)
    assert shown(await credentials.headers()) == "one"
    source.token = NoToken("is not set.") if fails else Token("two")
    assert shown(await credentials.headers()) == ("one" if fails else "two")
    assert source.asked == 2
    await credentials.close()


async def test_authorization_header_of_the_user_wins_and_the_source_is_not_asked(
    source: Source,
) -> None:
    credentials = Credentials(settings(headers='{"authorization": "mine"}').credentials, source)
    assert await credentials.headers() == {"authorization": "mine"}
    assert await admit_status(credentials, 401) == 1
    await credentials.close()
    assert source.asked == 0


async def admit_status(credentials: Credentials, status: int) -> int:
    """Ask a gateway that always answers this; return how often it was asked."""
    asked = 0

    async def ask(_: Headers) -> int:
        nonlocal asked
        asked += 1
        return status

    await credentials.authenticate(ask, lambda answered: answered == 401)
    return asked


async def test_static_token_that_is_refused_is_sent_once() -> None:
    credentials = Credentials(settings_for("http://gpu.example").credentials)
    assert await admit_status(credentials, 401) == 1
    await credentials.close()


# When it is refused.


async def test_requests_with_one_refused_token_cause_one_renewal(
    credentials: Credentials, source: Source
) -> None:
    await credentials.headers()
    source.token = Token("two")
    asked = await asyncio.gather(*(authenticate(credentials, "two") for _ in range(10)))
    assert asked == [["one", "two"]] * 10
    assert source.asked == 2


async def test_token_that_was_replaced_meanwhile_is_not_renewed_again(
    credentials: Credentials, source: Source
) -> None:
    refused = asyncio.Event()

    async def ask(headers: Headers) -> str:
        await refused.wait()
        return shown(headers)

    await credentials.headers()
    late = asyncio.create_task(credentials.authenticate(ask, lambda token: token == "one"))
    await asyncio.sleep(0)
    source.token = Token("two")
    assert await authenticate(credentials, "two") == ["one", "two"]
    refused.set()
    assert await late == "two"
    assert source.asked == 2


async def test_refusal_that_no_token_helps_causes_a_limited_number_of_renewals(
    credentials: Credentials, source: Source, clock: Clock
) -> None:
    """Every token is forbidden, as for a listing; each request gives another one."""
    await credentials.headers()
    for number in range(5):
        source.token = Token(f"fresh {number}")
        assert len(await authenticate(credentials)) == (2 if number == 0 else 1)
    assert source.asked == 2
    clock.now += 10
    assert len(await authenticate(credentials)) == 2
    assert source.asked == 3


async def test_source_that_gives_the_refused_token_again_is_left_alone_for_a_while(
    credentials: Credentials, source: Source, clock: Clock
) -> None:
    await credentials.headers()
    for _ in range(5):
        assert await authenticate(credentials) == ["one"]
    assert source.asked == 2
    clock.now += 10
    source.token = Token("two")
    assert await authenticate(credentials, "two") == ["one", "two"]


async def test_tokens_that_end_soon_are_renewed_as_often_as_that_helps(
    credentials: Credentials, source: Source
) -> None:
    for number in range(5):
        token = f"token {number}"
        source.token = Token(token)
        assert (await authenticate(credentials, token))[-1] == token
    assert source.asked == 5


async def test_refusal_stands_when_the_source_fails(
    credentials: Credentials, source: Source
) -> None:
    await credentials.headers()
    source.token = NoToken("is not set.")
    assert await authenticate(credentials) == ["one"]
    assert credentials.failure is not None


# The end.


async def test_closing_ends_what_is_under_way(credentials: Credentials, source: Source) -> None:
    source.open.clear()
    waiting = asyncio.create_task(credentials.headers())
    await source.changes.wait_for(lambda: source.asked, 10.0)
    await credentials.close()
    assert source.closed
    with pytest.raises(GatewayClosed):
        await waiting
    source.open.set()
    with pytest.raises(GatewayClosed):
        await credentials.headers()
    assert source.asked == 1
