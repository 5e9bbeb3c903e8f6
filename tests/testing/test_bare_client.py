"""The least client speaks as clients do."""

from __future__ import annotations

from jupyter_relay.testing import FakeGateway

from .bare_client import BareClient


async def test_requests_of_a_page_that_comes_again_have_ids_of_their_own(
    client: BareClient, fake_gateway: FakeGateway
) -> None:
    kernel = fake_gateway.start_kernel()
    async with client.socket(kernel, "page") as socket:
        before = await socket.execute("x")
    async with client.socket(kernel, "page") as socket:
        after = await socket.execute("x")
    assert before != after
