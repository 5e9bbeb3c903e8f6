"""The hostile gateway: it behaves, and misbehaves as it is told."""

from __future__ import annotations

import asyncio
import zlib

import aiohttp
import pytest

from jupyter_relay.testing import (
    EVIL_PATHS,
    EndlessBody,
    EvilUrls,
    GzipBomb,
    HostileGateway,
    QuotedSecrets,
    WordyClose,
)

HEADERS = {"Authorization": "token secret"}


async def raw(gateway: HostileGateway, path: str) -> bytes:
    """The bytes of an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gateway.url.rpartition(":")[2]))
    writer.write(f"GET {path} HTTP/1.1\r\nAuthorization: token secret\r\n\r\n".encode())
    data = await reader.read()
    writer.close()
    await writer.wait_closed()
    return data


async def test_hostile_gateway_misbehaves_only_while_it_is_told_to() -> None:
    async with HostileGateway() as gateway, aiohttp.ClientSession(headers=HEADERS) as http:
        kernel = gateway.fake.start_kernel()
        for misbehave in (False, True, False):
            if misbehave:
                with gateway.misbehaving(QuotedSecrets("text", 409)):
                    async with http.get(f"{gateway.url}/api/kernels") as response:
                        assert (response.status, "secret" in await response.text()) == (409, True)
                continue
            async with http.get(f"{gateway.url}/api/kernels") as response:
                assert [model["id"] for model in await response.json()] == [kernel.id]
            async with http.ws_connect(f"{gateway.url}/api/kernels/{kernel.id}/channels"):
                await gateway.fake.wait_for(lambda: gateway.fake.open_sockets)
            await gateway.fake.wait_for(lambda: not gateway.fake.open_sockets)
    assert [hit.path for hit in gateway.hits] == ["/api/kernels"]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_bomb_is_small_and_unpacks_to_the_size_it_says(coding: str) -> None:
    bomb = GzipBomb(mib=4, coding="gzip" if coding == "gzip" else "deflate")
    async with HostileGateway() as gateway:
        with gateway.misbehaving(bomb):
            answer = await raw(gateway, "/kernelspecs/python3/logo.png")
    body = answer.partition(b"\r\n\r\n")[2]
    assert len(body) < 10_000
    unpacked = zlib.decompressobj(47).decompress(body)
    assert unpacked == bytes(4 * 1024 * 1024)


async def test_endless_body_ends_when_its_reader_goes() -> None:
    async with HostileGateway() as gateway, aiohttp.ClientSession() as http:
        with gateway.misbehaving(endless := EndlessBody()):
            async with http.get(f"{gateway.url}/api/kernels") as response:
                await response.content.readexactly(1024 * 1024)
                response.close()
            await gateway.wait_until_committed(endless)


async def test_evil_urls_are_all_given_beside_a_good_one() -> None:
    async with HostileGateway() as gateway, aiohttp.ClientSession() as http:
        with gateway.misbehaving(EvilUrls()):
            async with http.get(f"{gateway.url}/api/kernelspecs") as response:
                listed = await response.json()
    resources = listed["kernelspecs"]["python3"]["resources"]
    assert len(resources) == len(EVIL_PATHS) + 1
    assert "/kernelspecs/python3/../../logout" in resources.values()


async def test_misdeed_of_websockets_befalls_no_other_request() -> None:
    async with HostileGateway() as gateway, aiohttp.ClientSession(headers=HEADERS) as http:
        kernel = gateway.fake.start_kernel()
        with gateway.misbehaving(WordyClose()):
            async with http.get(f"{gateway.url}/api/kernels") as response:
                assert response.status == 200
            path = f"{gateway.url}/api/kernels/{kernel.id}/channels"
            async with http.ws_connect(path) as websocket:
                message = await websocket.receive()
    assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, 1011, "secret")
