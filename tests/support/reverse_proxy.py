"""nginx in front of two gateways, with the configuration of examples/nginx.conf."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from jupyter_relay.testing.processes import ServerProcess
from jupyter_relay.testing.servers import RunningServer
from tests.support.forward_proxy import wait_for

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "nginx.conf"
PREFIX = "/team/jupyter"

SKIP_REASON = "no nginx (make reverse-proxy)"

MAIN = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/gateways.conf;
}}
"""


def needs_nginx() -> str:
    """Where nginx is; skips the test where it is not."""
    # Debian keeps it in a folder that is not in every user's path.
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(SKIP_REASON)
    return found


@asynccontextmanager
async def reverse_proxy(
    folder: Path, first: RunningServer, second: RunningServer
) -> AsyncIterator[str]:
    """Run nginx in front of two gateways; gives the URL at which they are one."""
    program = needs_nginx()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = await asyncio.to_thread(_start, program, folder, port, (first, second))
    try:
        await asyncio.to_thread(wait_for, process, lambda: _listens(port))
        yield f"http://127.0.0.1:{port}{PREFIX}"
    finally:
        await asyncio.to_thread(process.stop)


def _start(
    program: str, folder: Path, port: int, gateways: tuple[RunningServer, RunningServer]
) -> ServerProcess:
    example = EXAMPLE.read_text().replace("listen 80;", f"listen 127.0.0.1:{port};")
    for number, gateway in enumerate(gateways, 1):
        example = example.replace(f"10.0.0.{number}:8888", f"127.0.0.1:{gateway.port}")
    (folder / "gateways.conf").write_text(example)
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder))
    return ServerProcess.spawn(
        sys.executable,
        "tests.support.leashed",
        [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"],
        environment={**os.environ, "PYTHONPATH": str(ROOT)},
        directory=folder,
        log_path=folder / "nginx.log",
    )


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
