"""The REST side of the fake gateway: the API, and the faults it can be told to have."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from jupyter_relay.testing import (
    Answer,
    Change,
    Delay,
    FakeGateway,
    Hold,
    Reset,
    Silence,
    replaced,
    without,
)
from jupyter_relay.wire.json import Json

from .bare_client import BareClient

KERNELS = "/api/kernels"


async def test_fake_kernel_is_started_read_and_deleted(
    client: BareClient, fake_gateway: FakeGateway
) -> None:
    status, model = await client.call("POST", KERNELS, json={"name": "python3", "env": {"A": "1"}})
    assert status == 201
    assert isinstance(model, dict)
    path = f"{KERNELS}/{model['id']}"
    kernel = fake_gateway.kernels[str(model["id"])]
    assert kernel.env == {"A": "1"}
    assert await client.call("GET", path) == (200, model)
    assert await client.call("GET", KERNELS) == (200, [model])
    assert (await client.call("POST", f"{path}/interrupt"))[0] == 204
    session = kernel.session
    assert (await client.call("POST", f"{path}/restart"))[0] == 200
    assert kernel.incarnation == 2
    assert kernel.session != session
    assert (await client.call("DELETE", path))[0] == 204
    assert (await client.call("GET", path))[0] == 404
    assert (await client.call("DELETE", path))[0] == 404
    assert [request.method for request in fake_gateway.requests_to("*", f"{KERNELS}/*")] == [
        "GET",
        "DELETE",
        "GET",
        "DELETE",
    ]
    assert fake_gateway.requests[0].json == {"name": "python3", "env": {"A": "1"}}


async def test_kernelspecs(client: BareClient, fake_gateway: FakeGateway) -> None:
    fake_gateway.kernelspecs.append("with space")
    status, specs = await client.call("GET", "/api/kernelspecs?user=ann")
    assert status == 200
    assert isinstance(specs, dict)
    assert specs["default"] == "python3"
    assert set(specs["kernelspecs"]) == {"python3", "with space"}
    assert fake_gateway.requests[-1].query == {"user": "ann"}
    assert (await client.call("GET", "/api/kernelspecs/with%20space"))[0] == 200
    assert (await client.call("GET", "/api/kernelspecs/absent"))[0] == 404
    assert (await client.call("GET", "/kernelspecs/python3/logo-64x64.png"))[0] == 200
    assert (await client.call("GET", "/api"))[1] == {"version": "2.21.1"}
    assert (await client.call("POST", KERNELS, json={"name": "absent"}))[0] == 500


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ({"Authorization": "token secret"}, "", 200),
        ({}, "?token=secret", 200),
        ({}, "", 401),
        ({"Authorization": "token wrong"}, "", 401),
        ({"Authorization": "Token secret"}, "", 401),
        ({"Authorization": "Bearer secret"}, "", 401),
    ],
)
async def test_tokens(client: BareClient, headers: dict[str, str], query: str, status: int) -> None:
    assert (await client.call("GET", f"/api{query}", headers=headers))[0] == status


async def test_fake_gateway_refusal_has_the_form_of_a_real_one(
    client: BareClient, fake_gateway: FakeGateway
) -> None:
    refused = await client.call("GET", "/api", headers={})
    assert refused == (401, {"reason": "Unauthorized", "message": ""})
    fake_gateway.unauthorized = 403
    refused = await client.call("GET", "/api", headers={})
    assert refused == (403, {"message": "Forbidden", "reason": None})
    fake_gateway.token = ""
    assert (await client.call("GET", "/api", headers={}))[0] == 200
    fake_gateway.list_kernels = False
    assert (await client.call("GET", KERNELS))[0] == 403


async def test_ids_chosen_by_the_client(client: BareClient, fake_gateway: FakeGateway) -> None:
    for _ in range(2):
        status, model = await client.call("POST", KERNELS, json={"kernel_id": "mine"})
        assert (status, isinstance(model, dict) and model["id"]) == (201, "mine")
    fake_gateway.kernel_ids = "env"
    by_env: Json = {"kernel_id": "other", "env": {"KERNEL_ID": "third"}}
    assert (await client.call("POST", KERNELS, json=by_env))[0] == 201
    assert (await client.call("POST", KERNELS, json=by_env))[0] == 500
    fake_gateway.kernel_ids = "ignored"
    assert (await client.call("POST", KERNELS, json=by_env))[0] == 201
    assert {"mine", "third"} < set(fake_gateway.kernels)
    assert "other" not in fake_gateway.kernels


async def test_fake_gateway_with_a_base_path_serves_under_it() -> None:
    async with FakeGateway(base_path="/user/ann/") as gateway, aiohttp.ClientSession() as http:
        client = BareClient(http, gateway)
        assert gateway.url.endswith("/user/ann")
        assert (await client.call("GET", "/api/kernelspecs"))[0] == 200
        assert gateway.requests[0].path == "/api/kernelspecs"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            Answer.json({"message": "busy", "reason": None}, 503),
            (503, {"message": "busy", "reason": None}),
        ),
        (Answer.json(None), (200, None)),
        (Answer.json([1]), (200, [1])),
        (Answer.html("<html>Log in</html>", 502), (502, None)),
        (Answer(204), (204, None)),
    ],
)
async def test_fake_gateway_gives_the_answer_of_a_fault_once(
    client: BareClient, fake_gateway: FakeGateway, answer: Answer, expected: tuple[int, object]
) -> None:
    rule = fake_gateway.fault("GET", "/api/*", answer, times=1)
    assert await client.call("GET", "/api/kernelspecs") == expected
    assert (await client.call("GET", "/api/kernelspecs"))[0] == 200
    assert rule.hits == 1


async def test_broken_json(client: BareClient, fake_gateway: FakeGateway) -> None:
    fake_gateway.fault("*", "/api", Answer(body=b"{broken"))
    with pytest.raises(ValueError, match="Expecting"):
        await client.call("GET", "/api")


async def test_changed_models(client: BareClient, fake_gateway: FakeGateway) -> None:
    kernel = fake_gateway.start_kernel()
    fake_gateway.fault("GET", KERNELS, Change(without("connections", "execution_state")))
    rule = fake_gateway.fault("GET", f"{KERNELS}/*", Change(replaced(last_activity=None)))
    _, models = await client.call("GET", KERNELS)
    assert isinstance(models, list)
    assert set(models[0]) == {"id", "name", "last_activity"}
    _, model = await client.call("GET", f"{KERNELS}/{kernel.id}")
    assert isinstance(model, dict)
    assert model["last_activity"] is None
    rule.lift()
    _, model = await client.call("GET", f"{KERNELS}/{kernel.id}")
    assert isinstance(model, dict)
    assert model["last_activity"]


async def test_resets_before_and_after(client: BareClient, fake_gateway: FakeGateway) -> None:
    # POST, since aiohttp tries an idempotent request again by itself.
    fake_gateway.fault("POST", KERNELS, Reset(), times=1)
    fake_gateway.fault("POST", KERNELS, Reset(after=True), times=1)
    for kernels in (0, 1):
        with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
            await client.call("POST", KERNELS, json={})
        assert len(fake_gateway.kernels) == kernels


async def test_holding_until_released(client: BareClient, fake_gateway: FakeGateway) -> None:
    released = asyncio.Event()
    fake_gateway.fault("POST", KERNELS, Hold(released))
    call = asyncio.create_task(client.call("POST", KERNELS, json={}))
    await fake_gateway.wait_for(lambda: fake_gateway.requests)
    assert not fake_gateway.kernels
    released.set()
    assert (await call)[0] == 201


async def test_fake_gateway_carries_out_a_held_request_though_its_client_has_gone(
    client: BareClient, fake_gateway: FakeGateway
) -> None:
    released = asyncio.Event()
    fake_gateway.fault("POST", KERNELS, Hold(released))
    call = asyncio.create_task(client.call("POST", KERNELS, json={}))
    await fake_gateway.wait_for(lambda: fake_gateway.requests)
    call.cancel()
    await fake_gateway.wait_for(lambda: fake_gateway.abandoned == fake_gateway.requests)
    released.set()
    await fake_gateway.wait_for(lambda: fake_gateway.kernels)


async def test_silence_and_delay(client: BareClient, fake_gateway: FakeGateway) -> None:
    fake_gateway.fault("GET", "/api", Delay(0.01), times=1)
    fake_gateway.fault("GET", "/api", Silence(), times=1)
    assert (await client.call("GET", "/api"))[0] == 200
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await client.call("GET", "/api")
    assert len(fake_gateway.requests) == 2
