"""Tokens for programs without a server, by the environment alone."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

import pytest
from nbclient import NotebookClient

from jupyter_relay.config import GatewayClient
from jupyter_relay.errors import ConfigurationError
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.headless.manager import GatewayKernelManager
from jupyter_relay.testing import FakeGateway
from jupyter_relay.testing.servers import RunningServer
from tests.support.notebooks import notebook, printed

RENEWERS = '''
from jupyter_server.gateway.gateway_client import GatewayTokenRenewerBase

class Counting(GatewayTokenRenewerBase):
    """Counts what it is asked, in the token."""
    def get_token(self, auth_header_key, auth_scheme, auth_token, **kwargs):
        return f"{auth_token}+"

class Failing(GatewayTokenRenewerBase):
    """Fails each time."""
    def get_token(self, auth_header_key, auth_scheme, auth_token, **kwargs):
        raise RuntimeError(f"{auth_token} cannot be renewed")

class Abstract(GatewayTokenRenewerBase):
    """Lacks get_token."""

no_class = 7
'''


@pytest.fixture
def renewers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module with classes of a user's own."""
    (tmp_path / "renewers_of_test.py").write_text(RENEWERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    name = "renewers_of_test"
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


@pytest.mark.parametrize("way", ["variable", "file", "command"])
async def test_notebook_runs_with_a_token_from_each_source(
    way: str, running_gateway: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    path.write_text(running_gateway.token)
    monkeypatch.setenv("MY_TOKEN", running_gateway.token)
    monkeypatch.setenv("JUPYTER_GATEWAY_URL", running_gateway.url)
    name, value = {
        "variable": ("ENV", "MY_TOKEN"),
        "file": ("FILE", str(path)),
        "command": ("COMMAND", f"cat '{path}'"),
    }[way]
    monkeypatch.setenv(f"JUPYTER_GATEWAY_AUTH_TOKEN_{name}", value)
    made = notebook("print(6 * 7)")
    await NotebookClient(made, kernel_manager_class=GatewayKernelManager).async_execute()
    assert printed(made) == "42\n"


async def test_token_variable_of_the_environment_is_looked_up_at_each_request(
    fake_gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", fake_gateway.token)
    options = GatewayClient(url=fake_gateway.url, auth_token_env="MY_TOKEN")
    gateway = Gateway(options.settings())
    await gateway.kernelspecs()
    monkeypatch.setenv("MY_TOKEN", "another")
    fake_gateway.token = "another"
    await gateway.kernelspecs()
    await gateway.close()
    assert len(fake_gateway.requests) == 2


async def test_renewer_class_is_called_at_each_request_with_the_previous_token(
    fake_gateway: FakeGateway, renewers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = "JUPYTER_GATEWAY_TOKEN_RENEWER_CLASS"
    monkeypatch.setenv(variable, f"{renewers}.Counting")
    fake_gateway.token = ""
    gateway = Gateway(GatewayClient(url=fake_gateway.url, auth_token="one").settings())
    for _ in range(2):
        await gateway.kernelspecs()
    await gateway.close()
    tokens = [request.headers["Authorization"] for request in fake_gateway.requests]
    assert tokens == ["token one+", "token one++"]


async def test_renewer_class_that_fails_leaves_the_token_as_it_was(
    fake_gateway: FakeGateway, renewers: str, caplog: pytest.LogCaptureFixture
) -> None:
    options = GatewayClient(
        url=fake_gateway.url,
        auth_token=fake_gateway.token,
        gateway_token_renewer_class=f"{renewers}.Failing",
    )
    gateway = Gateway(options.settings())
    for _ in range(3):
        await gateway.kernelspecs()
    await gateway.close()
    assert caplog.text.count("Failing (gateway_token_renewer_class) raised RuntimeError") == 1
    assert "[secret] cannot be renewed" in caplog.text
    assert fake_gateway.token not in caplog.text.replace("[secret]", "")


@pytest.mark.parametrize("name", ["no.such.Module", "{}.Absent", "{}.Abstract", "{}.no_class"])
async def test_renewer_class_of_a_wrong_kind_is_an_error(name: str, renewers: str) -> None:
    options = GatewayClient(
        url="http://127.0.0.1:1", gateway_token_renewer_class=name.format(renewers)
    )
    gateway = Gateway(options.settings())
    with pytest.raises(ConfigurationError, match="gateway_token_renewer_class"):
        await gateway.kernelspecs()
    await gateway.close()
    with pytest.raises(ConfigurationError, match="gateway_token_renewer_class"):
        await asyncio.to_thread(options.check)


async def test_token_is_in_no_log(
    fake_gateway: FakeGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "token").write_text("hunter2")
    options = GatewayClient(url=fake_gateway.url, auth_token_file=str(tmp_path / "token"))
    gateway = Gateway(options.settings())
    with pytest.raises(Exception, match="401") as caught:
        await gateway.kernelspecs()
    await gateway.close()
    assert "hunter2" not in f"{caplog.text} {caught.value!r} {vars(caught.value)}"
