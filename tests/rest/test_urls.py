"""Endpoints: what is quoted, what is refused, where a query goes."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_relay.errors import GatewayRefused, KernelNotFound, KernelSpecNotFound
from jupyter_relay.rest.urls import Endpoints, file_of_kernelspec, read_channels
from jupyter_relay.settings.settings import GatewaySettings
from jupyter_relay.testing import EVIL_PATHS

KERNEL = "0b8f6b9e-2f0c-4a4f-8f0c-0d6c3c6d2b11"


def endpoints(url: str = "https://gpu.example/base", **options: str) -> Endpoints:
    return Endpoints(GatewaySettings.make({"url": url, **options}, {}).endpoints)


def test_urls_of_each_resource_follow_the_base_url() -> None:
    at = endpoints()
    base = "https://gpu.example/base"
    assert at.kernels == f"{base}/api/kernels"
    assert at.kernel(KERNEL) == f"{base}/api/kernels/{KERNEL}"
    assert at.kernel(KERNEL, "restart") == f"{base}/api/kernels/{KERNEL}/restart"
    assert at.kernelspecs() == f"{base}/api/kernelspecs"
    assert at.resources == f"{base}/kernelspecs"
    assert at.kernelspec("python3") == f"{base}/api/kernelspecs/python3"
    assert at.resource("python3", "logo-64x64.png") == f"{base}/kernelspecs/python3/logo-64x64.png"
    assert at.channels(KERNEL, "me") == (
        f"wss://gpu.example/base/api/kernels/{KERNEL}/channels?session_id=me"
    )


@pytest.mark.parametrize("path", ["/gateway/of", "gateway/of", "/gateway/of/", "//gateway/of//"])
def test_endpoints_may_be_elsewhere(path: str) -> None:
    base = "http://gpu.example/Base"
    at = endpoints(
        f"{base}/",
        kernels_endpoint=path,
        kernelspecs_endpoint=path,
        kernelspecs_resource_endpoint=path,
    )
    assert at.kernel(KERNEL) == f"{base}/gateway/of/{KERNEL}"
    assert at.kernelspec("r") == f"{base}/gateway/of/r"
    assert at.resource("r", "logo.svg") == f"{base}/gateway/of/r/logo.svg"
    channels = f"ws://gpu.example/Base/gateway/of/{KERNEL}/channels?session_id=me"
    assert at.channels(KERNEL, "me") == channels


def test_websockets_may_be_elsewhere() -> None:
    at = endpoints("https://gpu.example/base?a=1", ws_url="ws://ws.example:81/Own/Path/?b=2")
    assert at.kernels == "https://gpu.example/base/api/kernels?a=1"
    assert at.channels(KERNEL, "me") == (
        f"ws://ws.example:81/Own/Path/api/kernels/{KERNEL}/channels?b=2&session_id=me"
    )


def test_base_url_with_a_query_keeps_it_behind_the_path() -> None:
    at = endpoints("https://gpu.example/base?tenant=a%26b&token=secret")
    assert at.kernels == "https://gpu.example/base/api/kernels?tenant=a%26b"
    assert at.channels(KERNEL, "me").endswith("/channels?tenant=a%26b&session_id=me")
    assert at.kernelspecs("ann").endswith("/api/kernelspecs?tenant=a%26b&user=ann")


def test_url_with_a_user_has_it_in_the_query_and_escaped() -> None:
    assert (
        endpoints().kernelspecs("ann & bob/é").endswith("kernelspecs?user=ann%20%26%20bob%2F%C3%A9")
    )
    assert endpoints().kernelspec("r", "a?b").endswith("/kernelspecs/r?user=a%3Fb")
    assert "?" not in endpoints().kernelspecs("")


def test_url_with_a_session_has_it_escaped() -> None:
    assert endpoints().channels(KERNEL, "a&b=c#d").endswith("?session_id=a%26b%3Dc%23d")


@pytest.mark.parametrize(
    "kernel_id",
    ["", ".", "..", "../api", "a/b", "a\\b", "a?b", "a#b", "a b", "%2e%2e", "ä", "a\n", "a" * 256],
)
def test_kernel_url_of_an_invalid_id_is_an_error(kernel_id: str) -> None:
    for ask in (endpoints().kernel, lambda name: endpoints().channels(name, "me")):
        with pytest.raises(KernelNotFound) as caught:
            ask(kernel_id)
        assert caught.value.status == 404


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\\b", "a\n", "a" * 256])
def test_kernelspec_url_of_an_invalid_name_is_an_error(name: str) -> None:
    for ask in (endpoints().kernelspec, lambda given: endpoints().resource(given, "logo.svg")):
        with pytest.raises(KernelSpecNotFound):
            ask(name)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "..",
        "a/../b",
        "a//b",
        "/etc/passwd",
        ".",
        "a\\..\\b",
        "a" * 256,
        "a/" * 512 + "a",
        "a\nb",
    ],
)
def test_resource_url_that_leaves_the_kernelspec_is_an_error(path: str) -> None:
    with pytest.raises(KernelSpecNotFound):
        endpoints().resource("python3", path)


def test_names_of_the_greatest_length_are_taken() -> None:
    name, at = "a" * 255, endpoints()
    assert at.kernel(name).endswith(f"/{name}")
    assert at.kernelspec(name).endswith(f"/{name}")
    assert at.resource(name, f"{name}/{name}").endswith(f"/{name}/{name}/{name}")


def test_url_error_quotes_no_more_than_the_beginning_of_a_text() -> None:
    at, long = endpoints(), "\x1b" * 100_000
    for ask in (at.kernel, at.kernelspec, lambda name: at.resource("python3", name)):
        with pytest.raises(GatewayRefused) as caught:
            ask(long)
        assert len(str(caught.value)) < 200
        assert str(caught.value).isprintable()


def test_names_are_quoted() -> None:
    assert endpoints().kernelspec("c++ 17%").endswith("/kernelspecs/c%2B%2B%2017%25")
    assert endpoints().kernelspec("a~(b)@c").endswith("/kernelspecs/a%7E%28b%29%40c")
    assert endpoints().resource("r", "a b/ü.svg").endswith("/kernelspecs/r/a%20b/%C3%BC.svg")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_kernelspec_url_has_any_name_as_one_segment(name: str) -> None:
    try:
        url = endpoints().kernelspec(name)
    except KernelSpecNotFound:
        return
    parts = urlsplit(url)
    assert (parts.query, parts.fragment) == ("", "")
    assert [unquote(segment) for segment in parts.path.split("/")] == [
        *("", "base", "api", "kernelspecs"),
        name,
    ]


GATEWAY = "https://gateway.example:8888/base"


@pytest.mark.parametrize("path", EVIL_PATHS)
def test_file_of_kernelspec_a_url_that_leads_elsewhere_is_none(path: str) -> None:
    assert file_of_kernelspec(path.replace("{name}", "python3"), "python3", GATEWAY) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://gateway.example:8888/kernelspecs/python3/x.js",
        "https://gateway.example/kernelspecs/python3/x.js",
        "https://alice@gateway.example:8888/kernelspecs/python3/x.js",
        "https://gateway.example:8888@other.example/kernelspecs/python3/x.js",
        "https://[/kernelspecs/python3/x.js",
        "///kernelspecs/python3/x.js",
        "/%2e%2e/kernelspecs/python3/x.js",
        "/kernelspecs/python3/%00x",
        "/kernelspecs/python3/%0d%0aSet-Cookie:a",
        "/kernelspecs/python3/%25252e%25252e/logout",
        "/kernelspecs/python%33%2fx.js",
        "/KERNELSPECS/python3/x.js",
    ],
)
def test_file_of_kernelspec_a_url_that_looks_like_one_is_none(url: str) -> None:
    assert file_of_kernelspec(url, "python3", GATEWAY) is None


@pytest.mark.parametrize(
    ("url", "name", "below"),
    [
        ("/kernelspecs/python3/logo.svg", "python3", "logo.svg"),
        ("/user/alice/kernelspecs/python3/a%20b/\u00fc.svg", "python3", "a%20b/%C3%BC.svg"),
        ("/base/kernelspecs/julia%20(4)/logo.svg?v=1#x", "julia (4)", "logo.svg"),
        ("/kernelspecs/kernelspecs/x.js", "kernelspecs", "x.js"),
        ("/kernelspecs/kernelspecs/kernelspecs/x.js", "kernelspecs", "kernelspecs/x.js"),
        ("/kernelspecs/r/kernelspecs/r/x.js", "r", "kernelspecs/r/x.js"),
        ("/kernelspecs/r/x%3Fy%23z.js", "r", "x%3Fy%23z.js"),
        ("https://gateway.example:8888/base/kernelspecs/r/x.js", "r", "x.js"),
    ],
)
def test_file_of_kernelspec_a_path_below_its_folder_is_returned_quoted(
    url: str, name: str, below: str
) -> None:
    assert file_of_kernelspec(url, name, GATEWAY) == below


def test_resource_a_path_that_leads_out_for_who_unquotes_it_twice_is_refused() -> None:
    for path in ("%2e%2e/x", "a/%2E./x", "..%2fx", "a%5c..%5cx", "%252e%252e/x", "a\0b", " a"):
        with pytest.raises(KernelSpecNotFound):
            endpoints().resource("python3", path)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("wss://gpu.example/base?a=1", "wss://gpu.example/base?a=1"),
        ("ws://gpu.example:81", "ws://gpu.example:81"),
        ("https://gpu.example/api/kernels/x", "wss://gpu.example/api/kernels/x"),
    ],
)
def test_read_channels_returns_what_the_endpoints_were_made_from(url: str, base: str) -> None:
    at = endpoints(url.replace("ws", "http", 1))
    assert read_channels(at.channels(KERNEL, "me"), "/api/kernels") == (base, KERNEL)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "gpu.example",
        f"https://gpu.example/api/kernels/{KERNEL}/channels",
        f"wss://gpu.example/api/kernels/{KERNEL}",
        f"wss://gpu.example/api/kernels/{KERNEL}/channels/more",
        f"wss://gpu.example/kernels/{KERNEL}/channels",
    ],
)
def test_read_channels_refuses_any_other_url(url: str) -> None:
    with pytest.raises(ValueError, match="not the URL of a kernel's websocket"):
        read_channels(url, "/api/kernels")
