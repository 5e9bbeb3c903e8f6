"""What is built contains the JupyterLab extension, or is not built at all.

The build backend runs as pip runs it, on a copy of this project, with a stub in npm's place.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent
from typing import Any
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parents[1]

NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv*", ".*_cache", ".hypothesis", ".coverage*", "__pycache__", "results",
    "node_modules", "built", "lib", "build", "dist",
)  # fmt: skip

EXTENSION = "data/share/jupyter/labextensions/@jupyter-relay/labextension"
ENTRY = "static/remoteEntry.0.js"

NPM = """
    import json, os, pathlib, shutil, sys

    command = sys.argv[1:]
    with open(os.environ["NPM_LOG"], "a") as log:
        print(*command, file=log)
    failing = os.environ.get("NPM_FAILS", "").split()
    if command == ["ci"]:
        if command == failing:
            sys.exit("npm error no such registry")
        packages = pathlib.Path("node_modules")
        packages.mkdir()
        shutil.copy("package-lock.json", packages / ".package-lock.json")
    else:
        # As @jupyterlab/builder does: package.json is there before anything is compiled.
        built = pathlib.Path("built")
        shutil.rmtree(built, ignore_errors=True)
        (built / "static").mkdir(parents=True)
        shutil.copy("package.json", built)
        if command == failing:
            sys.exit("error TS1005: ';' expected.")
        (built / "ENTRY").write_text("// compiled")
        package = json.loads((built / "package.json").read_text())
        package["jupyterlab"]["_build"] = {"load": "ENTRY"}
        (built / "package.json").write_text(json.dumps(package))
"""

NODE = """
    import os

    print(os.environ.get("NODE_VERSION", "v20.1.0"))
