"""Claims: which process attaches to a kernel under which session id.

A gateway keeps what a kernel says while our websocket is away, and gives it to the session id that
was there before, and to no other. So the next process must come with the id of the last one; but
never while that one still lives, since each of two sockets with one id closes the other, for ever.

A claim on a kernel that is started here is written before its request goes out. So a process that
is killed at any moment leaves no kernel of which the next one could not know.
"""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass, replace
from typing import Final
from uuid import uuid4

from jupyter_relay.log import Log
from jupyter_relay.store.file import SharedFile

_INSERT: Final = (
    "INSERT INTO links (gateway, kernel_id, session, owner, started_by_server) "
    "VALUES (?, ?, ?, ?, ?)"
)
_SET_GATEWAY_ID: Final = "UPDATE links SET given = ? WHERE gateway = ? AND kernel_id = ?"
_BOTH_IDS: Final = (
    "SELECT kernel_id, given FROM links WHERE gateway = ? AND given != '' "
    "AND (kernel_id = ? OR given = ?) ORDER BY rowid DESC LIMIT 1"
)
_MOVE: Final = "UPDATE links SET kernel_id = ? WHERE session = ?"
_RENEW: Final = "UPDATE links SET session = ? WHERE session = ?"
_RELEASE: Final = "UPDATE links SET owner = '' WHERE session = ?"
_RELEASE_ALL: Final = "UPDATE links SET owner = '' WHERE owner = ?"
_OWNERS: Final = "SELECT DISTINCT owner FROM links WHERE owner != ''"
_RELEASED: Final = (
    "SELECT session, started_by_server FROM links "
    "WHERE gateway = ? AND kernel_id = ? AND owner = '' ORDER BY rowid DESC"
)
_DELETE_RELEASED: Final = "DELETE FROM links WHERE gateway = ? AND kernel_id = ? AND owner = ''"
_DELETE: Final = "DELETE FROM links WHERE gateway = ? AND kernel_id = ?"
_DELETE_OLDEST_RELEASED: Final = (
    "DELETE FROM links WHERE owner = '' AND rowid NOT IN "
    "(SELECT rowid FROM links WHERE owner = '' ORDER BY rowid DESC LIMIT ?)"
)


@dataclass(slots=True)
class Claim:
    """A session id at one kernel, which no other process uses until `hand_back`.

    ``session`` is that id; only `renew_session` changes it.

    ``gateway`` is the gateway's URL, without user, password or query. ``kernel_id`` is the id that
    the kernel is shown under. ``started_by_server`` is True if a Jupyter Server has started the
    kernel: the one that has the claim, or one that has left the session id to it.
    """

    claims: Claims
    gateway: str
    kernel_id: str
    session: str
    started_by_server: bool

    def note_gateway_id(self, gateway_id: str) -> None:
        """Keep the id by which the gateway knows the kernel, if it is not ``kernel_id``; soon."""
        if gateway_id != self.kernel_id:
            self.claims.note_gateway_id(self.gateway, self.kernel_id, gateway_id)

    def moved_to(self, kernel_id: str) -> Claim:
        """Return the claim under the id that the gateway gave the kernel when it started it, which
        older gateways choose themselves; it is written soon."""
        if kernel_id == self.kernel_id:
            return self
        self.claims.move(self.session, kernel_id)
        return replace(self, kernel_id=kernel_id)

    def renew_session(self, session: str) -> None:
        """The websocket has opened under another session id: keep that one; soon."""
        self.claims.renew(self.session, session)
        self.session = session

    async def hand_back(self, *, gone: bool) -> None:
        """Leave the session id to the next process; or to none, if the kernel is ``gone``."""
        if gone:
            self.claims.forget(self.gateway, self.kernel_id)
        else:
            await self.claims.release(self.session)


