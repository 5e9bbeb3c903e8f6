"""What the tests of gateways share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeVar

from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.kernels.kernel import RemoteKernel
from jupyter_relay.kernels.subscription import Subscription
from jupyter_relay.link.actions import Report
from jupyter_relay.rest.models import KernelModel
from jupyter_relay.settings.kinds import Value
from jupyter_relay.settings.options import OPTIONS
from jupyter_relay.settings.settings import GatewaySettings
from jupyter_relay.testing import Answer, FakeKernel
from jupyter_relay.wire.message import Message
from tests.support.messages import types

T = TypeVar("T")

TOKEN = "secret"  # that of a fake gateway unless a test says otherwise
DEADLINE = 10.0

KERNELS = "/api/kernels"
KERNEL = "/api/kernels/*"
CHANNELS = "/api/kernels/*/channels"

NO_ANSWERS = (
    Answer.html("<h1>Please log in</h1>"),
    Answer(body=b"{"),
    Answer(body=b'"\xff"'),
    Answer(body=b""),
    Answer.json(None),
    Answer.json(7),
    Answer.json([]),
    Answer.json({}),
)
"""Answers of something that is no gateway, to who expects a kernel or kernelspecs."""


def settings_for(
    url: str, environment: Mapping[str, str] | None = None, /, **options: Value
) -> GatewaySettings:
    """Settings for a gateway on loopback, that do not wait before they connect again."""
    given: dict[str, Value] = {"auth_token": TOKEN, "gateway_retry_interval": 0.001}
    return GatewaySettings.make({"url": url, **given, **options}, environment or {})


def remote_kernel(
    gateway: Gateway, fake: FakeKernel, on_report: Callable[[Report], None] | None = None
) -> RemoteKernel:
    """The kernel of a gateway of ours that a fake kernel is."""
    return RemoteKernel(gateway, KernelModel(id=fake.id, name=fake.name), on_report=on_report)


async def until(listener: Subscription, last: str, *, of: Message | None = None) -> list[Message]:
    """Return what a listener hears up to a type, as `types` names it; only of a request if given.

    Raises `TimeoutError`.
    """
    heard: list[Message] = []
    async with asyncio.timeout(DEADLINE):
        while True:
            message = await listener.receive()
            if of is not None and message.parent.msg_id != of.head.msg_id:
                continue
            heard.append(message)
            if types([message]) == [last]:
                return heard


async def answer_of(listener: Subscription, asked: Message) -> list[Message]:
    """Return all that a listener hears of a request, until its reply and its idle are in."""
    heard: list[Message] = []
    wanted = {"status:idle", asked.head.msg_type.removesuffix("_request") + "_reply"}
    async with asyncio.timeout(DEADLINE):
        while not wanted <= set(types(heard)):
            message = await listener.receive()
            if message.parent.msg_id == asked.head.msg_id:
                heard.append(message)
    return heard


async def run(listener: Subscription, asked: Message) -> list[Message]:
    """Send a request and return all that comes of it."""
    listener.send(asked)
    return await answer_of(listener, asked)


def default_of(name: str, kind: type[T]) -> T:
    """Return the default of an option, which is of a type. Raises `LookupError`."""
    for option in OPTIONS:
        if option.name == name and isinstance(option.default, kind):
            return option.default
    raise LookupError(name)
