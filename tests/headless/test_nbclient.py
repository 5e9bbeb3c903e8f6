"""Notebooks under nbclient, on a real Kernel Gateway that wants a token."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from jupyter_core import utils
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from jupyter_relay.errors import KernelSpecNotFound
from jupyter_relay.headless.manager import GatewayKernelManager
from jupyter_relay.testing import FakeGateway, FakeKernel
from jupyter_relay.testing.servers import RunningServer
from jupyter_relay.wire.message import Message
from tests.support.notebooks import notebook, printed

from .conftest import SECOND_KERNELSPEC


@pytest.fixture
def own_loop() -> Iterator[None]:
    """Close the event loop that nbclient makes for itself where none is running."""
    utils._loop.set(None)
    yield
    loop = utils._loop.get()
    if loop is not None:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    utils._loop.set(None)
    asyncio.set_event_loop(None)


def client_of(made: NotebookNode, **options: Any) -> NotebookClient:  # noqa: ANN401  # traits
    """nbclient as a user would call it, with our manager."""
    return NotebookClient(made, kernel_manager_class=GatewayKernelManager, timeout=60, **options)


async def test_nbclient_runs_a_notebook(gateway: RunningServer) -> None:
    before = set(threading.enumerate())
    made = notebook("x = 20", "print(x + 1)\nx * 2")
    await client_of(made).async_execute()
    assert printed(made) == "21\n"
    assert made.cells[1].outputs[-1].data["text/plain"] == "40"
    assert made.metadata.language_info.name == "python"
    assert set(threading.enumerate()) == before


@pytest.mark.usefixtures("own_loop", "gateway")
def test_nbclient_runs_a_notebook_without_a_running_loop() -> None:
    before = set(threading.enumerate())
    made = notebook("print('plain')")
    client_of(made).execute()
    assert printed(made) == "plain\n"
    assert set(threading.enumerate()) == before


async def test_nbclient_starts_the_notebooks_own_kernelspec(gateway: RunningServer) -> None:
    made = notebook("import os; print(os.environ['WHICH'])", kernel_name=SECOND_KERNELSPEC)
    await client_of(made).async_execute()
    assert printed(made) == "the second\n"


async def test_nbclient_with_an_unknown_kernelspec_raises_an_error_and_starts_nothing(
    gateway: RunningServer,
) -> None:
    with pytest.raises(KernelSpecNotFound, match="cobol"):
        await client_of(notebook("1", kernel_name="cobol")).async_execute()


async def test_waiting_for_a_cell_costs_nothing(gateway: RunningServer) -> None:
    seconds = 3
    manager = GatewayKernelManager()
    await manager.start_kernel()
    client = client_of(notebook(f"import time; time.sleep({seconds})"), km=manager)
    async with client.async_setup_kernel():
        before = time.process_time()
        await client.async_execute_cell(client.nb.cells[0], 0)
        used = time.process_time() - before
    await manager.shutdown_kernel()
    assert used < seconds / 30


async def test_widgets_with_buffers_come_through(gateway: RunningServer) -> None:
    made = notebook(
        "import ipywidgets as w\nimage = w.Image(value=bytes(range(256)) * 100)\nimage",
        "print(len(image.value))",
    )
    await client_of(made, store_widget_state=True).async_execute()
    assert printed(made) == "25600\n"
    (view,) = [output for output in made.cells[0].outputs if "data" in output]
    model_id = view.data["application/vnd.jupyter.widget-view+json"]["model_id"]
    state = made.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    assert state[model_id]["model_name"] == "ImageModel"
    assert state[model_id]["buffers"][0]["path"] == ["value"]


async def test_nbclient_raises_its_own_error_for_an_error_in_a_cell(gateway: RunningServer) -> None:
    made = notebook("1 / 0", "print('never')")
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        await client_of(made).async_execute()
    assert made.cells[1].outputs == []


async def test_nbclient_interrupts_a_cell_that_takes_too_long(gateway: RunningServer) -> None:
    made = notebook("import time\ntime.sleep(60)", "print('next')")
    client = NotebookClient(
        made,
        kernel_manager_class=GatewayKernelManager,
        timeout=1,
        interrupt_on_timeout=True,
        allow_errors=True,
    )
    await client.async_execute()
    assert made.cells[0].outputs[0].ename == "KeyboardInterrupt"
    assert printed(made) == "next\n"


async def test_nbclient_without_interrupt_on_timeout_raises_its_own_timeout(
    gateway: RunningServer,
) -> None:
    client = NotebookClient(
        notebook("import time\ntime.sleep(60)"),
        kernel_manager_class=GatewayKernelManager,
        timeout=1,
    )
    with pytest.raises(CellTimeoutError):
        await client.async_execute()


def why(made: NotebookNode, logged: pytest.LogCaptureFixture) -> str:
    """The reason in the output of a notebook's first cell, which is in the log too, in one line."""
    (reason,) = [out.evalue for out in made.cells[0].outputs if out.output_type == "error"]
    assert len([r for r in logged.records if reason in r.getMessage()]) == 1
    return str(reason)


async def test_nbclient_run_ends_when_the_kernel_dies_and_its_cell_says_why(
    gateway: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    made = notebook("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(DeadKernelError):
        await client_of(made).async_execute()
    assert why(made, caplog) == f"The kernel died; {gateway.url} starts it again."


@pytest.mark.parametrize("close", [None, 1001])
async def test_nbclient_run_ends_when_the_kernel_is_deleted_and_its_cell_says_why(
    close: int | None, fake: FakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    async def be_deleted(_: Message, kernel: FakeKernel) -> None:
        fake.lose_kernel(kernel.id, close=close)
        await asyncio.Event().wait()

    fake.on_execute = be_deleted
    made = notebook("1")
    with pytest.raises(DeadKernelError):
        await client_of(made).async_execute()
    assert f"{fake.url} has no kernel " in why(made, caplog)
