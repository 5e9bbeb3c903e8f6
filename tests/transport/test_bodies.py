"""Bodies of answers are read up to a bound, after decompression; large ones hold up nobody."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable

import pytest

from jupyter_relay.errors import (
    GatewayRefused,
    GatewayUnavailable,
    KernelStartFailed,
    RelayError,
    UnexpectedAnswer,
)
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.redact import Quoter
from jupyter_relay.rest.response import FILE_BYTES, LIST_BYTES, MODEL_BYTES, REASON_BYTES, Response
from jupyter_relay.testing import Answer, FakeGateway, FakeKernel
from jupyter_relay.transport.transport import Socket
from tests.support.gateway import KERNEL, KERNELS, settings_for

LOGO = "/kernelspecs/*/*"


def packed(body: bytes, coding: str = "gzip", status: int = 200) -> Answer:
    data = gzip.compress(body, 1) if coding == "gzip" else zlib.compress(body, 1)
    return Answer(status, data, headers={"Content-Encoding": coding})


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_resource_a_compressed_file_of_as_much_as_is_taken_is_read(
    fake_gateway: FakeGateway, gateway: Gateway, coding: str
) -> None:
    fake_gateway.fault("GET", LOGO, packed(bytes(FILE_BYTES), coding))
    file = await gateway.kernelspec_resource("python3", "logo.png")
    assert file == bytes(FILE_BYTES)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_resource_a_compressed_file_of_more_than_is_taken_is_refused(
    fake_gateway: FakeGateway, gateway: Gateway, coding: str
) -> None:
    fake_gateway.fault("GET", LOGO, packed(bytes(FILE_BYTES + 1), coding))
    with pytest.raises(UnexpectedAnswer, match=r"sent an answer of more than 16 MiB, which is"):
        await gateway.kernelspec_resource("python3", "logo.png")


async def test_kernel_a_model_of_more_than_is_taken_is_refused(
    fake_gateway: FakeGateway, gateway: Gateway, fake_kernel: FakeKernel
) -> None:
    fake_gateway.fault("GET", KERNEL, Answer(body=b" " * (MODEL_BYTES + 1)))
    with pytest.raises(UnexpectedAnswer, match="more than 1 MiB"):
        await gateway.kernel(fake_kernel.id)


async def test_kernelspecs_a_list_of_more_than_is_taken_is_refused(
    fake_gateway: FakeGateway, gateway: Gateway
) -> None:
    fake_gateway.fault("GET", "/api/kernelspecs", packed(b" " * (LIST_BYTES + 1)))
    with pytest.raises(UnexpectedAnswer, match="more than 64 MiB"):
        await gateway.kernelspecs()


async def test_interrupt_an_answer_that_nobody_reads_may_be_of_any_length(
    fake_gateway: FakeGateway, gateway: Gateway, fake_kernel: FakeKernel
) -> None:
    fake_gateway.fault("POST", KERNEL + "/interrupt", packed(bytes(100 * 1024 * 1024)))
    await gateway.interrupt_kernel(fake_kernel.id)
    assert (await gateway.kernel(fake_kernel.id)).id == fake_kernel.id


async def test_start_a_long_reason_is_told_by_its_beginning(
    fake_gateway: FakeGateway, gateway: Gateway
) -> None:
    reason = b'{"message": "no room \\u00e9\\n ' + b"x" * 10 * REASON_BYTES + b'"}'
    fake_gateway.fault("POST", KERNELS, packed(reason, status=500))
    with pytest.raises(KernelStartFailed, match="no room é xxx") as caught:
        await gateway.start_kernel("python3")
    assert len(str(caught.value)) < 500


async def test_refusal_a_secret_at_the_end_of_what_is_read_of_it_is_not_told(
    fake_gateway: FakeGateway, gateway: Gateway
) -> None:
    for less in range(1, 6):
        body = b" " * (REASON_BYTES - less) + b"secret"
        rule = fake_gateway.fault("GET", KERNELS, Answer(409, body, "text/plain"))
        with pytest.raises(GatewayRefused) as caught:
            await gateway.find_kernels(["k1"])
        assert "sec" not in str(caught.value).replace("[secret]", ""), less
        rule.lift()


async def test_body_that_cannot_be_decompressed_is_an_error_without_its_text(
    fake_gateway: FakeGateway, gateway: Gateway
) -> None:
    broken = Answer(200, b"token secret " * 10, headers={"Content-Encoding": "gzip"})
    fake_gateway.fault("GET", "/api/kernelspecs", broken)
    with pytest.raises(GatewayUnavailable, match="its answer") as caught:
        await gateway.kernelspecs()
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "none-that-there-is"])
@pytest.mark.parametrize("status", [200, 500])
async def test_body_in_a_coding_that_was_not_asked_for_is_an_error_with_a_sentence(
    fake_gateway: FakeGateway, gateway: Gateway, coding: str, status: int
) -> None:
    body = Answer(status, b"\x8b\x00\x80secret\x03" * 10, headers={"Content-Encoding": coding})
    fake_gateway.fault("GET", "/api/kernelspecs", body)
    with pytest.raises(RelayError) as caught:
        await gateway.kernelspecs()
    assert gateway.name in str(caught.value)
    assert "secret" not in str(caught.value).replace("[secret]", "")


class Instant:
    """A transport that answers with one body, without a wait."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def request(self, *_: object, **__: object) -> Response:
        return Response(200, body=self._body, quoter=Quoter(["t0ken/secret"]))

    async def connect(self, *_: object, **__: object) -> Socket:
        raise NotImplementedError

    async def close(self) -> None:
        pass


QUOTED = b"%41&amp;\\u0041" * 10
LISTED = b'{"kernelspecs": {%s}}' % b",".join(
    b'"s%d": {"spec": {"display_name": "%s"}}' % (number, QUOTED) for number in range(500)
)
RUNNING = b"[%s]" % b",".join(
    b'{"id": "k%d", "reason": "%s"}' % (number, QUOTED) for number in range(500)
)


@pytest.mark.parametrize(
    ("body", "ask"),
    [
        (LISTED, lambda gateway: gateway.kernelspecs()),
        (RUNNING, lambda gateway: gateway.find_kernels(["k1"])),
        (QUOTED * 2000, lambda gateway: gateway.kernelspec_resource("python3", "logo.png")),
    ],
    ids=["kernelspecs", "kernels", "file"],
)
async def test_body_of_a_large_size_is_read_while_other_tasks_have_their_turn(
    body: bytes, ask: Callable[[Gateway], Awaitable[object]]
) -> None:
    gateway = Gateway(settings_for("http://gpu"), lambda _: Instant(body))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(count())
    await ask(gateway)
    other.cancel()
    await asyncio.wait([other])
    await gateway.close()
    assert turns > 10
