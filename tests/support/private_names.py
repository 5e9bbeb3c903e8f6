"""Finds where our code names what is private of other people's code."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping

OURS = "jupyter_relay"
PUBLIC = {"_replace", "_asdict", "_fields", "_make"}
"""Names of named tuples, which begin with an underscore and are public all the same."""


def private_names_of_others(source: str, module: Mapping[str, object]) -> Iterator[str]:
    """Yield ``line: name`` for each use of a private name of foreign code in the source of a module
    of ours; ``module`` has what is in it, by name.

    That is an import of such a name or from such a module; an attribute of anything but the object
    itself; and, in a class, a name that a foreign base class has: it is then read, called or
    overridden.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                imported = [part for name in names for part in name.name.split(".")]
            case ast.ImportFrom(module=str(package), names=names) if not package.startswith(OURS):
                imported = [*package.split("."), *(name.name for name in names)]
            case ast.Attribute(value=value, attr=name) if not _is_itself(value):
                imported = [name]
            case ast.ClassDef(name=name) if isinstance(kind := module.get(name), type):
                yield from _inherited(node, kind)
                continue
            case _:
                continue
        yield from (f"{node.lineno}: {name}" for name in imported if is_private(name))


def is_private(name: str) -> bool:
    """True if a name is private by its underscore."""
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC


def _is_itself(value: ast.expr) -> bool:
    """True if an expression is ``self``, ``cls`` or ``super()``."""
    if isinstance(value, ast.Call):
        value = value.func
    return isinstance(value, ast.Name) and value.id in {"self", "cls", "super"}


def _inherited(node: ast.ClassDef, kind: type) -> Iterator[str]:
    theirs = {name for base in kind.__mro__ if _is_foreign(base) for name in _names_of(base)}
    for inner in ast.walk(node):
        match inner:
            case (
                ast.Attribute(attr=name)
                | ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.Name(id=name, ctx=ast.Store())
            ) if is_private(name) and name in theirs:
                yield f"{inner.lineno}: {name}"


def _is_foreign(kind: type) -> bool:
    return kind.__module__.partition(".")[0] not in {OURS, "builtins", "abc", "typing"}


def _names_of(kind: type) -> Iterator[str]:
    """Yield the names that a class defines, and those that its methods give to its objects."""
    yield from vars(kind)
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError, SyntaxError):  # it is written in C
        return
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                yield name
