"""Which processes that use the store's folder are alive.

Each process has a lock file in the folder, and holds its lock for as long as it lives. The lock is
SQLite's, that is, the operating system's: it ends with the process, however that ends. Process ids
would not do: they are used again, and mean nothing in another container.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

from jupyter_relay.store.private_files import PrivateFolder

_LOCK_FILE: Final = re.compile(r"[0-9a-f]{32}\.lock(-journal)?")


class Owner:
    """This process, as the others that use the same folder see it.

    ``id`` is unique, and stands in the rows that belong to this process. The methods belong to one
    thread at a time. They raise `NotPrivate`, `OSError` and `sqlite3.Error` where the folder
    cannot be used.
    """

    def __init__(self, folder: PrivateFolder) -> None:
        self.id = uuid4().hex
        self._folder = folder
        self._lock: sqlite3.Connection | None = None
        """Holds the lock file's lock while it is open."""

    @property
    def is_locked(self) -> bool:
        """True while the lock is held."""
        return self._lock is not None

    def lock(self) -> None:
        """Take the lock, unless it is held; remove the lock files of dead processes before that.

        To be called within a transaction on the store's file: then no other process sees the lock
        file before it is locked, and takes it for a dead one's.
        """
        if self._lock is not None:
            return
        for path in self._folder.path.iterdir():
            if is_lock_file(path.name) and not _is_held(path):
                _remove(path)
        lock = _connect(self._folder.file(self._path_of(self.id).name))
        lock.execute("BEGIN EXCLUSIVE")
        self._lock = lock

    def unlock(self) -> None:
        """Release the lock: what this process owns is the next one's from now on."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()
            _remove(self._path_of(self.id))

    def is_alive(self, owner: str) -> bool:
        """True if the process with this id is alive, or if that cannot be found out."""
        return owner == self.id or _is_held(self._path_of(owner))

    def _path_of(self, owner: str) -> Path:
        return self._folder.path / f"{owner}.lock"


def is_lock_file(name: str) -> bool:
    """True if a file of this name is a process's lock file, or what SQLite keeps beside one."""
    return _LOCK_FILE.fullmatch(name) is not None


def _connect(path: Path) -> sqlite3.Connection:
    # Used by one thread at a time, and not always by the same.
    return sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)


def _is_held(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        with closing(_connect(path)) as lock:
            lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error:
        return True
    return False


def _remove(path: Path) -> None:
    with suppress(OSError):  # some systems keep a file that another process just looks at
        path.unlink()
