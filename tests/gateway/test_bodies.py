"""Bodies of answers are read up to a bound, after decompression; large ones hold up nobody."""

from __future__ import annotations

import gzip
import threading
import zlib

import pytest

from jupyter_relay.errors import (
    GatewayRefused,
    GatewayUnavailable,
    KernelStartFailed,
    UnexpectedAnswer,
)
from jupyter_relay.gateway.client import Gateway
from jupyter_relay.gateway.transport import FILE_BYTES, LIST_BYTES, MODEL_BYTES, REASON_BYTES
from jupyter_relay.testing import Answer, FakeGateway, FakeKernel
from tests.gateway.support import KERNEL, KERNELS

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
    with pytest.raises(UnexpectedAnswer, match=r"gave an answer of more than 16 MiB, which is"):
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


async def test_a_body_that_cannot_be_decompressed_is_told_without_its_text(
    fake_gateway: FakeGateway, gateway: Gateway
) -> None:
    broken = Answer(200, b"token secret " * 10, headers={"Content-Encoding": "gzip"})
    fake_gateway.fault("GET", "/api/kernelspecs", broken)
    with pytest.raises(GatewayUnavailable, match="its answer") as caught:
        await gateway.kernelspecs()
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_kernelspecs_a_large_list_is_parsed_beside_the_event_loop(
    fake_gateway: FakeGateway, gateway: Gateway
) -> None:
    made: list[set[str]] = []
    for size in (1, 512 * 1024):
        before = set(threading.enumerate())
        body = b'{"kernelspecs": {}}' + b" " * size
        rule = fake_gateway.fault("GET", "/api/kernelspecs", Answer(body=body))
        await gateway.kernelspecs()
        rule.lift()
        names = {thread.name for thread in set(threading.enumerate()) - before}
        made.append({name for name in names if name.startswith("asyncio")})
    assert [len(names) for names in made] == [0, 1]
