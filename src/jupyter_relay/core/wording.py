"""What others say, before it is shown to people."""

from __future__ import annotations


def shown(text: str) -> str:
    """Return a text with nothing in it that a terminal obeys."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
