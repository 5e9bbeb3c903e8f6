"""The shared file: private, whole at any moment, and replaced by memory where it is of no use."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.store.rig import (
    GATEWAY,
    contents,
    modes,
    only_warning,
    opened,
    rows,
    session_of,
    use_in_memory,
)
from tests.store.test_schema import put_file

WRITER = """
import asyncio, sys
from pathlib import Path
from jupyter_relay.store.store import Store

GATEWAY = "http://gateway.example"

async def write():
    store = Store(Path(sys.argv[1]))
    for number in range(sys.maxsize):
        claim = store.claims.intend(GATEWAY, f"{sys.argv[2]}-{number}")
        # As much again in the same transaction, so that it takes its time.
        for user in range(8):
            store.kernelspecs.put(GATEWAY, f"{user}", f"{number} ".encode() * 20_000)
        await store.flush()
        print(claim.kernel_id, claim.session, flush=True)
        if number % 3 == 0:
            await claim.hand_back(gone=False)

asyncio.run(write())
"""
"""A program that claims kernels as fast as it can, and prints each claim once it is written."""

Written: TypeAlias = tuple[str, str]
"""The kernel and the session id of a claim."""


@asynccontextmanager
async def writer(folder: Path, name: str) -> AsyncIterator[Callable[[], Awaitable[Written]]]:
    """Let a process write, and kill it at the end; give what waits for the next claim that
    it has written."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(folder), name, stdout=asyncio.subprocess.PIPE
    )
    out = process.stdout
    assert out is not None

    async def next_written() -> Written:
        kernel_id, session = (await out.readline()).decode().split()
        return kernel_id, session

    try:
        yield next_written
    finally:
        process.kill()
        await process.wait()


async def killed_in_a_transaction(folder: Path, name: str) -> list[Written]:
    """Kill a process that writes while its transaction is on its way to the disk; return the claims
    that it had written."""
    journal = folder / "links.sqlite-journal"
    for attempt in range(100):
        async with writer(folder, f"{name}-{attempt}") as next_written:
            written = [await next_written() for _ in range(3)]
            async with asyncio.timeout(30):
                while not (journal.exists() and journal.stat().st_size):  # noqa: ASYNC110  # a file sets no event
                    await asyncio.sleep(0)
        if journal.stat().st_size:
            return written
    raise AssertionError("It was never killed in the middle.")


async def test_claim_that_was_written_outlives_a_kill_in_the_middle_of_a_transaction(
    folder: Path,
) -> None:
    put_file(folder, 1)
    written = rows(folder)
    for name in ("first", "second", "third"):
        written += await killed_in_a_transaction(folder, name)
        with closing(sqlite3.connect(folder / "links.sqlite")) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert {*written} <= {*rows(folder)}
    async with opened(folder) as store:
        for kernel_id, session in written:
            assert await session_of(store, kernel_id) == session


async def test_processes_that_begin_with_an_earlier_file_at_the_same_time_all_use_it(
    folder: Path,
) -> None:
    put_file(folder, 1)
    async with AsyncExitStack() as stack:
        writers = [await stack.enter_async_context(writer(folder, name)) for name in "abc"]
        written = [await next_written() for next_written in writers * 5]
    assert {*written} <= {*rows(folder)}


async def test_new_store_file_and_all_beside_it_are_for_their_user_alone(folder: Path) -> None:
    async with opened(folder) as store:
        await session_of(store)
        assert modes(folder) == (0o700, {0o600})


def a_file_in_its_place(folder: Path) -> None:
    """Let there be no folder."""
    folder.parent.mkdir()
    folder.write_text("a file")


def no_database(folder: Path) -> None:
    """Let the file be something else."""
    folder.mkdir(parents=True, mode=0o700)
    (folder / "links.sqlite").write_text("this is no database, " * 100)
    (folder / "links.sqlite").chmod(0o600)


def another_programs_database(folder: Path) -> None:
    """Let the file have a table of the same name, and no number of ours."""
    folder.mkdir(parents=True, mode=0o700)
    with closing(sqlite3.connect(folder / "links.sqlite")) as db:
        db.execute("CREATE TABLE links (url TEXT)")
    (folder / "links.sqlite").chmod(0o600)


def a_later_version(folder: Path) -> None:
    """Let the file be of a later version."""
    folder.mkdir(parents=True, mode=0o700)
    with closing(sqlite3.connect(folder / "links.sqlite")) as db:
        db.execute("PRAGMA user_version = 99")
    (folder / "links.sqlite").chmod(0o600)


def a_link_to_nothing(folder: Path) -> None:
    """Let the folder be a link that leads nowhere."""
    folder.parent.mkdir()
    folder.symlink_to(folder.parent / "not there")


def a_file_that_is_a_link(folder: Path) -> None:
    """Let the file be a link, which would be followed to write anywhere."""
    folder.mkdir(parents=True, mode=0o700)
    (folder / "links.sqlite").symlink_to(folder.parent / "not there")


def a_folder_of_others(folder: Path) -> None:
    """Let everybody write to the folder, which others use, too."""
    folder.mkdir(parents=True)
    (folder / "others.txt").write_text("theirs")
    folder.chmod(0o1777)


@pytest.mark.parametrize(
    "spoil",
    [
        a_file_in_its_place,
        no_database,
        another_programs_database,
        a_later_version,
        a_link_to_nothing,
        a_file_that_is_a_link,
        a_folder_of_others,
    ],
)
async def test_store_file_that_cannot_be_used_is_one_line_in_the_log_and_a_store_in_memory(
    folder: Path, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    spoil(folder)
    before = contents(folder)
    async with opened(folder) as store:
        await use_in_memory(store)
    assert str(folder) in only_warning(caplog)
    assert contents(folder) == before


async def test_store_file_that_breaks_while_it_is_used_is_replaced_by_memory(folder: Path) -> None:
    async with opened(folder) as store:
        claim = await store.claims.claim(GATEWAY, "k")
        (folder / "links.sqlite").write_text("this is no database, " * 100)
        assert await session_of(store) != claim.session
        await claim.hand_back(gone=True)


async def test_store_file_that_is_deleted_while_it_is_used_is_made_anew(folder: Path) -> None:
    async with opened(folder) as store:
        await session_of(store, "before")
        (folder / "links.sqlite").unlink()
        session = await session_of(store, "after")
        assert rows(folder) == [("after", session)]


async def test_close_leaves_the_file_alone_and_another_use_opens_it_again(folder: Path) -> None:
    async with opened(folder) as store:
        before = await session_of(store, "before")
        await store.close()
        assert list(contents(folder)) == ["links.sqlite"]
        after = await session_of(store, "after")
        assert rows(folder) == [("before", before), ("after", after)]


async def test_store_file_that_another_process_keeps_locked_is_not_waited_for_for_ever(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(folder) as store:
        await session_of(store)
    with closing(sqlite3.connect(folder / "links.sqlite")) as stuck:
        stuck.execute("BEGIN EXCLUSIVE")
        async with opened(folder, patience=0.1) as store:
            await use_in_memory(store)
    assert "locked" in only_warning(caplog)
