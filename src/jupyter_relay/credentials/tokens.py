"""A token and its end; reads the outputs of commands that print one."""

from __future__ import annotations

import math
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import msgspec

from jupyter_relay.escapes import printable
from jupyter_relay.wire.json import Json, ModelError, read_json

ASSUMED_LIFE_SECONDS: Final = 600.0
"""After how many seconds a token without a known end is renewed."""

MAX_TOKEN_BYTES: Final = 64 * 1024
"""How many bytes a token may have, with what a source wraps it in. No server accepts as much in a
header."""

_RENEW_AHEAD_SECONDS: Final = 60.0
_RENEW_AHEAD_SHARE: Final = 0.2
"""A token is renewed a minute before its end, or a fifth of its life before it if that is less."""

_TOKEN_KEYS: Final = ("access_token", "accessToken", "token", "id_token")
_END_KEYS: Final = ("expiry", "expires_at", "expires_on", "expirationTimestamp")


class NoToken(Exception):
    """A source gives no token.

    The text says why, and continues a sentence that begins with the source's name. ``hint`` says
    what to do, ``detail`` is for the log. None of them holds a token.
    """

    def __init__(self, text: str, *, hint: str = "", detail: str = "") -> None:
        super().__init__(printable(text))
        self.hint = hint
        self.detail = printable(detail)


@dataclass(frozen=True, slots=True)
class Token:
    """A token. The times are in seconds of Unix time, infinite where there is none.

    From ``refresh_at`` on a new one is requested, while this one stays in use. From ``expires_at``
    on it is not used.
    """

    value: str = field(repr=False)
    refresh_at: float = math.inf
    expires_at: float = math.inf

    def __post_init__(self) -> None:
        if not self.value:
            raise NoToken("gave an empty token.")
        if len(self.value) > MAX_TOKEN_BYTES:
            raise NoToken("gave far more than a token.")
        if not self.value.isprintable():
            # In a header a line break would begin another header.
            raise NoToken("gave a token with a line break or a control character in it.")

    @classmethod
    def lasting(cls, value: str, now: float, until: float | None = None) -> Token:
        """Make a token that expires at ``until``; None if the source gives no end.

        Then the end of a JWT is read from the JWT. Any other token is renewed after
        `ASSUMED_LIFE_SECONDS`, and used for as long as that fails. Raises `NoToken` for what can be
        no token.
        """
        until = until or _expiry_of_jwt(value)
        if until is None:
            return cls(value, now + ASSUMED_LIFE_SECONDS)
        return cls(
            value,
            until - min(_RENEW_AHEAD_SECONDS, _RENEW_AHEAD_SHARE * max(0.0, until - now)),
            until,
        )


def read_output(text: str, now: float) -> Token:
    """Read what a command has printed: a bare token, or a JSON object with one.

    The object has it as ``access_token``, ``accessToken``, ``token`` or ``id_token``, and its end
    as ``expires_in``, or as the time or date ``expiry``, ``expires_at``, ``expires_on`` or
    ``expirationTimestamp``. In an ExecCredential of Kubernetes both stand in ``status``.

    Raises `NoToken`.
    """
    text = text.strip()
    if not text.startswith("{"):
        return Token.lasting(text, now)
    try:
        read = read_json(text.encode())
    except ModelError:
        raise NoToken("printed something that begins like JSON and is none.") from None
    words = read if isinstance(read, dict) else {}
    status = words.get("status")
    words = status if isinstance(status, dict) else words
    value = next((words[key] for key in _TOKEN_KEYS if words.get(key)), None)
    if not isinstance(value, str):
        raise NoToken(f"printed a JSON object with no text under {', '.join(_TOKEN_KEYS)}.")
    return Token.lasting(value.strip(), now, _expiry_of(words, now))


def expiry_after(life: Json, now: float) -> float | None:
    """Return the time that is ``life`` seconds from now; None if that is no number."""
    seconds = _read_number(life)
    return None if seconds is None else now + seconds


def _expiry_of(words: Mapping[str, Json], now: float) -> float | None:
    ends = (_read_time(words.get(key)) for key in _END_KEYS)
    return expiry_after(words.get("expires_in"), now) or next(filter(None, ends), None)


def _read_time(value: Json) -> float | None:
    """Return a time given as Unix time or as a date; one without a zone is UTC."""
    number = _read_number(value)
    if number is not None or not isinstance(value, str):
        return number
    try:
        date = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def _read_number(value: Json) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _expiry_of_jwt(text: str) -> float | None:
    """Return the ``exp`` of a JWT (RFC 7519, 4.1.4), None for another text.

    It is not verified: that is for the gateway.
    """
    parts = text.split(".")
    if len(parts) != 3:  # header, payload, signature
        return None
    try:
        payload = msgspec.json.decode(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (msgspec.MsgspecError, ValueError, RecursionError):  # also for what is no base64
        return None
    return _read_number(payload.get("exp")) if isinstance(payload, dict) else None
