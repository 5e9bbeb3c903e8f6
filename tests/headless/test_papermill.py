"""papermill with our engine, on a real Kernel Gateway."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import papermill
import pytest
from papermill.engines import papermill_engines
from papermill.exceptions import PapermillExecutionError

from jupyter_relay.headless.papermill import GatewayEngine
from jupyter_relay.testing.servers import RunningServer
from tests.support.notebooks import notebook, printed, read, write

from .conftest import SECOND_KERNELSPEC
from .test_nbclient import own_loop  # noqa: F401  # a fixture

pytestmark = pytest.mark.usefixtures("own_loop")


def parameterised(directory: Path, *sources: str, kernel_name: str = "python3") -> Path:
    """Write a notebook whose first cell holds its parameters."""
    made = notebook("who = 'nobody'\ntimes = 0", *sources, kernel_name=kernel_name)
    made.cells[0].metadata["tags"] = ["parameters"]
    path = directory / "in.ipynb"
    write(made, path)
    return path


def test_engine_is_registered_with_papermill() -> None:
    assert papermill_engines.get_engine("jupyter_relay") is GatewayEngine


def test_engine_can_be_imported_before_papermill() -> None:
    code = (
        "from jupyter_relay.headless.papermill import GatewayEngine\n"
        "from papermill.engines import papermill_engines\n"
        "assert papermill_engines.get_engine('jupyter_relay') is GatewayEngine"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.usefixtures("gateway")
def test_engine_runs_a_notebook_with_parameters(tmp_path: Path) -> None:
    path = parameterised(tmp_path, "print(' '.join([who] * times))")
    done = papermill.execute_notebook(
        path,
        tmp_path / "out.ipynb",
        parameters={"who": "Ada", "times": 3},
        engine_name="jupyter_relay",
        progress_bar=False,
    )
    assert printed(done) == "Ada Ada Ada\n"
    saved = read(tmp_path / "out.ipynb")
    assert printed(saved) == "Ada Ada Ada\n"


@pytest.mark.usefixtures("gateway")
def test_engine_starts_the_notebooks_kernelspec_unless_another_is_given(tmp_path: Path) -> None:
    path = parameterised(
        tmp_path, "import os; print(os.environ.get('WHICH'))", kernel_name=SECOND_KERNELSPEC
    )
    for name, expected in ((None, "the second\n"), ("python3", "None\n")):
        done = papermill.execute_notebook(
            path, None, kernel_name=name, engine_name="jupyter_relay", progress_bar=False
        )
        assert printed(done) == expected


@pytest.mark.usefixtures("gateway")
def test_engine_raises_papermills_error_for_a_cell_that_fails(tmp_path: Path) -> None:
    path = parameterised(tmp_path, "raise LookupError(who)")
    with pytest.raises(PapermillExecutionError, match="LookupError"):
        papermill.execute_notebook(
            path,
            tmp_path / "out.ipynb",
            parameters={"who": "Bob"},
            engine_name="jupyter_relay",
            progress_bar=False,
        )


def test_papermill_command_finds_the_engine(gateway: RunningServer, tmp_path: Path) -> None:
    path = parameterised(tmp_path, "print(who)")
    out = tmp_path / "out.ipynb"
    command = [
        sys.executable, "-m", "papermill", "--engine", "jupyter_relay", "-p", "who", "Eve",
        str(path), str(out),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert json.loads(out.read_text())["cells"][-1]["outputs"][0]["text"] == ["Eve\n"]
