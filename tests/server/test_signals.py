"""A server that is ended does with its kernels what ``on_exit`` says, by whatever it is ended: a
signal, with a terminal or without, or a request."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from jupyter_relay.testing import FakeGateway
from jupyter_relay.testing.processes import free_port
from jupyter_relay.testing.servers import jupyter_server
from tests.support.server import server_on

ENDS_WITHIN = 60.0
"""Seconds; it takes less than one, and this machine may be busy."""

TOKEN = "servers-own"

AT_A_TERMINAL = """\
import fcntl, runpy, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
if {ignored}:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
runpy.run_module("jupyter_server", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(autouse=True)
def signals_as_at_a_login() -> Iterator[None]:
    """Let servers inherit what signals do by default, however the tests were started: a shell
    ignores SIGINT for what it runs in the background, as ``nohup`` does SIGHUP."""
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGHUP, hangup)


def gateway_arguments(gateway: FakeGateway, on_exit: str = "shutdown") -> list[str]:
    return [
        f"--gateway-url={gateway.url}",
        f"--GatewayClient.auth_token={gateway.token}",
        f"--GatewayClient.on_exit={on_exit}",
    ]


async def post(url: str, token: str, path: str, body: object) -> int:
    """Make a request that must succeed; return its status."""
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"token {token}"}) as http,
        http.post(url + path, json=body) as response,
    ):
        assert response.ok, await response.text()
        return response.status


async def start_kernel(url: str, token: str) -> None:
    assert await post(url, token, "/api/kernels", {}) == 201


@pytest.mark.parametrize("on_exit", ["shutdown", "keep"])
@pytest.mark.parametrize("ended_by", ["SIGINT", "SIGTERM", "SIGHUP", "/api/shutdown"])
async def test_server_without_terminal_when_stopped_ends_in_order(
    ended_by: str, on_exit: str, fake_gateway: FakeGateway
) -> None:
    async with jupyter_server(extra_args=gateway_arguments(fake_gateway, on_exit)) as server:
        await start_kernel(server.url, server.token)
        kernel_ids = list(fake_gateway.kernels)
        if ended_by.startswith("SIG"):
            os.kill(server.pid, getattr(signal, ended_by))
        else:
            await post(server.url, server.token, ended_by, {})
        assert await asyncio.to_thread(server.process.wait, ENDS_WITHIN)
        log = server.log_path.read_text()
    kept = kernel_ids if on_exit == "keep" else []
    assert list(fake_gateway.kernels) == kept
    assert f"(on_exit = keep): {kernel_ids[0]}." in log or not kept
    assert "Traceback" not in log
    assert server.process.exit_code == 0


class Terminal:
    """A server at a terminal, as the person who sits there has it."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self.shown = ""
        self._master = master
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(master, self._read)

    def type(self, text: str) -> None:
        """Type on its keyboard."""
        os.write(self._master, text.encode())

    async def shows(self, text: str) -> str:
        """Wait until it shows a text; return all that it has shown."""
        async with asyncio.timeout(ENDS_WITHIN):
            while text not in self.shown:
                self._news.clear()
                await self._news.wait()
        return self.shown

    async def ended(self) -> int:
        """Wait until the server has ended, and return its status."""
        return await asyncio.to_thread(self.process.wait, ENDS_WITHIN)

    def close(self) -> None:
        """Close the window: the system sends SIGHUP to the server."""
        if self._master >= 0:
            asyncio.get_running_loop().remove_reader(self._master)
            os.close(self._master)
            self._master = -1

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the server has ended
            self.shown += os.read(self._master, 65536).decode(errors="replace")
        self._news.set()


@asynccontextmanager
async def at_a_terminal(
    gateway: FakeGateway,
    directory: Path,
    *,
    ignores_hangups: bool = False,
    on_exit: str = "shutdown",
) -> AsyncIterator[Terminal]:
    """Run a server at a terminal, with one kernel."""
    master, slave = pty.openpty()
    process = await asyncio.to_thread(
        subprocess.Popen,
        [
            sys.executable, "-c", AT_A_TERMINAL.format(ignored=ignores_hangups),
            *gateway_arguments(gateway, on_exit),
            "--debug", "--no-browser", "--ServerApp.allow_root=True", "--ip=127.0.0.1",
            f"--port={free_port()}",  # Jupyter Server 2.17 prints a 0 as it was given
            f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={directory}",
        ],
        stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        env={
            **os.environ,
            **{f"JUPYTER_{kind}_DIR": str(directory) for kind in ("CONFIG", "DATA", "RUNTIME")},
        },
    )  # fmt: skip
    os.close(slave)
    terminal = Terminal(process, master)
    try:
        shown = await terminal.shows("jupyter_relay | extension was successfully started")
        url = next(word for word in shown.split() if word.startswith("http://127.0.0.1"))
        await start_kernel(url.partition("/?")[0].removesuffix("/tree"), TOKEN)
        yield terminal
    finally:
        terminal.close()
        process.kill()
        await asyncio.to_thread(process.wait)


async def test_server_at_terminal_on_ctrl_c_and_yes_deletes_kernels(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    async with at_a_terminal(fake_gateway, tmp_path) as terminal:
        terminal.type("\x03")
        await terminal.shows("Shut down this Jupyter server (y/[n])?")
        assert len(fake_gateway.kernels) == 1
        terminal.type("y\n")
        assert await terminal.ended() == 0
    assert not fake_gateway.kernels


async def test_server_at_terminal_with_keep_on_ctrl_c_and_yes_leaves_kernels(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    async with at_a_terminal(fake_gateway, tmp_path, on_exit="keep") as terminal:
        terminal.type("\x03")
        await terminal.shows("Shut down this Jupyter server (y/[n])?")
        terminal.type("y\n")
        await terminal.shows("1 kernel runs on at")
        assert await terminal.ended() == 0
    assert len(fake_gateway.kernels) == 1
    assert not fake_gateway.requests_to("DELETE", "/api/kernels/*")


async def test_server_at_terminal_on_ctrl_c_and_no_goes_on(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    async with at_a_terminal(fake_gateway, tmp_path) as terminal:
        terminal.type("\x03")
        await terminal.shows("Shut down this Jupyter server (y/[n])?")
        terminal.type("n\n")
        await terminal.shows("resuming operation")
        assert terminal.process.poll() is None
        assert len(fake_gateway.kernels) == 1


async def test_server_at_terminal_that_closes_deletes_kernels(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    async with at_a_terminal(fake_gateway, tmp_path) as terminal:
        terminal.close()
        assert await terminal.ended() == 0
    assert not fake_gateway.kernels


async def test_server_ignoring_hangups_on_sighup_goes_on(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    async with at_a_terminal(fake_gateway, tmp_path, ignores_hangups=True) as terminal:
        os.kill(terminal.process.pid, signal.SIGHUP)
        os.kill(terminal.process.pid, signal.SIGUSR1)  # it answers with its state
        await terminal.shows("1 active kernel")
        assert len(fake_gateway.kernels) == 1


async def test_server_within_program_leaves_its_signal_handlers(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    def handlers() -> list[Callable[..., object] | int | None]:
        return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)]

    before = handlers()
    async with server_on(fake_gateway, tmp_path) as server:
        await server.app._post_start()  # type: ignore[no-untyped-call]
        assert handlers() == before
