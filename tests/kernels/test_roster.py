"""`Roster`: the owner of the kernels of one gateway, without a manager above it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from jupyter_relay.errors import KernelNotFound, KernelNotRunning, KernelSpecNotFound
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.kernels.roster import Roster
from jupyter_relay.link.life import Life
from jupyter_relay.testing import Answer, FakeGateway, FakeKernel, Hold
from tests.support.gateway import settings_for

KERNELS = "/api/kernels"


def roster_of(
    fake: FakeGateway, folder: Path | None = None, *, on_exit: str = "shutdown"
) -> Roster:
    """A server's roster on a fake gateway."""
    gateway = Gateway(settings_for(fake.url, on_exit=on_exit, listing_ttl=0.0))
    return Roster(gateway, state_folder=folder, for_server=True)


@pytest.fixture
async def roster(fake_gateway: FakeGateway, tmp_path: Path) -> AsyncIterator[Roster]:
    """The roster of a server with a store."""
    roster = roster_of(fake_gateway, tmp_path)
    yield roster
    await roster.shutdown_all()


async def claimed(roster: Roster, folder: Path) -> list[str]:
    """The ids of the kernels of which the store has claims."""
    assert roster.store is not None
    await roster.store.flush()
    with closing(sqlite3.connect(folder / "links.sqlite")) as links:
        return [kernel_id for (kernel_id,) in links.execute("SELECT kernel_id FROM links")]


async def test_start_claims_the_kernel_and_knows_it(
    roster: Roster, fake_gateway: FakeGateway
) -> None:
    kernel = await roster.start("python3")
    assert list(fake_gateway.kernels) == [kernel.id]
    assert roster.kernels.get(kernel.id) is kernel
    assert roster.started_by_server(kernel)
    assert kernel.life is Life.RUNNING


async def test_start_that_takes_longer_than_its_patience_returns_a_starting_kernel(
    roster: Roster, fake_gateway: FakeGateway
) -> None:
    released = asyncio.Event()
    fake_gateway.fault("POST", KERNELS, Hold(released))
    kernel = await roster.start("python3", patience=0.0)
    lives = [kernel.life]
    released.set()
    await kernel.ready()
    lives.append(kernel.life)
    assert lives == [Life.STARTING, Life.RUNNING]


async def test_start_that_is_cancelled_leaves_no_kernel_and_no_claim(
    roster: Roster, fake_gateway: FakeGateway
) -> None:
    fake_gateway.fault("POST", KERNELS, Hold(asyncio.Event()))
    starting = asyncio.create_task(roster.start("python3"))
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to("POST", KERNELS))
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert list(roster.kernels) == []


async def test_attach_at_once_shares_one_kernel(roster: Roster, fake_kernel: FakeKernel) -> None:
    one, other = await asyncio.gather(*(roster.attach(fake_kernel.id) for _ in range(2)))
    assert one is other
    assert not roster.started_by_server(one)
    for kernel in (one, other):
        await roster.release(kernel)
    assert one.life is Life.RELEASED


