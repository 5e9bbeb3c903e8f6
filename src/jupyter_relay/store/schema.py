"""The tables of the store's file, as numbered steps from an empty file to the current one.

SQLite keeps the number of the schema in the file itself, as ``user_version``. `MIGRATIONS` has one
entry for each number: entry *n* - 1 turns schema *n* - 1 into schema *n*. An entry is never changed
once it was released; another schema is another entry behind the last.

=======  =======================================================================================
schema   what it adds
=======  =======================================================================================
1        ``links``: one row for each claim on a kernel (see ``claims.py``). ``owner`` is the
         process that has it (see ``owners.py``), or empty: then the next process may have it.
2        ``links.given``: the gateway's own id of a kernel that is shown under another; else empty.
3        ``kernelspecs``: the last list of each gateway and user (see ``kernelspec_lists.py``).
4        ``links.started_by_server``: 1 if a Jupyter Server has started the kernel.
=======  =======================================================================================
"""

from __future__ import annotations

import sqlite3
from typing import Final

MIGRATIONS: Final[tuple[str, ...]] = (
    """CREATE TABLE links (
        gateway TEXT NOT NULL, kernel_id TEXT NOT NULL, session TEXT NOT NULL UNIQUE,
        owner TEXT NOT NULL)""",
    "ALTER TABLE links ADD COLUMN given TEXT NOT NULL DEFAULT ''",
    """CREATE TABLE kernelspecs (
        gateway TEXT NOT NULL, user TEXT NOT NULL, listed BLOB NOT NULL,
        PRIMARY KEY (gateway, user))""",
    "ALTER TABLE links ADD COLUMN started_by_server INTEGER NOT NULL DEFAULT 0",
)
"""The statement that leads from each schema to the next one."""

CURRENT: Final = len(MIGRATIONS)
"""The number of the schema that this version of Jupyter Relay reads and writes."""


class UnknownSchema(Exception):
    """The file has a schema that this version does not know, ``number``."""

    def __init__(self, number: int) -> None:
        super().__init__(
            f"it has schema {number}, and this version of Jupyter Relay knows those up to {CURRENT}"
        )
        self.number = number


def known_schema(connection: sqlite3.Connection) -> int:
    """Return the number of a file's schema. Raises `UnknownSchema`; changes nothing."""
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    if not 0 <= number <= CURRENT:
        raise UnknownSchema(number)
    return int(number)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a file to the current schema, within the transaction that is open.

    Either all steps are made or none, since SQLite keeps the number and the tables in one
    transaction. Raises `UnknownSchema`, having changed nothing, and `sqlite3.Error` for a file
    whose tables are not ours.
    """
    number = known_schema(connection)
    if number == CURRENT:
        return
    for statement in MIGRATIONS[number:]:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {CURRENT}")
