"""Which kernels a server leaves running when it stops."""

from __future__ import annotations

import pytest

from jupyter_relay.settings.on_exit import OnExit


@pytest.mark.parametrize(
    ("on_exit", "at_work", "keeps"),
    [
        ("shutdown", True, False),
        ("shutdown", False, False),
        ("keep", True, True),
        ("keep", False, True),
        ("keep-busy", True, True),
        ("keep-busy", False, False),
    ],
)
def test_on_exit_keeps_all_busy_or_no_kernels(on_exit: str, at_work: bool, keeps: bool) -> None:
    assert OnExit(on_exit).keeps(at_work=at_work) is keeps
