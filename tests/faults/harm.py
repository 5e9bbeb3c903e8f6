"""The harms that a wire can come to, each at a size that chance decides."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from jupyter_relay.testing import Direction, FaultyProxy

Harm: TypeAlias = Callable[[FaultyProxy, random.Random], Awaitable[None]]


async def refuse(proxy: FaultyProxy, rng: random.Random) -> None:
    """Be away for a while."""
    proxy.refuse(reset=rng.random() < 0.5)
    proxy.reset()
    await asyncio.sleep(rng.uniform(0.0, 0.3))
    proxy.accept()


async def reset(proxy: FaultyProxy, rng: random.Random) -> None:
    """Cut at once."""
    proxy.reset()


async def close(proxy: FaultyProxy, rng: random.Random) -> None:
    """End without a closing handshake."""
    proxy.close()


async def cut_mid_frame(proxy: FaultyProxy, rng: random.Random) -> None:
    """Cut when so many bytes have passed."""
    proxy.cut_after(rng.randint(1, 3000), rng.choice(list(Direction)))


async def hold_then_cut(proxy: FaultyProxy, rng: random.Random) -> None:
    """Stall one way or both, then cut."""
    upstream = rng.random() < 0.7
    proxy.stall(upstream=upstream, downstream=not upstream or rng.random() < 0.5)
    await asyncio.sleep(rng.uniform(0.0, 0.15))
    proxy.reset()
    proxy.resume()


async def slow_then_cut(proxy: FaultyProxy, rng: random.Random) -> None:
    """Be slow, then cut."""
    proxy.delay(rng.uniform(0.0, 0.01))
    await asyncio.sleep(rng.uniform(0.0, 0.05))
    proxy.reset()
    proxy.delay(0.0)


async def narrow_then_cut(proxy: FaultyProxy, rng: random.Random) -> None:
    """Let little through, then cut."""
    proxy.limit(rng.randint(2_000, 50_000))
    await asyncio.sleep(rng.uniform(0.0, 0.1))
    proxy.reset()
    proxy.limit(None)


async def forget(proxy: FaultyProxy, rng: random.Random) -> None:
    """Forget the open connections: neither side is told, and new ones pass."""
    proxy.forget_connections()


async def refuse_for_long(proxy: FaultyProxy, rng: random.Random) -> None:
    """Be away for seconds."""
    proxy.refuse(reset=rng.random() < 0.5)
    proxy.reset()
    await asyncio.sleep(rng.uniform(0.3, 4.0))
    proxy.accept()


async def stall_for_long(proxy: FaultyProxy, rng: random.Random) -> None:
    """Stall both ways for seconds; what was held passes afterwards, or is cut."""
    proxy.stall()
    await asyncio.sleep(rng.uniform(0.3, 4.0))
    if rng.random() < 0.5:
        proxy.reset()
    proxy.resume()


CUTS: tuple[Harm, ...] = (
    refuse, reset, close, cut_mid_frame, hold_then_cut, slow_then_cut, narrow_then_cut,
)  # fmt: skip
"""Those that a link notices within moments."""

ALL: tuple[Harm, ...] = (*CUTS, forget, refuse_for_long, stall_for_long)
