"""What is paid before the first message: imports, and our share of a server's start.

In seconds of CPU, which is what both are made of, and which other programs do not change much. All
is compiled, as what is installed is; that is done before. What is imported in a thread, when a
gateway is first asked something, counts as a part of the headless manager, and has a row of its own
beside a server's start. That is measured from after the server's own imports on, which differ more
than what is looked for, and nobody collects garbage in it: a full collection takes as long as all
of it, and falls to the one or the other server by chance.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from bench.runner import Goal, Row, Sample, Scale, Subjects, Work
from bench.site import environment, extensions

_MODULES = {
    "relay": "jupyter_relay.headless.manager, jupyter_relay.transport.aiohttp_transport",
    "peer": "jupyter_server.gateway.managers",
}

_IMPORT = """
import time, jupyter_client
started = time.process_time()
import {module}
print(time.process_time() - started)
"""

_START = """
import gc, time
from jupyter_server.serverapp import ServerApp
gc.disable()
started = time.process_time()
app = ServerApp(jpserver_extensions={extensions}, open_browser=False, allow_root=True)
app.initialize(["--ServerApp.port=0", "--ServerApp.ip=127.0.0.1", "--ServerApp.log_level=ERROR"])
initialized = time.process_time()
import jupyter_relay.transport.aiohttp_transport
print(initialized - started, time.process_time() - initialized)
"""


async def _seconds(program: str, compiled: str) -> list[float]:
    """Run a program that prints in its last line the seconds that things took, in folders of its
    own, but for the one in which its bytecode is kept; return them."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        own = dict.fromkeys(
            ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"), directory
        )
        gateway = {"JUPYTER_GATEWAY_URL": "http://127.0.0.1:9"}  # nobody is asked
        bytecode = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": compiled}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program,
            stdout=asyncio.subprocess.PIPE,
            cwd=directory,
            env={**os.environ, **environment(), **own, **gateway, **bytecode},
        )
        printed, _ = await process.communicate()
        return [float(seconds) for seconds in printed.splitlines()[-1].split()]


@asynccontextmanager
async def _imports(scale: Scale) -> AsyncIterator[Subjects]:
    with tempfile.TemporaryDirectory(prefix="bench-") as compiled:

        async def do(module: str) -> Sample:
            [seconds] = await _seconds(_IMPORT.format(module=module), compiled)
            return {"import": seconds}

        for module in _MODULES.values():
            await do(module)
        yield {kind: partial(do, module) for kind, module in _MODULES.items()}


@asynccontextmanager
async def _start(scale: Scale) -> AsyncIterator[Subjects]:
    """A server that is configured for a gateway, with our extension and without it."""

    with tempfile.TemporaryDirectory(prefix="bench-") as compiled:

        async def do() -> Sample:
            (with_us, later), (without, _) = [
                await _seconds(_START.format(extensions=extensions(kind)), compiled)
                for kind in ("relay", "peer")
            ]
            return {"start": (with_us - without) * 1e3, "start-later": later * 1e3}

        await do()
        yield {"relay": do}


WORKS = (
    Work(
        "import",
        (
            Row(
                "import",
                "import of the headless manager, on top of jupyter_client (CPU)",
                "s",
                goals=(Goal(0.15),),
            ),
        ),
        _imports,
    ),
    Work(
        "start",
        (
            Row(
                "start", "the extension's share of a server's start (CPU)", "ms", goals=(Goal(100),)
            ),
            Row("start-later", "… and in a thread, once a gateway is asked (CPU)", "ms"),
        ),
        _start,
    ),
)
