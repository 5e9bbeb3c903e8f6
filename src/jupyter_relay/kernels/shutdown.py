"""Which kernels run on when the program of a roster ends, and how the others are deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import Final

from jupyter_relay.kernels.kernel import RemoteKernel
from jupyter_relay.link.life import DEAD
from jupyter_relay.settings.on_exit import OnExit

_MAX_NAMED: Final = 10
"""How many of the kernels that run on a line names."""


def why_it_stays(kernel: RemoteKernel, on_exit: OnExit, *, by_server: bool) -> str:
    """Return why a kernel runs on when its program ends; an empty text if it is to be deleted.

    ``by_server`` says whether a server has started it; see `Roster.started_by_server`.
    """
    if kernel.life in DEAD or kernel.deleting:
        return ""
    if not by_server:
        return "not started by this server"
    return f"on_exit = {on_exit.value}" if on_exit.keeps(at_work=kernel.at_work) else ""


def lines_of_staying(staying: Mapping[str, str], gateway: str) -> Iterator[str]:
    """Return a line for each reason for which kernels run on; ``staying`` has the reason of each
    by its id."""
    for why in dict.fromkeys(staying.values()):
        kernel_ids = [kernel_id for kernel_id in staying if staying[kernel_id] == why]
        count = "1 kernel runs" if len(kernel_ids) == 1 else f"{len(kernel_ids)} kernels run"
        more = len(kernel_ids) - _MAX_NAMED
        named = ", ".join(kernel_ids[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
        yield f"{count} on at {gateway} ({why}): {named}."


async def delete_in_time(
    kernels: Collection[RemoteKernel],
    delete: Callable[[str], Awaitable[object]],
    seconds: float,
    ends_at: float,
    *,
    gateway: str,
) -> None:
    """Delete kernels, all at once and each for itself, until ``ends_at``, in the event loop's time,
    which is in so many ``seconds``. Those that were not deleted are named in the log."""

    async def delete_one(kernel: RemoteKernel) -> None:
        try:
            async with asyncio.timeout_at(ends_at):
                await delete(kernel.id)
        except TimeoutError:
            if kernel.life not in DEAD:
                raise TimeoutError(
                    f"{gateway} did not answer within {seconds:g} s. It may still run there."
                ) from None

    results = await asyncio.gather(*map(delete_one, kernels), return_exceptions=True)
    for kernel, result in zip(kernels, results, strict=True):
        if isinstance(result, Exception):
            error = result.__cause__ or result  # an HTTP error covers what was wrong
            kernel.log.error("could not be shut down: %s", error)
