"""A log is not filled by what others send."""

from __future__ import annotations

import logging

import pytest

from jupyter_relay.kernels.kernel import RemoteKernel
from jupyter_relay.link.pending import MAX_REQUESTS
from jupyter_relay.log import KernelLog, ThrottledLog
from jupyter_relay.testing import FakeGateway
from jupyter_relay.wire.message import Frame
from tests.support.gateway import run
from tests.support.messages import request


class Log:
    """What was written, and a clock that is moved by hand."""

    def __init__(self, lines: int = 1) -> None:
        self.lines: list[str] = []
        self.now = 100.0
        self.throttled = ThrottledLog(
            self.lines.append, lines=lines, seconds=60.0, clock=lambda: self.now
        )


def test_throttled_log_of_many_lines_writes_the_first_and_counts_the_others() -> None:
    log = Log()
    for number in range(1000):
        log.throttled.write(f"line {number}.")
    assert log.lines == ["line 0."]
    log.throttled.write_count()
    assert log.lines == ["line 0.", "999 more like the last one."]


def test_throttled_log_that_goes_on_writes_one_line_a_minute_with_the_count() -> None:
    log = Log()
    for number in range(180):
        log.throttled.write(f"line {number}.")
        log.now += 1.0
    assert log.lines == [
        "line 0.",
        "line 60. (59 more like it before.)",
        "line 120. (59 more like it before.)",
    ]


def test_throttled_log_writes_as_many_lines_of_each_period_as_it_may() -> None:
    log = Log(lines=3)
    for number in range(10):
        log.throttled.write(f"line {number}.")
    log.now += 60.0
    log.throttled.write("line 10.")
    assert log.lines == ["line 0.", "line 1.", "line 2.", "line 10. (7 more like it before.)"]


def test_throttled_log_of_single_lines_reports_no_count() -> None:
    log = Log()
    log.throttled.write_count()
    log.throttled.write("a.")
    log.throttled.write_count()
    log.throttled.write("b.")
    assert log.lines == ["a.", "b."]


def v1_frame(channel: bytes, offsets: int = 6) -> Frame:
    """A frame of v1 with this channel and empty parts."""
    start = 8 * (offsets + 1)
    table = [offsets, start, *[start + len(channel)] * (offsets - 1)]
    return Frame(b"".join(number.to_bytes(8, "little") for number in table) + channel)


@pytest.mark.parametrize(
    "frame",
    [
        Frame(b"no message"),
        v1_frame(b"x" * 18_000_000),
        v1_frame(b"iopub\n\x1b[31m"),
        v1_frame(b"iopub", offsets=1_000_000),
        Frame(b'{"header": {}, "channel": "' + b"x" * 18_000_000 + b'"}', text=True),
        Frame(b'{"header": {"msg_type": 7, "session": "' + b"x" * 9000 + b'"}}', text=True),
    ],
    ids=["bytes", "channel", "control signs", "offsets", "legacy channel", "header"],
)
async def test_frames_that_are_no_messages_are_logged_as_one_short_line_and_a_count(
    fake_gateway: FakeGateway,
    kernel: RemoteKernel,
    frame: Frame,
    caplog: pytest.LogCaptureFixture,
) -> None:
    listener = kernel.subscribe("tab")
    socket = await fake_gateway.wait_for_socket()
    for _ in range(5):
        socket.send_raw(frame)
    await run(listener, request(session="tab"))
    await kernel.close()
    lines = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    skipped, count = lines
    assert "was skipped" in skipped
    assert count == f"Kernel {kernel.id}: 4 more like the last one."
    assert len(skipped) < 400
    assert skipped.isprintable()


async def test_requests_that_fail_in_great_numbers_are_logged_as_few_lines_whatever_their_type(
    kernel: RemoteKernel, fake_gateway: FakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    listener = kernel.subscribe("tab")
    socket = await fake_gateway.wait_for_socket()
    socket.swallow()
    for number in range(MAX_REQUESTS + 50):
        listener.send(request("a" * 1000 + "\n_request", {}, msg_id=str(number)))
    failed = [m for r in caplog.records if "has no reply" in (m := r.getMessage())]
    assert len(failed) == 20
    assert all(len(line) < 500 and line.isprintable() for line in failed)
    await kernel.close()


@pytest.mark.parametrize("kernel_id", ["k1", "%s"])
def test_kernel_log_begins_each_line_with_the_kernels_id(
    caplog: pytest.LogCaptureFixture, kernel_id: str
) -> None:
    log = KernelLog(logging.getLogger("kernels"), kernel_id)
    log.warning("restarted on %s.", "gpu")
    log.log(logging.ERROR, "%s of %s failed", 1, 2)
    assert [record.getMessage() for record in caplog.records] == [
        f"Kernel {kernel_id}: restarted on gpu.",
        f"Kernel {kernel_id}: 1 of 2 failed",
    ]
    assert {record.filename for record in caplog.records} == {"test_log.py"}


def test_kernel_log_of_a_line_without_arguments_takes_percent_signs_as_they_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = KernelLog(logging.LoggerAdapter(logging.getLogger("kernels")), "k1")
    log.warning("100 % of %s")
    assert caplog.messages == ["Kernel k1: 100 % of %s"]
