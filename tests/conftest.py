"""Rules for every test: leave nothing behind, and never block the event loop."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import psutil
import pytest
from blockbuster import BlockBuster

from jupyter_relay.testing import plugin

pytest_plugins = ["tests.support.gateway_fixtures"]

FOREIGN_THREADS = ("pyzmq", "GarbageCollectorThread", "MainThread - runner")
"""How the names of threads begin that pyzmq and jupyter_core start once and never stop."""

hypothesis.settings.register_profile("relay", deadline=None)  # two cores are often busy
hypothesis.settings.register_profile(
    "coverage", deadline=None, max_examples=5, derandomize=True, database=None
)
hypothesis.settings.load_profile("relay")


def pytest_configure(config: pytest.Config) -> None:
    """Load our own plugin also where the package was not installed."""
    if not config.pluginmanager.is_registered(plugin):
        config.pluginmanager.register(plugin)


def pytest_collection_finish() -> None:
    """Take what was imported out of the garbage collector's way; it runs after every test."""
    gc.collect()
    gc.freeze()


_OF_SESSIONS = {
    "cursor",
    "delete_session",
    "get_session",
    "list_sessions",
    "row_to_model",
    "save_session",
    "session_exists",
    "update_session",
}
"""The methods of Jupyter Server's session manager that ask its database, which is in memory."""


@pytest.fixture(scope="session", autouse=True)
def loop_never_blocks() -> Iterator[None]:
    """A blocking call on an event loop with code of ours on the stack raises `BlockingError`."""
    blockbuster = BlockBuster("jupyter_relay", excluded_modules=["jupyter_relay.testing"])
    for call in ("execute", "fetchone", "fetchall"):
        database = blockbuster.functions[f"sqlite3.Cursor.{call}"]
        database.can_block_in("sessions/sessionmanager.py", _OF_SESSIONS)
        database.can_block_in("server/sessions.py", {"_look_again"})
    for function in blockbuster.functions.values():
        # Jupyter Server looks there for the folder of a notebook, before it starts its kernel.
        function.can_block_in("sessions/sessionmanager.py", {"get_kernel_env"})
        function.can_block_in("contents/filemanager.py", {"get_kernel_path"})
        # And it reads the template of an error's page.
        function.can_block_in("base/handlers.py", {"render_template"})
    blockbuster.activate()
    yield
    blockbuster.deactivate()


@pytest.fixture(autouse=True)
def nothing_left_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that leaves a task, thread, socket or child process.

    What a fixture of a wider scope has opened before the test is not counted.
    """
    tasks: list[str] = []
    cancel_all_tasks = asyncio.runners._cancel_all_tasks  # type: ignore[attr-defined]

    def count_tasks(loop: asyncio.AbstractEventLoop) -> None:
        tasks.extend(f"task {task!r}" for task in asyncio.all_tasks(loop))
        cancel_all_tasks(loop)

    # Every loop of asyncio.run and pytest-asyncio passes here at its end, after all fixtures.
    monkeypatch.setattr(asyncio.runners, "_cancel_all_tasks", count_tasks)
    threads = set(threading.enumerate())
    sockets = _sockets()
    children = set(psutil.Process().children())
    yield
    gc.collect()  # what is only closed by it gives a ResourceWarning here, in this test
    left = [
        *tasks,
        *(f"thread {thread.name}" for thread in _new_threads(threads)),
        *_described(_sockets() - sockets),
        *(f"child {child}" for child in set(psutil.Process().children()) - children),
    ]
    if left:
        pytest.fail("left behind: " + "; ".join(left), pytrace=False)


def _new_threads(before: set[threading.Thread]) -> list[threading.Thread]:
    new = [
        thread
        for thread in threading.enumerate()
        if thread not in before and not thread.name.startswith(FOREIGN_THREADS)
    ]
    for thread in new:
        thread.join(timeout=1.0)  # it may be on its way out
    return [thread for thread in new if thread.is_alive()]


def _sockets() -> set[str]:
    """Return the open sockets, as the kernel names them; empty on systems that do not tell."""
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        return set()
    targets = set()
    for descriptor in descriptors.iterdir():
        try:
            targets.add(str(descriptor.readlink()))
        except FileNotFoundError:  # the one that listed them
            continue
    return {target for target in targets if target.startswith("socket:")}


def _described(sockets: set[str]) -> list[str]:
    if not sockets:
        return []
    open_now = ", ".join(
        f"{link.laddr}->{link.raddr} {link.status}" for link in psutil.Process().net_connections()
    )
    return [f"{len(sockets)} sockets (open now: {open_now or 'none of the internet'})"]
