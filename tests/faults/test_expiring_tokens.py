"""Tokens that expire in mid-cell, on a real gateway: nobody who waits for the cell notices."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.kernels.kernel import RemoteKernel
from jupyter_relay.link.table import State
from jupyter_relay.settings.kinds import Value
from jupyter_relay.settings.settings import GatewaySettings
from jupyter_relay.testing.servers import RunningServer
from tests.faults.listener import Listener
from tests.faults.site import LINK
from tests.support.gatekeeper import Gatekeeper
from tests.support.oauth2_server import CLIENT_ID, SECRET, OAuth2Server

CELL = """
import pathlib, time
for number in range({count}):
    print(number, flush=True)
    while not pathlib.Path({folder!r}, str(number)).exists():
        time.sleep(0.01)
"""
"""Prints a number, and waits for the file of that name."""


@asynccontextmanager
async def options_of(
    kind: str, keeper: Gatekeeper, folder: Path
) -> AsyncIterator[tuple[dict[str, Value], Callable[[], str]]]:
    """Give the options of a source of tokens, and what gives it a new one, and names that."""
    if kind == "oauth2":
        async with OAuth2Server(on_issue=keeper.valid.add) as server:
            given: dict[str, Value] = {
                "oauth2_token_url": server.url,
                "oauth2_client_id": CLIENT_ID,
                "oauth2_client_secret": SECRET,
            }
            yield given, lambda: ""  # it makes one when it is asked
        return
    path = folder / "token"
    count = 0

    def write() -> str:
        nonlocal count
        count += 1
        path.write_text(f"token-{count}")
        keeper.valid.add(f"token-{count}")
        return f"token-{count}"

    write()
    if kind == "file":
        yield {"auth_token_file": str(path)}, write
    else:
        code = "import pathlib, sys; print(pathlib.Path(sys.argv[1]).read_text())"
        yield {"auth_token_command": (sys.executable, "-c", code, str(path))}, write


@pytest.mark.parametrize("kind", ["oauth2", "file", "command"])
async def test_token_that_expires_in_mid_cell_is_renewed(
    kind: str, server: RunningServer, tmp_path: Path
) -> None:
    async with Gatekeeper(server) as keeper, options_of(kind, keeper, tmp_path) as (given, renew):
        made = GatewaySettings.make({"url": keeper.url, "auth_scheme": "Bearer", **given}, {})
        gateway = Gateway(replace(made, link=LINK))
        remote = RemoteKernel(gateway, await gateway.start_kernel("python3"))
        listener = Listener(remote)
        cell = listener.run(CELL.format(count=4, folder=str(tmp_path)))
        for number in range(4):
            await listener.wait_for(lambda: len(cell.numbers) == number + 1)  # noqa: B023  # awaited here
            opened, refused = keeper.sockets, keeper.refused
            await keeper.expire(but=renew())
            if number % 2:  # what the kernel says now, it says to nobody
                (tmp_path / str(number)).touch()
            await keeper.changes.wait_for(lambda: keeper.sockets > opened, 30.0)  # noqa: B023
            (tmp_path / str(number)).touch()
            assert keeper.refused - refused == (0 if kind == "file" else 1)
        await listener.wait_over(cell)
        assert remote.state is State.OPEN
        await remote.shutdown()
        await gateway.close()
    assert cell.numbers == [0, 1, 2, 3]
    assert cell.status == "ok"
    assert cell.notices == []
