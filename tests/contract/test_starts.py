"""What gateways do with the start of a kernel: its id, its environment, a second request."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

from jupyter_relay.testing.processes import descendants
from jupyter_relay.testing.servers import RunningServer
from tests.contract.conftest import Kind
from tests.contract.probe import Probe
from tests.support.enterprise import KERNEL_ENV


async def start(
    probe: Probe, *, body_id: str = "", env_id: str = "", **env: object
) -> tuple[int, Any]:
    """Ask for a kernel with an id here or there; return the status and the body."""
    variables: dict[str, object] = {**KERNEL_ENV, **env}
    if env_id:
        variables["KERNEL_ID"] = env_id
    body: dict[str, object] = {"name": "python3", "env": variables}
    if body_id:
        body["kernel_id"] = body_id
    status, model = await probe.call("POST", "/api/kernels", body)
    if status == 201 and model["id"] not in probe.kernels:
        probe.kernels.append(model["id"])
    return status, model


async def test_start_with_an_id_in_both_places_gives_it_to_the_kernel(probe: Probe) -> None:
    kernel_id = str(uuid4())
    status, model = await start(probe, body_id=kernel_id, env_id=kernel_id)
    assert (status, model["id"]) == (201, kernel_id)
    status, model = await probe.call("GET", f"/api/kernels/{kernel_id}")
    assert (status, model["id"]) == (200, kernel_id)


async def test_gateway_reads_the_id_from_one_place_and_ignores_the_other(
    probe: Probe, kind: Kind
) -> None:
    in_body, in_env = str(uuid4()), str(uuid4())
    status, model = await start(probe, body_id=in_body, env_id=in_env)
    looked_for = in_env if kind is Kind.ENTERPRISE_GATEWAY else in_body
    assert (status, model["id"]) == (201, looked_for)
    status, model = await (
        start(probe, body_id=str(uuid4()))
        if kind is Kind.ENTERPRISE_GATEWAY
        else start(probe, env_id=str(uuid4()))
    )
    assert status == 201
    assert model["id"] not in {in_body, in_env}


async def test_start_of_a_kernel_that_exists_makes_no_second_one(probe: Probe, kind: Kind) -> None:
    kernel_id = str(uuid4())
    assert (await start(probe, body_id=kernel_id, env_id=kernel_id))[0] == 201
    status, model = await start(probe, body_id=kernel_id, env_id=kernel_id)
    if kind is Kind.ENTERPRISE_GATEWAY:
        assert status == 500
        assert "DuplicateKernelError" in model["traceback"]
    else:
        assert (status, model["id"]) == (201, kernel_id)


async def test_start_sent_twice_at_once_with_one_id_may_leave_a_process_behind(
    probe: Probe, gateway: RunningServer, kind: Kind
) -> None:
    """Why a start is never sent again: not while the first request may be under way.

    Kernel Gateway and Jupyter Server mostly start two processes under the one id, and delete one.
    It depends on the moment in which the second request comes; it may fail instead, or find the
    kernel there.
    """
    before = set(descendants(gateway.pid))
    kernel_id = str(uuid4())
    statuses = {
        status
        for status, _ in await asyncio.gather(
            *(start(probe, body_id=kernel_id, env_id=kernel_id) for _ in range(2))
        )
    }
    allowed = [{201, 500}] if kind is Kind.ENTERPRISE_GATEWAY else [{201}, {201, 500}]
    assert statuses in allowed
    assert (await probe.call("DELETE", f"/api/kernels/{kernel_id}"))[0] in {204, 404}
    assert (await probe.call("GET", f"/api/kernels/{kernel_id}"))[0] == 404
    async with asyncio.timeout(20):
        while True:
            if len(set(descendants(gateway.pid)) - before) <= 1:
                break
            await asyncio.sleep(0.05)  # a process takes its time to end, and tells nobody


async def test_values_that_are_no_short_texts(probe: Probe, kind: Kind) -> None:
    long, _ = await start(probe, KERNEL_LONG="x" * 5000)
    number, _ = await start(probe, KERNEL_NUMBER=7)
    assert (long, number) == {
        Kind.JUPYTER_SERVER: (201, 201),
        Kind.KERNEL_GATEWAY: (201, 500),
        Kind.ENTERPRISE_GATEWAY: (400, 400),
    }[kind]


async def test_variables_without_kernel_in_their_name_stay_behind(probe: Probe) -> None:
    _, model = await start(probe, FLAVOUR="strawberry")
    async with probe.socket(model["id"]) as tab:
        assert await tab.run("import os; print(os.environ.get('FLAVOUR'))") == "None\n"


async def test_kernel_does_not_have_the_variables_of_other_starts(probe: Probe) -> None:
    """Kernel Gateway 3.0.1 gives them to a start that has no ``env`` at all; ours have one."""
    await asyncio.gather(*(start(probe, KERNEL_SECRET=str(number)) for number in range(2)))
    status, model = await probe.call("POST", "/api/kernels", {"name": "python3", "env": KERNEL_ENV})
    assert status == 201
    probe.kernels.append(model["id"])
    async with probe.socket(model["id"]) as tab:
        assert await tab.run("import os; print(os.environ.get('KERNEL_SECRET'))") == "None\n"