"""


class Project:
    """A copy of this project, and a machine to build it on."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "project"
        shutil.copytree(ROOT, self.root, ignore=NOT_COPIED)
        self.labextension = self.root / "labextension"
        self.out = folder / "out"
        self._path = folder / "bin"
        self._path.mkdir()
        self._npm_log = folder / "npm.log"
        for name, program in (("npm", NPM.replace("ENTRY", ENTRY)), ("node", NODE)):
            script = self._path / name
            script.write_text(f"#!{sys.executable}\n{dedent(program)}")
            script.chmod(0o755)

    def build(
        self,
        kind: str,
        *,
        npm_fails: str = "",
        node: str = "v20.1.0",
        without: tuple[str, ...] = (),
        root: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Build an ``editable``, a ``wheel`` or an ``sdist`` into `out`.

        ``npm_fails`` is the command of npm that fails, and ``without`` names missing programs.
        """
        path = self._path.with_name("bin without " + " ".join(without))
        shutil.copytree(self._path, path, dirs_exist_ok=True, ignore=lambda *_: set(without))
        code = f"import hatchling.build; hatchling.build.build_{kind}({str(self.out)!r})"
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=root or self.root,
            env={
                **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
                "PATH": str(path),
                "NPM_LOG": str(self._npm_log),
                "NPM_FAILS": npm_fails,
                "NODE_VERSION": node,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    @property
    def npm_commands(self) -> list[str]:
        """What npm was called with, so far."""
        return self._npm_log.read_text().splitlines() if self._npm_log.exists() else []

    def built(self, pattern: str) -> list[str]:
        """The names in the one archive that was built, without its first folder if that is its
        own; the archive is removed."""
        (archive,) = self.out.glob(pattern)
        if archive.suffix == ".whl":
            with ZipFile(archive) as wheel:
                names = wheel.namelist()
        else:
            with tarfile.open(archive) as sdist:
                names = [name.partition("/")[2] for name in sdist.getnames()]
        archive.unlink()
        return names


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A copy of this project, of which nothing is built."""
    if find_spec("hatchling") is None:
        pytest.fail("hatchling is missing, run: make .venv/installed")
    return Project(tmp_path)


def entries(names: list[str]) -> list[str]:
    """Those of a wheel's files that JupyterLab loads first."""
    return [name for name in names if name.endswith(f"{EXTENSION}/{ENTRY}")]


@pytest.mark.parametrize(
    ("machine", "advice"),
    [
        ({"npm_fails": "ci"}, "It needs a registry of packages"),
        ({"npm_fails": "run build"}, "Its output says what to mend."),
        ({"node": "v18.20.4"}, "Node is v18.20.4. Install Node 20 or newer."),
        ({"without": ("npm", "node")}, "There is no npm in PATH. Install Node 20 or newer."),
    ],
    ids=["no registry", "build fails", "old Node", "no Node"],
)
def test_build_without_the_means_for_the_extension_goes_on_only_for_an_editable_installation(
    project: Project, machine: dict[str, Any], advice: str
) -> None:
    going_on = project.build("editable", **machine)
    assert going_on.returncode == 0, going_on.stdout
    (warning,) = [line for line in going_on.stdout.splitlines() if "JupyterLab will be" in line]
    assert advice in warning
    assert not [name for name in project.built("*.whl") if "labextension" in name]
    refused = project.build("wheel", **machine)
    assert refused.returncode != 0
    assert "RuntimeError: The JupyterLab extension cannot be built: " in refused.stdout
    assert advice in refused.stdout


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_build_after_a_failed_one_never_leaves_the_extension_out(
    project: Project, kind: str
) -> None:
    for _ in range(2):
        assert project.build(kind, npm_fails="run build").returncode != 0
        assert not (project.labextension / "built").exists()
    assert not project.out.exists() or not list(project.out.iterdir())
    built = project.build(kind)
    assert built.returncode == 0, built.stdout
    pattern, entry = {
        "wheel": ("*.whl", f"{EXTENSION}/{ENTRY}"),
        "sdist": ("*.tar.gz", f"labextension/built/{ENTRY}"),
    }[kind]
    assert [name for name in project.built(pattern) if name.endswith(entry)]


def test_extension_left_half_built_is_built_anew(project: Project) -> None:
    built = project.labextension / "built"
    built.mkdir()
    shutil.copy(project.labextension / "package.json", built)
    assert project.build("wheel").returncode == 0
    assert entries(project.built("*.whl"))


def test_wheel_of_an_sdist_needs_no_node(project: Project, tmp_path: Path) -> None:
    assert project.build("sdist").returncode == 0
    (archive,) = project.out.iterdir()
    with tarfile.open(archive) as sdist:
        sdist.extractall(tmp_path / "unpacked", filter="data")
    archive.unlink()
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    # Files of an archive have any dates.
    os.utime(unpacked / "labextension" / "built" / "package.json", (0, 0))
    built = project.build("wheel", without=("npm", "node"), root=unpacked)
    assert built.returncode == 0, built.stdout
    assert entries(project.built("*.whl"))


def test_extension_is_built_again_only_when_a_source_was_changed_added_or_deleted(
    project: Project,
) -> None:
    sources = project.labextension / "src"

    def change() -> None:
        path = sources / "index.ts"
        path.write_text(path.read_text() + "// changed")
        os.utime(path, (0, 0))  # as copying may leave it

    added = sources / "added.ts"
    edits: list[Callable[[], object]] = [change, added.touch, added.unlink]
    project.build("wheel")
    assert project.npm_commands == ["ci", "run build"]
    for edit in edits:
        edit()
        assert project.build("wheel").returncode == 0
    assert project.npm_commands == ["ci", *["run build"] * 4]
    for _ in range(2):
        assert project.build("wheel").returncode == 0
        (sources / "index.ts").touch()  # a date alone is no change
    assert project.npm_commands == ["ci", *["run build"] * 4]


def test_packages_are_installed_again_when_others_are_locked(project: Project) -> None:
    assert project.build("wheel").returncode == 0
    installed = project.labextension / "node_modules" / ".package-lock.json"
    installed.write_text(installed.read_text().replace('"version": "5', '"version": "4'))
    shutil.rmtree(project.labextension / "built")
    project.build("wheel")
    assert project.npm_commands[2:] == ["ci"]  # where the stub finds a node_modules, and fails


def test_sdist_has_every_file_of_the_project_and_the_wheel_no_test(project: Project) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("the project's files are listed by git, and this is no checkout")
    listed = subprocess.run(
        [shutil.which("git") or "git", "ls-files", "--cached"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    files = {name for name in listed.stdout.splitlines() if not name.startswith(".ci/")}
    assert project.build("sdist").returncode == 0
    sdist = set(project.built("*.tar.gz"))
    assert sorted(name for name in files - sdist if (ROOT / name).exists()) == []
    unlisted = sdist - files - {"PKG-INFO"}
    assert [name for name in unlisted if "node_modules" in name or name.endswith(".pyc")] == []
    assert project.build("wheel").returncode == 0
    wheel = project.built("*.whl")
    assert {re.split("[/-]", name)[0] for name in wheel} == {"jupyter_relay"}
    assert not [name for name in wheel if "tests" in name]
    assert entries(wheel)
