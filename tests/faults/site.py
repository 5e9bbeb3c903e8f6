"""A kernel on a gateway, a proxy between, and what the gateway says behind the proxy's back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import InitVar, dataclass, field, replace
from typing import TypeVar

from jupyter_relay.backoff import Backoff
from jupyter_relay.errors import GatewayUnavailable, KernelNotFound
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.kernels.kernel import RemoteKernel
from jupyter_relay.link.actions import Happening, Report
from jupyter_relay.link.settings import LinkSettings
from jupyter_relay.link.table import State
from jupyter_relay.rest.models import KernelModel
from jupyter_relay.settings.settings import GatewaySettings
from jupyter_relay.settings.transport import TransportSettings
from jupyter_relay.testing import FaultyProxy
from jupyter_relay.testing.changes import Changes
from jupyter_relay.testing.servers import RunningServer
from jupyter_relay.transport.aiohttp_transport import AiohttpTransport
from jupyter_relay.transport.transport import Transport

T = TypeVar("T")

# A gateway that limits the rate of output drops some of it by itself.
UNLIMITED = (
    "--ZMQChannelsWebsocketConnection.iopub_msg_rate_limit=0",
    "--ZMQChannelsWebsocketConnection.iopub_data_rate_limit=0",
)

LINK = LinkSettings(backoff=Backoff(base=0.02, cap=0.2), probe_after=5.0, alarm_after=60.0)
"""What a person would not wait for, a test need not."""


@dataclass
class Site:
    """What a test works with.

    ``remote`` is its kernel, seen ``through`` the proxy; ``direct`` is the same gateway without
    it, as others see it. ``reports`` are what the link had to say; ``on_report`` is told of each.
    """

    proxy: FaultyProxy
    direct: Gateway
    through: Gateway
    model: InitVar[KernelModel]
    reports: list[Report] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)
    on_report: Callable[[Report], None] | None = None

    def __post_init__(self, model: KernelModel) -> None:
        self.remote = RemoteKernel(self.through, model, on_report=self.note)

    def told(self, happening: Happening) -> list[Report]:
        """Return the reports of one kind."""
        return [report for report in self.reports if report.happening is happening]

    async def wait_told(self, happening: Happening, count: int = 1) -> Report:
        """Return the last report of a kind as soon as there are so many."""
        await self.changes.wait_for(lambda: len(self.told(happening)) >= count, 60.0)
        return self.told(happening)[-1]

    async def wait_open(self) -> None:
        """Return once the link is open. It must have dropped before, or be opening."""
        if self.remote.state is not State.OPEN:
            await self.wait_told(Happening.OPENED, len(self.told(Happening.OPENED)) + 1)

    async def until_listed(self, condition: Callable[[KernelModel | None], bool]) -> None:
        """Return when this is so of what the gateway says of the kernel; None if it is no more."""
        kernel_id = self.remote.id
        async with asyncio.timeout(60.0):
            while True:
                if condition((await self.direct.find_kernels([kernel_id]))[kernel_id]):
                    return
                await asyncio.sleep(0.05)  # a gateway tells only who asks

    def note(self, report: Report) -> None:
        """Take a report."""
        self.reports.append(report)
        self.changes.notify()
        if self.on_report is not None:
            self.on_report(report)


@asynccontextmanager
async def open_site(
    server: RunningServer,
    *,
    edit: Callable[[GatewaySettings], GatewaySettings] = lambda settings: settings,
    transport: Callable[[TransportSettings], Transport] = AiohttpTransport,
    kernel_name: str = "python3",
) -> AsyncIterator[Site]:
    """Start a kernel, and reach it through a proxy; end all of it afterwards."""
    async with FaultyProxy("127.0.0.1", server.port) as proxy:
        direct = Gateway(settings_for(server.url, server.token))
        settings = edit(settings_for(proxy.url, server.token))
        through = Gateway(settings, transport)
        model = await direct.start_kernel(kernel_name)
        site = Site(proxy, direct, through, model)
        try:
            yield site
        finally:
            await site.remote.close()
            with suppress(KernelNotFound, GatewayUnavailable):  # the test has seen to that
                await direct.shutdown_kernel(model.id)
            await through.close()
            await direct.close()


def settings_for(url: str, token: str) -> GatewaySettings:
    """Return settings for a gateway at this address."""
    made = GatewaySettings.make({"url": url, "auth_token": token}, {}, name="the gateway")
    return with_transport(replace(made, link=LINK), ping_interval=2.0)


def with_transport(settings: GatewaySettings, **changes: object) -> GatewaySettings:
    """Return the settings of a gateway with changed settings of its transport."""
    return replace(settings, transport=replace(settings.transport, **changes))  # type: ignore[arg-type]  # checked by the dataclass


def with_link(**changes: object) -> Callable[[GatewaySettings], GatewaySettings]:
    """Return an edit that changes settings of the link."""

    def edit(settings: GatewaySettings) -> GatewaySettings:
        return replace(settings, link=replace(settings.link, **changes))  # type: ignore[arg-type]  # checked by the dataclass

    return edit
