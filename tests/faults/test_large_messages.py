"""Messages that are larger than a gateway takes: 10 MiB, unless it is told otherwise."""

from __future__ import annotations

import pytest

from jupyter_relay.link.actions import Happening
from tests.faults.site import Site
from tests.support.gateway import answer_of, run
from tests.support.messages import failures, request, types


async def test_large_request_is_answered_with_the_reason_and_waiting_ones_go_on(
    any_site: Site,
) -> None:
    site = any_site
    tab = site.remote.subscribe("tab")
    await run(tab, request())
    large, small = request(content={"code": "#" + "x" * 12 * 2**20}), request()
    tab.send(large)
    tab.send(small)
    heard = await answer_of(tab, large)
    (text,) = failures(heard)
    assert "larger than the gateway takes" in text
    assert "message of 12.0 MiB" in text
    assert "execute_reply" in types(await answer_of(tab, small))
    for _ in range(3):
        again = request(content={"code": "#" + "x" * 12 * 2**20})
        assert "larger than the gateway takes" in failures(await run(tab, again))[0]
    # Behind a proxy the gateway's closing frame may be lost; then the second cut is the proof.
    assert len(site.told(Happening.DROPPED)) <= 2
    assert "execute_reply" in types(await run(tab, request()))


@pytest.mark.parametrize("sizes", [(13, 12), (11, 12)])
async def test_large_requests_sent_at_once_are_never_reported_as_run(
    any_site: Site, sizes: tuple[int, int]
) -> None:
    tab = any_site.remote.subscribe("tab")
    await run(tab, request())
    large = [request(content={"code": "#" + "x" * size * 2**20}) for size in sizes]
    for message in large:
        tab.send(message)
    for message, size in zip(large, sizes, strict=True):
        (text,) = failures(await answer_of(tab, message))
        assert f"message of {size}.0 MiB" in text
        assert "larger than the gateway takes" in text
        assert "may have run" not in text
    assert "execute_reply" in types(await run(tab, request()))
