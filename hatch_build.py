"""Build hook: has the JupyterLab extension built, and puts it into the wheel.

The sdist contains the built files, so that a wheel made from it needs no Node.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = "labextension"
INSTALLED = "share/jupyter/labextensions/@jupyter-relay/labextension"
SOURCES = ("package.json", "package-lock.json", "tsconfig.json", "core/package.json", "src/*.ts")


class LabextensionHook(BuildHookInterface):  # type: ignore[type-arg]  # its configuration is not ours
    """Builds the extension where that is needed and Node is there."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build it, unless that was done since its sources changed.

        An editable installation goes without where there is no Node; there is no wheel and no
        sdist without. Raises `RuntimeError` with what to do.
        """
        folder = Path(self.root, FOLDER)
        if not self._is_up_to_date(folder):
            npm = shutil.which("npm")
            if npm is None and version == "editable":
                self.app.display_warning("Without Node there is no JupyterLab extension here.")
                return
            if npm is None:
                raise RuntimeError("The JupyterLab extension is built with Node 20: install it.")
            if not _is_newer(
                folder / "node_modules/.package-lock.json", folder / "package-lock.json"
            ):
                subprocess.run([npm, "ci"], cwd=folder, check=True)  # noqa: S603
            subprocess.run([npm, "run", "build"], cwd=folder, check=True)  # noqa: S603
        if self.target_name == "wheel":
            files = build_data["shared_data"]
            files[f"{FOLDER}/built"] = INSTALLED
            files[f"{FOLDER}/install.json"] = f"{INSTALLED}/install.json"

    def _is_up_to_date(self, folder: Path) -> bool:
        built = folder / "built" / "package.json"
        if Path(self.root, "PKG-INFO").exists():  # an sdist, whose files have no dates of use
            return built.exists()
        return _is_newer(built, *(path for pattern in SOURCES for path in folder.glob(pattern)))


def _is_newer(made: Path, *sources: Path) -> bool:
    """Whether a file is there, and was written after all that it is made from."""
    return made.exists() and made.stat().st_mtime >= max(path.stat().st_mtime for path in sources)
