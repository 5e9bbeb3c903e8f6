"""What we rely on in real gateways. Where one of these fails, a gateway has changed."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from uuid import uuid4

import aiohttp
import pytest

from jupyter_relay.rest.models import KernelModel, KernelSpecs
from jupyter_relay.wire.json import read_date
from jupyter_relay.wire.message import Channel, Message, compose
from jupyter_relay.wire.subprotocol import OFFERED
from tests.contract.conftest import Kind
from tests.contract.probe import Probe
from tests.support.tab import Tab, printed, status_of

UNKNOWN = "00000000-0000-4000-8000-000000000000"
NUMBERED = re.compile(r"([0-9a-f-]+(?:_\d+)?)_(\d+)")  # older ones leave out the process id


def request_of(msg_type: str, content: dict[str, object], session: str) -> Message:
    """Make a request of the client session ``session``."""
    return compose(
        Channel.SHELL,
        msg_type,
        content,  # type: ignore[arg-type]  # it is JSON
        msg_id=uuid4().hex,
        session=session,
        date=datetime.now(UTC),
    )


async def replies(tab: Tab, count: int) -> list[Message]:
    """Return the next replies on shell, in the order they come."""
    found: list[Message] = []
    while len(found) < count:
        message = await tab.receive()
        if message.channel is Channel.SHELL:
            found.append(message)
    return found


async def test_gateway_refuses_a_bad_token_with_a_status_that_the_relay_understands(
    probe: Probe, kind: Kind
) -> None:
    status, body = await probe.call("GET", "/api/kernelspecs", token="bad")
    if kind is Kind.JUPYTER_SERVER:
        assert (status, body) == (403, {"message": "Forbidden", "reason": None})
    else:
        assert (status, body) == (401, {"reason": "Unauthorized", "message": ""})


async def test_gateway_refuses_a_handshake_with_a_plain_status(probe: Probe, kind: Kind) -> None:
    kernel_id = await probe.start_kernel()
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with probe.socket(kernel_id, token="bad"):
            pass
    assert refused.value.status == (403 if kind is Kind.JUPYTER_SERVER else 401)
    with pytest.raises(aiohttp.WSServerHandshakeError) as unknown:
        async with probe.socket(UNKNOWN):
            pass
    assert unknown.value.status == 404


async def test_kernels_are_listed_only_by_jupyter_server_unless_told(
    probe: Probe, kind: Kind
) -> None:
    kernel_id = await probe.start_kernel()
    status, body = await probe.call("GET", "/api/kernels")
    if kind is Kind.JUPYTER_SERVER:
        assert status == 200
        assert kernel_id in {model["id"] for model in body}
    else:
        assert status == 403
    status, body = await probe.call("GET", f"/api/kernels/{kernel_id}")
    assert (status, body["id"]) == (200, kernel_id)


async def test_models_are_those_that_we_read(probe: Probe) -> None:
    _, body = await probe.call("GET", f"/api/kernels/{await probe.start_kernel()}")
    model = KernelModel.from_json(body)
    assert model.name == "python3"
    assert model.connections == 0
    assert model.last_activity == read_date(body["last_activity"]) is not None
    status, body = await probe.call("GET", "/api/kernelspecs")
    specs = KernelSpecs.from_json(json.dumps(body).encode())
    assert status == 200
    assert specs.default == "python3"
    logo = specs.specs["python3"].resources["logo-64x64"]
    status, content = await probe.call("GET", logo)
    assert status == 200
    assert content.startswith(b"\x89PNG")


async def test_gateway_answers_an_unknown_kernelspec_with_500_at_a_start_and_404_at_a_read(
    probe: Probe,
) -> None:
    status, _ = await probe.call("POST", "/api/kernels", {"name": "cobol", "env": {
        "KERNEL_USERNAME": "tester"}})  # fmt: skip
    assert status == 500
    status, _ = await probe.call("GET", "/api/kernelspecs/cobol")
    assert status == 404


async def test_gateway_answers_a_missing_kernel_with_404_except_at_a_restart(probe: Probe) -> None:
    for method, path, expected in (
        ("GET", "", 404),
        ("DELETE", "", 404),
        ("POST", "/interrupt", 404),
        ("POST", "/restart", 500),
    ):
        status, _ = await probe.call(method, f"/api/kernels/{UNKNOWN}{path}", {})
        assert status == expected, (method, path)


async def test_gateway_chooses_a_subprotocol_only_where_it_is_offered(probe: Probe) -> None:
    kernel_id = await probe.start_kernel()
    async with probe.socket(kernel_id) as tab:
        assert tab.websocket.protocol == OFFERED[0]
        assert await tab.run("print(1)") == "1\n"
    async with probe.socket(kernel_id, protocols=()) as tab:
        assert tab.websocket.protocol is None
        assert await tab.run("print(2)") == "2\n"


async def test_gateway_passes_the_variables_of_a_start_to_the_kernel(
    probe: Probe, kind: Kind
) -> None:
    kernel_id = await probe.start_kernel(KERNEL_FLAVOUR="strawberry")
    async with probe.socket(kernel_id) as tab:
        said = await tab.run("import os; print(os.environ.get('KERNEL_FLAVOUR'))")
    assert said == ("None\n" if kind is Kind.JUPYTER_SERVER else "strawberry\n")


async def test_gateway_takes_any_client_session_and_names_it_in_the_reply(probe: Probe) -> None:
    kernel_id = await probe.start_kernel()
    async with probe.socket(kernel_id, "upstream") as tab:
        for session in ("a", "b"):
            request = request_of("kernel_info_request", {}, session)
            await tab.send_message(request)
            (reply,) = await replies(tab, 1)
            assert reply.parent.session == session
            assert reply.parent.msg_id == request.head.msg_id


async def test_kernel_info_request_is_answered_after_earlier_requests(probe: Probe) -> None:
    kernel_id = await probe.start_kernel()
    async with probe.socket(kernel_id) as tab:
        requests = [
            request_of("execute_request", {"code": "import time; time.sleep(0.3)"}, "a"),
            request_of("execute_request", {"code": "print(1)"}, "b"),
            request_of("kernel_info_request", {}, "barrier"),
        ]
        for request in requests:
            await tab.send_message(request)
        answered = [reply.parent.msg_id for reply in await replies(tab, 3)]
    assert answered == [request.head.msg_id for request in requests]


async def test_messages_are_numbered_with_one_count_for_all_channels(probe: Probe) -> None:
    kernel_id = await probe.start_kernel()
    async with probe.socket(kernel_id) as tab:
        await tab.run("print(0)")
        msg_ids = []
        for _ in range(3):
            output, reply = await tab.until_idle(await tab.execute("print(1)"))
            msg_ids += [message.head.msg_id for message in (*output, reply)]
    series, numbers = set(), []
    for msg_id in msg_ids:
        numbered = NUMBERED.fullmatch(msg_id)
        assert numbered is not None, msg_id
        series.add(numbered[1])
        numbers.append(int(numbered[2]))
    assert len(series) == 1
    assert sorted(numbers) == list(range(min(numbers), min(numbers) + len(numbers)))


async def test_gateway_replays_messages_in_order_to_the_session_that_missed_them(
    probe: Probe,
) -> None:
    kernel_id = await probe.start_kernel()
    async with probe.socket(kernel_id, "stable") as tab:
        msg_id = await tab.execute(
            "import time\nfor n in range(10):\n    print(n, flush=True); time.sleep(0.1)"
        )
        heard: list[Message] = []
        while not printed(heard):
            heard.append(await tab.receive())
    async with probe.socket(kernel_id, "stable") as tab:
        idle = reply = False
        while not (idle and reply):
            message = await tab.receive()
            if message.parent.msg_id == msg_id:
                heard.append(message)
                idle = idle or status_of(message) == "idle"
                reply = reply or message.channel is Channel.SHELL
    assert printed(heard).split() == [str(number) for number in range(10)]


async def test_gateway_takes_frames_of_at_most_10_mib(probe: Probe) -> None:
    kernel_id = await probe.start_kernel()
    async with probe.socket(kernel_id) as tab:
        assert await tab.run(f"print({9 * 2**20 * ' '!r}.count(' '))") == f"{9 * 2**20}\n"
    async with probe.socket(kernel_id) as tab:
        with pytest.raises(ConnectionError):
            await tab.run(11 * 2**20 * " ")
