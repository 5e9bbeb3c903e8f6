"""Other extensions beside ours, in real servers: each starts, and a notebook runs a cell.

Each is run without us on kernels of the server's own, and with us on those of a Kernel Gateway.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from jupyter_relay.testing.servers import RunningServer, jupyter_server, kernel_gateway
from jupyter_relay.wire.message import Message
from tests.support.relay_process import tab
from tests.support.tab import Tab, printed

pytestmark = pytest.mark.long

NEIGHBOURS: Mapping[str, tuple[str, ...]] = {
    "resource-usage": ("jupyter_resource_usage",),
    "server-documents": ("jupyter_server_documents", "jupyter_server_fileid"),
    "collaboration": ("jupyter_collaboration", "jupyter_server_ydoc", "jupyter_server_fileid"),
    "nbmodel": ("jupyter_server_nbmodel",),
    "kernels-mixer": (),
}
"""The server extensions of each environment that ``make`` has put beside this one."""

MIXER = """\
from google.cloud import jupyter_config
jupyter_config.configure_gateway_client = lambda c: None  # it would ask Google for a token
from kernels_mixer.kernelspecs import MixingKernelSpecManager
from kernels_mixer.kernels import MixingMappingKernelManager
from kernels_mixer.websockets import DelegatingWebsocketConnection
from jupyter_server.services.sessions.sessionmanager import SessionManager
c.ServerApp.kernel_spec_manager_class = MixingKernelSpecManager
c.ServerApp.kernel_manager_class = MixingMappingKernelManager
c.ServerApp.session_manager_class = SessionManager
c.ServerApp.kernel_websocket_connection_class = DelegatingWebsocketConnection
"""

WITHOUT_USAGE = """\
from ipykernel.kernelapp import launch_new_instance
from ipykernel.kernelbase import Kernel
Kernel.control_msg_types.remove("usage_request")
launch_new_instance()
"""
"""A kernel that does not know ``usage_request``, as ipykernel before version 6.9."""

SOURCE = "print('on the server')"
SOURCE_HASH = "1558025906"
"""The hash, MurmurHash2, by which jupyter-server-documents knows this source."""

NOTEBOOK = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    "cells": [
        {"id": "one", "cell_type": "code", "source": SOURCE, "metadata": {}, "outputs": [],
         "execution_count": None},
    ],
}  # fmt: skip

environments = pytest.mark.parametrize("name", NEIGHBOURS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningServer]:
    """One Kernel Gateway for all, which has a kernel ``old`` without ``usage_request``, too."""
    folder = tmp_path_factory.mktemp("share") / "kernels" / "old"
    folder.mkdir(parents=True)
    argv = [sys.executable, "-c", WITHOUT_USAGE, "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Old", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec))
    async with kernel_gateway(env={"JUPYTER_PATH": str(folder.parent.parent)}) as running:
        yield running


def prepare(name: str, directory: Path) -> str:
    """Write a server's configuration and notebook; return the ``PYTHONPATH`` of its extension."""
    packages = Path(sys.prefix, "neighbours", name)
    assert packages.is_dir(), "run: make .venv/installed"
    (directory / "config").mkdir(parents=True)
    (directory / "config" / "jupyter_server_config.py").write_text(
        MIXER if name == "kernels-mixer" else ""
    )
    (directory / "work").mkdir()
    (directory / "work" / "a.ipynb").write_text(json.dumps(NOTEBOOK))
    return os.pathsep.join(filter(None, [str(packages), os.environ.get("PYTHONPATH")]))


@asynccontextmanager
async def beside(
    name: str, directory: Path, gateway: RunningServer | None
) -> AsyncIterator[RunningServer]:
    """Run a server with an extension: with ours on a gateway, or without both."""
    path = prepare(name, directory)
    names = [*NEIGHBOURS[name], *(["jupyter_relay"] if gateway is not None else [])]
    extensions = {"jupyter_relay": False} | dict.fromkeys(names, True)
    async with jupyter_server(
        gateway=gateway,
        directory=directory,
        env={"PYTHONPATH": path},
        extra_args=[f"--ServerApp.jpserver_extensions={extensions}"],
    ) as server:
        yield server


async def call(server: RunningServer, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401  # JSON
    """Make a request that must succeed."""
    async with (
        aiohttp.ClientSession(headers=server.headers) as http,
        http.request(method, server.url + path, json=body) as response,
    ):
        text = await response.text()
        assert response.ok, (response.status, text, server.log_path.read_text()[-3000:])
        return json.loads(text) if text else None


async def open_notebook(server: RunningServer) -> str:
    """Open a notebook as a page does, and return the id of its kernel."""
    body = {
        "path": "a.ipynb", "name": "a.ipynb", "type": "notebook", "kernel": {"name": "python3"},
    }  # fmt: skip
    session = await call(server, "POST", "/api/sessions", body)
    kernel_id: str = session["kernel"]["id"]
    return kernel_id


@pytest.mark.parametrize("with_us", [False, True], ids=["without us", "with us"])
@environments
async def test_notebook_beside_other_extensions_runs_a_cell(
    name: str, with_us: bool, gateway: RunningServer, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(100))
        server = await stack.enter_async_context(
            beside(name, tmp_path / "server", gateway if with_us else None)
        )
        kernel_id = await open_notebook(server)
        async with tab(server, kernel_id, "page") as page:
            assert await page.run("print('ran')") == "ran\n"
            if name == "server-documents":
                await runs_on_the_server(server, kernel_id, page)
        if name == "resource-usage":
            await shows_usage(server, kernel_id)
        log = server.log_path.read_text()
        on_gateway = {kernel["id"] for kernel in await call(gateway, "GET", "/api/kernels")}
    ours = with_us and name != "kernels-mixer"  # its classes are all four its own
    assert (kernel_id in on_gateway) is ours
    assert log.count("jupyter_relay is not used") == (with_us and not ours)


async def test_usage_of_a_kernel_that_cannot_tell_it_is_not_supported(
    gateway: RunningServer, tmp_path: Path
) -> None:
    async with beside("resource-usage", tmp_path / "server", gateway) as server:
        kernel = await call(server, "POST", "/api/kernels", {"name": "old"})
        path = f"/api/metrics/v1/kernel_usage/get_usage/{kernel['id']}"
        for _ in range(2):
            usage = await call(server, "GET", path)
            assert usage["content"]["reason"] == "not_supported"
            assert usage["content"]["kernel_version"].startswith("ipython ")


async def shows_usage(server: RunningServer, kernel_id: str) -> None:
    """See that the figures are those of the kernel's own process."""
    usage = await call(server, "GET", f"/api/metrics/v1/kernel_usage/get_usage/{kernel_id}")
    assert usage["kernel_id"] == kernel_id
    assert usage["content"]["pid"] > 0
    assert usage["content"]["kernel_memory"] > 0


async def runs_on_the_server(server: RunningServer, kernel_id: str, page: Tab) -> None:
    """Have jupyter-server-documents run the notebook's cell, by a client in the server; the page
    hears what it prints, too."""
    index = await call(server, "POST", "/api/fileid/index?path=a.ipynb")
    body = {
        "document_id": f"json:notebook:{index['id']}",
        "cells": [{"cell_id": "one", "source_hash": SOURCE_HASH}],
    }
    assert await call(server, "POST", f"/api/kernels/{kernel_id}/execute", body) is None
    heard: list[Message] = []
    while printed(heard) != "on the server\n":
        heard.append(await page.receive())
