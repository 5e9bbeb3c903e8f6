"""A server's tokens: open tabs, errors for people, and renewer classes of Jupyter Server."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from jupyter_server.gateway.gateway_client import GatewayTokenRenewerBase
from traitlets import Unicode

from jupyter_relay.testing import FakeGateway
from tests.support.server import server_on


class Renewer(GatewayTokenRenewerBase):
    """Reads the token that its configuration names, as an existing subclass does."""

    path = Unicode(config=True, help="The file with the token.")

    def get_token(
        self, auth_header_key: str, auth_scheme: str | None, auth_token: str, **kwargs: object
    ) -> str:
        """Return the token to use."""
        assert threading.current_thread() is not threading.main_thread()
        assert (auth_header_key, auth_scheme) == ("Authorization", "token")
        return Path(self.path).read_text()


class Tokenless:
    """Where a gateway is; the token comes from elsewhere."""

    token = ""

    def __init__(self, url: str) -> None:
        self.url = url


@pytest.mark.parametrize("way", ["file", "renewer"])
async def test_token_becoming_valid_works_at_once_in_open_tabs(
    way: str, fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text(fake_gateway.token)
    argv = {
        "file": (f"--GatewayClient.auth_token_file={path}",),
        "renewer": (
            f"--GatewayClient.gateway_token_renewer_class={__name__}.Renewer",
            f"--Renewer.path={path}",
        ),
    }[way]
    retry = "--GatewayClient.gateway_retry_interval=0.001"
    async with server_on(Tokenless(fake_gateway.url), tmp_path, argv=(*argv, retry)) as server:
        kernel_id = await server.start_kernel()
        async with server.tab(kernel_id) as tab:
            assert await tab.run("one") == "one\n"
            fake_gateway.token = "another"
            fake_gateway.drop_sockets()
            running = asyncio.create_task(tab.run("two"))
            await fake_gateway.wait_for(
                lambda: len(fake_gateway.requests_to("GET", "/api/kernels/*/channels")) >= 3
            )
            answer = await server.call("GET", "/api/kernelspecs")
            assert "denied access (401)" in answer.json["unavailable"]
            path.write_text("another")
            assert "unavailable" not in (await server.call("GET", "/api/kernelspecs")).json
            assert await running == "two\n"


async def test_token_source_without_token_is_named_in_answer(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    argv = (f"--GatewayClient.auth_token_file={tmp_path / 'none'}",)
    async with server_on(Tokenless(fake_gateway.url), tmp_path, argv=argv) as server:
        answer = await server.call("POST", "/api/kernels", {"name": "python3"})
    assert answer.status == 503
    assert "none (auth_token_file) cannot be read: No such file" in answer.json["message"]
    assert "Look at its path" in answer.json["message"]
    assert fake_gateway.requests == []


async def test_token_of_hub_user_runs_kernel_on_server_below_prefix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single-user server: below /user/ann/, and let in by the token of JUPYTERHUB_API_TOKEN."""
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "servers-own")
    async with server_on(None, tmp_path / "far", base_url="/user/ann/") as far:
        argv = ("--GatewayClient.auth_token_env=JUPYTERHUB_API_TOKEN",)
        async with server_on(Tokenless(far.url), tmp_path / "near", argv=argv) as near:
            kernel_id = await near.start_kernel(name="python3")
            async with near.tab(kernel_id) as tab:
                assert await tab.run("print(6 * 7)") == "42\n"
            assert (await near.call("DELETE", f"/api/kernels/{kernel_id}")).status == 204
