"""What all sources of tokens have in common."""

from __future__ import annotations

from jupyter_relay.credentials.tokens import Token
from jupyter_relay.settings.origins import Origin


class TokenSource:
    """Where tokens come from; ``name`` is what people call it.

    ``each_time`` is True if the source is asked at each request.
    """

    each_time = True

    def __init__(self, origin: Origin) -> None:
        self.name = str(origin)

    async def fetch(self, now: float) -> Token:
        """Get a token. ``now`` is Unix time, in seconds. Raises `NoToken`."""
        raise NotImplementedError

    async def close(self) -> None:
        """Release what the source holds. It is not asked again."""
