"""What must outlive us: the session id under which a gateway knows us, for each kernel; the
gateway's own id of each kernel that is shown under another here (see ``rest/ids.py``); whether a
server has started it; and which kernelspecs a gateway had.

A gateway keeps what a kernel says while our websocket is away, and gives it to the session id that
was there before, and to no other. So the next process must come with the id of the last one; but
never while that one still lives, since each of two sockets with one id closes the other, for ever.

All processes of a folder share one SQLite file in it, ``links.sqlite``. Each of them holds a lock
file beside it for as long as it lives, and a row belongs to its owner as long as the owner's lock
is held. The locks are SQLite's, that is, the operating system's: they end with the process,
however it ends. No process id is kept, which could be used again, or mean another process in
another container.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sqlite3
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from contextvars import Context
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar
from uuid import uuid4

from jupyter_relay.log import Log
from jupyter_relay.rest.models import KernelSpecs
from jupyter_relay.store.private_files import NotPrivate, PrivateFolder
from jupyter_relay.wire.json import ModelError

T = TypeVar("T")

_Change: TypeAlias = tuple[str, tuple[str | bytes | int, ...]]
"""A statement, and its parameters."""

_MOMENT = 0.05
"""The seconds after which a change that nobody waits for is written: while a server answers its
request, and those that come with it, the thread would take turns with it."""

_LINKS = "links.sqlite"
_LOCK = re.compile(r"[0-9a-f]{32}\.lock(-journal)?")
_MOST_LISTS = 64
"""For how many gateways and users the kernelspecs are kept."""

_VERSION = 4
_KERNELSPECS = (
    "CREATE TABLE kernelspecs (gateway TEXT NOT NULL, user TEXT NOT NULL, listed BLOB NOT NULL, "
    "PRIMARY KEY (gateway, user))"
)
_KEEP_LISTED = (
    "INSERT INTO kernelspecs (gateway, user, listed) VALUES (?, ?, ?) ON CONFLICT (gateway, user) "
    "DO UPDATE SET listed = excluded.listed WHERE listed != excluded.listed"
)
_BOUND_LISTED = (
    "DELETE FROM kernelspecs WHERE rowid NOT IN "
    "(SELECT rowid FROM kernelspecs ORDER BY rowid DESC LIMIT ?)"
)
_LISTED = "SELECT listed FROM kernelspecs WHERE gateway = ? AND user = ?"
_INSERT = (
    "INSERT INTO links (gateway, kernel_id, session, owner, started_by_server) "
    "VALUES (?, ?, ?, ?, ?)"
)
_GIVE = "UPDATE links SET given = ? WHERE gateway = ? AND kernel_id = ?"
_GIVEN = (
    "SELECT kernel_id, given FROM links WHERE gateway = ? AND given != '' "
    "AND (kernel_id = ? OR given = ?) ORDER BY rowid DESC LIMIT 1"
)
_FORGET = "DELETE FROM links WHERE gateway = ? AND kernel_id = ?"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """A session id at one kernel that is nobody else's until `end`.

    ``started_by_server`` says whether the kernel was started by a server: by the one that has the
    claim, or by one that has left the id to it.
    """

    store: Store
    gateway: str
    kernel_id: str
    session: str
    started_by_server: bool

    def note_given(self, given: str) -> None:
        """Keep the id by which the gateway knows the kernel, where it is not ``kernel_id``."""
        if given != self.kernel_id:
            self.store.note_given(self.gateway, self.kernel_id, given)

    async def end(self, *, gone: bool) -> None:
        """Leave the id to whoever attaches next; or to nobody, if the kernel is ``gone``."""
        if gone:
            self.store.forget(self.gateway, self.kernel_id)
        else:
            await self.store.release(self.session)


class Store:
    """The session ids of all kernels that processes with the same ``folder`` have attached to, and
    the kernelspecs that their gateways had.

    One thread of its own does the work, in the order in which it was asked for; no event loop is
    blocked. The folder is made when it is first needed, for its user alone. Where it cannot be
    used, which is one line in the log, all is kept in memory, and ends with the process.
    Nothing here raises. It is of one event loop, and is closed in it, when nobody uses it any more.

    Of ids that nobody uses, ``max_left`` are kept; those that were claimed first go first.
    ``patience`` is how many seconds another process may take for its turn at the file. A gateway
    is named by its URL, without user, password or query.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_left: int = 1000,
        patience: float = 5.0,
        log: Log = _logger,
    ) -> None:
        self._folder = PrivateFolder(folder, is_ours=_is_ours, tell=log.warning)
        self._max_left = max_left
        self._patience = patience
        self._log = log
        self._owner = uuid4().hex
        self._changes: list[_Change] = []
        self._writing: asyncio.TimerHandle | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._turn = threading.Lock()  # one thread may end while the next one begins
        self._lock: sqlite3.Connection | None = None
        self._memory: sqlite3.Connection | None = None

    async def claim(self, gateway: str, kernel_id: str) -> Claim:
        """Return the id to attach to a kernel with: the last one's, if that is gone, or a new one.

        It is held until the claim ends, or this process does.
        """
        claimed = await self._do(lambda links: self._claim(links, gateway, kernel_id))
        return Claim(self, gateway, kernel_id, *claimed)

    def claim_new(self, gateway: str, kernel_id: str, *, by_server: bool = False) -> Claim:
        """Return a new id for a kernel that was just started here, ``by_server`` or by another
        program; it is written down soon."""
        session = uuid4().hex
        self._write_soon(_INSERT, gateway, kernel_id, session, self._owner, by_server)
        return Claim(self, gateway, kernel_id, session, by_server)

    def note_given(self, gateway: str, kernel_id: str, given: str) -> None:
        """Keep the id by which a gateway knows a kernel that is shown under another; soon."""
        self._write_soon(_GIVE, given, gateway, kernel_id)

    async def ids_of(self, gateway: str, kernel_id: str) -> tuple[str, str] | None:
        """Return both ids of a kernel that has two, the one it is shown under and its gateway's;
        ``kernel_id`` may be either. None where it has one, or is not known."""
        both = (gateway, kernel_id, kernel_id)
        return await self._do(lambda links: links.execute(_GIVEN, both).fetchone())

    def keep_kernelspecs(self, gateway: str, user: str, listed: bytes) -> None:
        """Keep the outline of a gateway's list of kernelspecs (`KernelSpecs.outline`), as it is for
        a user, who may be ``""``; soon, and only where it differs from what is kept. Of the lists
        of all gateways and users the latest 64 stay."""
        self._write_soon(_KEEP_LISTED, gateway, user, listed)
        self._write_soon(_BOUND_LISTED, _MOST_LISTS)

    async def kernelspecs(self, gateway: str, user: str) -> KernelSpecs | None:
        """Return the kernelspecs that were last kept for a gateway and user; None if there are
        none. Those that cannot be read are none, which is one line in the log."""
        kept = await self._do(lambda links: links.execute(_LISTED, (gateway, user)).fetchone())
        if kept is None:
            return None
        listed = kept[0] if isinstance(kept[0], bytes) else b""  # SQLite takes all in any column
        try:
            return KernelSpecs.read(listed)
        except ModelError as error:
            self._log.warning(
                "The kernelspecs of %s that are kept in %s are not used: %s.",
                gateway,
                self._folder.path / _LINKS,
                error,
            )
            return None

    async def settle(self) -> None:
        """Wait until all is written down."""
        await self._do(lambda _: None)

    async def release(self, session: str) -> None:
        """Let go of an id: the kernel lives, and whoever attaches next may have it."""
        await self._do(
            lambda links: links.execute("UPDATE links SET owner = '' WHERE session = ?", [session])
        )

    def forget(self, gateway: str, kernel_id: str) -> None:
        """Remove all that is known of a kernel, soon: it is no more."""
        self._write_soon(_FORGET, gateway, kernel_id)

    async def close(self) -> None:
        """Let go of the folder. What is still claimed is left to the next process."""
        self._write_now()
        thread = self._thread
        if thread is None:
            return
        await self._in_thread(self._close)
        if self._thread is thread:
            self._thread = None
        await asyncio.to_thread(thread.shutdown)

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        self._write_now()
        return self._in_thread(lambda: self._do_now(work))

    def _write_soon(self, statement: str, *parameters: str | bytes | int) -> None:
        """Have a change written behind all that were made before, and before what is asked next."""
        if self._writing is None:
            # A context of its own: that of the request would keep all of it that long.
            self._writing = asyncio.get_running_loop().call_later(
                _MOMENT, self._write_now, context=Context()
            )
        self._changes.append((statement, parameters))

    def _write_now(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            changes, self._changes, self._writing = self._changes, [], None
            self._in_thread(lambda: self._do_now(lambda links: _write(links, changes)))

    def _in_thread(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Have something done behind all that was asked for before."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "jupyter-relay-store")
        return asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _do_now(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do one piece of work as one transaction, on disk if that is possible."""
        with self._turn:
            if self._memory is None:
                try:
                    return self._do_on_disk(work)
                except (sqlite3.Error, OSError) as error:
                    self._log.warning(
                        "The ids of kernels' websockets cannot be kept in %s: %s After a restart "
                        "of this process, gateways will not give it what it missed, and "
                        "kernelspecs are not known before they are listed.",
                        self._folder.path,
                        _why(error),
                    )
                    self._memory = _connect(":memory:")
            with self._memory as links:
                _begin(links)
                return work(links)

    def _do_on_disk(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._folder.make()
        path = self._folder.file(_LINKS)
        with closing(_connect(path, timeout=self._patience)) as links, links:
            _begin(links)
            if self._lock is None:
                self._sweep()
                # Within the transaction, so that nobody sees the file before it is locked.
                self._lock = _connect(self._folder.file(self._lock_of(self._owner).name))
                self._lock.execute("BEGIN EXCLUSIVE")
            return work(links)

    def _claim(self, links: sqlite3.Connection, gateway: str, kernel_id: str) -> tuple[str, bool]:
        """Return the session id, and whether a server has started the kernel that left one."""
        for (owner,) in links.execute("SELECT DISTINCT owner FROM links").fetchall():
            if owner not in {"", self._owner} and not _is_held(self._lock_of(owner)):
                links.execute("UPDATE links SET owner = '' WHERE owner = ?", [owner])
        both = links.execute(_GIVEN, (gateway, kernel_id, kernel_id)).fetchone()
        free = "gateway = ? AND kernel_id = ? AND owner = ''"
        left = links.execute(
            f"SELECT session, started_by_server FROM links WHERE {free} ORDER BY rowid DESC",  # noqa: S608  # a constant
            [gateway, kernel_id],
        ).fetchall()
        session = str(left[0][0]) if left else uuid4().hex
        by_server = any(started for _, started in left)
        links.execute(f"DELETE FROM links WHERE {free}", [gateway, kernel_id])  # noqa: S608  # a constant
        links.execute(_INSERT, (gateway, kernel_id, session, self._owner, by_server))
        if both is not None:
            links.execute(_GIVE, (both[1], gateway, kernel_id))
        links.execute(
            "DELETE FROM links WHERE owner = '' AND rowid NOT IN "
            "(SELECT rowid FROM links WHERE owner = '' ORDER BY rowid DESC LIMIT ?)",
            [self._max_left],
        )
        return session, by_server

    def _lock_of(self, owner: str) -> Path:
        return self._folder.path / f"{owner}.lock"

    def _sweep(self) -> None:
        """Remove the lock files of processes that have ended without a word."""
        for path in self._folder.path.iterdir():
            if _LOCK.fullmatch(path.name) and not _is_held(path):
                _remove(path)

    def _close(self) -> None:
        if self._lock is not None:
            self._do_now(lambda _: self._unlock())
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    def _unlock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()
            _remove(self._lock_of(self._owner))


def _connect(path: Path | str, *, timeout: float = 0) -> sqlite3.Connection:
    # Used by one thread at a time, and not always by the same.
    links = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
    # What is written outlives us without this; to outlive the machine is not worth a disk's time.
    links.execute("PRAGMA synchronous = OFF")
    return links


def _begin(links: sqlite3.Connection) -> None:
    """Begin a transaction, on the tables that we know. Raises `sqlite3.Error` at any other."""
    links.execute("BEGIN IMMEDIATE")
    (version,) = links.execute("PRAGMA user_version").fetchone()
    if version == 0:
        links.execute(
            "CREATE TABLE links "
            "(gateway TEXT NOT NULL, kernel_id TEXT NOT NULL, session TEXT NOT NULL UNIQUE, "
            "owner TEXT NOT NULL, given TEXT NOT NULL DEFAULT '')"
        )
    elif version == 1:  # it had no ``given``
        links.execute("ALTER TABLE links ADD COLUMN given TEXT NOT NULL DEFAULT ''")
    if 0 <= version < 3:  # it had no kernelspecs
        links.execute(_KERNELSPECS)
    if 0 <= version < _VERSION:  # nor did it say who had started a kernel
        links.execute("ALTER TABLE links ADD COLUMN started_by_server INTEGER NOT NULL DEFAULT 0")
        links.execute(f"PRAGMA user_version = {_VERSION}")
    elif version != _VERSION:
        raise sqlite3.DatabaseError(f"it is of version {version}, and ours is {_VERSION}")


def _write(links: sqlite3.Connection, changes: Iterable[_Change]) -> None:
    """Make all changes that there were; many starts at once are one transaction."""
    for statement, parameters in changes:
        links.execute(statement, parameters)


def _is_ours(name: str) -> bool:
    """Whether a file of this name is one of a store's: SQLite keeps some beside its own."""
    return name.startswith(_LINKS) or _LOCK.fullmatch(name) is not None


def _why(error: Exception) -> str:
    """What was wrong, and what to do, as sentences."""
    if isinstance(error, NotPrivate):
        return str(error)
    return f"{error}. If the folder is writable, delete {_LINKS} in it."


def _is_held(path: Path) -> bool:
    """Whether the process whose lock file this is still lives."""
    if not path.exists():
        return False
    try:
        with closing(_connect(path)) as lock:
            lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error:
        return True  # or nobody can tell; then a new id is the safer one
    return False


def _remove(path: Path) -> None:
    with suppress(OSError):  # some systems keep a file that another process just looks at
        path.unlink()
