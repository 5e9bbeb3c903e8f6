"""The house stands as it is drawn: public names, what each import loads, who may use whom."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Protocol

import pytest

import jupyter_relay
from tests.support.method_names import classes_by_method, own_methods
from tests.support.private_names import private_names_of_others

PROGRAM = "jupyter_relay.testing.leash"
"""A program, which does its work when it is imported."""

ROOT = Path(__file__).resolve().parents[1]


PACKAGES = [
    found.name
    for found in pkgutil.walk_packages(jupyter_relay.__path__, "jupyter_relay.")
    if found.ispkg and found.name != "jupyter_relay.testing"
]


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SOURCES = sorted(Path(jupyter_relay.__file__).parent.rglob("*.py"))


def loaded_by(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter has after a statement."""
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}; import sys; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(done.stdout.split())


def modules() -> Iterator[str]:
    """Every module of the package."""
    for found in pkgutil.walk_packages(jupyter_relay.__path__, "jupyter_relay."):
        yield found.name


def attributes_of_classes(source: Path) -> Iterator[tuple[str, ast.expr]]:
    """Every value that a class body of a file binds to a name, and that name."""
    for node in ast.walk(ast.parse(source.read_text())):
        for statement in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
                yield f"{source.name}:{statement.lineno}", statement.value


def is_mutable(value: ast.expr) -> bool:
    """Whether an expression makes a container that can change."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        return value.func.id in {"list", "dict", "set", "deque", "defaultdict", "bytearray"}
    displays = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
    return isinstance(value, displays)


def test_public_names_are_those_of_the_list() -> None:
    assert jupyter_relay.__all__ == [
        "Gateway",
        "GatewayKernelClient",
        "GatewayKernelManager",
        "GatewaySettings",
        "RelayError",
        "RemoteKernel",
        "__version__",
    ]
    assert all(getattr(jupyter_relay, name) is not None for name in jupyter_relay.__all__)
    assert dir(jupyter_relay) == jupyter_relay.__all__
    with pytest.raises(AttributeError, match="nonsense"):
        _ = jupyter_relay.nonsense


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import jupyter_relay", {"tornado", "zmq", "traitlets", "aiohttp", "asyncio"}),
        ("import jupyter_relay.kernels.kernel", {"tornado", "zmq", "traitlets", "jupyter_client"}),
        ("import jupyter_relay.link.link", {"asyncio", "aiohttp", "tornado", "zmq", "traitlets"}),
        ("import jupyter_relay.headless.manager", {"jupyter_server", "jupyter_events"}),
        ("import jupyter_relay.testing.plugin", {"aiohttp", "tornado", "zmq"}),
        ("import jupyter_relay.headless.papermill", {"papermill", "jupyter_server"}),
        ("import jupyter_relay.headless.manager", {"aiohttp"}),
        ("from jupyter_relay.server import extension", {"jupyter_server", "aiohttp"}),
        ("from jupyter_relay.server import kernels, kernelspecs", {"aiohttp"}),
        ("from jupyter_relay.server.pages import websocket", {"aiohttp"}),
    ],
)
def test_import_of_a_module_loads_no_more_than_it_says(statement: str, forbidden: set[str]) -> None:
    assert not forbidden & loaded_by(statement)


def test_packages_use_only_those_that_they_may() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_package_in_the_drawing_exists() -> None:
    drawn = {
        name
        for line in Path(jupyter_relay.__file__).read_text().splitlines()
        if line.startswith("#   ")
        for name in [line.removeprefix("#   ").split()[0].rstrip("/")]
    }
    there = {found.name for found in pkgutil.iter_modules(jupyter_relay.__path__)}
    assert drawn == {name for name in there if not name.startswith("_")}


@pytest.mark.parametrize("package", PACKAGES)
def test_package_says_what_belongs_there_and_what_does_not(package: str) -> None:
    said = importlib.import_module(package).__doc__ or ""
    assert len(said.strip().splitlines()) >= 3
    assert "here" in said
    assert "not" in said


def test_class_shares_no_state_that_can_change() -> None:
    sources = Path(jupyter_relay.__file__).parent.rglob("*.py")
    found = [pair for source in sources for pair in attributes_of_classes(source)]
    assert len(found) > 50
    assert [where for where, value in found if is_mutable(value)] == []


def test_module_has_a_docstring() -> None:
    for name in modules():
        if name != PROGRAM:
            assert importlib.import_module(name).__doc__ or name.endswith("_version"), name


PRIVATE = {
    name.rpartition(".")[2].removesuffix("_private"): name
    for name in modules()
    if name.endswith("_private")
}
"""The files that name what is private of other people's code, by the library."""


