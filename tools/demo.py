"""Show Jupyter Relay at work: JupyterLab here, its kernels behind a Jupyter Kernel Gateway.

`make demo` starts both on loopback, opens the example notebook and stops both at Ctrl-C.
`make demo ARGS=--check` needs no browser: it runs the notebook through the server, prints what
comes out, and ends with 0 only if that is what the notebook says should, from a kernel that is a
child of the gateway, in a server that uses this package's classes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import os
import shutil
import signal
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from class_report import OPTIONS, classes_in_use
from kernel_socket import CellRun, open_kernel_socket

from jupyter_relay.testing.servers import jupyter_lab, kernel_gateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kernel_socket import KernelSocket

    from jupyter_relay.testing.servers import RunningServer

TOOLS = Path(__file__).resolve().parent
NOTEBOOK = TOOLS.parent / "examples" / "demo.ipynb"
CELL_SECONDS = 90.0  # the first picture on a new machine waits for matplotlib's font cache

say = functools.partial(print, flush=True)


class CheckFailed(Exception):
    """The demonstration did not show what it should."""


@contextlib.asynccontextmanager
async def running_demo() -> AsyncIterator[tuple[RunningServer, RunningServer]]:
    """Run a gateway, and JupyterLab whose kernels live there, with a copy of the notebook."""
    report = ["--ServerApp.jpserver_extensions={'class_report': True}"]
    environment = {"PYTHONPATH": str(TOOLS)}
    async with (
        kernel_gateway() as gateway,
        jupyter_lab(gateway=gateway, extra_args=report, env=environment) as lab,
    ):
        shutil.copy(NOTEBOOK, lab.directory / "work")
        yield gateway, lab


async def show() -> None:
    """Run the demonstration until Ctrl-C, or until one of the servers ends."""
    async with running_demo() as (gateway, lab):
        address = f"{lab.url}/lab/tree/{NOTEBOOK.name}?token={lab.token}"
        say(f"Kernel Gateway runs at {gateway.url} (process {gateway.pid}).")
        say(f"JupyterLab runs at {lab.url} (process {lab.pid}). The example notebook:\n")
        say(f"    {address}\n\nCtrl-C stops both.")
        # Without a screen this would start a browser in the terminal, over our own lines.
        if sys.platform == "darwin" or os.environ.keys() & {"DISPLAY", "WAYLAND_DISPLAY"}:
            await asyncio.to_thread(webbrowser.open, address)
        while not await asyncio.to_thread(lab.process.wait, 0.5):
            if gateway.process.exit_code is not None:
                raise CheckFailed(f"the gateway has ended:\n{gateway.process.log_tail()}")
        raise CheckFailed(f"JupyterLab has ended:\n{lab.process.log_tail()}")


async def check() -> None:
    """Run the notebook without a browser; CheckFailed says what is wrong."""
    async with running_demo() as (gateway, lab):
        check_classes(lab)
        async with (
            aiohttp.ClientSession(headers=lab.headers) as http,
            aiohttp.ClientSession(headers=gateway.headers) as gateway_http,
        ):
            session = await start_session(http, lab)
            kernel_id = session["kernel"]["id"]
            kernel_url = f"{gateway.url}/api/kernels/{kernel_id}"
            require(await status(gateway_http, kernel_url) == 200, "the gateway has no such kernel")
            kernel = await open_kernel_socket(http, lab.url, kernel_id)
            await check_parent(kernel, gateway)
            say(f"Kernel {kernel_id} is a child of the gateway (process {gateway.pid}).")
            await check_cells(kernel)
            async with http.delete(f"{lab.url}/api/sessions/{session['id']}") as response:
                require(response.status == 204, f"closing the session answered {response.status}")
            gone = await status(gateway_http, kernel_url)
            require(gone == 404, f"the gateway still answers {gone} for the closed kernel")
    say("\nEverything came out as it should.")


def check_classes(lab: RunningServer) -> None:
    """The server must use this package's classes, not the ones it brings along."""
    used = classes_in_use(lab.log_path.read_text(encoding="utf-8"))
    for option in OPTIONS:
        name = used.get(option, "unknown")
        require(name.startswith("jupyter_relay."), f"{option} is {name}")
        say(f"{option}: {name}")


async def start_session(http: aiohttp.ClientSession, lab: RunningServer) -> dict[str, Any]:
    """Open the notebook as a browser does."""
    model = {
        "path": NOTEBOOK.name,
        "name": NOTEBOOK.name,
        "type": "notebook",
        "kernel": {"name": "python3"},
    }
    async with http.post(f"{lab.url}/api/sessions", json=model) as response:
        body = await response.text()
        require(response.status == 201, f"opening a session answered {response.status}: {body}")
        session: dict[str, Any] = json.loads(body)
        return session


async def status(http: aiohttp.ClientSession, url: str) -> int:
    """The status the address answers with."""
    async with http.get(url) as response:
        return response.status


async def check_parent(kernel: KernelSocket, gateway: RunningServer) -> None:
    """The kernel's own process must be a child of the gateway's."""
    run = await run_cell(kernel, "", {"parent": "__import__('os').getppid()"})
    parent = run.reply["user_expressions"]["parent"]["data"]["text/plain"]
    require(int(parent) == gateway.pid, f"the kernel's parent is {parent}, not {gateway.pid}")


async def check_cells(kernel: KernelSocket) -> None:
    """Run every code cell and compare with the `expected` of its metadata."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"])
        say("\n" + "\n".join(f"| {line}" for line in source.splitlines()))
        run = await run_cell(kernel, source)
        for line in describe(run):
            say(line)
        compare(cell["id"], run, cell["metadata"]["expected"])


async def run_cell(
    kernel: KernelSocket, source: str, expressions: dict[str, str] | None = None
) -> CellRun:
    """Run one cell, which must not fail, within a time."""
    async with asyncio.timeout(CELL_SECONDS):
        run = await kernel.run(source, expressions)
    require(run.reply["status"] == "ok", f"a cell failed: {run.reply}")
    return run


def compare(cell_id: str, run: CellRun, expected: dict[str, Any]) -> None:
    """CheckFailed unless the cell brought what it should."""
    for what, value in expected.items():
        match what:
            case "stdout":
                found: object = run.stdout
            case "result":
                found = run.data.get("text/plain")
            case "mime":
                found = [mime for mime in run.data if mime in value]
            case "buffer_starts":
                found = next((b[: len(value) // 2].hex() for b in run.buffers), None)
            case _:
                raise CheckFailed(f"cell {cell_id}: nobody knows how to check {what!r}")
        require(found == value, f"cell {cell_id}: {what} is {found!r}, not {value!r}")


def describe(run: CellRun) -> list[str]:
    """The outputs of a cell as lines of text."""
    lines = run.stdout.splitlines()
    for mime, value in run.data.items():
        lines.append(
            f"[{mime}, {len(value)} characters]" if "image" in mime else f"[{mime}] {value}"
        )
    return lines + [f"[{len(buffer)} bytes of binary data]" for buffer in run.buffers]


def require(condition: bool, otherwise: str) -> None:
    """CheckFailed with the sentence unless the condition holds."""
    if not condition:
        raise CheckFailed(otherwise)


async def main() -> int:
    """Do what the command line says; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="run the notebook and compare")
    arguments = parser.parse_args()
    task = asyncio.current_task()
    if task is not None:  # SIGTERM should stop everything in order, as Ctrl-C does
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await (check() if arguments.check else show())
    except CheckFailed as error:
        say(f"FAILED: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except (KeyboardInterrupt, asyncio.CancelledError):
        say("\nStopped.")
