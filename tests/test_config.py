"""What the environment says, beside the options."""

from __future__ import annotations

import pytest

from jupyter_relay.config import GatewayClient, proxy_of


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        ("http://gateway", {}, None),
        ("http://gateway", {"HTTP_PROXY": "http://p:1"}, "http://p:1"),
        ("http://gateway", {"HTTP_PROXY": "http://p:1", "http_proxy": "http://q:2"}, "http://q:2"),
        ("http://gateway", {"HTTPS_PROXY": "http://p:1"}, None),
        ("https://gateway", {"https_proxy": "http://p:1"}, "http://p:1"),
        ("https://gateway", {"https_proxy": ""}, None),
        ("http://gateway:8888", {"http_proxy": "http://p:1", "no_proxy": "gateway"}, None),
        ("http://a.example", {"http_proxy": "http://p:1", "NO_PROXY": ".example"}, None),
        ("http://a.example", {"http_proxy": "http://p:1", "NO_PROXY": "b.example"}, "http://p:1"),
    ],
)
def test_the_proxy_of_a_gateway(url: str, environment: dict[str, str], proxy: str | None) -> None:
    assert proxy_of(url, environment) == proxy


def test_the_settings_have_the_proxy_and_do_not_show_its_password() -> None:
    options = GatewayClient(url="http://gateway")
    settings = options.settings({"HTTP_PROXY": "http://user:secret@p:1"})
    assert settings.proxy == "http://user:secret@p:1"
    assert "secret" not in repr(settings)
