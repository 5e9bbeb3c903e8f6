"""The credentials that are sent to a gateway, and how they are renewed."""

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

_PAUSE_SECONDS: Final = 10.0
"""For how many seconds no refusal renews a token after a renewal that did not help."""

_log = logging.getLogger(__name__)


class Credentials:
    """The headers of every request and handshake to one gateway.

    A header that the user has set wins over ours. No header is sent for an empty token. One task at
    a time gets a token from its source, however many requests wait for it. A token is renewed in
    the background, by a request shortly before the token's end, and when the gateway refuses it.

    A refusal need not be the token's fault: gateways also answer 403 for what is forbidden. So if
    the source gives the same token again or fails, or the gateway refuses the new token as well, no
    refusal renews it for 10 s. While a source fails, its last token stays in use as long as it may
    be valid. The failure is logged once, and stands in ``failure``.

    A token, and a user with a password, are both sent if they have different headers. If both need
    the same header, the token is sent. ``description`` names what is sent, by where it comes from;
    it is empty if that is nothing. ``unused`` has a sentence for each credential that is set and
    not sent.

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
        self._fetching: asyncio.Task[Token] | None = None
        self._closed = False
        self._paused_until = 0.0
        taken = {name.lower() for name in self._fixed}
        key = settings.auth_header_key
        self._source = None
        if key.lower() not in taken:
            self._source = source or source_of(settings)
        shown, self.unused = _choose(settings, taken, self._source)
        self.description = " and ".join(shown.values())
        if CredentialKind.PASSWORD in shown:
            self._fixed["Authorization"] = basic_authentication(
                settings.http_user or "", settings.http_pwd or ""
            )
        if self._source is None and CredentialKind.TOKEN in shown:
            self._fixed |= _header(settings, settings.auth_token)
        elif self._source is not None and settings.auth_token:
            # The token that a renewer is given first is used until it returns another.
            self._token = Token(settings.auth_token)

    async def headers(self) -> Headers:
        """Return the headers to send now. Raises `CredentialsUnavailable` and `GatewayClosed`."""
        source, token, now = self._source, self._token, self._clock()
        if source is None:
            return self._fixed
        if token is None or now >= token.expires_at:
            token = await self._wait_for_token(source)
        elif source.each_time:
            with suppress(CredentialsUnavailable):  # it is logged, and the last token is used
                token = await self._wait_for_token(source)
        elif now >= max(token.refresh_at, self._paused_until):
            self._begin_fetch(source)  # the old token is used meanwhile
        return self._headers_with(token.value)

    async def authenticate(
        self, ask: Callable[[Headers], Awaitable[T]], refused: Callable[[T], bool]
    ) -> T:
        """Return the answer of ``ask`` to our headers.

        ``refused`` is True for an answer that refuses them. Then ``ask`` is called once more with
        new headers, if the source has a new token. Raises what ``ask`` does, and
        `CredentialsUnavailable`.
        """
        shown = await self.headers()
        answer = await ask(shown)
        if not refused(answer):
            return answer
        renewed = await self._headers_after_refusal(shown)
        if renewed is None:
            return answer
        answer = await ask(renewed)
        if refused(answer):
            self._pause_renewals()
        return answer

    async def close(self) -> None:
        """Cancel the request to the source, and close the source."""
        self._closed = True
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])
        if self._source is not None:
            await self._source.close()

    async def _headers_after_refusal(self, shown: Headers) -> Headers | None:
        """Return other headers than those that were refused; None if there are none."""
        source, token = self._source, self._token
        if source is None:
            return None
        if token is None or self._headers_with(token.value) == shown:
            if self._clock() < self._paused_until and not source.each_time:
                return None
            try:
                token = await self._wait_for_token(source)
            except CredentialsUnavailable:  # it is logged, and becomes the hint of the refusal
                return None
        renewed = self._headers_with(token.value)
        if renewed == shown:
            self._pause_renewals()
            return None
        return renewed

    async def _wait_for_token(self, source: TokenSource) -> Token:
        """Return a token from the source; all callers meanwhile wait for the same one."""
        fetching = self._begin_fetch(source)
        await asyncio.wait([fetching])  # one cancelled caller does not cancel it for all
        if fetching.cancelled():
            raise closed(self._settings.gateway)
        return fetching.result()

    def _begin_fetch(self, source: TokenSource) -> asyncio.Task[Token]:
        if self._closed:
            raise closed(self._settings.gateway)
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch_token(source))
            # Marks an exception as seen: nobody may wait for the task, and failures are logged.
            self._fetching.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._fetching

    async def _fetch_token(self, source: TokenSource) -> Token:
        name = self._settings.gateway
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
            self._pause_renewals()
            raise failure from error
        if self.failure is not None:
            _log.info("There is a token for %s again, from %s.", name, source.name)
        self.failure = None
        return self._token

    def _pause_renewals(self) -> None:
        self._paused_until = self._clock() + _PAUSE_SECONDS

    def _headers_with(self, token: str) -> dict[str, str]:
        return {**self._fixed, **_header(self._settings, token)}


def _header(settings: CredentialSettings, token: str) -> dict[str, str]:
    scheme = f"{settings.auth_scheme} " if settings.auth_scheme else ""
    return {settings.auth_header_key: scheme + token}


class CredentialKind(Enum):
    """A kind of credential."""

    TOKEN = auto()
    PASSWORD = auto()
    HEADER = auto()


def _choose(
    settings: CredentialSettings, taken: Collection[str], source: TokenSource | None
) -> tuple[dict[CredentialKind, str], tuple[str, ...]]:
    """Return what is sent, each with what it is called, and a sentence for each credential that is
    set and not sent.

    ``taken`` are the headers, in small letters, that the user has set.
    """
    names, key = settings.names, settings.auth_header_key
    shown: dict[CredentialKind, str] = {}
    unused: list[str] = []

    def header(name: str) -> str:
        return f"the header {name} in {names.of('headers')}"

    if source is not None:
        shown[CredentialKind.TOKEN] = f"the token from {source.name}"
    elif key.lower() in taken:
        if settings.auth_token or settings.token_origin is not None:
            token = str(settings.token_origin or names.of("auth_token"))
            unused.append(f"{header(key)} is sent, and not the token of {token}")
    elif settings.auth_token:
        shown[CredentialKind.TOKEN] = names.of("auth_token")
    pair = f"{names.of('http_user')} and {names.of('http_pwd')}"
    if settings.http_pwd is not None and not settings.http_user:
        unused.append(
            f"{names.of('http_pwd')} is not sent, since {names.of('http_user')} is not set"
        )
    elif settings.http_pwd is not None:
        if "authorization" in taken:
            unused.append(f"{header('Authorization')} is sent, and not {pair}")
        elif key.lower() == "authorization" and CredentialKind.TOKEN in shown:
            unused.append(
                f"{shown[CredentialKind.TOKEN]} is sent, and not {pair}; both need the header "
                f"Authorization, unless {names.of('auth_header_key')} names another for the token"
            )
        else:
            shown[CredentialKind.PASSWORD] = pair
    if not shown:
        named = next((name for name in (key, "Authorization") if name.lower() in taken), None)
        if named is not None:
            shown[CredentialKind.HEADER] = header(named)
    return shown, tuple(f"{text[0].upper()}{text[1:]}." for text in unused)
