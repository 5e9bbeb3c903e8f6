"""A child process that is always ended, together with everything it started, and where it lives.

All calls block for at most the time they are given; asyncio programs make them in a thread.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

HOST: Final = "127.0.0.1"

# What the parent was told about its own servers and kernels is not meant for the ones started here.
_NOT_INHERITED = ("JUPYTER_", "KERNEL_", "KG_", "EG_", "JPY_", "IPYTHON", "PYTEST_")

# JupyterLab asks about news and looks for updates on its first page; neither belongs into a test.
_LAB_OVERRIDES = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
    },
}

LEASH = Path(__file__).with_name("leash.py")


@dataclass(frozen=True)
class ProcessIdentity:
    """One process. The start time tells it from a later one that was given the same id."""

    pid: int
    parent: int
    started: str


class ServerProcess:
    """A Python module running as a child process, with its output in a log file."""

    def __init__(self, popen: subprocess.Popen[bytes], log_path: Path) -> None:
        """Take over a process that is already running; use :meth:`spawn` to start one."""
        self._popen = popen
        self.log_path = log_path
        self._family: set[ProcessIdentity] = set()

    @classmethod
    def spawn(
        cls,
        python: str,
        module: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        log_path: Path,
    ) -> Self:
        """Start ``python -m module arguments`` in `directory`.

        The process ends by itself when this one does. OSError if it cannot be started.
        """
        with log_path.open("ab") as log:
            popen = subprocess.Popen(  # noqa: S603 - an argument list, no shell
                [python, str(LEASH), module, *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=directory,
                # Ctrl-C at the terminal is for the parent, which then stops its children in order.
                start_new_session=True,
            )
        return cls(popen, log_path)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """The exit status, negative for a signal; None while the process runs."""
        return self._popen.poll()

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the process to end; say whether it has."""
        try:
            self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """End the process at once (SIGKILL) and wait for that; its children are left alone."""
        self._remember_family()
        self._popen.kill()
        self._popen.wait()

    def stop(self, grace: float = 15.0) -> None:
        """End the process and all its descendants, by force after `grace` seconds.

        May be called again, and after the process has ended by itself.
        """
        self._remember_family()
        if self._popen.poll() is None:
            self._popen.terminate()
            if not self.wait(grace):
                self._remember_family()
                self._popen.kill()
                self._popen.wait()
        if self._popen.stdin is not None:
            self._popen.stdin.close()
        kill_all(self._family)

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of what the process has printed."""
        text = self.log_path.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def _remember_family(self) -> None:
        # Asked for while the process lives: an orphan no longer shows whose child it was.
        if self._popen.poll() is None:
            self._family.update(descendants(self.pid))


def descendants(pid: int) -> list[ProcessIdentity]:
    """All running processes started by `pid`, directly or not."""
    children: dict[int, list[ProcessIdentity]] = {}
    for process in running_processes():
        children.setdefault(process.parent, []).append(process)
    found: list[ProcessIdentity] = []
    waiting = [pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            found.append(child)
            waiting.append(child.pid)
    return found


def kill_all(processes: Iterable[ProcessIdentity], timeout: float = 5.0) -> None:
    """Kill those of `processes` that still run, and wait up to `timeout` seconds for their end."""
    wanted = {(process.pid, process.started) for process in processes}
    deadline = time.monotonic() + timeout
    while wanted and time.monotonic() < deadline:
        alive = {(process.pid, process.started) for process in running_processes()} & wanted
        if not alive:
            return
        for pid, _ in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)  # other people's children cannot be waited for


def running_processes() -> list[ProcessIdentity]:
    """Every process of this machine that has not ended (zombies have)."""
    proc = Path("/proc")
    if (proc / "self" / "stat").exists():
        return [found for entry in proc.iterdir() if (found := _from_proc(entry)) is not None]
    return _from_ps()


def _from_proc(entry: Path) -> ProcessIdentity | None:
    if not entry.name.isdigit():
        return None
    try:
        stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:  # it ended while we looked
        return None
    # The second field is the program's name in brackets and may hold anything, brackets included.
    fields = stat.rpartition(")")[2].split()
    if fields[0] in "ZX":
        return None
    return ProcessIdentity(pid=int(entry.name), parent=int(fields[1]), started=fields[19])


def _from_ps() -> list[ProcessIdentity]:
    ps = shutil.which("ps")
    if ps is None:
        return []
    listing = subprocess.run(  # noqa: S603 - an argument list, no shell
        [ps, "-A", "-o", "pid=,ppid=,stat=,lstart="], capture_output=True, text=True, check=True
    )
    found = []
    for line in listing.stdout.splitlines():
        pid, parent, state, started = line.split(maxsplit=3)
        if not state.startswith("Z"):
            found.append(ProcessIdentity(int(pid), int(parent), started))
    return found


def environment_of(python: str, directory: Path) -> dict[str, str]:
    """Return this process's environment, with other Jupyter settings and folders."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)
    }
    loopback = f"{HOST},localhost"
    for name in ("NO_PROXY", "no_proxy"):
        environment[name] = ",".join(filter(None, [environment.get(name), loopback]))
    # A kernelspec may name its interpreter just "python", and means the one beside the server.
    environment["PATH"] = os.pathsep.join([str(Path(python).parent), environment.get("PATH", "")])
    return environment | {
        "JUPYTER_CONFIG_DIR": str(directory / "config"),
        "JUPYTER_DATA_DIR": str(directory / "data"),
        "JUPYTER_RUNTIME_DIR": str(directory / "runtime"),
        "IPYTHONDIR": str(directory / "ipython"),
        "PYTHONNOUSERSITE": "1",
    }


def free_port() -> int:
    """Return a TCP port of loopback that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def make_folders(directory: Path) -> None:
    """Make the folders in which a server lives."""
    for name in ("config/labconfig", "data", "runtime", "ipython", "work"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    overrides = directory / "config" / "labconfig" / "default_setting_overrides.json"
    overrides.write_text(json.dumps(_LAB_OVERRIDES), encoding="utf-8")


def answers(url: str, token: str, tls: ssl.SSLContext | None) -> bool:
    """Return whether the Jupyter server at an address lets in who has this token."""
    # Not urllib: a proxy from the environment must not stand between us and loopback.
    port = urlsplit(url).port
    connection = (
        http.client.HTTPSConnection(HOST, port, timeout=5, context=tls)
        if tls
        else http.client.HTTPConnection(HOST, port, timeout=5)
    )
    try:
        connection.request("GET", "/api", headers={"Authorization": f"token {token}"})
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def reports_port() -> bool:
    """Return whether Jupyter Server writes the port that it found; older versions write 0."""
    major, minor = version("jupyter_server").split(".")[:2]
    return (int(major), int(minor)) >= (2, 20)
