"""A real HTTP proxy, proxy.py, on loopback."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from jupyter_relay.testing.processes import ServerProcess

T = TypeVar("T")

SECONDS = 30.0
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class ForwardProxy:
    """A proxy that runs; ``user`` and ``password`` are those it wants to be shown."""

    port: int
    scheme: str
    user: str
    password: str
    process: ServerProcess

    @property
    def url(self) -> str:
        """What goes into the environment."""
        return f"{self.scheme}://{self.user}:{self.password}@127.0.0.1:{self.port}"

    @property
    def url_without_password(self) -> str:
        """The same of one who does not know it."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def log(self) -> str:
        """All that it has said."""
        return self.process.log_path.read_text()

    async def logged(self, text: str, times: int = 1) -> None:
        """Wait until it has said something so often; it tells of a connection when that is over."""
        await asyncio.to_thread(wait_for, self.process, lambda: self.log().count(text) >= times)


@asynccontextmanager
async def forward_proxy(
    folder: Path, tls: tuple[Path, Path] | None = None
) -> AsyncIterator[ForwardProxy]:
    """Run a proxy that wants a user and a password; with a certificate and key, behind TLS."""
    user, password = "ann", "hunter2"
    port_file, log_path = folder / "proxy.port", folder / "proxy.log"
    arguments = [
        "--hostname=127.0.0.1",
        "--port=0",
        f"--port-file={port_file}",
        f"--data-dir={folder / 'proxy'}",
        f"--basic-auth={user}:{password}",
        "--num-workers=1",
        "--num-acceptors=1",
        "--timeout=60",
    ]
    if tls is not None:
        arguments += [f"--cert-file={tls[0]}", f"--key-file={tls[1]}"]
    process = await asyncio.to_thread(
        lambda: ServerProcess.spawn(
            sys.executable,
            "proxy",
            arguments,
            environment=os.environ,
            directory=folder,
            log_path=log_path,
        )
    )
    try:
        port = await asyncio.to_thread(wait_for, process, lambda: _number_in(port_file))
        yield ForwardProxy(port, "https" if tls else "http", user, password, process)
    finally:
        await asyncio.to_thread(process.stop)


def wait_for(process: ServerProcess, condition: Callable[[], T]) -> T:
    """Return what a condition says as soon as that is true, while a process runs."""
    deadline = time.monotonic() + SECONDS
    while not (result := condition()):
        if process.wait(POLL_SECONDS) or time.monotonic() > deadline:
            raise RuntimeError(f"It has not come to this; the log ends with:\n{process.log_tail()}")
    return result


def _number_in(path: Path) -> int:
    return int(path.read_text() or 0) if path.exists() else 0
