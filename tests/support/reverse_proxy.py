"""nginx in front of two gateways, with the configuration of examples/nginx.conf."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import socket
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
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
    folder: Path,
    first: RunningServer,
    second: RunningServer,
    *,
    users: Mapping[str, str] | None = None,
) -> AsyncIterator[str]:
    """Run nginx in front of two gateways; gives the URL at which they are one.

    With ``users``, and their passwords, it lets in nobody else, by HTTP basic authentication, and
    shows the gateways their token itself.
    """
    program = needs_nginx()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    login = _login(folder, users, first.token) if users else ""
    process = await asyncio.to_thread(_start, program, folder, port, (first, second), login)
    try:
        await asyncio.to_thread(wait_for, process, lambda: _listens(port))
        yield f"http://127.0.0.1:{port}{PREFIX}"
    finally:
        await asyncio.to_thread(process.stop)


def _start(
    program: str,
    folder: Path,
    port: int,
    gateways: tuple[RunningServer, RunningServer],
    login: str,
) -> ServerProcess:
    example = EXAMPLE.read_text().replace("listen 80;", f"listen 127.0.0.1:{port};")
    example = example.replace("# Websockets.", login)
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


def _login(folder: Path, users: Mapping[str, str], token: str) -> str:
    """Write the users down for nginx, and return what its configuration says of them."""
    lines = []
    for user, password in users.items():
        digest = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
        lines.append(f"{user}:{{SHA}}{b64encode(digest).decode()}\n")
    (folder / "users").write_text("".join(lines))
    return (
        f'auth_basic "Gateways"; auth_basic_user_file {folder}/users;'
        f' proxy_set_header Authorization "token {token}";'
    )


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
