"""The names of the methods of our classes, and how many classes have each by themselves."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, MutableMapping, MutableSet, Sequence
from typing import Protocol

import jupyter_relay

_NOT_IMPORTED = "jupyter_relay.testing.leash"
"""A program, which does its work when it is imported."""


_PYTHONS_OWN = frozenset({"close", "get", "send"})
"""What Python's own files, mappings and sockets call this, and so everybody does."""


def classes_by_method() -> Mapping[str, list[str]]:
    """Return, by the name of each method, the classes that have one of their own."""
    return own_methods(list(_classes()))


def own_methods(classes: Sequence[type]) -> Mapping[str, list[str]]:
    """Return, by the name of each method, the classes among these that have one of their own.

    A method is not a class's own if it is part of an interface: a base class has it, or a protocol
    among the classes, or one of Python's own collections, of which the class has all methods.
    """
    protocols = [each for each in classes if Protocol in each.__bases__]
    interfaces = [_methods_of_protocol(each) for each in protocols]
    interfaces += [_public_names(each) for each in (MutableMapping, MutableSet)]
    found: dict[str, list[str]] = defaultdict(list)
    for each in classes:
        if each in protocols:
            continue
        has = set(dir(each))
        shared = _PYTHONS_OWN.union(*(methods for methods in interfaces if methods <= has))
        for name in _methods(each) - shared:
            if not any(name in vars(base) for base in each.__mro__[1:]):
                found[name].append(f"{each.__module__}.{each.__qualname__}")
    return found


def _methods_of_protocol(protocol: type) -> set[str]:
    """The names of a protocol's methods, with those of the protocols that it extends."""
    return set().union(*(_methods(base) for base in protocol.__mro__ if base is not Protocol))


def _public_names(each: type) -> set[str]:
    return {name for name in dir(each) if not name.startswith("_")}


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
