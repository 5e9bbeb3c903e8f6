"""The proxy on the way to a URL, by the variables of the environment."""

from __future__ import annotations

import pytest

from jupyter_relay.errors import ConfigurationError
from jupyter_relay.settings.proxies import proxy_of

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        ("http://gateway", {}, None),
        ("http://gateway", {"HTTP_PROXY": "http://p:1"}, "http://p:1"),
        ("http://gateway", {"HTTP_PROXY": "http://p:1", "http_proxy": "http://q:2"}, "http://q:2"),
        ("http://gateway", {"HTTP_PROXY": "http://p:1", "http_proxy": ""}, None),
        ("http://gateway", {"HTTPS_PROXY": "http://p:1"}, None),
        ("ws://gateway", {"HTTP_PROXY": "http://p:1", "HTTPS_PROXY": "http://q:2"}, "http://p:1"),
        ("https://gateway", {"https_proxy": "http://p:1"}, "http://p:1"),
        ("https://gateway", {"https_proxy": "https://p:1"}, "https://p:1"),
        ("https://gateway", {"https_proxy": ""}, None),
        ("wss://gateway", {"https_proxy": "http://p:1", "http_proxy": "http://q:2"}, "http://p:1"),
        ("http://gateway", {"http_proxy": "p.example:3128"}, "http://p.example:3128"),
        ("http://gateway", {"ALL_PROXY": "http://p:1"}, "http://p:1"),
        ("wss://gateway", {"all_proxy": "http://p:1"}, "http://p:1"),
        ("https://gateway", {"all_proxy": "http://p:1", "https_proxy": "http://q:2"}, "http://q:2"),
        ("https://gateway", {"all_proxy": "http://p:1", "https_proxy": ""}, None),
    ],
)
def test_proxy_of_a_gateway_is_chosen_from_the_environment(
    url: str, environment: dict[str, str], proxy: str | None
) -> None:
    assert proxy_of(url, environment) == proxy


@pytest.mark.parametrize(
    ("url", "no_proxy", "direct"),
    [
        ("http://gateway:8888", "gateway", True),
        ("http://gateway:8888", "other, GATEWAY ,", True),
        ("http://gateway", "", False),
        ("http://gateway", "*", True),
        ("http://a.example", ".example", True),
        ("http://a.example", "example", True),
        ("http://a.example", "*.example", True),
        ("http://example", ".example", True),
        ("http://a.example", "b.example", False),
        ("http://an-example", "example", False),
        ("http://gateway:8888", "gateway:8888", True),
        ("http://gateway:8888", "gateway:8889", False),
        ("ws://gateway", "gateway:80", True),
        ("https://a.example", ".example:443", True),
        ("wss://gateway", "gateway:80", False),
        ("http://10.1.2.3:8888", "10.1.2.3", True),
        ("http://10.1.2.3:8888", "10.0.0.0/8", True),
        ("http://11.1.2.3:8888", "10.0.0.0/8", False),
        ("http://gateway", "10.0.0.0/8", False),
        ("http://[::1]:8888", "::1", True),
        ("http://[::1]:8888", "[::1]:8888", True),
        ("http://[::1]:8888", "[::1]:8889", False),
        ("http://[fd00::7]", "fd00::/8", True),
    ],
)
def test_hosts_that_need_no_proxy(url: str, no_proxy: str, direct: bool) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        environment = {"all_proxy": "http://p:1", name: no_proxy}
        assert proxy_of(url, environment) == (None if direct else "http://p:1")


@pytest.mark.parametrize(
    "given", [f"socks5://u:{SECRET}@p:1", f"http://u:{SECRET}@", f"http://u:{SECRET}@p:port"]
)
def test_proxy_variable_without_an_http_proxy_is_refused_by_its_name(given: str) -> None:
    for name in ("HTTPS_PROXY", "all_proxy"):
        with pytest.raises(ConfigurationError, match=f"{name} must be") as caught:
            proxy_of("https://gateway", {name: given})
        assert caught.value.option == name
        assert SECRET not in str(caught.value)
