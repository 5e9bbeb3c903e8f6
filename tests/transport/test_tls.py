"""TLS with a gateway, by an authority made in the test."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from jupyter_relay.errors import ConfigurationError, GatewayUnavailable
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.settings.kinds import Value
from jupyter_relay.testing import FakeGateway
from jupyter_relay.testing.servers import kernel_gateway
from tests.support.gateway import settings_for
from tests.support.round_trip import round_trip
from tests.support.tls import Authority, replace

NO_CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def gateway_of(fake: FakeGateway, **options: Value) -> Gateway:
    """A gateway of ours that is asked once."""
    return Gateway(settings_for(fake.url, max_request_retries=0, **options))


async def works(fake: FakeGateway, gateway: Gateway) -> None:
    """Make a request and open a websocket, on new connections."""
    await gateway.kernelspecs()
    socket = await gateway.connect(fake.start_kernel().id, "me")
    await socket.close()


# A real gateway.


@pytest.mark.parametrize("mutual", [False, True], ids=["TLS", "mTLS"])
async def test_kernel_is_used_by_tls(authority: Authority, mutual: bool) -> None:
    options: dict[str, Value] = {"ca_certs": str(authority.certificate)}
    async with kernel_gateway(tls=authority.server_files(mutual=mutual)) as server:
        if mutual:
            with pytest.raises(GatewayUnavailable):
                await round_trip(settings_for(server.url, auth_token=server.token, **options))
            certificate, key = authority.issue("client")
            options |= {"client_cert": str(certificate), "client_key": str(key)}
        await round_trip(settings_for(server.url, auth_token=server.token, **options))


# Whom we trust.


@pytest.mark.parametrize("form", ["file", "folder"])
async def test_authority_in_the_settings_is_trusted_for_requests_and_websockets(
    tmp_path: Path, authority: Authority, form: str
) -> None:
    folder = tmp_path / "trusted"
    folder.mkdir()
    (folder / "README").write_bytes("Unsere Zertifikate, grüß Gott".encode("latin-1"))
    (folder / "ca.crt").symlink_to(authority.certificate)
    path = folder if form == "folder" else folder / "ca.crt"
    async with FakeGateway(tls=authority.serving()) as fake:
        gateway = gateway_of(fake, ca_certs=str(path))
        await works(fake, gateway)
        await gateway.close()


@pytest.mark.parametrize("ca_certs", [None, "another"])
async def test_authority_outside_the_settings_is_not_trusted(
    tmp_path: Path, authority: Authority, ca_certs: str | None
) -> None:
    other = Authority(tmp_path, "another").certificate
    async with FakeGateway(tls=authority.serving()) as fake:
        gateway = gateway_of(fake, ca_certs=str(other) if ca_certs else None)
        answers = await asyncio.gather(
            gateway.kernelspecs(), gateway.connect("k1", "me"), return_exceptions=True
        )
        await gateway.close()
        for answer in answers:
            assert isinstance(answer, GatewayUnavailable)
            assert not answer.retryable
            assert "certificate" in str(answer)
        assert not fake.requests


async def test_certificate_of_another_host_is_refused(authority: Authority) -> None:
    async with FakeGateway(tls=authority.serving("elsewhere.example")) as fake:
        gateway = gateway_of(fake, ca_certs=str(authority.certificate))
        with pytest.raises(GatewayUnavailable, match="certificate"):
            await gateway.kernelspecs()
        await gateway.close()


async def test_validation_can_be_switched_off_and_that_is_said_once(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async with FakeGateway(tls=authority.serving("elsewhere.example")) as fake:
        gateway = gateway_of(fake, validate_cert=False)
        await works(fake, gateway)
        await works(fake, gateway)
        await gateway.close()
    (warning,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert f"The certificate of {fake.url} is not verified" in warning.message


# What we show.


@pytest.mark.parametrize("together", [False, True], ids=["two files", "one file"])
async def test_client_certificate_is_shown_for_requests_and_websockets(
    authority: Authority, together: bool
) -> None:
    certificate, key = authority.issue("client")
    options: dict[str, Value] = {"client_cert": str(certificate), "client_key": str(key)}
    if together:
        certificate.write_bytes(key.read_bytes() + certificate.read_bytes())
        options = {"client_cert": str(certificate)}
    async with FakeGateway(tls=authority.serving(clients=authority.certificate)) as fake:
        gateway = gateway_of(fake, ca_certs=str(authority.certificate), **options)
        await works(fake, gateway)
        await gateway.close()
        gateway = gateway_of(fake, ca_certs=str(authority.certificate))
        with pytest.raises(GatewayUnavailable):
            await works(fake, gateway)
        await gateway.close()


# Files that are of no use.


async def failure(**options: Value) -> ConfigurationError:
    """The error of a gateway whose files are of no use."""
    gateway = Gateway(settings_for("https://127.0.0.1:9", **options))
    with pytest.raises(ConfigurationError) as caught:
        await gateway.kernelspecs()
    with pytest.raises(ConfigurationError):
        await gateway.connect("k1", "me")
    await gateway.close()
    return caught.value


@pytest.mark.parametrize("content", [None, b"", b"nonsense", NO_CERTIFICATE])
@pytest.mark.parametrize("option", ["ca_certs", "client_cert", "client_key"])
async def test_certificate_file_of_no_use_is_an_error_that_names_its_option(
    tmp_path: Path, authority: Authority, option: str, content: bytes | None
) -> None:
    certificate, key = authority.issue("client")
    bad = tmp_path / "bad"
    if content is not None:
        bad.write_bytes(content)
    options = {"client_cert": str(certificate), "client_key": str(key), option: str(bad)}
    error = await failure(**options)
    assert error.option == option
    assert f"GatewayClient.{option} of https://127.0.0.1:9 cannot be used ({bad}): " in str(error)


async def test_key_of_another_certificate_is_an_error(authority: Authority) -> None:
    certificate, _ = authority.issue("client")
    _, other = authority.issue("other")
    error = await failure(client_cert=str(certificate), client_key=str(other))
    assert error.option == "client_key"


async def test_key_without_a_certificate_is_an_error(authority: Authority) -> None:
    assert (await failure(client_key=str(authority.issue("client")[1]))).option == "client_cert"


async def test_folder_without_certificates_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert (await failure(ca_certs=str(tmp_path / "empty"))).option == "ca_certs"


async def test_key_with_a_password_is_refused_without_a_prompt(authority: Authority) -> None:
    certificate, key = authority.issue("client")
    read = load_pem_private_key(key.read_bytes(), None)
    secret = BestAvailableEncryption(b"hunter2")
    key.write_bytes(read.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))
    error = await failure(client_cert=str(certificate), client_key=str(key))
    assert error.option == "client_key"
    assert "its key is encrypted" in str(error)


# Files that change.


async def test_client_certificate_that_was_renewed_is_used_for_the_next_connection(
    tmp_path: Path, authority: Authority
) -> None:
    new = Authority(tmp_path, "new")
    files = Authority(tmp_path, "unknown").issue("client")
    async with FakeGateway(tls=authority.serving(clients=new.certificate)) as fake:
        gateway = gateway_of(
            fake,
            ca_certs=str(authority.certificate),
            client_cert=str(files[0]),
            client_key=str(files[1]),
        )
        with pytest.raises(GatewayUnavailable):
            await gateway.kernelspecs()
        new.issue("client")
        await works(fake, gateway)
        await gateway.close()


async def test_authority_that_is_taken_away_is_trusted_no_more(
    tmp_path: Path, authority: Authority
) -> None:
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(authority.certificate.read_bytes())
    async with FakeGateway(tls=authority.serving()) as fake:
        gateway = gateway_of(fake, ca_certs=str(trusted))
        await works(fake, gateway)
        replace(trusted, Authority(tmp_path, "new").certificate.read_bytes())
        with pytest.raises(GatewayUnavailable, match="certificate"):
            await gateway.connect("k1", "me")
        await gateway.close()


async def test_certificate_files_that_are_half_written_change_nothing_and_are_logged_once(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = authority.issue("client")
    async with FakeGateway(tls=authority.serving(clients=authority.certificate)) as fake:
        gateway = gateway_of(
            fake,
            ca_certs=str(authority.certificate),
            client_cert=str(certificate),
            client_key=str(key),
        )
        await works(fake, gateway)
        replace(certificate, b"nonsense")
        for _ in range(3):
            await (await gateway.connect(fake.start_kernel().id, "me")).close()
        authority.issue("client")
        await works(fake, gateway)
        await gateway.close()
    (warning,) = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert "GatewayClient.client_cert" in warning
    assert warning.endswith("The files that were read before stay in use.")
