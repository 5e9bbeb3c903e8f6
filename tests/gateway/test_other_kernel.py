"""Answers about one kernel that carry another's id, as a wrong cache gives them, are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from jupyter_relay.errors import OtherKernelAnswered
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.kernels.kernel import RemoteKernel
from jupyter_relay.link.life import Life
from jupyter_relay.rest.models import KernelModel
from jupyter_relay.testing import Answer, FakeGateway, FakeKernel, Reset
from jupyter_relay.testing.fake_api import kernel_model
from tests.support.gateway import KERNELS, remote_kernel

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
async def other(fake_gateway: FakeGateway) -> FakeKernel:
    """Another kernel of the gateway."""
    return fake_gateway.start_kernel()


def about(kernel: FakeKernel) -> Answer:
    """An answer about a kernel."""
    return Answer.json(kernel_model(kernel))


@pytest.mark.parametrize(
    ("method", "action", "ask"),
    [
        ("GET", "", lambda gateway, kernel_id: gateway.kernel(kernel_id)),
        ("DELETE", "", lambda gateway, kernel_id: gateway.shutdown_kernel(kernel_id)),
        ("POST", "/restart", lambda gateway, kernel_id: gateway.restart_kernel(kernel_id)),
        ("POST", "/interrupt", lambda gateway, kernel_id: gateway.interrupt_kernel(kernel_id)),
    ],
    ids=["model", "delete", "restart", "interrupt"],
)
async def test_answer_about_another_kernel_is_refused_on_every_route(
    gateway: Gateway,
    fake_gateway: FakeGateway,
    fake_kernel: FakeKernel,
    other: FakeKernel,
    method: str,
    action: str,
    ask: Callable[[Gateway, str], Awaitable[object]],
) -> None:
    fake_gateway.fault(method, f"{KERNELS}/{fake_kernel.id}{action}", about(other))
    with pytest.raises(OtherKernelAnswered) as caught:
        await ask(gateway, fake_kernel.id)
    assert f"asked about kernel {fake_kernel.id} and answered about kernel {other.id}" in str(
        caught.value
    )
    assert caught.value.kernel_id == fake_kernel.id


@pytest.mark.parametrize(
    ("method", "action", "ask"),
    [
        ("DELETE", "", lambda gateway, kernel_id: gateway.shutdown_kernel(kernel_id)),
        ("POST", "/restart", lambda gateway, kernel_id: gateway.restart_kernel(kernel_id)),
        ("POST", "/interrupt", lambda gateway, kernel_id: gateway.interrupt_kernel(kernel_id)),
    ],
    ids=["delete", "restart", "interrupt"],
)
@pytest.mark.parametrize("answered", ["", "k\x1b[2J", "secret", "x" * 1000])
async def test_answer_with_an_id_that_no_kernel_can_have_is_refused_and_quoted_safely(
    gateway: Gateway,
    fake_gateway: FakeGateway,
    fake_kernel: FakeKernel,
    method: str,
    action: str,
    ask: Callable[[Gateway, str], Awaitable[object]],
    answered: str,
) -> None:
    path = f"{KERNELS}/{fake_kernel.id}{action}"
    fake_gateway.fault(method, path, Answer.json({"id": answered, "name": "python3"}))
    with pytest.raises(OtherKernelAnswered) as caught:
        await ask(gateway, fake_kernel.id)
    said = str(caught.value)
    assert said.isprintable()
    assert "secret" not in said.replace("[secret]", "")
    assert len(said) < 500


async def test_kernel_answered_as_another_keeps_its_own_state(
    kernel: RemoteKernel, fake_gateway: FakeGateway, fake_kernel: FakeKernel, other: FakeKernel
) -> None:
    fake_gateway.fault("GET", f"{KERNELS}/{fake_kernel.id}", about(other))
    with pytest.raises(OtherKernelAnswered):
        await kernel.refresh()
    assert kernel.life is Life.RUNNING
    await kernel.interrupt()
    await kernel.shutdown()
    assert list(fake_gateway.kernels) == [other.id]
    assert not [seen for seen in fake_gateway.requests if other.id in seen.path]


async def test_listing_that_gives_one_id_twice_is_not_believed_for_that_id(
    gateway: Gateway, fake_gateway: FakeGateway, fake_kernel: FakeKernel, other: FakeKernel
) -> None:
    twice = kernel_model(fake_kernel) | {"id": other.id, "name": "about the first"}
    fake_gateway.fault("GET", KERNELS, Answer.json([twice, kernel_model(other)]))
    found = await gateway.find_kernels([fake_kernel.id, other.id])
    assert {key: model and (model.id, model.name) for key, model in found.items()} == {
        fake_kernel.id: (fake_kernel.id, "python3"),
        other.id: (other.id, "python3"),
    }
    assert len(fake_gateway.requests_to("GET", "/api/kernels/*")) == 2


async def test_listing_does_not_find_a_kernel_that_is_answered_as_another(
    gateway: Gateway, fake_gateway: FakeGateway, fake_kernel: FakeKernel, other: FakeKernel
) -> None:
    fake_gateway.list_kernels = False
    fake_gateway.fault("GET", f"{KERNELS}/{fake_kernel.id}", about(other))
    found = await gateway.find_kernels([fake_kernel.id, other.id])
    assert set(found) == {other.id}, "what is not known of the other is left out"


async def test_start_answered_with_a_kernel_in_use_fails_and_leaves_that_kernel(
    gateway: Gateway, fake_gateway: FakeGateway, other: FakeKernel
) -> None:
    used = remote_kernel(gateway, other)
    fake_gateway.fault("POST", KERNELS, about(other))
    start = gateway.begin_start("python3")
    with pytest.raises(OtherKernelAnswered):
        await start.wait()
    start.give_up()
    await used.close()
    await gateway.close()
    assert list(fake_gateway.kernels) == [other.id]
    assert not fake_gateway.requests_to("DELETE", "/api/kernels/*")


async def test_lost_start_is_not_found_in_another_kernel(
    gateway: Gateway, fake_gateway: FakeGateway, other: FakeKernel
) -> None:
    fake_gateway.fault("POST", KERNELS, Reset())
    rule = fake_gateway.fault("GET", "/api/kernels/*", about(other))
    starting = asyncio.create_task(gateway.start_kernel("python3"))
    await fake_gateway.wait_for(lambda: rule.hits > 0)
    (asked,) = fake_gateway.requests_to("POST", KERNELS)
    assert isinstance(asked.json, dict)
    fake_gateway.start_kernel(kernel_id=str(asked.json["kernel_id"]))
    rule.lift()
    assert (await starting).id == asked.json["kernel_id"]


async def test_kernel_with_two_ids_is_requested_by_the_gateways_id(
    gateway: Gateway, fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    gateway.ids.join(UNKNOWN, fake_kernel.id)
    kernel = RemoteKernel(gateway, KernelModel(UNKNOWN, "python3"))
    assert (await kernel.refresh()).id == UNKNOWN
    found = await gateway.find_kernels([UNKNOWN])
    assert [model and model.id for model in found.values()] == [UNKNOWN]
    await kernel.shutdown()
    assert not fake_gateway.kernels
    assert gateway.ids.given(UNKNOWN) == UNKNOWN, "nothing is kept of a kernel that is gone"
