"""The REST API of a gateway, as asked by us."""

from __future__ import annotations

import asyncio

import pytest

from jupyter_relay.errors import (
    AuthenticationFailed,
    GatewayRefused,
    GatewayTimeout,
    GatewayUnavailable,
    KernelNotFound,
    KernelSpecNotFound,
    UnexpectedAnswer,
)
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.testing import (
    Answer,
    Change,
    FakeGateway,
    FakeKernel,
    Hold,
    Reset,
    Silence,
    without,
)
from tests.support.gateway import CHANNELS, KERNEL, KERNELS, NO_ANSWERS, settings_for

# Answers that are none.


@pytest.mark.parametrize("answer", NO_ANSWERS)
async def test_kernel_request_answered_without_a_model_is_an_unexpected_answer(
    gateway: Gateway, fake_gateway: FakeGateway, fake_kernel: FakeKernel, answer: Answer
) -> None:
    fake_gateway.fault("GET", KERNEL, answer)
    with pytest.raises(UnexpectedAnswer) as caught:
        await gateway.kernel(fake_kernel.id)
    assert caught.value.kernel_id == fake_kernel.id
    assert caught.value.hint


@pytest.mark.parametrize("answer", NO_ANSWERS)
async def test_kernelspecs_request_answered_without_a_list_is_an_unexpected_answer(
    gateway: Gateway, fake_gateway: FakeGateway, answer: Answer
) -> None:
    fake_gateway.fault("GET", "/api/kernelspecs", answer)
    with pytest.raises(UnexpectedAnswer):
        await gateway.kernelspecs()


async def test_kernelspecs_request_answered_with_a_page_says_a_web_page_came(
    gateway: Gateway, fake_gateway: FakeGateway
) -> None:
    fake_gateway.fault("GET", "/api/kernelspecs", Answer.html("<html>"))
    with pytest.raises(UnexpectedAnswer, match="a web page came"):
        await gateway.kernelspecs()


