"""What all sources of tokens have in common."""

from __future__ import annotations

from jupyter_relay.credentials.tokens import Token
from jupyter_relay.settings.origins import Origin


class TokenSource:
    """Somewhere that tokens come from; ``name`` is what people call it.

    With ``each_time`` it is asked at each request, since that is cheap, or meant so.
    """

    each_time = True

    def __init__(self, origin: Origin) -> None:
        self.name = str(origin)

    async def fetch(self, now: float) -> Token:
        """Get a token. ``now`` is Unix time, in seconds. Raises `NoToken`."""
        raise NotImplementedError

    async def close(self) -> None:
        """Let go of what it holds. It is not asked any more."""