def test_private_names_of_each_library_have_one_file() -> None:
    assert sorted(PRIVATE) == ["aiohttp", "jupyter_client", "jupyter_server", "tornado"]


@pytest.mark.parametrize("name", sorted({*modules()} - {*PRIVATE.values()} - {PROGRAM}))
def test_private_names_of_other_peoples_code_are_in_no_other_file(name: str) -> None:
    module = importlib.import_module(name)
    source = Path(module.__file__ or "").read_text()
    assert list(private_names_of_others(source, vars(module))) == []


CLASS = "class A(Thread):\n"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from tornado._parts import b", ["1: _parts"]),
        ("from tornado.a import _b, c", ["1: _b"]),
        ("import tornado._a", ["1: _a"]),
        ("from jupyter_relay._version import __version__", []),
        ("def f(stream): return stream._count", ["1: _count"]),
        ("def f(pair): return pair._replace(a=1)", []),
        (f"{CLASS} def f(self): return self._own.name, super().name, self._own[0]", []),
        (f"{CLASS} def f(self): return self.b._own", ["2: _own"]),
        (f"{CLASS} def f(self): return self._target", ["2: _target"]),
        (f"{CLASS} def _bootstrap(self): self._own = 1", ["2: _bootstrap"]),
        (f"{CLASS} _target = None", ["2: _target"]),
    ],
)
def test_private_names_of_others_finds_each_way_to_name_one(source: str, found: list[str]) -> None:
    module = {"A": type("A", (Thread,), {"__module__": "jupyter_relay.a"})}
    assert list(private_names_of_others(source, module)) == found


OWNED_BY_ROSTER = {"KernelStart", "Starts", "Store", "Claim", "find_kernels"}
"""What only the roster of a gateway's kernels uses, of all that decide something about them."""


def names_in(source: Path) -> Iterator[str]:
    """Every name that a file imports, uses, or reads of something."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.name.rpartition(".")[2]


@pytest.mark.parametrize("package", ["server", "headless"])
def test_adapters_leave_starts_claims_and_lists_to_the_roster(package: str) -> None:
    sources = sorted((Path(jupyter_relay.__file__).parent / package).rglob("*.py"))
    assert len(sources) > 5
    used = {
        f"{source.name}: {name}"
        for source in sources
        for name in names_in(source)
        if name in OWNED_BY_ROSTER
    }
    assert used == set()


def test_kernel_map_has_at_most_200_lines() -> None:
    source = Path(jupyter_relay.__file__).parent / "server" / "kernels.py"
    assert len(source.read_text().splitlines()) <= 200


def test_method_name_stands_on_three_classes_at_most() -> None:
    crowded = {name: of for name, of in classes_by_method().items() if len(of) > 3}
    assert crowded == {}


def test_folder_has_fifteen_files_at_most() -> None:
    counts = Counter(path.parent for path in SOURCES)
    assert len(counts) > 10
    assert {folder.name: count for folder, count in counts.items() if count > 15} == {}


class Door(Protocol):
    """An interface of two methods."""

    def open_door(self) -> None: ...

    def shut_door(self) -> None: ...


class Gate:
    """Has all of that interface, and a method of its own."""

    def open_door(self) -> None: ...

    def shut_door(self) -> None: ...

    def lock_door(self) -> None: ...


class Hatch:
    """Has a part of that interface only."""

    def open_door(self) -> None: ...


class Trapdoor(Hatch):
    """Has what its base class has."""

    def open_door(self) -> None: ...


def test_own_methods_leave_out_only_those_of_whole_interfaces_and_base_classes() -> None:
    found = own_methods([Door, Gate, Hatch, Trapdoor])
    assert found == {"lock_door": [f"{__name__}.Gate"], "open_door": [f"{__name__}.Hatch"]}


def test_file_of_more_than_four_hundred_lines_gives_its_reason() -> None:
    long = [path for path in SOURCES if len(path.read_text().splitlines()) > 400]
    reasons = {path.name: "Longer than others, since" in path.read_text() for path in long}
    assert reasons == dict.fromkeys(reasons, True)


def test_class_has_twenty_five_methods_at_most() -> None:
    counts = {
        f"{path.name}:{node.name}": len({m.name for m in node.body if isinstance(m, FUNCTIONS)})
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }
    assert len(counts) > 100
    assert {name: count for name, count in counts.items() if count > 25} == {}
