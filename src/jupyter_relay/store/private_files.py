"""A folder and its files, for their user alone.

The files are trusted when they are read again, so no other user may write them, and none needs to
read them. A folder that others can write to is not used, as ssh does with its own. Files of ours
that are open to others are closed to them, as Jupyter does with the files of its secrets. Systems
without Unix owners and modes have other rules, which are left as they are.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_HAS_OWNERS: Final = hasattr(os, "geteuid")


class NotPrivate(OSError):
    """A folder or file cannot be made private to its user. The text says why, and what to do."""


class PrivateFolder:
    """A folder whose content is for its user alone.

    ``is_ours`` returns True for the name of a file that we keep there. ``report`` is called with a
    sentence for the log about each change of a mode, and about what others may still do.
    """

    def __init__(
        self, path: Path, *, is_ours: Callable[[str], bool], report: Callable[[str], None]
    ) -> None:
        self.path = path
        self._is_ours = is_ours
        self._report = report
        self._has_reported_readers = False

    def make(self) -> None:
        """Make the folder if there is none, and close it to others.

        A symbolic link to a folder counts as that folder. Raises `NotPrivate`, and other `OSError`.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError:
            what = "a link to nothing" if self.path.is_symlink() else "no folder"
            raise NotPrivate(f"{self.path} is {what}. Remove it.") from None
        found = self.path.stat()
        self._check_owner(self.path, found)
        open_to = found.st_mode & _OTHERS if _HAS_OWNERS else 0
        if not open_to:
            return
        if all(self._is_ours(entry.name) for entry in self.path.iterdir()):
            self._close_to_others(self.path, 0o700)
        elif open_to & _OTHERS_WRITE:
            raise NotPrivate(
                f"Other users can write to {self.path} ({_mode(found)}), which holds other things, "
                "too. Take that right from them, or set another folder."
            )
        elif not self._has_reported_readers:
            self._has_reported_readers = True
            self._report(
                f"Other users can look into {self.path} ({_mode(found)}), which holds other "
                "things, too, and is left so. What is kept in it is for its user alone."
            )

    def file(self, name: str) -> Path:
        """Return the path of a file in the folder; an empty one is made if there is none.

        Symbolic links are not followed: they could lead anywhere. Raises `NotPrivate`, and
        other `OSError`.
        """
        path = self.path / name
        try:
            path.touch(mode=0o600, exist_ok=False)  # SQLite would give it another mode
        except FileExistsError:
            found = path.lstat()
            if not stat.S_ISREG(found.st_mode):
                what = "a link" if stat.S_ISLNK(found.st_mode) else "no file"
                raise NotPrivate(f"{path} is {what}. Remove it.") from None
            self._check_owner(path, found)
            if _HAS_OWNERS and found.st_mode & _OTHERS:
                self._close_to_others(path, 0o600)
        return path

    def _check_owner(self, path: Path, found: os.stat_result) -> None:
        if _HAS_OWNERS and found.st_uid != os.geteuid():
            raise NotPrivate(
                f"{path} belongs to another user ({found.st_uid}). Remove it, give it to the one "
                "that this program runs as, or set another folder."
            )

    def _close_to_others(self, path: Path, mode: int) -> None:
        before = path.stat()
        path.chmod(mode)
        after = path.stat()
        if after.st_mode & _OTHERS:  # not on every file system
            raise NotPrivate(
                f"{path} is open to other users ({_mode(after)}), and its file system does not "
                "change that. Set another folder."
            )
        self._report(
            f"{path} was open to other users ({_mode(before)}); it is for its user alone from now "
            f"on ({_mode(after)})."
        )


def _mode(found: os.stat_result) -> str:
    return f"mode {stat.S_IMODE(found.st_mode):04o}"
