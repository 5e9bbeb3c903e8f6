"""The schema: files of all earlier versions are migrated, those of later ones are left alone."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from jupyter_relay.store.schema import CURRENT, MIGRATIONS, UnknownSchema, migrate
from tests.store.rig import GATEWAY, contents, only_warning, opened, use_in_memory

FILES = Path(__file__).parent / "files"
"""Files that were left by processes of each version, which were killed while they had claimed
``held``."""


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    """An empty database."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


def tables_of(db: sqlite3.Connection) -> dict[str, list[tuple[object, ...]]]:
    """Return the columns of each table: name, type, whether null is refused, default, key."""
    names = db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    return {
        name: [column[1:] for column in db.execute(f"PRAGMA table_info({name})")]
        for (name,) in names.fetchall()
    }


def number_of(db: sqlite3.Connection) -> int:
    """Return the number of the schema."""
    (number,) = db.execute("PRAGMA user_version").fetchone()
    return int(number)


def put_file(folder: Path, number: int) -> None:
    """Put a copy of the file with this schema into the folder."""
    folder.mkdir(parents=True, mode=0o700)
    shutil.copy(FILES / f"schema-{number}.sqlite", folder / "links.sqlite")
    (folder / "links.sqlite").chmod(0o600)


def test_schema_files_exist_for_each_schema() -> None:
    assert sorted(path.stem for path in FILES.glob("*.sqlite")) == [
        f"schema-{number}" for number in range(1, CURRENT + 1)
    ]


@pytest.mark.parametrize("number", range(1, CURRENT + 1))
async def test_store_with_an_earlier_file_has_all_that_is_in_it(
    folder: Path, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    put_file(folder, number)
    with closing(sqlite3.connect(folder / "links.sqlite")) as db:
        assert number_of(db) == number
        sessions = dict(db.execute("SELECT kernel_id, session FROM links").fetchall())
    assert len(sessions) == [2, 3, 3, 4][number - 1]
    async with opened(folder) as store:
        for kernel_id, session in sessions.items():
            claim = await store.claims.claim(GATEWAY, kernel_id)
            assert claim.session == session
            assert claim.started_by_server == (kernel_id == "of-a-server")
        both = await store.claims.both_ids(GATEWAY, "given")
        assert both == (("shown", "given") if number >= 2 else None)
        listed = await store.kernelspecs.get(GATEWAY, "")
        assert (b'"display_name":"R"' in listed) if listed is not None else number < 3
        store.kernelspecs.put(GATEWAY, "", b"{}")
        assert await store.kernelspecs.get(GATEWAY, "") == b"{}"
    with closing(sqlite3.connect(folder / "links.sqlite")) as db:
        assert number_of(db) == CURRENT
    assert caplog.records == []


@pytest.mark.parametrize("number", range(1, CURRENT + 1))
def test_migrate_an_earlier_file_has_the_tables_of_a_new_one(
    folder: Path, number: int, db: sqlite3.Connection
) -> None:
    migrate(db)
    put_file(folder, number)
    with closing(sqlite3.connect(folder / "links.sqlite")) as earlier:
        migrate(earlier)
        assert tables_of(earlier) == tables_of(db)
        assert number_of(earlier) == number_of(db) == CURRENT


@pytest.mark.parametrize("number", range(len(MIGRATIONS)))
def test_migration_leads_from_each_schema_to_that_of_the_next_versions_file(
    number: int, db: sqlite3.Connection
) -> None:
    for statement in MIGRATIONS[: number + 1]:
        db.execute(statement)
    with closing(sqlite3.connect(FILES / f"schema-{number + 1}.sqlite")) as made_then:
        assert tables_of(db) == tables_of(made_then)


def test_migrate_that_fails_changes_nothing(db: sqlite3.Connection) -> None:
    db.execute(MIGRATIONS[0])
    db.execute("CREATE TABLE kernelspecs (of_another_program)")
    db.execute("PRAGMA user_version = 1")
    before = tables_of(db)
    db.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        migrate(db)
    db.rollback()
    assert (number_of(db), tables_of(db)) == (1, before)


@pytest.mark.parametrize("number", [CURRENT + 1, 99, -1])
def test_migrate_an_unknown_schema_raises_and_changes_nothing(
    number: int, db: sqlite3.Connection
) -> None:
    db.execute("CREATE TABLE of_that_version (a)")
    db.execute(f"PRAGMA user_version = {number}")
    before = db.serialize()
    with pytest.raises(UnknownSchema, match=f"it has schema {number}, and .* up to {CURRENT}"):
        migrate(db)
    assert db.serialize() == before


async def test_store_with_a_later_file_leaves_it_alone_and_says_what_to_do(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put_file(folder, CURRENT)
    with closing(sqlite3.connect(folder / "links.sqlite")) as db:
        db.execute(f"PRAGMA user_version = {CURRENT + 1}")
    before, changed = contents(folder), (folder / "links.sqlite").stat().st_mtime_ns
    async with opened(folder) as store:
        await use_in_memory(store)
        store.kernelspecs.put(GATEWAY, "", b"new")
    assert contents(folder) == before
    assert (folder / "links.sqlite").stat().st_mtime_ns == changed
    said = only_warning(caplog)
    assert f"it has schema {CURRENT + 1}" in said
    assert "The file is left as it is. Update Jupyter Relay, or set another state_folder." in said
    assert "delete" not in said


@pytest.mark.parametrize("killed", [False, True])
async def test_store_with_a_later_file_in_another_journal_mode_leaves_it_and_its_log_alone(
    folder: Path, tmp_path: Path, killed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that was killed leaves the write-ahead log; without it the file has all."""
    made = tmp_path / "made"
    put_file(made, CURRENT)
    put_file(folder, CURRENT)
    with closing(sqlite3.connect(made / "links.sqlite", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA user_version = {CURRENT + 1}")
        if killed:
            put_database(made, folder)
    if not killed:
        put_database(made, folder)
    before = database_in(folder)
    assert len(before) == 1 + killed
    async with opened(folder) as store:
        await use_in_memory(store)
    assert database_in(folder) == before
    assert "The file is left as it is." in only_warning(caplog)


def put_database(made: Path, folder: Path) -> None:
    """Copy a file, and its write-ahead log if there is one, into the folder."""
    for name, content in database_in(made).items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)


def database_in(folder: Path) -> dict[str, bytes]:
    """Return the file and its write-ahead log, without the index of that, which readers make."""
    paths = [path for path in folder.iterdir() if not path.name.endswith("-shm")]
    return {path.name: path.read_bytes() for path in sorted(paths)}
