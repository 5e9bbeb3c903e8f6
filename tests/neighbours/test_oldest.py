"""``make oldest-test`` runs on the lowest versions that ``pyproject.toml`` allows."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]


def promised() -> Iterator[Requirement]:
    """Yield what the package needs, and what its options for users need beside it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for line in (*project["dependencies"], *extras["oauth2"], *extras["papermill"]):
        yield Requirement(line)


def pinned() -> dict[str, Version]:
    """The packages of the environment with the oldest versions."""
    lines = (ROOT / "constraints-oldest.txt").read_text(encoding="utf-8").splitlines()
    pins = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): Version(version) for name, version in pins}


@pytest.mark.parametrize("requirement", [*promised()], ids=str)
def test_oldest_environment_has_the_lowest_version_allowed(requirement: Requirement) -> None:
    (bound,) = requirement.specifier
    assert bound.operator == ">="
    assert pinned()[canonicalize_name(requirement.name)] == Version(bound.version)
