"""The end of a roster's program: which kernels run on, and how the others are deleted."""

from __future__ import annotations

import asyncio
import logging

import pytest

from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.kernels.kernel import RemoteKernel
from jupyter_relay.kernels.shutdown import delete_in_time, lines_of_staying, why_it_stays
from jupyter_relay.rest.models import KernelModel
from jupyter_relay.settings.on_exit import OnExit
from jupyter_relay.testing import FakeGateway, FakeKernel, Hold
from tests.support.gateway import KERNEL


def with_state(kernel: RemoteKernel, state: str) -> RemoteKernel:
    """The kernel, of which its gateway has just reported this state."""
    kernel.update(KernelModel(kernel.id, "python3", execution_state=state))
    return kernel


@pytest.mark.parametrize(
    ("on_exit", "state", "why"),
    [
        (OnExit.SHUTDOWN, "busy", ""),
        (OnExit.KEEP, "idle", "on_exit = keep"),
        (OnExit.KEEP_BUSY, "idle", ""),
        (OnExit.KEEP_BUSY, "busy", "on_exit = keep-busy"),
    ],
)
async def test_why_it_stays_of_a_servers_kernel_is_what_on_exit_says(
    kernel: RemoteKernel, on_exit: OnExit, state: str, why: str
) -> None:
    assert why_it_stays(with_state(kernel, state), on_exit, by_server=True) == why


async def test_why_it_stays_of_a_kernel_that_no_server_started_is_that(
    kernel: RemoteKernel,
) -> None:
    why = why_it_stays(with_state(kernel, "idle"), OnExit.SHUTDOWN, by_server=False)
    assert why == "not started by this server"


async def test_why_it_stays_of_a_dead_kernel_is_empty(kernel: RemoteKernel) -> None:
    kernel.mark_gone()
    assert why_it_stays(kernel, OnExit.KEEP, by_server=False) == ""


async def test_why_it_stays_of_a_kernel_that_is_being_deleted_is_empty(
    kernel: RemoteKernel, fake_gateway: FakeGateway
) -> None:
    released = asyncio.Event()
    fake_gateway.fault("DELETE", KERNEL, Hold(released))
    deletion = asyncio.create_task(kernel.shutdown())
    await fake_gateway.wait_for(lambda: fake_gateway.requests_to("DELETE", KERNEL))
    assert why_it_stays(kernel, OnExit.KEEP, by_server=True) == ""
    released.set()
    await deletion


def test_lines_of_staying_are_one_for_each_reason_and_name_ten_kernels() -> None:
    staying = {"own": "on_exit = keep"} | {f"k{number}": "why" for number in range(12)}
    assert list(lines_of_staying(staying, "gpu")) == [
        "1 kernel runs on at gpu (on_exit = keep): own.",
        f"12 kernels run on at gpu (why): {', '.join(f'k{n}' for n in range(10))} and 2 more.",
    ]


async def test_delete_in_time_of_many_logs_only_those_that_fail(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    kernels = [RemoteKernel(gateway, KernelModel(f"k{n}", "python3")) for n in range(4)]
    dead = kernels[3]
    dead.mark_gone()
    caplog.clear()

    async def delete(kernel_id: str) -> None:
        match kernel_id:
            case "k1":
                raise RuntimeError("refused") from ValueError("it is busy")
            case "k2" | "k3":
                await asyncio.Event().wait()

    ends_at = asyncio.get_running_loop().time()
    with caplog.at_level(logging.ERROR):
        await delete_in_time(kernels, delete, 4.0, ends_at, gateway="gpu")
    assert sorted(caplog.messages) == [
        "Kernel k1: could not be shut down: it is busy",
        "Kernel k2: could not be shut down: gpu did not answer within 4 s. It may still run there.",
    ]
    for kernel in kernels:
        await kernel.close()


async def test_delete_in_time_deletes_on_the_gateway(
    kernel: RemoteKernel, fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    async def delete(kernel_id: str) -> None:
        assert kernel_id == fake_kernel.id
        await kernel.shutdown()

    ends_at = asyncio.get_running_loop().time() + 60.0
    await delete_in_time([kernel], delete, 60.0, ends_at, gateway="gpu")
    assert not fake_gateway.kernels
