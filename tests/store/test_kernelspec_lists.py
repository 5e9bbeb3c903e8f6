"""The lists of kernelspecs that are kept for the next process."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.store.rig import GATEWAY, contents, opened


async def test_kernelspec_list_of_each_gateway_and_user_is_known_to_the_next_process(
    folder: Path,
) -> None:
    async with opened(folder) as store:
        assert await store.kernelspecs.get(GATEWAY, "") is None
        store.kernelspecs.put(GATEWAY, "", b"first")
        store.kernelspecs.put(GATEWAY, "", b"last")
        store.kernelspecs.put(GATEWAY, "ada", b"ada's")
    async with opened(folder) as store:
        assert await store.kernelspecs.get(GATEWAY, "") == b"last"
        assert await store.kernelspecs.get(GATEWAY, "ada") == b"ada's"
        assert await store.kernelspecs.get("http://other.example", "") is None


async def test_kernelspec_lists_beyond_64_are_deleted_oldest_first(folder: Path) -> None:
    async with opened(folder) as store:
        for number in range(66):
            store.kernelspecs.put(GATEWAY, f"user{number}", b"{}")
        found = [await store.kernelspecs.get(GATEWAY, f"user{number}") for number in range(66)]
    assert [kept is None for kept in found] == [True] * 2 + [False] * 64


async def test_kernelspec_list_that_is_already_kept_is_not_written_again(folder: Path) -> None:
    async with opened(folder) as store:
        store.kernelspecs.put(GATEWAY, "", b"the same")
        await store.flush()
        before = contents(folder)["links.sqlite"]
        store.kernelspecs.put(GATEWAY, "", b"the same")
        await store.flush()
        assert contents(folder)["links.sqlite"] == before


@pytest.mark.parametrize("listed", ["a text", 7, None])
async def test_kernelspec_list_that_is_not_bytes_is_returned_as_empty_bytes(
    folder: Path, listed: object
) -> None:
    async with opened(folder) as store:
        store.kernelspecs.put(GATEWAY, "", b"{}")
    with closing(sqlite3.connect(folder / "links.sqlite")) as db, db:
        db.execute("DROP TABLE kernelspecs")
        db.execute("CREATE TABLE kernelspecs (gateway, user, listed)")
        db.execute("INSERT INTO kernelspecs VALUES (?, '', ?)", [GATEWAY, listed])
    async with opened(folder) as store:
        assert await store.kernelspecs.get(GATEWAY, "") == b""
