"""Gateways that the environment names, as it does for a program without a server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from jupyter_relay.testing import FakeGateway
from jupyter_relay.testing.servers import RunningServer, kernel_gateway

SECOND_KERNELSPEC = "second"


def use(monkeypatch: pytest.MonkeyPatch, url: str, token: str) -> None:
    """Name a gateway in the environment."""
    monkeypatch.setenv("JUPYTER_GATEWAY_URL", url)
    monkeypatch.setenv("JUPYTER_GATEWAY_AUTH_TOKEN", token)


@pytest.fixture
def fake(fake_gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> FakeGateway:
    """The fake gateway, named in the environment."""
    use(monkeypatch, fake_gateway.url, fake_gateway.token)
    return fake_gateway


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningServer]:
    """One Kernel Gateway for a module, with a token and two kernelspecs."""
    directory = tmp_path_factory.mktemp("gateway")
    spec = directory / "data" / "kernels" / SECOND_KERNELSPEC / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(
        '{"argv": ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],'
        ' "display_name": "Second", "language": "python", "env": {"WHICH": "the second"}}'
    )
    async with kernel_gateway(directory=directory) as gateway:
        yield gateway


@pytest.fixture
def gateway(running_gateway: RunningServer, monkeypatch: pytest.MonkeyPatch) -> RunningServer:
    """A real Kernel Gateway, named in the environment."""
    use(monkeypatch, running_gateway.url, running_gateway.token)
    return running_gateway
