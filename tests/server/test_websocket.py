"""The websocket of a page: what it speaks, what passes, and who hears it."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest

from jupyter_relay.testing import FakeGateway, FakeKernel, Hold
from jupyter_relay.wire.message import Channel, Message, compose
from jupyter_relay.wire.subprotocol import OFFERED, Subprotocol
from tests.support.messages import failures
from tests.support.server import TestServer, server_on
from tests.support.tab import Tab

LEGS = pytest.mark.parametrize(
    ("gateway_speaks", "page_is_legacy"),
    [(OFFERED, False), (OFFERED, True), ((), False), ((), True)],
    ids=["v1 to v1", "v1 to legacy", "legacy to v1", "legacy to legacy"],
)


def message_of(
    msg_type: str, *, buffers: tuple[bytes, ...] = (), content: bytes = b"{}"
) -> Message:
    """Make a message of a page."""
    message = compose(
        Channel.SHELL, msg_type, {}, msg_id=uuid4().hex, session="tab", date=datetime.now(UTC)
    )
    return Message(channel=message.channel, header=message.header, content=content, buffers=buffers)


async def echo(request: Message, kernel: FakeKernel) -> None:
    """Send a message back on iopub, buffers and all."""
    kernel.publish("comm_msg", {"echo": True}, request, request.buffers)


async def receive_type(tab: Tab, msg_type: str) -> Message:
    """Return the next message of this type."""
    while (message := await tab.receive()).head.msg_type != msg_type:
        pass
    return message


@LEGS
async def test_websocket_with_different_subprotocols_speaks_each_legs_own(
    server: TestServer, fake_gateway: FakeGateway, gateway_speaks: tuple[str, ...],
    page_is_legacy: bool,
) -> None:  # fmt: skip
    fake_gateway.subprotocols = gateway_speaks
    kernel_id = await server.start_kernel()
    async with server.tab(kernel_id, legacy=page_is_legacy) as tab:
        assert tab.websocket.protocol == (None if page_is_legacy else OFFERED[0])
        assert await tab.run("print") == "print\n"
    upstream = Subprotocol.V1 if gateway_speaks else Subprotocol.LEGACY
    assert [socket.subprotocol for socket in fake_gateway.sockets] == [upstream]


@LEGS
async def test_websocket_with_buffers_passes_them_both_ways(
    server: TestServer, fake_gateway: FakeGateway, gateway_speaks: tuple[str, ...],
    page_is_legacy: bool,
) -> None:  # fmt: skip
    fake_gateway.subprotocols = gateway_speaks
    kernel_id = await server.start_kernel()
    kernel = fake_gateway.kernels[kernel_id]
    kernel.handlers["comm_msg"] = echo
    buffers = (os.urandom(1000), b"", b"\xff\xfe\x00")
    async with server.tab(kernel_id, legacy=page_is_legacy) as tab:
        sent = message_of("comm_msg", buffers=buffers)
        await tab.send_message(sent)
        came = await receive_type(tab, "comm_msg")
        assert await tab.run("after") == "after\n"
    assert tuple(map(bytes, kernel.received[0].buffers)) == buffers
    assert tuple(map(bytes, came.buffers)) == buffers
    assert not any(socket.refused for socket in fake_gateway.sockets)


async def test_websocket_with_invalid_json_content_passes_it_unread(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    no_json = b'{"this is": not JSON \xff'
    kernel_id = await server.start_kernel()
    kernel = fake_gateway.kernels[kernel_id]

    async def send_back(request: Message, kernel: FakeKernel) -> None:
        answer = kernel.compose(Channel.IOPUB, "comm_msg", {}, request)
        kernel.audience.publish(
            Message(
                channel=answer.channel,
                header=answer.header,
                parent_header=answer.parent_header,
                metadata=no_json,
                content=request.content,
            )
        )

    kernel.handlers["comm_msg"] = send_back
    async with server.tab(kernel_id) as tab:
        await tab.send_message(message_of("comm_msg", content=no_json))
        came = await receive_type(tab, "comm_msg")
    assert bytes(kernel.received[0].content) == no_json
    assert (bytes(came.content), bytes(came.metadata)) == (no_json, no_json)


async def test_websocket_with_200_mb_message_from_kernel_delivers_it(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    size = 200 * 1000 * 1000
    kernel_id = await server.start_kernel()

    async def send_much(request: Message, kernel: FakeKernel) -> None:
        kernel.publish("display_data", {}, request, (bytes(size),))

    fake_gateway.kernels[kernel_id].on_execute = send_much
    async with server.tab(kernel_id) as tab:
        msg_id = await tab.execute("much")
        output, _ = await tab.until_idle(msg_id)
    sizes = [len(buffer) for message in output for buffer in message.buffers]
    assert sizes == [size]
    assert len(fake_gateway.sockets) == 1


@pytest.mark.parametrize("legacy", [True, False])
async def test_websocket_with_large_message_from_page_delivers_it(
    server: TestServer, fake_gateway: FakeGateway, legacy: bool
) -> None:
    kernel_id = await server.start_kernel()
    kernel = fake_gateway.kernels[kernel_id]
    kernel.handlers["comm_msg"] = echo
    size = 9 * 2**20
    async with server.tab(kernel_id, legacy=legacy) as tab:
        await tab.send_message(message_of("comm_msg", buffers=(bytes(size),)))
        came = await receive_type(tab, "comm_msg")
    assert len(came.buffers[0]) == size


@pytest.mark.parametrize("legacy", [True, False])
async def test_websocket_with_cell_above_tornado_default_reaches_gateway(
    server: TestServer, fake_gateway: FakeGateway, legacy: bool
) -> None:
    kernel_id = await server.start_kernel()
    async with server.tab(kernel_id, legacy=legacy) as tab:
        output, reply = await tab.until_idle(await tab.execute("x" * 12 * 2**20))
        (text,) = failures([*output, reply])
        assert f"This message of 12.0 MiB is larger than {fake_gateway.url} takes" in text
        assert await tab.run("1") == "1\n"


@pytest.mark.parametrize("legacy", [True, False])
async def test_websocket_with_cell_above_max_message_bytes_answers_reason(
    fake_gateway: FakeGateway, tmp_path: Path, legacy: bool
) -> None:
    argv = ("--GatewayClient.max_message_bytes=1_000_000",)
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        kernel_id = await server.start_kernel()
        async with server.tab(kernel_id, legacy=legacy) as tab:
            msg_id = await tab.execute("x" * 12_000_000)
            output, reply = await tab.until_idle(msg_id)
            (text,) = failures([*output, reply])
            assert "This message of 11.4 MiB is larger than max_message_bytes" in text
            assert await tab.run("1") == "1\n"
    assert len(fake_gateway.sockets) == 1


async def test_websocket_with_limit_in_tornado_settings_heeds_it(
    server: TestServer,
) -> None:
    server.app.web_app.settings["websocket_max_message_size"] = 1_000_000
    kernel_id = await server.start_kernel()
    async with server.tab(kernel_id) as tab:
        await tab.until_idle(await tab.execute("x" * 900_000))
        await tab.execute("x" * 1_000_001)
        await tab.to_the_end()
        assert tab.websocket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG


@pytest.mark.parametrize("frame", [b"", b"\xff" * 40, "no JSON", "[]", '{"header": 1}'], ids=repr)
async def test_websocket_with_invalid_frame_skips_it(
    server: TestServer, fake_gateway: FakeGateway, frame: str | bytes
) -> None:
    kernel_id = await server.start_kernel()
    async with server.tab(kernel_id) as tab:
        if isinstance(frame, str):
            await tab.websocket.send_str(frame)
        else:
            await tab.websocket.send_bytes(frame)
        assert await tab.run("still here") == "still here\n"
    assert not any(socket.refused for socket in fake_gateway.sockets)


async def test_websocket_of_many_tabs_shares_one_socket_and_all_output(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel_id = await server.start_kernel()
    async with server.tab(kernel_id, "a") as a, server.tab(kernel_id, "b", legacy=True) as b:
        msg_id = await a.execute("both")
        output, _ = await a.until_idle(msg_id)
        heard: list[str] = []
        while len(heard) < len(output):
            message = await b.receive()
            if message.parent.msg_id == msg_id:
                heard.append(message.head.msg_type)
        assert heard == [message.head.msg_type for message in output]
        assert (await server.call("GET", f"/api/kernels/{kernel_id}")).json["connections"] == 2
    assert len(fake_gateway.sockets) == 1


async def test_websocket_opened_again_by_same_session_replaces_the_first(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    kernel_id = await server.start_kernel()
    async with server.tab(kernel_id, "same") as first, server.tab(kernel_id, "same") as second:
        assert await second.run("second") == "second\n"
        while (await first.websocket.receive()).type is not aiohttp.WSMsgType.CLOSE:
            pass
    assert len(fake_gateway.sockets) == 1


async def test_websocket_of_ten_tabs_leaving_in_handshake_opens_one_socket(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    released = asyncio.Event()
    fake_gateway.fault("GET", "/api/kernels/*/channels", Hold(released))
    kernel_id = await server.start_kernel()
    for number in range(10):
        async with server.tab(kernel_id, f"tab {number}"):
            await fake_gateway.wait_for(
                lambda: fake_gateway.requests_to("GET", "/api/kernels/*/channels")
            )
    released.set()
    async with server.tab(kernel_id, "the one that stays") as tab:
        assert await tab.run("1") == "1\n"
    assert len(fake_gateway.sockets) == 1
    assert len(fake_gateway.requests_to("GET", "/api/kernels/*/channels")) == 1


async def test_websocket_handshake_without_waiting_tab_is_abandoned(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    fake_gateway.fault("GET", "/api/kernels/*/channels", Hold(asyncio.Event()))
    kernel_id = await server.start_kernel()
    async with server.tab(kernel_id):
        await fake_gateway.wait_for(
            lambda: fake_gateway.requests_to("GET", "/api/kernels/*/channels")
        )
    await server.call("DELETE", f"/api/kernels/{kernel_id}")
    await fake_gateway.wait_for(lambda: fake_gateway.abandoned)
    assert not fake_gateway.open_sockets


async def test_websocket_handshakes_that_hang_block_no_request(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    many = 20
    released = asyncio.Event()
    fake_gateway.fault("GET", "/api/kernels/*/channels", Hold(released))
    kernel_ids = [await server.start_kernel() for _ in range(many)]

    async def open_and_run(kernel_id: str) -> str:
        async with server.tab(kernel_id) as tab:
            return await tab.run(kernel_id)

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(open_and_run(kernel_id)) for kernel_id in kernel_ids]
        await fake_gateway.wait_for(
            lambda: len(fake_gateway.requests_to("GET", "/api/kernels/*/channels")) == many
        )
        # All handshakes hang, and the server serves.
        assert len((await server.call("GET", "/api/kernels")).json) == many
        assert (await server.call("GET", "/api/status")).status == 200
        assert not any(task.done() for task in running)
        released.set()
    assert [task.result() for task in running] == [f"{kernel_id}\n" for kernel_id in kernel_ids]


async def test_websocket_of_unknown_kernel_is_refused(server: TestServer) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with server.tab("00000000-0000-4000-8000-000000000000"):
            pass
    assert refused.value.status == 404


async def test_websocket_without_session_id_runs_cells(server: TestServer) -> None:
    kernel_id = await server.start_kernel()
    url = f"{server.url}/api/kernels/{kernel_id}/channels"
    async with server.http.ws_connect(url) as websocket:
        assert await Tab(websocket, "whoever").run("1") == "1\n"


async def test_websocket_with_burst_of_all_sizes_keeps_content_and_order(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    texts = [str(n % 10) * size for n, size in enumerate((1, 125, 126, 70_000, 3, 400_000) * 20)]

    async def burst(request: Message, kernel: FakeKernel) -> None:
        for text in texts:
            kernel.print(text + "\n", request)

    kernel_id = await server.start_kernel()
    fake_gateway.kernels[kernel_id].on_execute = burst
    async with server.tab(kernel_id) as tab:
        assert await tab.run("burst") == "".join(text + "\n" for text in texts)


async def test_websocket_of_compressing_server_is_compressed(server: TestServer) -> None:
    server.app.web_app.settings["websocket_compression_options"] = {}
    kernel_id = await server.start_kernel()
    async with server.http.ws_connect(
        f"{server.url}/api/kernels/{kernel_id}/channels",
        params={"session_id": "tab"},
        protocols=OFFERED,
        compress=15,
    ) as websocket:
        assert websocket.compress
        tab = Tab(websocket, "tab")
        for code in ("x" * 1000, "y"):
            assert await tab.run(code) == f"{code}\n"
