"""The names of the methods of our classes, and how many classes have each by themselves."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, MutableMapping, MutableSet
from typing import Protocol

import jupyter_relay

_NOT_IMPORTED = "jupyter_relay.testing.leash"
"""A program, which does its work when it is imported."""


def classes_by_method() -> Mapping[str, list[str]]:
    """Return, by the name of each method, the classes that have one of their own.

    A method is not a class's own if it is part of an interface: a base class, a protocol of ours,
    or one of Python's own collections has it as well.
    """
    classes = list(_classes())
    interfaces = {name for each in (MutableMapping, MutableSet) for name in dir(each)}
    interfaces |= {
        name for each in classes if Protocol in each.__bases__ for name in _methods(each)
    }
    found: dict[str, list[str]] = defaultdict(list)
    for each in classes:
        for name in _methods(each) - interfaces:
            if not any(name in vars(base) for base in each.__mro__[1:]):
                found[name].append(f"{each.__module__}.{each.__qualname__}")
    return found


def _classes() -> Iterator[type]:
    for module in pkgutil.walk_packages(jupyter_relay.__path__, "jupyter_relay."):
        if module.name != _NOT_IMPORTED:
            imported = importlib.import_module(module.name)
            for each in vars(imported).values():
                if inspect.isclass(each) and each.__module__ == module.name:
                    yield each


def _methods(each: type) -> set[str]:
    """The names of the functions that a class body defines, without those that Python gives it."""
    return {
        name
        for name, value in vars(each).items()
        if (inspect.isfunction(value) or isinstance(value, classmethod | staticmethod))
        and not name.startswith("__")
        and not (issubclass(each, tuple) and name in {"_make", "_replace", "_asdict"})
    }