class Claims:
    """The claims of all processes with the same folder.

    Of session ids that no process uses, ``max_released`` are kept; the oldest claims go first. A
    start waits ``max_write_seconds`` at most until its claim is written: a disk that hangs does not
    stop people from starting kernels elsewhere.
    Nothing here raises; see `SharedFile`.
    """

    def __init__(
        self, file: SharedFile, *, max_released: int, max_write_seconds: float, log: Log
    ) -> None:
        self._file = file
        self._max_released = max_released
        self._max_write_seconds = max_write_seconds
        self._log = log

    async def claim(self, gateway: str, kernel_id: str) -> Claim:
        """Claim a kernel that is there: with the last process's session id if that has released it
        or is dead, else with a new one."""
        found = await self._file.run(lambda db: self._claim(db, gateway, kernel_id))
        return Claim(self, gateway, kernel_id, *found)

    def intend(self, gateway: str, kernel_id: str, *, by_server: bool = False) -> Claim:
        """Claim a kernel that is about to be started here, ``by_server`` or by another program,
        under a new session id. The request goes out after `written`."""
        session = uuid4().hex
        self._file.change(_INSERT, gateway, kernel_id, session, self._file.owner.id, by_server)
        return Claim(self, gateway, kernel_id, session, by_server)

    async def written(self) -> None:
        """Wait until all claims made so far are written, for ``max_write_seconds`` at
        most."""
        try:
            async with asyncio.timeout(self._max_write_seconds):
                await self._file.flush()
        except TimeoutError:
            self._log.warning(
                "%s was not written within %g s. A kernel is started all the same; if this process "
                "is killed before the file is written, the next one will not know of it.",
                self._file.path,
                self._max_write_seconds,
            )

    def move(self, session: str, kernel_id: str) -> None:
        """Have the claim with this session id be one on another kernel id; soon."""
        self._file.change(_MOVE, kernel_id, session)

    def renew(self, session: str, new_session: str) -> None:
        """Have the claim with this session id be one with another; soon."""
        self._file.change(_RENEW, new_session, session)

    def note_gateway_id(self, gateway: str, kernel_id: str, gateway_id: str) -> None:
        """Keep the id by which a gateway knows a kernel that is shown under another; soon."""
        self._file.change(_SET_GATEWAY_ID, gateway_id, gateway, kernel_id)

    async def both_ids(self, gateway: str, kernel_id: str) -> tuple[str, str] | None:
        """Return both ids of a kernel that has two: the one that it is shown under, and its
        gateway's. ``kernel_id`` may be either. None if it has one, or is not known."""
        parameters = (gateway, kernel_id, kernel_id)
        return await self._file.run(lambda db: db.execute(_BOTH_IDS, parameters).fetchone())

    async def release(self, session: str) -> None:
        """Leave a session id to the next process that attaches to its kernel."""
        await self._file.run(lambda db: db.execute(_RELEASE, [session]))

    def forget(self, gateway: str, kernel_id: str) -> None:
        """Remove all claims on a kernel that does not exist; soon."""
        self._file.change(_DELETE, gateway, kernel_id)

    def _claim(self, db: sqlite3.Connection, gateway: str, kernel_id: str) -> tuple[str, bool]:
        """Return the session id, and whether a server has started the kernel that has left one."""
        for (owner,) in db.execute(_OWNERS).fetchall():
            if not self._file.owner.is_alive(owner):
                db.execute(_RELEASE_ALL, [owner])
        both = db.execute(_BOTH_IDS, [gateway, kernel_id, kernel_id]).fetchone()
        released = db.execute(_RELEASED, [gateway, kernel_id]).fetchall()
        session = str(released[0][0]) if released else uuid4().hex
        by_server = any(started for _, started in released)
        db.execute(_DELETE_RELEASED, [gateway, kernel_id])
        db.execute(_INSERT, [gateway, kernel_id, session, self._file.owner.id, by_server])
        if both is not None:
            db.execute(_SET_GATEWAY_ID, [both[1], gateway, kernel_id])
        db.execute(_DELETE_OLDEST_RELEASED, [self._max_released])
        return session, by_server
