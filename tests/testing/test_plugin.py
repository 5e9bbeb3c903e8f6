"""The pytest plugin costs nothing where it is not used, and its fixtures work where they are."""

from __future__ import annotations

import subprocess
import sys

import aiohttp
import pytest

from jupyter_relay import testing
from jupyter_relay.testing import Direction, FakeGateway
from jupyter_relay.testing.plugin import ProxyFactory

LOADING = """
import sys
{before}
import jupyter_relay.testing.plugin
heavy = {{"aiohttp", "asyncio.runners", "jupyter_relay.wire", "msgspec"}} & sys.modules.keys()
assert not heavy, heavy
assert jupyter_relay.testing.plugin.fake_gateway
"""


@pytest.mark.parametrize(
    "before", ["", "sys.modules['pytest_asyncio'] = None"], ids=["as is", "without pytest-asyncio"]
)
def test_loading_it_imports_nothing_heavy(before: str) -> None:
    script = LOADING.format(before=before)
    if not before:  # pytest-asyncio itself brings asyncio along
        script = script.replace('"asyncio.runners", ', "")
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


async def test_plugin_fixtures_work_together(
    fake_gateway: FakeGateway, faulty_proxy: ProxyFactory
) -> None:
    proxy = await faulty_proxy("127.0.0.1", fake_gateway.port)
    headers = {"Authorization": f"token {fake_gateway.token}"}
    async with (
        aiohttp.ClientSession(proxy.url, headers=headers) as http,
        http.get("/api/kernelspecs") as response,
    ):
        assert response.status == 200
    assert proxy.delivered(Direction.DOWNSTREAM) > 0


def test_testing_module_has_every_public_name() -> None:
    for name in testing.__all__:
        value = getattr(testing, name)
        if not name.isupper():  # a constant, which has no module
            assert value.__module__.startswith("jupyter_relay.testing."), name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = testing.nothing
