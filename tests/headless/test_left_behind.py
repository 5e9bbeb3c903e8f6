"""No kernel that a program has started stays on a real Kernel Gateway when its run has ended."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import papermill
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError

from jupyter_relay.headless.manager import GatewayKernelManager
from jupyter_relay.testing.servers import RunningServer
from tests.support.notebooks import notebook, write

from .test_nbclient import client_of, own_loop  # noqa: F401  # a fixture

CRASH = "import os; os._exit(1)"
MANAGER = "jupyter_relay.headless.manager.GatewayKernelManager"
SECONDS = 60


def kernels_of(gateway: RunningServer) -> set[str]:
    """The ids of the kernels that a gateway lists."""
    request = urllib.request.Request(f"{gateway.url}/api/kernels", headers=gateway.headers)
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return {model["id"] for model in json.load(answer)}


@pytest.fixture(autouse=True)
def nothing_is_left(gateway: RunningServer) -> Iterator[None]:
    """Check that there are no more kernels after a test than before."""
    before = kernels_of(gateway)
    yield
    assert kernels_of(gateway) == before


async def test_nbclient_leaves_no_kernel_that_crashed() -> None:
    with pytest.raises(DeadKernelError):
        await client_of(notebook(CRASH)).async_execute()


async def test_nbclient_leaves_no_kernel_whose_cell_took_too_long() -> None:
    client = NotebookClient(
        notebook("import time; time.sleep(60)"),
        kernel_manager_class=GatewayKernelManager,
        timeout=1,
    )
    with pytest.raises(CellTimeoutError):
        await client.async_execute()


async def test_nbclient_leaves_no_kernel_when_its_run_is_cancelled(
    gateway: RunningServer,
) -> None:
    began = asyncio.Event()
    client = client_of(
        notebook("import time; time.sleep(60)"), on_cell_execute=lambda **_: began.set()
    )
    run = asyncio.create_task(client.async_execute())
    await began.wait()
    assert await asyncio.to_thread(kernels_of, gateway)
    run.cancel()
    with pytest.raises(DeadKernelError):  # so nbclient calls it
        await run
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:  # nbclient leaves the one that asks whether the kernel lives
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


@pytest.mark.usefixtures("own_loop")
def test_papermill_leaves_no_kernel_that_crashed(tmp_path: Path) -> None:
    write(notebook(CRASH), tmp_path / "in.ipynb")
    with pytest.raises(DeadKernelError):
        papermill.execute_notebook(
            tmp_path / "in.ipynb",
            tmp_path / "out.ipynb",
            engine_name="jupyter_relay",
            progress_bar=False,
        )


def nbconvert(path: Path) -> list[str]:
    """The command that runs a notebook on the configured gateway."""
    return [
        sys.executable, "-m", "nbconvert", "--execute", "--to=notebook", "--output=out",
        f"--ExecutePreprocessor.kernel_manager_class={MANAGER}", str(path),
    ]  # fmt: skip


def test_nbconvert_leaves_no_kernel_that_crashed(tmp_path: Path) -> None:
    write(notebook(CRASH), tmp_path / "in.ipynb")
    done = subprocess.run(nbconvert(tmp_path / "in.ipynb"), capture_output=True, timeout=SECONDS)
    assert done.returncode != 0
    assert b"DeadKernelError" in done.stderr


async def test_manager_that_attached_leaves_the_kernel_at_its_end(gateway: RunningServer) -> None:
    owner = GatewayKernelManager()
    await owner.start_kernel()
    visitor = GatewayKernelManager()
    await visitor.start_kernel(kernel_id=owner.kernel_id)
    await visitor.cleanup_resources()
    assert owner.kernel_id in await asyncio.to_thread(kernels_of, gateway)
    await owner.cleanup_resources()


async def test_kernel_that_was_released_runs_on(gateway: RunningServer) -> None:
    manager = GatewayKernelManager()
    await manager.start_kernel()
    kernel_id = manager.kernel_id
    await manager.release()
    assert kernel_id in await asyncio.to_thread(kernels_of, gateway)
    successor = GatewayKernelManager()
    await successor.start_kernel(kernel_id=kernel_id)
    await successor.shutdown_kernel()


# Programs that end without a word to their manager.

HEAD = """\
import asyncio, os, signal, sys, threading, time
from jupyter_relay.headless.manager import GatewayKernelManager

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it, and what it runs inherits that

