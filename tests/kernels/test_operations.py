"""Operations on one kernel at the same time: one order, whoever asks for them."""

from __future__ import annotations

import asyncio
import gc

import pytest

from jupyter_relay.errors import GatewayRefused, KernelNotFound, OperationUnderWay
from jupyter_relay.kernels.kernel import RemoteKernel
from jupyter_relay.kernels.operations import Operations
from jupyter_relay.link.life import Life
from jupyter_relay.testing import Answer, FakeGateway, FakeKernel, Hold
from tests.support.gateway import KERNEL

RESTART = f"{KERNEL}/restart"
INTERRUPT = f"{KERNEL}/interrupt"


class Held:
    """Requests that wait until they are let through."""

    def __init__(self, fake: FakeGateway, method: str, path: str) -> None:
        self._fake = fake
        self._what = method, path
        self._released = asyncio.Event()
        fake.fault(method, path, Hold(self._released))

    async def reached(self) -> None:
        """Wait until one is there."""
        await self._fake.wait_for(lambda: self._fake.requests_to(*self._what))

    def release(self) -> None:
        """Let all through."""
        self._released.set()


async def under_way(fake: FakeGateway, kernel: RemoteKernel) -> tuple[Held, asyncio.Task[None]]:
    """Begin a restart, and return once the gateway has been asked for it."""
    held = Held(fake, "POST", RESTART)
    restart = asyncio.create_task(kernel.restart())
    await held.reached()
    return held, restart


def asked(fake: FakeGateway, method: str, path: str) -> int:
    """Return how often the gateway was asked for this."""
    return len(fake.requests_to(method, path))


