"""The kernel, or the gateway with it, is no more."""

from __future__ import annotations

import asyncio

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError

from jupyter_relay.headless.manager import GatewayKernelManager
from jupyter_relay.link.actions import Happening
from jupyter_relay.testing.servers import RunningServer, kernel_gateway
from tests.faults.listener import Cell, Listener, only
from tests.faults.site import Site, open_site

DIE = "import os; os._exit(1)"
BE_KILLED = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
STAY = "import time\nprint(0)\nwhile True: time.sleep(0.05)"


async def stay_busy(listener: Listener) -> Cell:
    """Run a cell that does not end by itself."""
    cell = listener.run(STAY)
    await listener.wait_for(lambda: cell.numbers)
    return cell


async def test_gateway_that_comes_back_without_the_kernel_ends_its_cells() -> None:
    async with kernel_gateway() as first, open_site(first) as site:
        listener, other = Listener(site.remote), Listener(site.remote)
        cell = await stay_busy(listener)
        await first.kill()
        await site.wait_told(Happening.DROPPED)
        held = listener.run("1")
        async with kernel_gateway(port=first.port, token=first.token):
            await listener.wait_over(cell, held)
            await site.wait_told(Happening.GONE)
            for ended in (cell, held):
                assert ended.status == "error"
                assert site.remote.id in ended.reason
                assert ended.errors == [ended.reason]
            assert listener.statuses == other.statuses == ["dead"]
            late = listener.run("1")
            assert late.over
            assert late.status == "error"


async def test_kernel_that_is_culled_while_it_is_listened_to_is_found_dead() -> None:
    culling = (
        "--MappingKernelManager.cull_idle_timeout=1",
        "--MappingKernelManager.cull_interval=1",
        "--MappingKernelManager.cull_connected=True",
    )
    async with kernel_gateway(extra_args=culling) as gateway, open_site(gateway) as site:
        listener, other = Listener(site.remote), Listener(site.remote)
        await listener.done("0")
        await site.until_listed(lambda model: model is None)
        cell = listener.run("1")
        await listener.wait_over(cell)
        assert cell.status == "error"
        assert "culled" in cell.reason
        await other.wait_for(lambda: other.statuses == ["dead"])
        assert listener.statuses == ["dead"]


async def comes_back(listener: Listener) -> None:
    """Run cells in the new process until one is heard.

    Each is over; but the gateway may not hear yet what the new process puts out.
    """
    async with asyncio.timeout(60):
        while (await listener.done("print('x' in globals())")).printed != "False\n":
            pass


@pytest.mark.parametrize("code", [DIE, BE_KILLED])
async def test_kernel_that_dies_is_reported_to_all_listeners_and_comes_back(
    any_site: Site, code: str
) -> None:
    site = any_site
    listener, other = Listener(site.remote), Listener(site.remote)
    await listener.done("x = 1")
    cells = [listener.run(code), other.run("pass")]
    await listener.wait_over(cells[0])
    await other.wait_over(cells[1])
    for cell in cells:
        assert cell.status == "error"
        assert "died" in cell.reason
        assert cell.errors == [cell.reason]
    await listener.wait_for(lambda: "restarting" in listener.statuses)
    await other.wait_for(lambda: "restarting" in other.statuses)
    await comes_back(listener)


async def test_kernel_deleted_by_another_client_ends_its_cells(any_site: Site) -> None:
    site = any_site
    listener, other = Listener(site.remote), Listener(site.remote)
    cell = await stay_busy(listener)
    await site.direct.shutdown_kernel(site.remote.id)
    await listener.wait_over(cell)
    assert cell.status == "error"
    await listener.wait_for(lambda: "dead" in listener.statuses)
    await other.wait_for(lambda: "dead" in other.statuses)
    only(site.told(Happening.GONE))


async def test_kernel_restarted_by_another_client_ends_its_cells(any_site: Site) -> None:
    site = any_site
    listener, other = Listener(site.remote), Listener(site.remote)
    await listener.done("x = 1")
    cell = await stay_busy(listener)
    await site.direct.restart_kernel(site.remote.id)
    await comes_back(other)
    await listener.wait_over(cell)
    assert cell.status == "error"
    assert "restarted" in cell.reason
    assert site.remote.restarts == 1


async def test_restart_ends_a_cell_once_though_the_gateway_kept_its_own_end(
    any_site: Site,
) -> None:
    site = any_site
    listener, other = Listener(site.remote), Listener(site.remote)
    await listener.done("x = 1")
    cells = [await stay_busy(listener), other.run("pass")]
    await site.remote.restart()
    await listener.wait_over(cells[0])
    await other.wait_over(cells[1])
    await comes_back(other)  # what the gateway kept comes before that
    for cell in cells:
        assert cell.status == "error"
        assert cell.errors == [cell.reason]
        assert len(cell.replies) == cell.idles == 1


async def test_nbclient_raises_dead_kernel_error(server: RunningServer) -> None:
    cells = [nbformat.v4.new_code_cell(DIE)]  # type: ignore[no-untyped-call]
    notebook = nbformat.v4.new_notebook(cells=cells)  # type: ignore[no-untyped-call]
    async with open_site(server) as site:
        manager = GatewayKernelManager(gateway=site.direct)
        client = NotebookClient(notebook, km=manager, timeout=60)
        async with client.async_setup_kernel():
            with pytest.raises(DeadKernelError):
                async with asyncio.timeout(5):
                    await client.async_execute_cell(cells[0], 0)
        await manager.cleanup_resources()  # nbclient leaves a manager that it was given
