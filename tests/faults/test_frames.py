"""Frames that are no messages are skipped; the link lives."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.kernels.kernel import RemoteKernel
from jupyter_relay.testing import FakeGateway
from jupyter_relay.wire.message import Frame
from jupyter_relay.wire.subprotocol import OFFERED
from tests.faults.listener import Listener
from tests.faults.site import settings_for

GARBAGE = (
    Frame(b""),
    Frame(b"\x00"),
    Frame(b"\xff" * 64),
    Frame(bytes(range(256)) * 10),
    Frame(b"", text=True),
    Frame(b"not json", text=True),
    Frame(b"[]", text=True),
    Frame(b"null", text=True),
    Frame(b'{"channel": "iopub"}', text=True),
    Frame(b'{"channel": "weather", "header": {"msg_id": "1", "msg_type": "rain"}}', text=True),
    Frame(b'{"channel":"iopub","header":{"msg_id":1},"parent_header":{},"metadata":{},"content":{}}',
          text=True),
    Frame(b'{"channel":"iopub","header":{"msg_type":"status"},"parent_header":[],'
          b'"metadata":{},"content":{}}', text=True),
    Frame(b'{"channel":"iopub","header":{"msg_type":"of tomorrow","msg_id":"x_1_9999"},'
          b'"parent_header":{},"metadata":{},"content":{"execution_state":7}}', text=True),
    Frame(b'{"a":' * 100_000, text=True),
    Frame(b"\xc3\x28", text=False),
    Frame((1).to_bytes(4, "big") + b"\xff\xff\xff\xff"),
    Frame((2**63).to_bytes(8, "little")),
)  # fmt: skip


@pytest.fixture(params=[OFFERED, ()], ids=["v1", "legacy"])
async def remote(
    request: pytest.FixtureRequest, fake_gateway: FakeGateway
) -> AsyncIterator[RemoteKernel]:
    """A kernel on a fake gateway that speaks either subprotocol."""
    fake_gateway.subprotocols = request.param
    kernel = fake_gateway.start_kernel()
    gateway = Gateway(settings_for(fake_gateway.url, fake_gateway.token))
    remote = RemoteKernel(gateway, await gateway.kernel(kernel.id))
    yield remote
    await remote.close()
    await gateway.close()


@pytest.mark.parametrize("frame", GARBAGE, ids=range(len(GARBAGE)))
async def test_garbage_is_skipped(
    remote: RemoteKernel, fake_gateway: FakeGateway, frame: Frame
) -> None:
    listener = Listener(remote)
    await listener.done("1")
    fake_gateway.sockets[0].send_raw(frame)
    assert (await listener.done("2")).numbers == [2]
    assert len(fake_gateway.sockets) == 1
    assert not fake_gateway.sockets[0].closed
