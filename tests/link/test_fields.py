"""Each field of each class of a link is described: what it is, when it is set, when it is reset."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_relay import link

PACKAGE = Path(link.__file__).parent
MODULES = sorted(path.name for path in PACKAGE.glob("*.py"))


def fields(definition: ast.ClassDef) -> Iterator[tuple[str, ast.stmt, list[ast.stmt]]]:
    """Every field of a class, where it is made, and the statements that it is made among."""
    for statement in definition.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id, statement, definition.body
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            for made in statement.body:
                targets = made.targets if isinstance(made, ast.Assign) else []
                targets += [made.target] if isinstance(made, ast.AnnAssign) else []
                for target in targets:
                    if isinstance(target, ast.Attribute):
                        yield target.attr, made, statement.body


def is_described(
    name: str, made: ast.stmt, among: list[ast.stmt], docstring: str, lines: list[str]
) -> bool:
    """Whether a docstring follows a field, a comment stands with it, or the class names it."""
    behind = [*among, None][among.index(made) + 1]
    if isinstance(behind, ast.Expr) and isinstance(behind.value, ast.Constant):
        return True
    comment = "#" in lines[made.lineno - 1] or lines[made.lineno - 2].strip().startswith("#")
    return comment or any(f"``{known}``" in docstring for known in (name, name.lstrip("_")))


def undescribed(source: str) -> list[str]:
    """Return the fields of a module that are not described, with their classes."""
    return [
        f"{definition.name}.{name}"
        for definition in ast.walk(ast.parse(source))
        if isinstance(definition, ast.ClassDef)
        for name, made, among in fields(definition)
        if not is_described(
            name, made, among, ast.get_docstring(definition) or "", source.splitlines()
        )
    ]


@pytest.mark.parametrize("module", MODULES)
def test_fields_of_a_module_are_all_described(module: str) -> None:
    assert undescribed((PACKAGE / module).read_text()) == []


def test_field_without_a_description_is_found() -> None:
    source = '''
class One:
    """Has ``named`` and ``given``."""

    named: int
    missing: int
    followed: int
    """Which is described."""

    def __init__(self, given: int) -> None:
        self._given = given
        self._left_out = 0
        self._first = 0  # which has a comment
        # Which has one, too.
        self._second: int = 0
        self._third = 0
        """Which is described."""
'''
    assert undescribed(source) == ["One.missing", "One._left_out"]
