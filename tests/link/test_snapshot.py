"""A snapshot of a link has the facts of one moment."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, asdict

import pytest

from jupyter_relay.link.actions import LinkSnapshot, Timer
from jupyter_relay.link.table import State
from tests.link.rig import Rig, connected
from tests.support.messages import Voice, request


def test_snapshot_of_a_new_link_has_no_history() -> None:
    rig = Rig()
    assert rig.link.snapshot() == LinkSnapshot(
        state=State.IDLE,
        since=rig.now,
        cause="",
        held=0,
        outage_seconds=None,
        replayed=0,
        lost=0,
    )


def test_snapshot_is_frozen() -> None:
    rig = connected()
    snapshot = rig.link.snapshot()
    rig.drop()
    assert snapshot.state is State.OPEN
    with pytest.raises(FrozenInstanceError):
        snapshot.held = 1  # type: ignore[misc]  # which is the point


def test_snapshot_since_is_when_the_state_changed() -> None:
    rig = connected()
    opened = rig.now
    rig.wait(5.0)
    rig.send()
    assert rig.link.snapshot().since == opened
    rig.drop()
    assert (rig.link.snapshot().state, rig.link.snapshot().since) == (State.WAITING, rig.now)


def test_snapshot_in_an_outage_has_its_cause_its_length_and_what_is_held() -> None:
    rig = connected()
    rig.wait(60.0)
    rig.drop("it was cut.", silent=2.0)
    rig.wait(5.0)
    rig.send()
    rig.send(request("kernel_info_request", {}))
    snapshot = rig.link.snapshot()
    assert (snapshot.cause, snapshot.outage_seconds, snapshot.held) == ("it was cut.", 7.0, 2)


def test_snapshot_after_an_outage_has_its_length_and_cause() -> None:
    rig = connected()
    rig.drop("it was cut.")
    rig.reopen(5.0)
    rig.wait(100.0)
    snapshot = rig.link.snapshot()
    assert (snapshot.state, snapshot.cause) == (State.OPEN, "it was cut.")
    assert (snapshot.outage_seconds, snapshot.held) == (5.0, 0)


def test_snapshot_of_an_ended_link_has_the_reason_as_cause() -> None:
    rig = connected()
    rig.drop("it was cut.")
    rig.do(rig.link.gone("The kernel is gone."))
    snapshot = rig.link.snapshot()
    assert (snapshot.state, snapshot.cause) == (State.GONE, "The kernel is gone.")


def test_snapshot_counts_replayed_messages() -> None:
    rig, kernel = connected(), Voice()
    rig.hear(*kernel.answer(rig.send()))
    cell = rig.send()
    line, again = kernel.status("busy", cell), kernel.stream("1", cell)
    rig.hear(line, again)
    rig.drop()
    rig.reopen()
    rig.hear(line, again, kernel.stream("2", cell))
    assert rig.link.snapshot().replayed == 2


def test_snapshot_counts_lost_messages() -> None:
    rig, kernel = connected(), Voice()
    rig.hear(*kernel.answer(rig.send()))
    cell = rig.send()
    rig.hear(kernel.status("busy", cell))
    rig.drop()
    lost = [kernel.stream(str(number), cell) for number in range(3)]
    rig.reopen()
    rig.hear(kernel.reply(cell), kernel.status("idle", cell))
    reported = [report.count for report in rig.reports if report.count]
    assert reported == [len(lost)]
    assert rig.link.snapshot().lost == len(lost)


def test_snapshot_does_not_count_a_loss_without_numbers() -> None:
    rig, kernel = connected(), Voice(numbered=False)
    cell = rig.send()
    rig.hear(kernel.status("busy", cell))
    rig.drop()
    rig.reopen()
    rig.hear(kernel.reply(cell), kernel.status("idle", cell))
    assert rig.link.snapshot().lost == 0


def test_snapshot_of_an_unused_link_has_no_outage() -> None:
    rig = connected()
    rig.detach()
    rig.wait(30.0)
    rig.fire(Timer.LINGER)
    assert asdict(rig.link.snapshot()) == {
        "state": State.IDLE,
        "since": rig.now,
        "cause": "",
        "held": 0,
        "outage_seconds": None,
        "replayed": 0,
        "lost": 0,
    }
