"""The page about the link has the diagram of its table, and names tests that exist."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "link.md"
DESIGN = ROOT / "docs" / "design.md"


def promises(page: Path) -> dict[int, str]:
    """Return the numbered promises in a page, each with all that stands under it."""
    return {
        int(number): text
        for number, text in re.findall(
            r"^(\d+)\. +(\*\*.*?)(?=^\d+\. +\*\*|^\S|\Z)",
            page.read_text(),
            re.MULTILINE | re.DOTALL,
        )
    }


def names(promise: str) -> list[str]:
    """Return the tests that a promise names."""
    return re.findall(r"`(tests/[^`]+)`", promise)


@cache
def functions_of(path: str) -> frozenset[str]:
    """Return the names of the functions in a file."""
    tree = ast.parse((ROOT / path).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, functions))


def test_the_diagram_is_made_from_the_table() -> None:
    made = "from link_diagram import *; print(with_diagram(PAGE.read_text()), end='')"
    page = subprocess.run(
        [sys.executable, "-c", made],
        cwd=ROOT / "tools",
        check=True,
        capture_output=True,
        text=True,
    )
    assert page.stdout == PAGE.read_text(), "run `make link-diagram`"


def test_the_promises_are_those_of_the_design() -> None:
    titles = [[text.split("**")[1] for text in promises(page).values()] for page in (PAGE, DESIGN)]
    assert len(titles[0]) == 10
    assert titles[0] == titles[1]


@pytest.mark.parametrize("number", range(1, 11))
def test_each_promise_names_tests_that_exist(number: int) -> None:
    named = names(promises(PAGE)[number])
    assert len(named) >= 2
    for name in named:
        path, _, test = name.partition("::")
        assert (ROOT / path).is_file(), name
        assert not test or test in functions_of(path), name
