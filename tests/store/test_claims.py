"""Claims: whose a session id is, when it passes on, and when it ends."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import weakref
from contextlib import closing
from contextvars import ContextVar, copy_context
from pathlib import Path

import pytest

from tests.store.rig import GATEWAY, killed_at_the_end, only_warning, opened, rows, session_of


async def test_claim_on_each_kernel_of_each_gateway_has_a_session_id_of_its_own(
    folder: Path,
) -> None:
    async with opened(folder) as store:
        claims = [
            await store.claims.claim(gateway, kernel_id)
            for gateway in (GATEWAY, "http://other.example")
            for kernel_id in ("a", "b")
        ]
    assert len({claim.session for claim in claims}) == 4


async def test_session_id_that_is_claimed_is_given_to_no_other_claim(folder: Path) -> None:
    async with opened(folder) as store, opened(folder) as other:
        first = await session_of(store)
        assert await session_of(store) != first
        assert await session_of(other) != first


async def test_session_id_that_was_released_is_given_to_the_next_claim(folder: Path) -> None:
    async with opened(folder) as store, opened(folder) as other:
        claim = await store.claims.claim(GATEWAY, "k")
        await claim.hand_back(gone=False)
        assert await session_of(other) == claim.session


async def test_session_id_that_was_renewed_is_given_on_in_the_place_of_the_first(
    folder: Path,
) -> None:
    async with opened(folder) as store, opened(folder) as other:
        for kernel_id in ("k", "another"):
            claim = await store.claims.claim(GATEWAY, kernel_id)
        claim.renew_session("renewed")
        await claim.hand_back(gone=False)
        assert await session_of(other, "another") == "renewed"
        assert claim.session == "renewed"
    async with opened(folder) as store:
        assert await session_of(store) not in {claim.session, "renewed"}
        assert await session_of(store, "another") == "renewed"


async def test_session_id_of_a_process_that_has_ended_is_given_to_the_next_claim(
    folder: Path,
) -> None:
    async with opened(folder) as store:
        session = await session_of(store)
    async with opened(folder) as store:
        assert await session_of(store) == session


async def test_session_id_of_another_process_is_given_on_only_once_that_is_killed(
    folder: Path,
) -> None:
    async with opened(folder) as store:
        async with killed_at_the_end(folder, "k") as session:
            assert len(session) == 32
            own = await store.claims.claim(GATEWAY, "k")
            assert own.session != session
            await own.hand_back(gone=False)
        assert await session_of(store) in {session, own.session}
        assert [kernel_id for kernel_id, _ in rows(folder)] == ["k"]


async def test_session_id_of_a_killed_process_is_given_to_one_of_two_claims(folder: Path) -> None:
    async with killed_at_the_end(folder, "k") as session:
        pass
    async with opened(folder) as one, opened(folder) as two:
        claimed = await asyncio.gather(session_of(one), session_of(two))
    assert session in claimed
    assert len(set(claimed)) == 2


async def test_session_id_of_the_later_one_of_two_killed_processes_is_given_on(
    folder: Path,
) -> None:
    async with killed_at_the_end(folder, "k"), killed_at_the_end(folder, "k") as session:
        pass
    async with opened(folder) as store:
        assert await session_of(store) == session


async def test_claim_on_a_kernel_that_is_gone_is_deleted(folder: Path) -> None:
    async with opened(folder) as store:
        claim = await store.claims.claim(GATEWAY, "a")
        await store.claims.claim(GATEWAY, "b")
        await claim.hand_back(gone=True)
        store.claims.forget(GATEWAY, "b")
        await store.flush()
        assert rows(folder) == []


async def test_kernel_ids_of_a_joined_pair_are_known_to_later_processes_until_it_is_gone(
    folder: Path,
) -> None:
    async with opened(folder) as store:
        claim = store.claims.intend(GATEWAY, "shown")
        claim.note_gateway_id("shown")
        assert await store.claims.both_ids(GATEWAY, "shown") is None
        claim.note_gateway_id("given")
    for _ in range(2):
        async with opened(folder) as store:
            for either in ("shown", "given"):
                assert await store.claims.both_ids(GATEWAY, either) == ("shown", "given")
            assert await store.claims.both_ids("http://another.example", "given") is None
            again = await store.claims.claim(GATEWAY, "shown")
            assert again.session == claim.session
            await again.hand_back(gone=False)
    async with opened(folder) as store:
        await (await store.claims.claim(GATEWAY, "shown")).hand_back(gone=True)
        assert await store.claims.both_ids(GATEWAY, "given") is None


async def test_started_by_server_passes_on_with_the_session_id_and_to_nobody_else(
    folder: Path,
) -> None:
    async with opened(folder) as store:
        assert store.claims.intend(GATEWAY, "server's", by_server=True).started_by_server
        assert not store.claims.intend(GATEWAY, "program's").started_by_server
        async with opened(folder) as other:
            visitor = await other.claims.claim(GATEWAY, "server's")
            assert not visitor.started_by_server, "its server lives"
    for _ in range(2):
        async with opened(folder) as store:  # of two ids that were released
            assert (await store.claims.claim(GATEWAY, "server's")).started_by_server
            assert not (await store.claims.claim(GATEWAY, "program's")).started_by_server
            another = await store.claims.claim("http://another.example", "server's")
            assert not another.started_by_server


async def test_intended_claim_is_in_the_file_once_written_returns(folder: Path) -> None:
    async with opened(folder) as store:
        claims = [store.claims.intend(GATEWAY, f"k{number}") for number in range(3)]
        await asyncio.gather(*(store.claims.written() for _ in claims))
        assert rows(folder) == [(claim.kernel_id, claim.session) for claim in claims]


async def test_written_of_a_disk_that_hangs_returns_after_a_while_with_a_line_in_the_log(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(folder, max_write_seconds=0.01) as store:
        await session_of(store, "first")
        with closing(sqlite3.connect(folder / "links.sqlite", isolation_level=None)) as busy:
            busy.execute("BEGIN IMMEDIATE")
            claim = store.claims.intend(GATEWAY, "k")
            await store.claims.written()
            assert "A kernel is started all the same" in only_warning(caplog)
        await store.flush()
        assert ("k", claim.session) in rows(folder), "it is written all the same"


async def test_intended_claim_is_moved_to_the_id_that_its_gateway_gave_the_kernel(
    folder: Path,
) -> None:
    async with opened(folder) as store:
        intended = store.claims.intend(GATEWAY, "ours", by_server=True)
        await store.claims.written()
        assert intended.moved_to("ours") is intended
        claim = intended.moved_to("theirs")
        assert (claim.kernel_id, claim.session) == ("theirs", intended.session)
        assert claim.started_by_server
        await claim.hand_back(gone=False)
        assert rows(folder) == [("theirs", intended.session)]


async def test_intended_claims_that_end_at_once_are_written_before_they_are_released(
    folder: Path,
) -> None:
    async with opened(folder) as store, opened(folder) as other:
        claims = [store.claims.intend(GATEWAY, f"k{number}") for number in range(20)]
        await asyncio.gather(*(each.hand_back(gone=n > 0) for n, each in enumerate(claims)))
        await store.flush()
        assert len(rows(folder)) == 1
        assert await session_of(other, "k0") == claims[0].session


async def test_kernel_that_is_forgotten_while_it_is_claimed_is_not_claimed(folder: Path) -> None:
    async with opened(folder) as store:
        await session_of(store, "first")
        with closing(sqlite3.connect(folder / "links.sqlite", isolation_level=None)) as busy:
            busy.execute("BEGIN IMMEDIATE")
            store.claims.intend(GATEWAY, "new")
            claiming = asyncio.ensure_future(store.claims.claim(GATEWAY, "k"))
            await asyncio.sleep(0)  # it begins
            store.claims.forget(GATEWAY, "k")
        await claiming
        await store.flush()
        assert [kernel_id for kernel_id, _ in rows(folder)] == ["first", "new"]


async def test_claim_holds_nothing_of_the_request_that_it_was_made_in(folder: Path) -> None:
    class Request:
        """What a server keeps in a context variable while it answers."""

    current: ContextVar[Request] = ContextVar("current")
    async with opened(folder) as store:
        request = Request()
        context = copy_context()
        context.run(current.set, request)
        claim = context.run(store.claims.intend, GATEWAY, "k")
        await store.flush()
        left = weakref.ref(request)
        del request, context
        gc.collect()
        assert left() is None
        await claim.hand_back(gone=True)


async def test_released_session_ids_are_bounded_and_the_oldest_are_deleted(folder: Path) -> None:
    async with opened(folder, max_released=2) as store:
        for kernel_id in "abcd":
            await (await store.claims.claim(GATEWAY, kernel_id)).hand_back(gone=False)
        await session_of(store, "e")
        assert [kernel_id for kernel_id, _ in rows(folder)] == ["c", "d", "e"]