def say():
    print("there", flush=True)

"""
STARTS = """
async def main():
    manager = GatewayKernelManager()
    await manager.start_kernel()
    say()
    {}

asyncio.run(main())
"""
IN_CALLBACK = "asyncio.get_running_loop().call_soon(sys.exit, 4); await asyncio.sleep(60)"
FORKS = """
async def main():
    await GatewayKernelManager().start_kernel()
    say()

asyncio.run(main())
if os.fork() == 0:
    sys.exit()  # a child's end is not its parent's
os.wait()
from urllib.request import Request, urlopen
token = os.environ["JUPYTER_GATEWAY_AUTH_TOKEN"]
url = os.environ["JUPYTER_GATEWAY_URL"] + "/api/kernels"
assert urlopen(Request(url, headers={"Authorization": "token " + token})).read() != b"[]"
"""


@contextmanager
def program(text: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a Python program up to its first line of output, and then to its end."""
    command = [sys.executable, "-c", HEAD + textwrap.dedent(text)] if text else list(arguments)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            yield running
        finally:
            running.kill()


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (STARTS.format("sys.exit(3)"), 3),
        (STARTS.format("raise LookupError"), 1),
        (STARTS.format("pass"), 0),
        (STARTS.format(IN_CALLBACK), 4),
        (FORKS, 0),
    ],
    ids=["sys.exit", "an error", "just its end", "sys.exit in a callback", "a fork before its end"],
)  # fmt: skip
def test_program_that_ends_leaves_no_kernel(text: str, status: int) -> None:
    with program(text) as running:
        _, errors = running.communicate(timeout=SECONDS)
    assert running.returncode == status, errors
    assert "atexit" not in errors


@pytest.mark.parametrize(
    ("number", "wait"),
    [
        (signal.SIGTERM, "await asyncio.sleep(60)"),
        (signal.SIGTERM, "time.sleep(60)"),
        (signal.SIGHUP, "await asyncio.sleep(60)"),
        (signal.SIGINT, "await asyncio.sleep(60)"),
    ],
)
def test_program_ended_by_a_signal_has_the_usual_status_and_leaves_no_kernel(
    number: signal.Signals, wait: str
) -> None:
    with program(STARTS.format(wait)) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "there\n"
        running.send_signal(number)
        _, errors = running.communicate(timeout=SECONDS)
    assert running.returncode == -number, errors


def test_nbconvert_that_is_terminated_leaves_no_kernel(
    gateway: RunningServer, tmp_path: Path
) -> None:
    sign = tmp_path / "began"
    os.mkfifo(sign)
    made = notebook(f"open({str(sign)!r}, 'w').close()\nimport time; time.sleep(60)")
    write(made, tmp_path / "in.ipynb")
    with program("", *nbconvert(tmp_path / "in.ipynb")) as running:
        sign.read_bytes()  # until the cell has opened it
        assert kernels_of(gateway)
        running.terminate()
        running.communicate(timeout=SECONDS)
    assert running.returncode == -signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_program_ended_by_a_signal_during_a_start_leaves_no_kernel(number: signal.Signals) -> None:
    text = """
        async def main():
            asyncio.get_running_loop().call_later(0.05, say)
            await GatewayKernelManager().start_kernel()

        asyncio.run(main())
    """
    with program(text) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "there\n"
        running.send_signal(number)
        _, errors = running.communicate(timeout=SECONDS)
    assert running.returncode != 0, errors


def test_program_with_a_signal_handler_of_its_own_keeps_it() -> None:
    text = STARTS.format(
        "assert signal.getsignal(signal.SIGTERM) is handler; await manager.shutdown_kernel()"
    )
    handler = "handler = lambda *_: None\nsignal.signal(signal.SIGTERM, handler)\n"
    with program(handler + text) as running:
        _, errors = running.communicate(timeout=SECONDS)
    assert running.returncode == 0, errors


def test_signal_handlers_are_restored_after_the_last_kernel() -> None:
    text = STARTS.format(
        "assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL;"
        "await manager.shutdown_kernel();"
        "assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL"
    )
    with program(text) as running:
        _, errors = running.communicate(timeout=SECONDS)
    assert running.returncode == 0, errors
