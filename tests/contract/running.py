"""What is done to kernels that run, through a server of ours."""

from __future__ import annotations

from jupyter_relay.testing import read_content
from jupyter_relay.wire.json import Json
from tests.support.server import TestServer
from tests.support.tab import Tab, printed


async def interrupted(server: TestServer, kernel_id: str, tab: Tab) -> str:
    """Interrupt a cell that sleeps, once it does; return the error that it ends with."""
    code = "import time; print('asleep', flush=True); time.sleep(100)"
    # A kernel that stops on errors aborts what is asked of it in the next instant.
    content: dict[str, Json] = {"code": code, "silent": False, "stop_on_error": False}
    msg_id = await tab.send("execute_request", content)
    while not printed([await tab.receive()]):
        pass
    answer = await server.call("POST", f"/api/kernels/{kernel_id}/interrupt")
    assert answer.status == 204
    while (message := await tab.receive()).head.msg_type != "execute_reply":
        pass
    assert message.parent.msg_id == msg_id
    return str(read_content(message)["ename"])
