"""Build hook: has the JupyterLab extension built, and puts it into the wheel.

The sdist contains the built files, so that a wheel made from it needs no Node.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = "labextension"
INSTALLED = "share/jupyter/labextensions/@jupyter-relay/labextension"
SOURCES = ("package.json", "package-lock.json", "tsconfig.json", "core/package.json", "src/*.ts")

DIGEST = "sources.sha256"
"""The built file that says which sources the others were built from. It is written last."""

MIN_NODE = 20


class CannotBuildError(Exception):
    """The extension cannot be built. The text says why, and what to do."""


class LabextensionHook(BuildHookInterface):  # type: ignore[type-arg]  # its configuration is not ours
    """Builds the extension where that is needed and Node is there."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the extension, unless that was done with the same sources.

        An editable installation goes on without it where it cannot be built, with a warning of one
        line. There is no wheel and no sdist without it: raises `RuntimeError`.
        """
        folder = Path(self.root, FOLDER)
        if not _is_up_to_date(folder):
            try:
                _build(folder)
            except CannotBuildError as error:
                if version != "editable":
                    raise RuntimeError(
                        f"The JupyterLab extension cannot be built: {error} "
                        "Or install a wheel of this package: it has the extension built."
                    ) from error
                self.app.display_warning(
                    f"JupyterLab will be without our extension: {error} Then install again."
                )
                return
        if self.target_name == "wheel":
            files = build_data["shared_data"]
            for name in ("package.json", "static"):
                files[f"{FOLDER}/built/{name}"] = f"{INSTALLED}/{name}"
            files[f"{FOLDER}/install.json"] = f"{INSTALLED}/install.json"


def _build(folder: Path) -> None:
    """Build the extension. If that fails nothing is left of what was built.

    Raises `CannotBuildError`.
    """
    npm = _find_npm()
    built = folder / "built"
    try:
        if not _has_locked_packages(folder):
            advice = "It needs a registry of packages: see `npm config get registry`."
            _run(npm, "ci", folder, advice)
        _run(npm, "run build", folder, "Its output says what to mend.")
        if _is_complete(built):
            (built / DIGEST).write_text(_digest(folder), "utf-8")
    finally:
        # The builder empties the folder and fills a part of it before it compiles anything.
        if not _is_up_to_date(folder):
            shutil.rmtree(built, ignore_errors=True)
    if not built.exists():
        raise CannotBuildError("`npm run build` makes no extension. Its output says what to mend.")


def _find_npm() -> str:
    """Return the path of npm. Raises `CannotBuildError` if it or a Node that will do is missing."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        missing = "npm" if npm is None else "node"
        raise CannotBuildError(f"There is no {missing} in PATH. Install Node {MIN_NODE} or newer.")
    try:
        version = subprocess.run(  # noqa: S603
            [node, "--version"], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise CannotBuildError(f"{error}. Install Node {MIN_NODE} or newer.") from error
    major = re.match(r"v(\d+)", version)
    if major is None or int(major[1]) < MIN_NODE:
        raise CannotBuildError(f"Node is {version}. Install Node {MIN_NODE} or newer.")
    return npm


def _run(npm: str, command: str, folder: Path, advice: str) -> None:
    """Run a command of npm. Raises `CannotBuildError` with advice if it fails."""
    try:
        subprocess.run([npm, *command.split()], cwd=folder, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        raise CannotBuildError(f"`npm {command}` fails in {folder}. {advice}") from error


def _is_up_to_date(folder: Path) -> bool:
    """Whether the extension was built, completely and from the sources that are there."""
    try:
        digest = (folder / "built" / DIGEST).read_text("utf-8")
    except FileNotFoundError:
        return False
    return digest == _digest(folder) and _is_complete(folder / "built")


def _is_complete(built: Path) -> bool:
    """Whether there is the file that JupyterLab is to load; the builder names it at its end."""
    package = _read_json(built / "package.json")
    entry = package.get("jupyterlab", {}).get("_build", {}).get("load")
    return isinstance(entry, str) and (built / entry).is_file()


def _digest(folder: Path) -> str:
    """Return a digest of the sources, names and contents. Dates do not count: copying sets them."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in SOURCES for path in folder.glob(pattern)):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _has_locked_packages(folder: Path) -> bool:
    """Whether node_modules has each package of package-lock.json, in that version."""
    locked = _read_json(folder / "package-lock.json").get("packages", {})
    installed = _read_json(folder / "node_modules" / ".package-lock.json").get("packages", {})
    return all(
        package.get("version") == installed.get(name, {}).get("version")
        for name, package in locked.items()
        if name and (name in installed or not package.get("optional"))
    )


def _read_json(path: Path) -> dict[str, Any]:
    """Return what stands in a file; nothing if there is no such file."""
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return content
