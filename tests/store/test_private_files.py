"""The folder and its files are for their user alone, or they are not used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.store.rig import GATEWAY, modes, only_warning, opened, session_of, use_in_memory


async def test_folder_that_was_open_to_others_is_closed_to_them_with_a_line_in_the_log(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(folder) as store:
        await (await store.claims.claim(GATEWAY, "k")).hand_back(gone=False)
    # As a process that was killed leaves it beside its lock file.
    (folder / f"{'e' * 32}.lock-journal").touch(mode=0o600)
    folder.chmod(0o755)  # noqa: ASYNC240  # of a local disk
    (folder / "links.sqlite").chmod(0o644)
    async with opened(folder) as store:
        for _ in range(2):
            await session_of(store)
    assert modes(folder) == (0o700, {0o600})
    of_folder, of_file = caplog.messages
    assert f"{folder} was open to other users (mode 0755)" in of_folder
    assert f"{folder / 'links.sqlite'} was open to other users (mode 0644)" in of_file


async def test_folder_that_others_may_read_keeps_its_mode_and_its_other_files(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.mkdir(parents=True, mode=0o755)  # noqa: ASYNC240  # of a local disk
    (folder / "others.txt").write_text("theirs")
    async with opened(folder) as store:
        await session_of(store)
        assert (folder / "links.sqlite").stat().st_mode & 0o777 == 0o600
        await session_of(store)
    assert folder.stat().st_mode & 0o777 == 0o755  # noqa: ASYNC240  # of a local disk
    assert f"Other users can look into {folder} (mode 0755)" in only_warning(caplog)


async def test_folder_that_is_a_link_to_a_folder_is_that_folder(folder: Path) -> None:
    real = folder.parent / "elsewhere"
    real.mkdir(parents=True)
    folder.symlink_to(real)  # noqa: ASYNC240  # of a local disk
    async with opened(folder) as store:
        await session_of(store)
    assert modes(real) == (0o700, {0o600})


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives away")
@pytest.mark.parametrize("part", ["folder", "file"])
async def test_folder_or_file_that_belongs_to_another_user_is_not_used(
    folder: Path, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(folder) as store:
        await session_of(store)
    os.chown(folder if part == "folder" else folder / "links.sqlite", 12345, -1)
    async with opened(folder) as store:
        await use_in_memory(store)
    assert "belongs to another user (12345)" in only_warning(caplog)
