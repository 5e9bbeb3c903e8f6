"""The store: claims and kernelspecs in one file."""

from __future__ import annotations

from pathlib import Path

from tests.store.rig import GATEWAY, contents, opened, rows


async def test_store_makes_its_folder_when_it_is_first_used(folder: Path) -> None:
    async with opened(folder) as store:
        assert store.path == folder / "links.sqlite"
        await store.flush()
        assert not folder.exists(), "there is nothing to write"  # noqa: ASYNC240  # a local disk
        await store.kernelspecs.get(GATEWAY, "")
        assert store.path.exists()


async def test_claims_and_kernelspecs_of_a_store_are_in_one_file_once_it_is_flushed(
    folder: Path,
) -> None:
    async with opened(folder) as store:
        claim = store.claims.intend(GATEWAY, "k")
        store.kernelspecs.put(GATEWAY, "", b"a list")
        await store.flush()
        assert rows(folder) == [("k", claim.session)]
        assert b"a list" in contents(folder)["links.sqlite"]


async def test_close_writes_what_is_not_written_yet(folder: Path) -> None:
    async with opened(folder) as store:
        claim = store.claims.intend(GATEWAY, "k")
    assert rows(folder) == [("k", claim.session)]
