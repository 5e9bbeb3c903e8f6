"""The store's file: one SQLite database for all processes that use a folder.

`SharedFile` has one thread, which does all work on the file, in the order in which it was asked
for, so that no event loop waits for a disk. Each piece of work is one transaction.

A transaction is complete, or was never begun, for every process that looks at the file later, also
if this one is killed in the middle: SQLite's journal sees to that. It is not flushed to the disk
(``synchronous = OFF``). A start waits for its claim; that takes 0.4 ms so, and 12 to 17 ms with a
flush on a common disk. So a machine that loses its power may lose the transactions of the last half
minute, or leave a file that SQLite cannot read; then the store goes on without it. SQLite's
write-ahead log would be both quick and safe, but needs memory that all processes share, and two
machines with one network folder have none.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from contextvars import Context
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from jupyter_relay.log import Log
from jupyter_relay.store.owners import Owner, is_lock_file
from jupyter_relay.store.private_files import NotPrivate, PrivateFolder
from jupyter_relay.store.schema import UnknownSchema, known_schema, migrate

T = TypeVar("T")

_FILE_NAME: Final = "links.sqlite"

_WRITE_DELAY: Final = 0.05
"""How many seconds later a change is written that nobody waits for. The thread would else take
turns with the event loop while a server answers the request that the change belongs to, and those
that come with it."""

_Change: TypeAlias = tuple[str, tuple[str | bytes | int, ...]]
"""A statement and its parameters."""


class SharedFile:
    """The file ``links.sqlite`` in a folder, shared with other processes.

    The folder and the file are made when they are first needed, for their user alone. ``owner`` is
    this process, whose lock is held from the first use to `close`. Where the file cannot be used,
    one line in the log says why, and all is kept in memory until `close`.

    ``patience`` is for how many seconds another process may keep us from the file. It is of one
    event loop, and is used again after `close` by any method.
    """

    def __init__(self, folder: Path, *, patience: float, log: Log) -> None:
        self._folder = PrivateFolder(folder, is_ours=_is_ours, report=log.warning)
        self._patience = patience
        self._log = log
        self.owner = Owner(self._folder)
        self._changes: list[_Change] = []
        """What `change` was given and the thread was not yet."""
        self._timer: asyncio.TimerHandle | None = None
        """Hands `_changes` to the thread; set while there are any."""
        self._writing: asyncio.Future[None] | None = None
        """The last changes that were handed to the thread; None before the first."""
        self._thread: ThreadPoolExecutor | None = None
        """The thread, from the first work to `close`."""
        self._turn = threading.Lock()
        """Held by the thread at work: one may end while the next one begins."""
        self._db: sqlite3.Connection | None = None
        """The connection to the file, from the first transaction to `close`: to open it takes as
        long as a transaction."""
        self._inode = (0, 0)
        """Device and inode of the file that `_db` is connected to."""
        self._memory: sqlite3.Connection | None = None
        """What is used in place of the file, once that has failed, until `close`."""

    @property
    def path(self) -> Path:
        """The path of the file."""
        return self._folder.path / _FILE_NAME

    def run(self, work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Do work as one transaction, behind all that was asked for before; return its result."""
        self._hand_over_changes()
        return self._in_thread(lambda: self._transact(work))

    def change(self, statement: str, *parameters: str | bytes | int) -> None:
        """Have a change written soon, behind all that were asked for before."""
        if self._timer is None:
            # A context of its own: that of the request would keep all of it that long.
            self._timer = asyncio.get_running_loop().call_later(
                _WRITE_DELAY, self._hand_over_changes, context=Context()
            )
        self._changes.append((statement, parameters))

    async def flush(self) -> None:
        """Wait until all changes that were asked for are written; begin at once.

        Those who call this at the same time wait for one transaction. If one of them is cancelled,
        the changes are written all the same.
        """
        self._hand_over_changes()
        if self._writing is not None and not self._writing.done():
            await asyncio.shield(self._writing)

    async def close(self) -> None:
        """Write all changes, release the file and this process's lock, and end the thread."""
        self._hand_over_changes()
        thread = self._thread
        if thread is None:
            return
        await self._in_thread(self._release)
        if self._thread is thread:
            self._thread = None
        await asyncio.to_thread(thread.shutdown)

    def _hand_over_changes(self) -> None:
        if self._timer is None:
            return
        self._timer.cancel()
        changes, self._changes, self._timer = self._changes, [], None
        self._writing = self._in_thread(lambda: self._transact(lambda db: _write(db, changes)))

    def _in_thread(self, work: Callable[[], T]) -> asyncio.Future[T]:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "jupyter-relay-store")
        return asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do one piece of work as one transaction, in the file if that can be used."""
        with self._turn:
            if self._memory is None:
                try:
                    return self._transact_in_file(work)
                except (sqlite3.Error, OSError, UnknownSchema) as error:
                    self._log.warning(
                        "The ids of kernels' websockets cannot be kept in %s: %s After a restart "
                        "of this process, gateways will not give it what it missed, and "
                        "kernelspecs are not known before they are listed.",
                        self._folder.path,
                        _reason_and_remedy(error),
                    )
                    self._disconnect()
                    self._memory = _connect(":memory:")
            with self._memory as memory:
                memory.execute("BEGIN")
                migrate(memory)
                return work(memory)

    def _transact_in_file(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._folder.make()
        db = self._open(self._folder.file(_FILE_NAME))
        with db:
            db.execute("BEGIN IMMEDIATE")
            migrate(db)
            self.owner.lock()
            return work(db)

    def _open(self, path: Path) -> sqlite3.Connection:
        """Return the connection to the file that is there: a new one if the file was replaced."""
        found = path.stat()
        inode = found.st_dev, found.st_ino
        if self._db is None or self._inode != inode:
            self._disconnect()
            self._db, self._inode = _connect_to_known(path, timeout=self._patience), inode
            # Half as long as to create and delete a journal for each transaction.
            self._db.execute("PRAGMA journal_mode = TRUNCATE")
        return self._db

    def _disconnect(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with closing(db), suppress(sqlite3.Error):
                db.execute("PRAGMA journal_mode = DELETE")  # deletes the empty journal

    def _release(self) -> None:
        if self.owner.is_locked:
            self._transact(lambda _: self.owner.unlock())
        self._disconnect()
        if self._memory is not None:
            self._memory.close()
            self._memory = None


def _connect(path: Path | str, *, timeout: float = 0) -> sqlite3.Connection:
    # Used by one thread at a time, and not always by the same.
    db = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA synchronous = OFF")  # see the top of this file
    return db


def _connect_to_known(path: Path, *, timeout: float) -> sqlite3.Connection:
    """Connect to a file whose schema is known. Raises `UnknownSchema`, having written nothing."""
    if path.with_name(f"{path.name}-wal").exists():
        # Another version's write-ahead log: a connection that may write would merge it into the
        # file when it is closed. We keep none, so no journal of ours waits to be rolled back.
        read_only = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(read_only, timeout=timeout, uri=True)) as reader:
            known_schema(reader)
    db = _connect(path, timeout=timeout)
    try:
        known_schema(db)
    except BaseException:
        db.close()
        raise
    return db


def _write(db: sqlite3.Connection, changes: list[_Change]) -> None:
    for statement, parameters in changes:
        db.execute(statement, parameters)


def _is_ours(name: str) -> bool:
    """True if a file of this name is one of a store's: SQLite keeps some beside its own."""
    return name.startswith(_FILE_NAME) or is_lock_file(name)


def _reason_and_remedy(error: Exception) -> str:
    """Return what is wrong with the file, and what to do, as sentences."""
    match error:
        case NotPrivate():
            return str(error)
        case UnknownSchema():
            remedy = "Update Jupyter Relay, or set another state_folder."
            return f"{error}. The file is left as it is. {remedy}"
    return f"{error}. If the folder is writable, delete {_FILE_NAME} in it."
