"""The JupyterLab extension belongs to the package that it is in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jupyter_relay._version import __version__

FOLDER = Path(__file__).resolve().parents[1] / "labextension"


def read(name: str) -> Any:  # noqa: ANN401  # JSON
    """Return what stands in a JSON file of the extension."""
    return json.loads((FOLDER / name).read_text("utf-8"))


def test_extension_has_the_version_of_the_package() -> None:
    assert read("package.json")["version"] == __version__
    assert read("package-lock.json")["version"] == __version__


def test_extension_lock_names_no_registry() -> None:
    packages = read("package-lock.json")["packages"]
    assert [name for name, package in packages.items() if "resolved" in package] == []


def test_builder_core_has_the_packages_that_the_extension_imports() -> None:
    core, wanted = read("core/package.json"), read("package.json")["dependencies"]
    assert set(core["dependencies"]) == set(core["jupyterlab"]["singletonPackages"]) == set(wanted)
    for name, version in core["dependencies"].items():
        assert version.removeprefix("~") == wanted[name].removeprefix("^")
