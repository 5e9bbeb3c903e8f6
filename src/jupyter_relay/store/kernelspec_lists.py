"""The last list of kernelspecs of each gateway and user, for a server whose gateway is away."""

from __future__ import annotations

from typing import Final

from jupyter_relay.store.file import SharedFile

MAX_LISTS: Final = 64
"""For how many gateways and users a list is kept; the oldest go first."""

_PUT: Final = (
    "INSERT INTO kernelspecs (gateway, user, listed) VALUES (?, ?, ?) ON CONFLICT (gateway, user) "
    "DO UPDATE SET listed = excluded.listed WHERE listed != excluded.listed"
)
_DELETE_OLDEST: Final = (
    "DELETE FROM kernelspecs WHERE rowid NOT IN "
    "(SELECT rowid FROM kernelspecs ORDER BY rowid DESC LIMIT ?)"
)
_GET: Final = "SELECT listed FROM kernelspecs WHERE gateway = ? AND user = ?"


class KernelspecLists:
    """The kernelspec lists that are kept for later processes with the same folder.

    A gateway is named by its URL, without user, password or query; a user by their name, or ``""``
    if the gateway gives the same list to all. Nothing here raises; see `SharedFile`.
    """

    def __init__(self, file: SharedFile) -> None:
        self._file = file

    def put(self, gateway: str, user: str, listed: bytes) -> None:
        """Keep a list; soon, and only if it differs from the one that is kept."""
        self._file.change(_PUT, gateway, user, listed)
        self._file.change(_DELETE_OLDEST, MAX_LISTS)

    async def get(self, gateway: str, user: str) -> bytes | None:
        """Return the list that was kept last, None if there is none. A list that is not bytes,
        since somebody has changed the file, is returned as empty bytes."""
        kept = await self._file.run(lambda db: db.execute(_GET, [gateway, user]).fetchone())
        if kept is None:
            return None
        listed = kept[0]  # SQLite takes any type in any column
        return listed if isinstance(listed, bytes) else b""
