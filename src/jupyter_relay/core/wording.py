"""What others say, before it is shown to people."""

from __future__ import annotations

from typing import Final

SHORTEST_SECRET: Final = 6
"""Shorter words, of a header or an output, are no secrets, and stand in many a text."""


def shown(text: str) -> str:
    """Return a text with nothing in it that a terminal obeys."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
