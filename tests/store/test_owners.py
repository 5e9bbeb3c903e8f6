"""Owners: which processes are alive, by the locks that they hold."""

from __future__ import annotations

from pathlib import Path

from tests.store.rig import contents, killed_at_the_end, opened, session_of


def locks(folder: Path) -> int:
    """Return how many lock files there are."""
    return len(list(folder.glob("*.lock")))


async def test_lock_file_is_removed_with_its_process_or_by_the_next_one(folder: Path) -> None:
    async with killed_at_the_end(folder, "k"):
        async with opened(folder) as store:
            await session_of(store)
            assert locks(folder) == 2
        assert locks(folder) == 1
    async with opened(folder) as store:
        await session_of(store)
        assert locks(folder) == 1
    assert list(contents(folder)) == ["links.sqlite"]


async def test_lock_file_that_is_not_ours_stays(folder: Path) -> None:
    async with opened(folder) as store:
        await session_of(store)
    (folder / "other.lock").touch()
    async with opened(folder) as store:
        await session_of(store)
    assert (folder / "other.lock").exists()
