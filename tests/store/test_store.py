"""The session ids that outlive a process: whose they are, when they pass on, when they end."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import sqlite3
import sys
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from contextvars import ContextVar, copy_context
from pathlib import Path

import pytest

from jupyter_relay.rest.models import KernelSpecs
from jupyter_relay.store.store import Claim, Store

GATEWAY = "http://gateway.example"

HOLDER = """
import asyncio, sys
from pathlib import Path
from jupyter_relay.store.store import Store

async def hold():
    for kernel_id in sys.argv[2:]:
        claim = await Store(Path(sys.argv[1])).claim("http://gateway.example", kernel_id)
        print(claim.session, flush=True)
    await asyncio.Event().wait()

asyncio.run(hold())
"""
"""A program that claims kernels and then lives on."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that is not there yet."""
    return tmp_path / "data" / "jupyter_relay"


@asynccontextmanager
async def opened(
    folder: Path, *, max_left: int = 1000, patience: float = 30.0
) -> AsyncIterator[Store]:
    """Open a store, and let go of it at the end."""
    store = Store(folder, max_left=max_left, patience=patience)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def killed_at_the_end(folder: Path, kernel_id: str) -> AsyncIterator[str]:
    """Let another process claim a kernel; give its session id, and kill it at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, str(folder), kernel_id, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.kill()
        await process.wait()


def rows(folder: Path) -> list[tuple[str, str]]:
    """Return kernel and session of all that is kept."""
    with closing(sqlite3.connect(folder / "links.sqlite")) as links:
        return links.execute("SELECT kernel_id, session FROM links ORDER BY rowid").fetchall()


def locks(folder: Path) -> int:
    """Return how many lock files there are."""
    return len(list(folder.glob("*.lock")))


def modes(folder: Path) -> tuple[int, set[int]]:
    """Return who may do what with a folder, and with the files in it."""
    files = {path.stat().st_mode & 0o777 for path in folder.iterdir()}
    return folder.stat().st_mode & 0o777, files


async def session_of(store: Store, kernel_id: str = "k") -> str:
    """Return the session id of a new claim."""
    return (await store.claim(GATEWAY, kernel_id)).session


async def test_each_kernel_of_each_gateway_has_an_id_of_its_own(folder: Path) -> None:
    async with opened(folder) as store:
        claims = [
            await store.claim(gateway, kernel_id)
            for gateway in (GATEWAY, "http://other.example")
            for kernel_id in ("a", "b")
        ]
    assert len({claim.session for claim in claims}) == 4


async def test_an_id_is_nobody_elses_while_it_is_claimed(folder: Path) -> None:
    async with opened(folder) as store, opened(folder) as other:
        first = await session_of(store)
        assert await session_of(store) != first
        assert await session_of(other) != first


async def test_an_id_that_was_let_go_of_is_the_next_ones(folder: Path) -> None:
    async with opened(folder) as store, opened(folder) as other:
        claim = await store.claim(GATEWAY, "k")
        await claim.end(gone=False)
        assert await session_of(other) == claim.session


async def test_a_process_that_ends_leaves_its_ids(folder: Path) -> None:
    async with opened(folder) as store:
        session = await session_of(store)
    async with opened(folder) as store:
        assert await session_of(store) == session


async def test_an_id_belongs_to_another_process_until_that_is_killed(folder: Path) -> None:
    async with opened(folder) as store:
        async with killed_at_the_end(folder, "k") as session:
            assert len(session) == 32
            own = await store.claim(GATEWAY, "k")
            assert own.session != session
            await own.end(gone=False)
        assert await session_of(store) in {session, own.session}
        assert [kernel_id for kernel_id, _ in rows(folder)] == ["k"]


async def test_what_a_killed_process_held_is_claimed_once(folder: Path) -> None:
    async with killed_at_the_end(folder, "k") as session:
        pass
    async with opened(folder) as one, opened(folder) as two:
        claimed = await asyncio.gather(session_of(one), session_of(two))
    assert session in claimed
    assert len(set(claimed)) == 2


async def test_the_latest_of_two_that_were_killed_passes_on(folder: Path) -> None:
    async with killed_at_the_end(folder, "k"), killed_at_the_end(folder, "k") as session:
        pass
    async with opened(folder) as store:
        assert await session_of(store) == session


async def test_a_kernel_that_is_gone_leaves_nothing(folder: Path) -> None:
    async with opened(folder) as store:
        claim = await store.claim(GATEWAY, "a")
        await store.claim(GATEWAY, "b")
        await claim.end(gone=True)
        store.forget(GATEWAY, "b")
        await store.settle()
        assert rows(folder) == []


async def test_both_ids_of_a_kernel_outlive_the_process(folder: Path) -> None:
    async with opened(folder) as store:
        claim = store.claim_new(GATEWAY, "shown")
        claim.note_given("shown")
        assert await store.ids_of(GATEWAY, "shown") is None
        claim.note_given("given")
    for _ in range(2):
        async with opened(folder) as store:
            for either in ("shown", "given"):
                assert await store.ids_of(GATEWAY, either) == ("shown", "given")
            assert await store.ids_of("http://another.example", "given") is None
            again = await store.claim(GATEWAY, "shown")
            assert again.session == claim.session
            await again.end(gone=False)
    async with opened(folder) as store:
        await (await store.claim(GATEWAY, "shown")).end(gone=True)
        assert await store.ids_of(GATEWAY, "given") is None


async def test_a_servers_kernel_is_known_for_one_by_who_is_left_its_id(folder: Path) -> None:
    async with opened(folder) as store:
        assert store.claim_new(GATEWAY, "server's", by_server=True).started_by_server
        assert not store.claim_new(GATEWAY, "program's").started_by_server
        async with opened(folder) as other:
            visitor = await other.claim(GATEWAY, "server's")
            assert not visitor.started_by_server, "its server lives"
    for _ in range(2):
        async with opened(folder) as store:  # of two ids that are left
            assert (await store.claim(GATEWAY, "server's")).started_by_server
            assert not (await store.claim(GATEWAY, "program's")).started_by_server
            assert not (await store.claim("http://another.example", "server's")).started_by_server


@pytest.mark.parametrize("version", [1, 2, 3])
async def test_a_file_of_an_earlier_version_is_used(folder: Path, version: int) -> None:
    folder.mkdir(parents=True, mode=0o700)  # noqa: ASYNC240  # of a local disk
    with closing(sqlite3.connect(folder / "links.sqlite")) as links, links:
        links.execute("CREATE TABLE links (gateway TEXT NOT NULL, kernel_id TEXT NOT NULL, "
                      "session TEXT NOT NULL UNIQUE, owner TEXT NOT NULL)")  # fmt: skip
        links.execute("INSERT INTO links VALUES (?, 'a', 'session', '')", [GATEWAY])
        if version > 1:
            links.execute("ALTER TABLE links ADD COLUMN given TEXT NOT NULL DEFAULT ''")
        if version > 2:
            links.execute("CREATE TABLE kernelspecs (gateway TEXT NOT NULL, user TEXT NOT NULL, "
                          "listed BLOB NOT NULL, PRIMARY KEY (gateway, user))")  # fmt: skip
        links.execute(f"PRAGMA user_version = {version}")
    async with opened(folder) as store:
        claim = await store.claim(GATEWAY, "a")
        assert (claim.session, claim.started_by_server) == ("session", False)
        assert await store.ids_of(GATEWAY, "a") is None
        store.keep_kernelspecs(GATEWAY, "", SPECS.outline())
        assert await store.kernelspecs(GATEWAY, "") is not None


SPECS = KernelSpecs.read(
    json.dumps(
        {
            "default": "r",
            "kernelspecs": {
                "python3": {
                    "spec": {"display_name": "Python 3 (ipykernel)", "language": "python",
                             "argv": ["python"], "env": {"TOKEN": "told-to-nobody"}},
                    "resources": {"logo": "http://gateway.example/logo.png"},
                },
                "r": {"spec": {"display_name": "R"}},
            },
        }
    ).encode()
)  # fmt: skip


async def test_the_kernelspecs_of_each_gateway_and_user_outlive_the_process(folder: Path) -> None:
    other = KernelSpecs.read(b'{"kernelspecs": {"julia": {"spec": {}}}}')
    async with opened(folder) as store:
        assert await store.kernelspecs(GATEWAY, "") is None
        store.keep_kernelspecs(GATEWAY, "", other.outline())
        store.keep_kernelspecs(GATEWAY, "", SPECS.outline())
        store.keep_kernelspecs(GATEWAY, "ada", other.outline())
    async with opened(folder) as store:
        kept = await store.kernelspecs(GATEWAY, "")
        assert kept is not None
        assert kept.default == "r"
        assert {name: dict(spec.spec) for name, spec in kept.specs.items()} == {
            "python3": {"display_name": "Python 3 (ipykernel)", "language": "python"},
            "r": {"display_name": "R"},
        }
        assert not any(spec.resources for spec in kept.specs.values())
        assert await store.kernelspecs(GATEWAY, "ada") == other
        assert await store.kernelspecs("http://other.example", "") is None
    assert modes(folder) == (0o700, {0o600})
    assert not any(b"told-to-nobody" in content for content in contents(folder).values())


async def test_of_kept_lists_the_oldest_go(folder: Path) -> None:
    async with opened(folder) as store:
        for number in range(66):
            store.keep_kernelspecs(GATEWAY, f"user{number}", SPECS.outline())
        found = [await store.kernelspecs(GATEWAY, f"user{number}") for number in range(66)]
    assert [kept is None for kept in found] == [True] * 2 + [False] * 64


async def test_the_same_list_is_written_once(folder: Path) -> None:
    async with opened(folder) as store:
        store.keep_kernelspecs(GATEWAY, "", SPECS.outline())
        await store.settle()
        before = contents(folder)["links.sqlite"]
        store.keep_kernelspecs(GATEWAY, "", SPECS.outline())
        await store.settle()
        assert contents(folder)["links.sqlite"] == before


@pytest.mark.parametrize("listed", [b"no JSON", b"[]", b"{}", b"\xff", "a text", 7, None])
async def test_kept_kernelspecs_that_cannot_be_read_are_one_line_and_none(
    folder: Path, listed: object, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(folder) as store:
        store.keep_kernelspecs(GATEWAY, "", SPECS.outline())
    with closing(sqlite3.connect(folder / "links.sqlite")) as links, links:
        links.execute("DROP TABLE kernelspecs")
        links.execute("CREATE TABLE kernelspecs (gateway, user, listed)")
        links.execute("INSERT INTO kernelspecs VALUES (?, '', ?)", [GATEWAY, listed])
    async with opened(folder) as store:
        assert await store.kernelspecs(GATEWAY, "") is None
        assert f"The kernelspecs of {GATEWAY} that are kept in {folder}" in only_warning(caplog)


async def test_new_ids_are_written_down_before_they_are_let_go_of(folder: Path) -> None:
    async with opened(folder) as store, opened(folder) as other:
        claims = [store.claim_new(GATEWAY, f"k{number}") for number in range(20)]
        await asyncio.gather(*(claim.end(gone=number > 0) for number, claim in enumerate(claims)))
        await store.settle()
        assert len(rows(folder)) == 1
        assert await session_of(other, "k0") == claims[0].session


async def test_what_is_forgotten_after_a_claim_is_not_claimed(folder: Path) -> None:
    async with opened(folder) as store:
        await store.settle()
        with closing(sqlite3.connect(folder / "links.sqlite", isolation_level=None)) as busy:
            busy.execute("BEGIN IMMEDIATE")
            store.claim_new(GATEWAY, "new")
            claiming = asyncio.ensure_future(store.claim(GATEWAY, "k"))
            await asyncio.sleep(0)  # now it is asked for
            store.forget(GATEWAY, "k")
        await claiming
        await store.settle()
        assert [kernel_id for kernel_id, _ in rows(folder)] == ["new"]


async def test_a_claim_holds_nothing_of_the_request_it_was_made_in(folder: Path) -> None:
    class Request:
        """What a server keeps in a context variable while it answers."""

    current: ContextVar[Request] = ContextVar("current")
    async with opened(folder) as store:
        request = Request()
        context = copy_context()
        context.run(current.set, request)
        claim = context.run(store.claim_new, GATEWAY, "k")
        await store.settle()
        left = weakref.ref(request)
        del request, context
        gc.collect()
        assert left() is None
        await claim.end(gone=True)


async def test_ids_that_nobody_uses_are_bounded_and_the_oldest_go(folder: Path) -> None:
    async with opened(folder, max_left=2) as store:
        for kernel_id in "abcd":
            await (await store.claim(GATEWAY, kernel_id)).end(gone=False)
        await session_of(store, "e")
        assert [kernel_id for kernel_id, _ in rows(folder)] == ["c", "d", "e"]


async def test_lock_files_end_with_their_processes_or_with_the_next(folder: Path) -> None:
    async with killed_at_the_end(folder, "k"):
        async with opened(folder) as store:
            await session_of(store)
            assert locks(folder) == 2
        assert locks(folder) == 1
    async with opened(folder) as store:
        await session_of(store)
        assert locks(folder) == 1
    assert list(contents(folder)) == ["links.sqlite"]


async def test_a_lock_file_of_somebody_else_stays(folder: Path) -> None:
    async with opened(folder) as store:
        await session_of(store)
    (folder / "other.lock").touch()
    async with opened(folder) as store:
        await session_of(store)
    assert (folder / "other.lock").exists()


async def test_all_of_it_is_for_its_user_alone(folder: Path) -> None:
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


def another_version(folder: Path) -> None:
    """Let the file be of a later version."""
    folder.mkdir(parents=True, mode=0o700)
    with closing(sqlite3.connect(folder / "links.sqlite")) as links:
        links.execute("PRAGMA user_version = 99")
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
        another_version,
        a_link_to_nothing,
        a_file_that_is_a_link,
        a_folder_of_others,
    ],
)
async def test_a_folder_of_no_use_is_one_line_and_a_store_in_memory(
    folder: Path, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    spoil(folder)
    before = contents(folder)
    async with opened(folder) as store:
        await use_in_memory(store)
    assert str(folder) in only_warning(caplog)
    assert contents(folder) == before


async def test_what_was_open_to_others_is_closed_to_them_and_used_and_said_so(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(folder) as store:
        await (await store.claim(GATEWAY, "k")).end(gone=False)
    # As a process that was killed leaves it beside its lock file.
    (folder / f"{'e' * 32}.lock-journal").touch(mode=0o600)
    folder.chmod(0o755)  # noqa: ASYNC240  # of a local disk
    (folder / "links.sqlite").chmod(0o644)
    async with opened(folder) as store:
        for _ in range(2):
            await session_of(store)
    assert modes(folder) == (0o700, {0o600})
    of_folder, of_file = caplog.messages
    assert f"{folder} was open to other users (mode 0755)" in of_folder
    assert f"{folder / 'links.sqlite'} was open to other users (mode 0644)" in of_file


async def test_a_folder_that_others_may_read_keeps_its_mode_and_other_files(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.mkdir(parents=True, mode=0o755)  # noqa: ASYNC240  # of a local disk
    (folder / "others.txt").write_text("theirs")  # of a local disk
    async with opened(folder) as store:
        await session_of(store)
        assert (folder / "links.sqlite").stat().st_mode & 0o777 == 0o600  # dito
        await session_of(store)
    assert folder.stat().st_mode & 0o777 == 0o755  # noqa: ASYNC240  # of a local disk
    assert f"Other users can look into {folder} (mode 0755)" in only_warning(caplog)


async def test_a_link_to_a_folder_is_taken_for_the_folder(folder: Path) -> None:
    real = folder.parent / "elsewhere"
    real.mkdir(parents=True)  # of a local disk
    folder.symlink_to(real)  # noqa: ASYNC240  # of a local disk
    async with opened(folder) as store:
        await session_of(store)
    assert modes(real) == (0o700, {0o600})


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives away")
@pytest.mark.parametrize("part", ["folder", "file"])
async def test_what_belongs_to_another_user_is_not_used(
    folder: Path, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(folder) as store:
        await session_of(store)
    os.chown(folder if part == "folder" else folder / "links.sqlite", 12345, -1)
    async with opened(folder) as store:
        await use_in_memory(store)
    assert "belongs to another user (12345)" in only_warning(caplog)


async def test_a_file_that_another_process_does_not_let_go_of_is_not_waited_for_for_ever(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(folder) as store:
        await session_of(store)
    with closing(sqlite3.connect(folder / "links.sqlite")) as stuck:
        stuck.execute("BEGIN EXCLUSIVE")
        async with opened(folder, patience=0.1) as store:
            await use_in_memory(store)
    assert "locked" in only_warning(caplog)


def contents(folder: Path) -> dict[str, bytes]:
    """Return what is in the files of a folder, or in that file."""
    files = folder.iterdir() if folder.is_dir() else [folder]
    return {path.name: path.read_bytes() if path.exists() else b"" for path in files}


def only_warning(caplog: pytest.LogCaptureFixture) -> str:
    """Return the one warning that there was."""
    (record,) = (record for record in caplog.records if record.levelno >= logging.WARNING)
    return record.getMessage()


async def use_in_memory(store: Store) -> None:
    """Claim, let go of and claim again, as on disk."""
    claim: Claim = await store.claim(GATEWAY, "k")
    assert await session_of(store) != claim.session
    await claim.end(gone=False)
    again = await store.claim(GATEWAY, "k")
    assert again.session == claim.session
    await again.end(gone=True)
    assert await session_of(store) != claim.session


async def test_one_that_breaks_later_goes_on_in_memory(folder: Path) -> None:
    async with opened(folder) as store:
        claim = await store.claim(GATEWAY, "k")
        (folder / "links.sqlite").write_text("this is no database, " * 100)
        assert await session_of(store) != claim.session
        await claim.end(gone=True)
