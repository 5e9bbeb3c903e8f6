"""Tokens: how long they last, and what the outputs of commands say."""

from __future__ import annotations

import json
import math
from base64 import urlsafe_b64encode

import pytest

from jupyter_relay.credentials.tokens import ASSUMED_LIFE_SECONDS, NoToken, Token, read_output

NOW = 1_700_000_000.0


def jwt(payload: object) -> str:
    """A JWT with this payload, and a signature that nobody has made."""
    coded = urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJub25lIn0.{coded}.c2ln"


@pytest.mark.parametrize(
    ("output", "value", "expires_at"),
    [
        ("abc\n", "abc", math.inf),
        ('{"access_token": "abc"}', "abc", math.inf),
        ('{"token": "abc", "expires_in": 60}', "abc", NOW + 60),
        ('{"id_token": "abc", "expires_in": "60"}', "abc", NOW + 60),
        ('{"accessToken": "abc", "expires_on": 1700000500}', "abc", 1_700_000_500),
        ('{"access_token": "abc", "expires_at": 1700000500.5}', "abc", 1_700_000_500.5),
        ('{"access_token": "abc", "expiry": "2023-11-14T22:21:40Z"}', "abc", NOW + 500),
        ('{"access_token": "abc", "expiry": "2023-11-14T23:21:40+01:00"}', "abc", NOW + 500),
        ('{"access_token": "abc", "expiry": "2023-11-14T22:21:40"}', "abc", NOW + 500),
        ('{"access_token": "abc", "expires_in": true, "expiry": "soon"}', "abc", math.inf),
        (
            '{"status": {"token": "abc", "expirationTimestamp": "2023-11-14T22:21:40Z"}}',
            "abc",
            NOW + 500,
        ),
        ('{"token": " abc ", "status": "fine"}', "abc", math.inf),
    ],
)
def test_outputs_of_commands(output: str, value: str, expires_at: float) -> None:
    token = read_output(output, NOW)
    assert (token.value, token.expires_at) == (value, expires_at)


@pytest.mark.parametrize(
    "output",
    [
        "", " \n", "two\nlines", "a\x00b", "a\x1b[0m", "{", "{}", '{"token": 7}', '{"token": ""}',
        '{"status": {}}', '{"token": "a\\r\\nX-Admin: yes"}',
    ],
)  # fmt: skip
def test_token_of_an_impossible_form_is_none_and_is_not_quoted(output: str) -> None:
    with pytest.raises(NoToken) as caught:
        read_output(output, NOW)
    assert "Admin" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_jwt_gives_its_own_end_unless_the_source_gives_another() -> None:
    token = jwt({"exp": NOW + 100})
    assert read_output(token, NOW).expires_at == NOW + 100
    assert Token.lasting(token, NOW, NOW + 50).expires_at == NOW + 50


@pytest.mark.parametrize("text", ["a.b.c", jwt([]), jwt({}), jwt({"exp": "soon"}), "a.é.c", ".."])
def test_token_that_only_looks_like_a_jwt_has_no_end(text: str) -> None:
    assert Token.lasting(text, NOW) == Token(text, NOW + ASSUMED_LIFE_SECONDS)


@pytest.mark.parametrize(("life", "ahead"), [(3600, 60), (100, 20), (0, 0), (-5, 0)])
def test_token_is_renewed_a_minute_or_a_fifth_of_its_life_ahead(life: float, ahead: float) -> None:
    assert Token.lasting("abc", NOW, NOW + life).refresh_at == NOW + life - ahead


def test_token_is_not_in_its_repr() -> None:
    assert "abc" not in repr(Token("abc"))
