"""What we show a gateway so that it lets us in, and how that stays fresh."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from enum import Enum, auto
from typing import Final, TypeAlias, TypeVar

from jupyter_relay.credentials.source import TokenSource
from jupyter_relay.credentials.sources import source_of
from jupyter_relay.credentials.tokens import NoToken, Token
from jupyter_relay.errors import CredentialsUnavailable
from jupyter_relay.rest.failures import closed
from jupyter_relay.rest.headers import basic_authentication
from jupyter_relay.settings.credentials import CredentialSettings

T = TypeVar("T")

Headers: TypeAlias = Mapping[str, str]

_PAUSE: Final = 10.0
"""For how many seconds nothing is renewed after that was in vain."""

_log = logging.getLogger(__name__)


class Credentials:
    """The headers of every request and handshake.

    A header that the user has set wins over ours, and none is sent for an empty token. A token
    that has a source is got from it by one request at a time, however many wait for it. It is
    renewed in the background before its end, at a request; and when the gateway refuses it.

    A refusal need not mean the token: gateways say 403 for what is forbidden, too. So if the source
    gives the same token again, fails, or the gateway refuses the new one as well, no refusal
    renews it for 10 s. While a source fails, the token it gave before goes on being used as long
    as it may be valid; that is logged once, and ``failure`` is why.

    A token, and a user with a password, are both sent where their headers differ; in one header the
    token is. ``shown`` is what people call that which is shown, by where it comes from; an empty
    text where that is nothing. ``unused`` has a sentence for each that is set and not shown.

    ``clock`` returns Unix time, in seconds.
    """

    def __init__(
        self,
        settings: CredentialSettings,
        source: TokenSource | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.failure: CredentialsUnavailable | None = None
        self._settings = settings
        self._fixed = dict(settings.headers)
        self._clock = clock
        self._token: Token | None = None
        self._asking: asyncio.Task[Token] | None = None
        self._closed = False
        self._rest_until = 0.0
        taken = {name.lower() for name in self._fixed}
        key = settings.auth_header_key
        self._source = None
        if key.lower() not in taken:
            self._source = source or source_of(settings)
        shown, self.unused = _chosen(settings, taken, self._source)
        self.shown = " and ".join(shown.values())
        if Shown.PASSWORD in shown:
            self._fixed["Authorization"] = basic_authentication(
                settings.http_user or "", settings.http_pwd or ""
            )
        if self._source is None and Shown.TOKEN in shown:
            self._fixed |= _header(settings, settings.auth_token)
        elif self._source is not None and settings.auth_token:
            # What a renewer begins with is good until it has another.
            self._token = Token(settings.auth_token)

    async def headers(self) -> Headers:
        """Return the headers to show now. Raises `CredentialsUnavailable`, and `GatewayClosed`."""
        source, token, now = self._source, self._token, self._clock()
        if source is None:
            return self._fixed
        if token is None or now >= token.expires_at:
            token = await self._renew()
        elif source.each_time:
            with suppress(CredentialsUnavailable):  # it is logged, and the one before is used
                token = await self._renew()
        elif now >= max(token.refresh_at, self._rest_until):
            self._ask()  # while the old one is used
        return self._with(token.value)

    async def admit(
        self, ask: Callable[[Headers], Awaitable[T]], refused: Callable[[T], bool]
    ) -> T:
        """Return what ``ask`` answers to our headers.

        If they are refused, it is asked once more with others, if there are any by now or the
        source has any. Raises what ``ask`` does, and `CredentialsUnavailable`.
        """
        shown = await self.headers()
        answer = await ask(shown)
        if not refused(answer):
            return answer
        renewed = await self._others_than(shown)
        if renewed is None:
            return answer
        answer = await ask(renewed)
        if refused(answer):
            self._rest()
        return answer

    async def close(self) -> None:
        """End what is under way with the source, which is not asked any more."""
        self._closed = True
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])
        if self._source is not None:
            await self._source.close()

    async def _others_than(self, shown: Headers) -> Headers | None:
        """Return headers that are not those, which were refused; None if there are no others."""
        source, token = self._source, self._token
        if source is None:
            return None
        if token is None or self._with(token.value) == shown:
            if self._clock() < self._rest_until and not source.each_time:
                return None
            try:
                token = await self._renew()
            except CredentialsUnavailable:  # it is logged, and ``failure`` goes with the refusal
                return None
        renewed = self._with(token.value)
        if renewed == shown:
            self._rest()
            return None
        return renewed

    async def _renew(self) -> Token:
        """Return a token from the source; all who call this meanwhile wait for the same one."""
        asking = self._ask()
        await asyncio.wait([asking])  # who stops waiting does not end it for the others
        if asking.cancelled():
            raise closed(self._settings.gateway)
        return asking.result()

    def _ask(self) -> asyncio.Task[Token]:
        if self._closed:
            raise closed(self._settings.gateway)
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._take())
            # Nobody may be waiting for it; a failure is logged by itself.
            self._asking.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._asking

    async def _take(self) -> Token:
        source, name = self._source, self._settings.gateway
        assert source is not None  # noqa: S101  # else nobody asks
        try:
            self._token = await source.fetch(self._clock())
        except NoToken as error:
            failure = CredentialsUnavailable(
                f"There is no new token for {name}: {source.name} {error}",
                hint=error.hint,
                gateway=name,
            )
            if self.failure is None:
                _log.warning("%s", f"{failure} {error.detail}".rstrip())
            self.failure = failure
            self._rest()
            raise failure from error
        if self.failure is not None:
            _log.info("There is a token for %s again, from %s.", name, source.name)
        self.failure = None
        return self._token

    def _rest(self) -> None:
        self._rest_until = self._clock() + _PAUSE

    def _with(self, token: str) -> dict[str, str]:
        return {**self._fixed, **_header(self._settings, token)}


def _header(settings: CredentialSettings, token: str) -> dict[str, str]:
    scheme = f"{settings.auth_scheme} " if settings.auth_scheme else ""
    return {settings.auth_header_key: scheme + token}


class Shown(Enum):
    """What a gateway is shown."""

    TOKEN = auto()
    PASSWORD = auto()
    HEADER = auto()


def _chosen(
    settings: CredentialSettings, taken: Collection[str], source: TokenSource | None
) -> tuple[dict[Shown, str], tuple[str, ...]]:
    """Return what is shown, each as people call it, and a sentence for each that is set and is not.

    ``taken`` are the headers, in small letters, that the user has set.
    """
    names, key = settings.names, settings.auth_header_key
    shown: dict[Shown, str] = {}
    unused: list[str] = []

    def header(name: str) -> str:
        return f"the header {name} in {names.of('headers')}"

    if source is not None:
        shown[Shown.TOKEN] = f"the token from {source.name}"
    elif key.lower() in taken:
        if settings.auth_token or settings.token_origin is not None:
            token = str(settings.token_origin or names.of("auth_token"))
            unused.append(f"{header(key)} is sent, and not the token of {token}")
    elif settings.auth_token:
        shown[Shown.TOKEN] = names.of("auth_token")
    pair = f"{names.of('http_user')} and {names.of('http_pwd')}"
    if settings.http_pwd is not None and not settings.http_user:
        unused.append(
            f"{names.of('http_pwd')} is not sent, since {names.of('http_user')} is not set"
        )
    elif settings.http_pwd is not None:
        if "authorization" in taken:
            unused.append(f"{header('Authorization')} is sent, and not {pair}")
        elif key.lower() == "authorization" and Shown.TOKEN in shown:
            unused.append(
                f"{shown[Shown.TOKEN]} is sent, and not {pair}; both need the header "
                f"Authorization, unless {names.of('auth_header_key')} names another for the token"
            )
        else:
            shown[Shown.PASSWORD] = pair
    if not shown:
        named = next((name for name in (key, "Authorization") if name.lower() in taken), None)
        if named is not None:
            shown[Shown.HEADER] = header(named)
    return shown, tuple(f"{text[0].upper()}{text[1:]}." for text in unused)
