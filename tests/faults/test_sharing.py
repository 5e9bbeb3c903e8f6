"""Many listen to one kernel, over one socket; or nobody does."""

from __future__ import annotations

from jupyter_relay.link.table import State
from jupyter_relay.testing.servers import RunningServer, kernel_gateway
from tests.faults.listener import Cell, Listener
from tests.faults.site import Site, open_site, with_link


async def test_listeners_of_one_kernel_share_one_socket(any_site: Site) -> None:
    site = any_site
    listeners = [Listener(site.remote) for _ in range(4)]
    cells = [listener.run(f"print({n})") for n, listener in enumerate(listeners)]
    for listener in listeners:  # each follows the cells of the others, too
        for cell in cells:
            listener.cells.setdefault(cell.msg_id, Cell(cell.msg_id))
    for listener, cell in zip(listeners, cells, strict=True):
        await listener.wait_over(cell)
        await listener.wait_for(lambda: all(c.idles for c in listener.cells.values()))  # noqa: B023
    for n, listener in enumerate(listeners):
        assert [listener.cells[cell.msg_id].numbers for cell in cells] == [[0], [1], [2], [3]]
        replies = [len(listener.cells[cell.msg_id].replies) for cell in cells]
        assert replies == [int(n == m) for m in range(4)]
    assert (await site.direct.kernel(site.remote.id)).connections == 1


async def test_listener_that_comes_back_hears_the_messages_it_missed_replies_included(
    site: Site,
) -> None:
    away, present = Listener(site.remote, "tab"), Listener(site.remote)
    cells = [away.run(f"print({n})") for n in range(20)]
    await away.wait_over(cells[0])
    away.leave()
    left = [cell.over for cell in cells]
    await present.done("print('later')")
    assert [cell.over for cell in cells] == left, "it hears nothing while it is away"

    away.come_back(site.remote)
    assert all(cell.over for cell in cells), "it was all kept"
    assert [cell.numbers for cell in cells] == [[n] for n in range(20)]
    assert {(len(cell.replies), cell.idles) for cell in cells} == {(1, 1)}
    assert away.ended == [cell.msg_id for cell in cells], "in order"
    assert not any(cell.notices for cell in cells)


async def test_kernel_without_listeners_has_its_link_closed(server: RunningServer) -> None:
    async with open_site(server, edit=with_link(linger=0.05)) as site:
        listener = Listener(site.remote)
        cell = listener.run("import time; time.sleep(0.5)\nprint(1)")
        await listener.wait_for(lambda: cell.heard)
        listener.leave()
        assert site.proxy.open == 1, "an answer is still owed"
        await site.proxy.wait_idle()
        assert site.remote.state is State.IDLE
        listener.come_back(site.remote)
        assert cell.numbers == [1]
        assert cell.over
        assert (await listener.done("print(2)")).numbers == [2]
        assert not site.reports


async def test_gateways_cull_a_kernel_that_nobody_listens_to_and_no_other() -> None:
    culling = (
        "--MappingKernelManager.cull_idle_timeout=5",
        "--MappingKernelManager.cull_interval=1",
    )
    async with kernel_gateway(extra_args=culling) as gateway:
        edit = with_link(linger=0.05)
        async with open_site(gateway, edit=edit) as left, open_site(gateway, edit=edit) as kept:
            leaving, staying = Listener(left.remote), Listener(kept.remote)
            await staying.done("print(0)")
            await leaving.done("print(0)")
            leaving.leave()
            await left.until_listed(lambda model: model is None)
            leaving.come_back(left.remote)
            await leaving.wait_for(lambda: leaving.statuses == ["dead"])
            assert (await staying.done("print(1)")).numbers == [1]
            assert staying.statuses == []
