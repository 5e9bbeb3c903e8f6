"""The connection to the gateway is reset."""

from __future__ import annotations

from tests.faults.listener import Listener, assert_accounted, counter
from tests.faults.site import Site


async def test_counter_goes_on_in_order_over_a_reset(any_site: Site) -> None:
    listener = Listener(any_site.remote)
    await listener.done("0")
    cell = listener.run(counter(20, 0.2))
    for printed in (4, 10):
        await listener.wait_for(lambda: len(cell.numbers) >= printed)  # noqa: B023
        any_site.proxy.reset()
    await listener.wait_over(cell)
    assert_accounted(cell, 20, slack=2)
    assert cell.status == "ok"
    assert (len(cell.replies), cell.idles) == (1, 1)
