"""Stores in a folder, other processes that use it, and what is in it."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from jupyter_relay.store.claims import Claim
from jupyter_relay.store.store import Store

GATEWAY = "http://gateway.example"

HOLDER = """
import asyncio, sys
from pathlib import Path
from jupyter_relay.store.store import Store

async def hold():
    for kernel_id in sys.argv[2:]:
        claim = await Store(Path(sys.argv[1])).claims.claim("http://gateway.example", kernel_id)
        print(claim.session, flush=True)
    await asyncio.Event().wait()

asyncio.run(hold())
"""
"""A program that claims kernels and then lives on."""


@asynccontextmanager
async def opened(
    folder: Path,
    *,
    max_released: int = 1000,
    max_write_seconds: float = 30.0,
    patience: float = 30.0,
) -> AsyncIterator[Store]:
    """Open a store, and close it at the end."""
    store = Store(
        folder, max_released=max_released, max_write_seconds=max_write_seconds, patience=patience
    )
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


async def session_of(store: Store, kernel_id: str = "k") -> str:
    """Return the session id of a new claim."""
    return (await store.claims.claim(GATEWAY, kernel_id)).session


async def use_in_memory(store: Store) -> None:
    """Claim, release and claim again, as on disk."""
    claim: Claim = await store.claims.claim(GATEWAY, "k")
    assert await session_of(store) != claim.session
    await claim.hand_back(gone=False)
    again = await store.claims.claim(GATEWAY, "k")
    assert again.session == claim.session
    await again.hand_back(gone=True)
    assert await session_of(store) != claim.session


def rows(folder: Path) -> list[tuple[str, str]]:
    """Return kernel and session of all claims that are in the file."""
    with closing(sqlite3.connect(folder / "links.sqlite")) as db:
        return db.execute("SELECT kernel_id, session FROM links ORDER BY rowid").fetchall()


def contents(folder: Path) -> dict[str, bytes]:
    """Return what is in the files of a folder, or in that file."""
    files = folder.iterdir() if folder.is_dir() else [folder]
    return {path.name: path.read_bytes() if path.exists() else b"" for path in files}


def modes(folder: Path) -> tuple[int, set[int]]:
    """Return the mode of a folder, and those of the files in it."""
    files = {path.stat().st_mode & 0o777 for path in folder.iterdir()}
    return folder.stat().st_mode & 0o777, files


def only_warning(caplog: pytest.LogCaptureFixture) -> str:
    """Return the one warning that there was."""
    (record,) = (record for record in caplog.records if record.levelno >= logging.WARNING)
    return record.getMessage()
