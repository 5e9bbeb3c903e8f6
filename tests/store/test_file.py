"""The shared file: private, whole at any moment, and replaced by memory where it is of no use."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

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

async def write():
    store = Store(Path(sys.argv[1]))
    number = 0
    while True:
        claim = store.claims.intend("http://gateway.example", f"{sys.argv[2]}-{number}")
        await store.claims.written()
        print(claim.kernel_id, claim.session, flush=True)
        store.kernelspecs.put("http://gateway.example", sys.argv[2], b"x" * number)
        if number % 3 == 0:
            await claim.end(gone=False)
        number += 1

asyncio.run(write())
"""
"""A program that claims kernels as fast as it can, and prints each claim once it is written."""


async def killed_while_it_writes(folder: Path, name: str, lines: int) -> list[tuple[str, str]]:
    """Let a process write, and kill it some time after so many claims; return those."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(folder), name, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        written = [await process.stdout.readline() for _ in range(lines)]
        await asyncio.sleep(random.uniform(0, 0.02))  # the moment of the kill is to differ
    finally:
        process.kill()
    rest = await process.stdout.read()
    await process.wait()
    whole = [line for line in (*written, *rest.splitlines(keepends=True)) if line.endswith(b"\n")]
    return [tuple(line.decode().split()) for line in whole]  # type: ignore[misc]  # two words each


async def test_a_claim_that_was_written_outlives_a_kill_at_any_moment(folder: Path) -> None:
    put_file(folder, 1)
    before = rows(folder)
    written = []
    for round_ in range(3):  # two processes at a time
        found = await asyncio.gather(
            killed_while_it_writes(folder, f"a{round_}", 5),
            killed_while_it_writes(folder, f"b{round_}", 20),
        )
        written += [*found[0], *found[1]]
    with closing(sqlite3.connect(folder / "links.sqlite")) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert {*before, *written} <= {*rows(folder)}
    async with opened(folder) as store:
        for kernel_id, session in written:
            assert await session_of(store, kernel_id) == session


async def test_two_processes_that_begin_with_an_earlier_file_both_use_it(folder: Path) -> None:
    put_file(folder, 1)
    found = await asyncio.gather(
        *(killed_while_it_writes(folder, name, 10) for name in ("a", "b", "c"))
    )
    assert {pair for written in found for pair in written} <= {*rows(folder)}


async def test_a_new_file_and_all_beside_it_are_for_their_user_alone(folder: Path) -> None:
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
async def test_a_file_that_cannot_be_used_is_one_line_in_the_log_and_a_store_in_memory(
    folder: Path, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    spoil(folder)
    before = contents(folder)
    async with opened(folder) as store:
        await use_in_memory(store)
    assert str(folder) in only_warning(caplog)
    assert contents(folder) == before


async def test_a_file_that_breaks_while_it_is_used_is_replaced_by_memory(folder: Path) -> None:
    async with opened(folder) as store:
        claim = await store.claims.claim(GATEWAY, "k")
        (folder / "links.sqlite").write_text("this is no database, " * 100)
        assert await session_of(store) != claim.session
        await claim.end(gone=True)


async def test_a_file_that_is_deleted_while_it_is_used_is_made_anew(folder: Path) -> None:
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


async def test_a_file_that_another_process_keeps_locked_is_not_waited_for_for_ever(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(folder) as store:
        await session_of(store)
    with closing(sqlite3.connect(folder / "links.sqlite")) as stuck:
        stuck.execute("BEGIN EXCLUSIVE")
        async with opened(folder, patience=0.1) as store:
            await use_in_memory(store)
    assert "locked" in only_warning(caplog)