async def test_restarts_at_once_are_one_request(
    kernel: RemoteKernel, fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    held, first = await under_way(fake_gateway, kernel)
    second = asyncio.create_task(kernel.restart())
    held.release()
    await asyncio.gather(first, second)
    assert asked(fake_gateway, "POST", RESTART) == 1
    await kernel.restart()
    assert asked(fake_gateway, "POST", RESTART) == 2


async def test_restarts_at_once_fail_as_one(
    kernel: RemoteKernel, fake_gateway: FakeGateway
) -> None:
    fake_gateway.fault("POST", RESTART, Answer.json({"reason": "no memory"}, 500), times=1)
    failed = await asyncio.gather(kernel.restart(), kernel.restart(), return_exceptions=True)
    assert [type(error) for error in failed] == [GatewayRefused, GatewayRefused]
    await kernel.restart()


async def test_restart_goes_on_when_one_of_its_callers_is_cancelled(
    kernel: RemoteKernel, fake_gateway: FakeGateway
) -> None:
    held, first = await under_way(fake_gateway, kernel)
    second = asyncio.create_task(kernel.restart())
    await asyncio.sleep(0)
    first.cancel()
    held.release()
    await second
    assert asked(fake_gateway, "POST", RESTART) == 1


async def test_interrupt_during_a_restart_is_refused_without_a_request(
    kernel: RemoteKernel, fake_gateway: FakeGateway
) -> None:
    held, restart = await under_way(fake_gateway, kernel)
    with pytest.raises(OperationUnderWay, match="is being restarted"):
        await kernel.interrupt()
    assert not asked(fake_gateway, "POST", INTERRUPT)
    held.release()
    await restart
    await kernel.interrupt()


async def test_interrupt_of_a_kernel_whose_restart_has_just_begun_is_refused(
    kernel: RemoteKernel, fake_gateway: FakeGateway
) -> None:
    """The restart's first step is only made when the event loop comes to it."""
    restart = asyncio.create_task(kernel.restart())
    await asyncio.sleep(0)
    with pytest.raises(OperationUnderWay, match="is being restarted"):
        await kernel.interrupt()
    await restart
    assert not asked(fake_gateway, "POST", INTERRUPT)


async def test_interrupt_of_a_released_kernel_during_its_restart_is_refused(
    kernel: RemoteKernel, fake_gateway: FakeGateway
) -> None:
    await kernel.close()
    held, restart = await under_way(fake_gateway, kernel)
    assert kernel.life is Life.RELEASED
    with pytest.raises(OperationUnderWay, match="is being restarted"):
        await kernel.interrupt()
    held.release()
    await restart
    assert not asked(fake_gateway, "POST", INTERRUPT)


async def test_interrupt_keeps_nothing_in_memory_for_operations(kernel: RemoteKernel) -> None:
    def kept() -> bool:
        return any(isinstance(part, Operations) for part in gc.get_referents(kernel))

    await kernel.interrupt()
    assert not kept()
    await kernel.restart()
    assert kept()


async def test_interrupt_that_fails_during_a_restart_names_the_restart(
    kernel: RemoteKernel, fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    released = asyncio.Event()
    fake_gateway.fault("POST", INTERRUPT, Hold(released), times=1)
    interrupt = asyncio.create_task(kernel.interrupt())
    await fake_gateway.wait_for(lambda: asked(fake_gateway, "POST", INTERRUPT))
    held, restart = await under_way(fake_gateway, kernel)
    fake_gateway.kernels.pop(fake_kernel.id)  # so that it is refused
    released.set()
    with pytest.raises(OperationUnderWay):
        await interrupt
    fake_gateway.kernels[fake_kernel.id] = fake_kernel
    held.release()
    await restart


async def test_deletion_during_a_restart_waits_for_it(
    kernel: RemoteKernel, fake_gateway: FakeGateway
) -> None:
    held, restart = await under_way(fake_gateway, kernel)
    deletion = asyncio.create_task(kernel.shutdown())
    with pytest.raises(OperationUnderWay):
        await kernel.interrupt()
    assert not asked(fake_gateway, "DELETE", KERNEL)
    held.release()
    await deletion
    await restart
    assert kernel.life is Life.ENDED
    assert not fake_gateway.kernels


async def test_deletion_during_a_restart_that_does_not_end_begins_without_it(
    kernel: RemoteKernel, fake_gateway: FakeGateway
) -> None:
    held, restart = await under_way(fake_gateway, kernel)
    await kernel.shutdown(patience=0.01)
    assert not fake_gateway.kernels
    held.release()
    with pytest.raises(KernelNotFound):
        await restart
    assert kernel.life is Life.ENDED


async def test_deletion_without_patience_shortens_the_wait_of_one_under_way(
    kernel: RemoteKernel, fake_gateway: FakeGateway
) -> None:
    held, restart = await under_way(fake_gateway, kernel)
    patient = asyncio.create_task(kernel.shutdown(patience=1000))
    await asyncio.sleep(0)
    await kernel.shutdown(patience=0)
    await patient
    assert asked(fake_gateway, "DELETE", KERNEL) == 1
    held.release()
    await asyncio.wait([restart])
    restart.exception()


async def test_deletions_at_once_are_one_request(
    kernel: RemoteKernel, fake_gateway: FakeGateway
) -> None:
    await asyncio.gather(kernel.shutdown(), kernel.shutdown())
    assert asked(fake_gateway, "DELETE", KERNEL) == 1
    assert not fake_gateway.kernels


async def test_restart_during_a_deletion_finds_no_kernel(
    kernel: RemoteKernel, fake_gateway: FakeGateway
) -> None:
    held = Held(fake_gateway, "DELETE", KERNEL)
    deletion = asyncio.create_task(kernel.shutdown())
    await held.reached()
    restart = asyncio.create_task(kernel.restart())
    await asyncio.sleep(0)
    held.release()
    await deletion
    with pytest.raises(KernelNotFound):
        await restart
    assert not asked(fake_gateway, "POST", RESTART)


async def test_restart_during_a_deletion_that_fails_is_done(
    kernel: RemoteKernel, fake_gateway: FakeGateway
) -> None:
    fake_gateway.fault("DELETE", KERNEL, Answer.json({"reason": "busy"}, 500), times=1)
    deletion = asyncio.create_task(kernel.shutdown())
    await asyncio.sleep(0)
    restart = asyncio.create_task(kernel.restart())
    with pytest.raises(GatewayRefused):
        await deletion
    await restart
    assert kernel.life is Life.RUNNING
    await kernel.shutdown()
    assert not fake_gateway.kernels