async def test_kernel_model_without_optional_fields_is_read(
    gateway: Gateway, fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    fake_gateway.fault("GET", KERNEL, Change(without("connections", "last_activity")))
    assert (await gateway.kernel(fake_kernel.id)).connections == 0


# Refusals.


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("method", ["kernelspecs", "start", "interrupt"])
async def test_request_with_a_bad_token_is_authentication_failed(
    fake_gateway: FakeGateway, status: int, method: str
) -> None:
    fake_gateway.unauthorized = status
    gateway = Gateway(settings_for(fake_gateway.url, auth_token="wrong-token"))
    asked = {
        "kernelspecs": gateway.kernelspecs(),
        "start": gateway.start_kernel("python3"),
        "interrupt": gateway.interrupt_kernel("k1"),
    }
    with pytest.raises(AuthenticationFailed) as caught:
        await asked.pop(method)
    for other in asked.values():
        other.close()
    await gateway.close()
    assert caught.value.status == status
    assert "auth_token" in caught.value.hint
    assert "wrong-token" not in repr(caught.value) + caught.value.hint


async def test_request_for_a_missing_kernel_is_kernel_not_found(gateway: Gateway) -> None:
    for asked in (gateway.kernel, gateway.interrupt_kernel, gateway.restart_kernel):
        with pytest.raises(KernelNotFound) as caught:
            await asked("k1")
        assert isinstance(caught.value, KeyError)
        assert (caught.value.status, caught.value.kernel_id) == (404, "k1")


async def test_delete_of_a_missing_kernel_succeeds(
    gateway: Gateway, fake_gateway: FakeGateway
) -> None:
    await gateway.shutdown_kernel("k1")
    assert len(fake_gateway.requests_to("DELETE", KERNEL)) == 1


async def test_request_refused_for_any_other_reason_gives_that_reason(
    gateway: Gateway, fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    fake_gateway.fault("DELETE", KERNEL, Answer.json({"message": "It is protected."}, 409))
    with pytest.raises(GatewayRefused, match=r"409 .*It is protected") as caught:
        await gateway.shutdown_kernel(fake_kernel.id)
    assert caught.value.gateway == fake_gateway.url


# What may be tried again.


@pytest.mark.parametrize("status", [502, 503, 504])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_request_to_an_unavailable_gateway_is_sent_again(
    gateway: Gateway, fake_gateway: FakeGateway, fake_kernel: FakeKernel, method: str, status: int
) -> None:
    fault = fake_gateway.fault(method, KERNEL, Answer.html("<h1>Bad gateway</h1>", status), times=1)
    if method == "GET":
        assert (await gateway.kernel(fake_kernel.id)).id == fake_kernel.id
    else:
        await gateway.shutdown_kernel(fake_kernel.id)
        assert fake_gateway.kernels == {}
    assert fault.hits == 1


async def test_request_is_retried_as_often_as_the_setting_says(
    fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    gateway = Gateway(settings_for(fake_gateway.url, max_request_retries=1))
    fake_gateway.fault("GET", KERNEL, Answer(503))
    with pytest.raises(GatewayUnavailable, match="not available just now"):
        await gateway.kernel(fake_kernel.id)
    await gateway.close()
    assert len(fake_gateway.requests_to("GET", KERNEL)) == 2


async def test_delete_whose_answer_was_lost_is_done(
    gateway: Gateway, fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    fake_gateway.fault("DELETE", KERNEL, Reset(after=True), times=1)
    await gateway.shutdown_kernel(fake_kernel.id)
    assert len(fake_gateway.requests_to("DELETE", KERNEL)) == 2


# A gateway that is not there.


async def test_request_whose_connection_is_refused_is_gateway_unavailable(
    fake_gateway: FakeGateway, unused_tcp_port: int
) -> None:
    gateway = Gateway(settings_for(f"http://127.0.0.1:{unused_tcp_port}", max_request_retries=0))
    with pytest.raises(GatewayUnavailable, match="cannot be reached") as caught:
        await gateway.kernelspecs()
    await gateway.close()
    assert caught.value.retryable
    assert "running" in caught.value.hint


async def test_request_to_an_unknown_host_is_gateway_unavailable() -> None:
    gateway = Gateway(settings_for("http://nowhere.invalid", max_request_retries=0))
    with pytest.raises(GatewayUnavailable, match=r"nowhere\.invalid is not known") as caught:
        await gateway.kernelspecs()
    await gateway.close()
    assert "host name" in caught.value.hint


async def test_request_without_an_answer_in_time_is_a_timeout(fake_gateway: FakeGateway) -> None:
    fake_gateway.fault("GET", "/api/kernelspecs", Silence())
    gateway = Gateway(
        settings_for(
            fake_gateway.url,
            request_timeout=0.05,
            launch_timeout=0.0,
            max_request_retries=0,
            launch_timeout_pad=0.0,
        )
    )
    with pytest.raises(GatewayTimeout) as caught:
        await gateway.kernelspecs()
    await gateway.close()
    assert isinstance(caught.value, TimeoutError)


# Finding kernels.


async def test_find_kernels_for_several_kernels_sends_one_listing(
    gateway: Gateway, fake_gateway: FakeGateway
) -> None:
    ids = [fake_gateway.start_kernel().id for _ in range(3)]
    found = await gateway.find_kernels(ids[:2])
    assert set(found) == set(ids[:2])
    assert len(fake_gateway.requests) == 1


async def test_find_kernels_without_ids_sends_no_request(
    gateway: Gateway, fake_gateway: FakeGateway
) -> None:
    assert await gateway.find_kernels([]) == {}
    assert fake_gateway.requests == []


async def test_find_kernels_asks_singly_for_a_kernel_that_the_listing_lacks(
    gateway: Gateway, fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    fake_gateway.fault("GET", KERNELS, Answer.json([]))
    found = await gateway.find_kernels([fake_kernel.id, "gone"])
    assert found["gone"] is None
    assert (model := found[fake_kernel.id]) is not None
    assert model.id == fake_kernel.id


async def test_find_kernels_where_listing_is_refused_asks_for_all_at_once(
    gateway: Gateway, fake_gateway: FakeGateway
) -> None:
    fake_gateway.list_kernels = False
    ids = [fake_gateway.start_kernel().id for _ in range(4)]
    released = asyncio.Event()
    fake_gateway.fault("GET", KERNEL, Hold(released))
    asking = asyncio.create_task(gateway.find_kernels(ids))
    await fake_gateway.wait_for(lambda: len(fake_gateway.requests_to("GET", KERNEL)) == 4)
    released.set()
    assert set(await asking) == set(ids)


async def test_find_kernels_with_one_failed_request_leaves_that_kernel_out(
    gateway: Gateway, fake_gateway: FakeGateway
) -> None:
    fake_gateway.list_kernels = False
    well, ill = fake_gateway.start_kernel().id, fake_gateway.start_kernel().id
    fake_gateway.fault("GET", f"{KERNELS}/{ill}", Answer(500))
    assert set(await gateway.find_kernels([well, ill])) == {well}


async def test_find_kernels_with_only_failed_requests_raises_their_error(
    gateway: Gateway, fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    fake_gateway.list_kernels = False
    fake_gateway.fault("GET", KERNEL, Answer(500))
    with pytest.raises(GatewayRefused):
        await gateway.find_kernels([fake_kernel.id])


# Kernelspecs.


async def test_kernelspecs(gateway: Gateway, fake_gateway: FakeGateway) -> None:
    fake_gateway.kernelspecs = ["python3", "c++ 17"]
    specs = await gateway.kernelspecs()
    assert (specs.default, set(specs.specs)) == ("python3", {"python3", "c++ 17"})
    assert (await gateway.kernelspec("c++ 17")).spec["display_name"] == "Fake c++ 17"


async def test_kernelspec_request_for_an_unknown_name_is_kernelspec_not_found(
    gateway: Gateway,
) -> None:
    with pytest.raises(KernelSpecNotFound):
        await gateway.kernelspec("fortran")


async def test_kernelspec_resource_is_read_or_none(gateway: Gateway) -> None:
    assert (await gateway.kernelspec_resource("python3", "logo-64x64.png") or b"")[1:4] == b"PNG"
    assert await gateway.kernelspec_resource("fortran", "logo-64x64.png") is None


async def test_gateways_that_filter_are_told_the_user(fake_gateway: FakeGateway) -> None:
    gateway = Gateway(settings_for(fake_gateway.url, {"KERNEL_USERNAME": "ann & bob"}))
    await gateway.kernelspecs()
    await gateway.close()
    assert fake_gateway.requests[0].query == {"user": "ann & bob"}


async def test_requests_have_room_beside_many_open_kernels(
    gateway: Gateway, fake_gateway: FakeGateway
) -> None:
    """A pool of connections with a limit would be full of websockets."""
    sockets = [
        await gateway.connect(fake_gateway.start_kernel("python3").id, "session")
        for _ in range(110)
    ]
    async with asyncio.timeout(10):
        assert (await gateway.kernelspecs()).specs
    await asyncio.gather(*(socket.close() for socket in sockets))


async def test_kernel_request_with_a_404_of_a_proxy_is_gateway_unavailable(
    gateway: Gateway, fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    fault = fake_gateway.fault("GET", KERNEL, Answer(404, b"404 page not found", "text/plain"))
    with pytest.raises(GatewayUnavailable):
        await gateway.kernel(fake_kernel.id)
    fault.lift()
    assert (await gateway.kernel(fake_kernel.id)).id == fake_kernel.id


async def test_handshake_answered_by_a_redirect_is_not_redirected(
    gateway: Gateway, fake_gateway: FakeGateway, fake_kernel: FakeKernel
) -> None:
    async with FakeGateway() as other:
        away = {"Location": f"{other.url}/api"}
        fake_gateway.fault("GET", CHANNELS, Answer(302, b"", "text/plain", away))
        with pytest.raises(UnexpectedAnswer):
            await gateway.connect(fake_kernel.id, "session")
        assert other.requests == []


def test_gateway_address_holds_no_secret() -> None:
    url = "https://alice:pass@gateway.example:8443/base?token=secret&key=secret"
    assert Gateway(settings_for(url)).address == "https://gateway.example:8443/base"
