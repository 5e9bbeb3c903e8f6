"""Frames of a hostile gateway: what is held of them is bounded, and the link goes on trying."""

from __future__ import annotations

import logging

import pytest

from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.kernels.kernel import RemoteKernel
from jupyter_relay.link.actions import Report
from jupyter_relay.rest.models import KernelModel
from jupyter_relay.testing.changes import Changes
from jupyter_relay.testing.hostile_gateway import (
    EndlessFragments,
    HostileGateway,
    HugeChannel,
    MillionOffsets,
    Misdeed,
    UnreadableFlood,
)
from tests.support.gateway import settings_for


async def lines_after(misdeed: Misdeed, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the lines in the log of a link on whose first websocket this comes."""
    reports: list[Report] = []
    changes = Changes()

    def note(report: Report) -> None:
        reports.append(report)
        changes.notify()

    async with HostileGateway() as hostile:
        settings = settings_for(hostile.url, max_message_bytes=4 * 2**20)
        gateway = Gateway(settings)
        fake = hostile.fake.start_kernel()
        kernel = RemoteKernel(gateway, KernelModel(id=fake.id, name=fake.name), on_report=note)
        with hostile.misbehaving(misdeed):
            kernel.subscribe("tab")
            await changes.wait_for(lambda: reports, 30.0)
        await kernel.close()
        await gateway.close()
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


async def test_fragments_that_never_end_are_held_up_to_the_bound(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lines = await lines_after(EndlessFragments(mib=64), caplog)
    assert "it sent a message larger than max_message_bytes." in lines[0]


@pytest.mark.parametrize(
    "misdeed",
    [MillionOffsets(), UnreadableFlood(frames=2000), HugeChannel(mib=3)],
    ids=["offsets", "flood", "channel"],
)
async def test_frames_that_are_no_messages_fill_no_log(
    misdeed: Misdeed, caplog: pytest.LogCaptureFixture
) -> None:
    lines = await lines_after(misdeed, caplog)
    skipped = [line for line in lines if "was skipped" in line]
    assert len(skipped) == 1 or "larger than max_message_bytes" in lines[0]
    assert all(len(line) < 500 and line.isprintable() for line in lines)
