"""Headers that requests carry."""

from __future__ import annotations

from base64 import b64decode

from jupyter_relay.rest.headers import basic_authentication


def test_basic_authentication_joins_user_and_password_in_utf_8() -> None:
    scheme, _, pair = basic_authentication("änn", "p:w").partition(" ")
    assert scheme == "Basic"
    assert b64decode(pair).decode() == "änn:p:w"
