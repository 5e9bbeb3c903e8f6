"""Headers that requests carry."""

from __future__ import annotations

from base64 import b64encode


def basic_authentication(user: str, password: str) -> str:
    """Return the value of an ``Authorization`` header with a user and a password (RFC 7617)."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()
