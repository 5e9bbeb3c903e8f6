"""The proxy for a URL, by the variables of the environment."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from jupyter_relay.errors import ConfigurationError

_PROXIED_AS = {"ws": "http", "wss": "https"}
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
"""The ports of URLs that name none."""


def proxy_of(url: str, environment: Mapping[str, str]) -> str | None:
    """Return the proxy for a URL; None for a direct connection.

    ``HTTP_PROXY`` names it for http and ws, ``HTTPS_PROXY`` for https and wss, ``ALL_PROXY`` for
    both where they are not set, and ``NO_PROXY`` the hosts that need none; the same in small
    letters wins, and an empty text is none. A proxy without a scheme is one of http.

    Raises `ConfigurationError`, which never quotes the value, for what is no HTTP proxy: to connect
    without a proxy that was configured would be wrong.
    """
    parts = urlsplit(url)
    scheme = _PROXIED_AS.get(parts.scheme, parts.scheme)
    bypass = _variable("no_proxy", environment)
    if bypass and _bypassed(parts.hostname or "", parts.port or DEFAULT_PORTS[scheme], bypass[1]):
        return None
    found = _variable(f"{scheme}_proxy", environment) or _variable("all_proxy", environment)
    if found is None or not found[1]:
        return None
    variable, given = found
    proxy = given if "://" in given else f"http://{given}"
    try:
        read = urlsplit(proxy)
        valid = read.scheme.lower() in DEFAULT_PORTS and bool(read.hostname) and read.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ConfigurationError(
            f"{variable} must be the URL of an HTTP proxy, which begins with http:// or https://.",
            option=variable,
        )
    return proxy


def _variable(name: str, environment: Mapping[str, str]) -> tuple[str, str] | None:
    """Return a variable's name, as it is spelled, and its text."""
    for spelled in (name, name.upper()):
        if spelled in environment:
            return spelled, environment[spelled].strip()
    return None


def _bypassed(host: str, port: int, no_proxy: str) -> bool:
    """True if a list names a host: by its name, a domain above it, ``*``, an address, or a network
    as ``10.0.0.0/8``; all but networks also with a port, as ``host:8888``."""
    for entry in filter(None, (part.strip().lower() for part in no_proxy.split(","))):
        name, colon, wanted = entry.rpartition(":")
        if not colon or not wanted.isdecimal() or (":" in name and not name.endswith("]")):
            name = entry  # without a port; a bare IPv6 address is all colons
        elif int(wanted) != port:
            continue
        name = name.strip("[]").removeprefix("*.").lstrip(".")
        if name in {"*", host} or host.endswith(f".{name}") or _in_network(host, name):
            return True
    return False


def _in_network(host: str, network: str) -> bool:
    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:  # names
        return False