async def test_release_by_one_of_two_leaves_the_kernel_and_the_reports_to_the_other(
    roster: Roster, fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    heard: list[str] = []
    reports = [lambda _, name=name: heard.append(name) for name in ("one", "other")]
    kernel = await roster.attach(fake_kernel.id, on_report=reports[0])
    await roster.attach(fake_kernel.id, on_report=reports[1])
    kernel.subscribe()
    (await fake_gateway.wait_for_socket()).drop()
    await fake_gateway.wait_for(lambda: len(heard) >= 2)
    assert set(heard) == {"one", "other"}
    await roster.release(kernel, on_report=reports[0])
    assert kernel.life is Life.RUNNING
    heard.clear()
    fake_gateway.lose_kernel(kernel.id)
    with pytest.raises(KernelNotFound):
        await kernel.refresh()
    assert set(heard) == {"other"}
    await roster.release(kernel, on_report=reports[1])
    assert list(roster.kernels) == []


async def test_attach_to_a_kernel_that_does_not_exist_raises_and_knows_nothing(
    roster: Roster,
) -> None:
    with pytest.raises(KernelNotFound):
        await roster.attach("no-such-kernel")
    assert list(roster.kernels) == []


async def test_attach_after_a_release_has_the_session_id_of_before(
    roster: Roster, fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    sessions = []
    for _ in range(2):
        kernel = await roster.attach(fake_kernel.id)
        kernel.subscribe()
        sessions.append((await fake_gateway.wait_for_socket()).session_id)
        await roster.release(kernel)
    assert sessions[0] == sessions[1]


async def test_attach_to_a_kernel_that_was_gone_replaces_it_and_its_claim(
    roster: Roster, fake_kernel: FakeKernel
) -> None:
    before = await roster.attach(fake_kernel.id)
    before.mark_gone()
    kernel = await roster.attach(fake_kernel.id)
    await roster.release(before)
    assert kernel is not before
    assert (before.life, kernel.life) == (Life.GONE, Life.RUNNING)
    assert roster.kernels.get(kernel.id) is kernel
    session = kernel._upstream.session
    await roster.release(kernel)
    again = await roster.attach(fake_kernel.id)
    assert again._upstream.session == session, "its claim was kept"
    await roster.release(again)


async def test_attach_to_a_kernel_that_was_gone_keeps_both_of_its_ids(
    roster: Roster, fake_gateway: FakeGateway
) -> None:
    fake_gateway.kernel_ids = "ignored"
    released = asyncio.Event()
    fake_gateway.fault("POST", KERNELS, Hold(released))
    before = await roster.start("python3", patience=0.0)
    released.set()
    await before.ready()
    assert list(fake_gateway.kernels) != [before.id]
    before.mark_gone()
    kernel = await roster.attach(before.id)
    assert kernel.id == before.id
    assert roster.started_by_server(kernel)
    assert (await kernel.refresh()).id == before.id
    await roster.release(kernel)
    again = await roster.attach(before.id)
    assert again.id == before.id
    await roster.release(again)


async def test_attach_to_a_kernel_that_is_starting_returns_it_and_keeps_its_claim(
    roster: Roster, fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    released = asyncio.Event()
    fake_gateway.fault("POST", KERNELS, Hold(released))
    kernel = await roster.start("python3", patience=0.0)
    assert await roster.attach(kernel.id) is kernel
    released.set()
    await kernel.ready()
    assert await claimed(roster, tmp_path) == [kernel.id]


async def test_visit_asks_nothing_and_has_a_session_id_of_its_own(
    roster: Roster, fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    kernel = roster.visit(fake_kernel.id)
    assert roster.visit(fake_kernel.id) is kernel
    assert not fake_gateway.requests
    for _ in range(2):
        await roster.release(kernel)
    assert kernel.life is Life.RELEASED


async def test_shutdown_all_deletes_what_was_started_and_leaves_what_was_attached_to(
    roster: Roster, fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    started = await roster.start("python3")
    attached = await roster.attach(fake_kernel.id)
    await roster.shutdown_all()
    assert list(fake_gateway.kernels) == [fake_kernel.id]
    assert (started.life, attached.life) == (Life.ENDED, Life.RELEASED)
    assert list(roster.kernels) == []
    again = await roster.start("python3")
    assert again.life is Life.RUNNING, "it need not be the program's end"


async def test_shutdown_all_with_keep_leaves_all(fake_gateway: FakeGateway, tmp_path: Path) -> None:
    roster = roster_of(fake_gateway, tmp_path, on_exit="keep")
    kernel = await roster.start("python3")
    await roster.shutdown_all()
    assert list(fake_gateway.kernels) == [kernel.id]


async def test_shutdown_all_keeps_knowing_what_it_could_not_delete(
    roster: Roster, fake_gateway: FakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = await roster.start("python3")
    fake_gateway.fault("DELETE", "/api/kernels/*", Answer(403), times=1)
    await roster.shutdown_all()
    assert f"Kernel {kernel.id}: could not be shut down: " in caplog.text
    assert list(roster.kernels) == [kernel]


async def test_shutdown_all_forgets_what_was_deleted_and_could_not_be_closed_in_time(
    roster: Roster, fake_gateway: FakeGateway
) -> None:
    kernel = await roster.start("python3")
    forgotten: list[str] = []

    async def on_forgotten(kernel_id: str) -> None:
        forgotten.append(kernel_id)

    async def delete(_: str) -> None:
        await kernel.shutdown()
        await asyncio.Event().wait()  # as if its websocket did not close

    roster.on_forgotten = on_forgotten
    await roster.shutdown_all(0.2, delete=delete)
    assert not fake_gateway.kernels
    assert (kernel.life, list(roster.kernels), forgotten) == (Life.ENDED, [], [kernel.id])


async def test_kernel_that_is_lost_is_forgotten_by_the_roster_too(
    roster: Roster, fake_gateway: FakeGateway
) -> None:
    kernel = await roster.start("python3")
    roster.kernels.lost_seconds = 0.0
    fake_gateway.lose_kernel(kernel.id)
    for _ in range(2):
        await roster.kernels.refresh_fully()
    assert list(roster.kernels) == []
    assert not roster.started_by_server(kernel)


async def test_close_ends_the_listing_that_is_under_way(
    roster: Roster, fake_gateway: FakeGateway
) -> None:
    kernel = await roster.start("python3")
    fake_gateway.fault("GET", KERNELS, Hold(asyncio.Event()))
    listing = asyncio.create_task(roster.kernels._listing.answer())
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to("GET", KERNELS))
    await roster.close()
    await asyncio.wait_for(listing, 1.0)
    assert not roster.kernels._listing.asking
    await kernel.close()


async def test_start_that_is_given_up_after_close_and_shutdown_all_leaves_no_claim(
    roster: Roster, fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    await roster.close()
    await roster.shutdown_all()
    with pytest.raises(KernelSpecNotFound):
        await roster.start("no-such-kernelspec")
    assert await claimed(roster, tmp_path) == []


async def test_shutdown_all_gives_up_starts_and_begins_none(
    roster: Roster, fake_gateway: FakeGateway
) -> None:
    released = asyncio.Event()
    fake_gateway.fault("POST", KERNELS, Hold(released))
    starting = asyncio.create_task(roster.start("python3"))
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to("POST", KERNELS))
    ending = asyncio.create_task(roster.shutdown_all())
    with pytest.raises(KernelNotRunning):
        await starting
    assert roster.stopping
    with pytest.raises(KernelNotRunning, match="about to end"):
        await roster.start("python3")
    released.set()
    await ending
    assert not fake_gateway.kernels
    assert not roster.stopping


async def test_shutdown_all_begins_no_listing_that_the_gateways_end_would_make_fail(
    roster: Roster, fake_gateway: FakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """As at a request for the server's status, which has the time of the last activity."""
    released = asyncio.Event()
    await roster.start("python3")
    fake_gateway.fault("DELETE", "/api/kernels/*", Hold(released))
    fake_gateway.fault("GET", KERNELS, Hold(asyncio.Event()))
    ending = asyncio.create_task(roster.shutdown_all())
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to("DELETE", "/api/kernels/*"))
    roster.kernels.refresh_behind()
    released.set()
    await ending
    assert not fake_gateway.requests_to("GET", KERNELS)
    assert "cannot be listed" not in caplog.text
    assert not roster.kernels.stopping
