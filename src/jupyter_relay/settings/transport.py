"""How one server is reached."""

from __future__ import annotations

from dataclasses import dataclass, field

from jupyter_relay.link.settings import LinkSettings
from jupyter_relay.settings.option_names import GATEWAY_CLIENT, OptionNames


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportSettings:
    """How one server is reached: addresses, proxies, TLS, time-outs in seconds, bounds.

    The options of the same names have their defaults from here, and are described in their table.

    ``name`` is what people call the server. ``ws_url`` is empty for one without websockets.
    ``proxy`` is the URL of the HTTP proxy on the way to ``url``, which may hold a password, and
    ``ws_proxy`` that of the way to ``ws_url``; None for the direct way. ``secrets`` are cut out of
    what the server says. ``names`` is what the options are called in errors.
    """

    name: str
    url: str = field(repr=False)
    ws_url: str = field(default="", repr=False)
    proxy: str | None = field(default=None, repr=False)
    ws_proxy: str | None = field(default=None, repr=False)
    connect_timeout: float = 40.0
    request_timeout: float = 42.0
    handshake_timeout: float = 90.0
    ping_interval: float = 20.0
    max_message_bytes: int = LinkSettings().max_message_bytes
    client_key: str | None = None
    client_cert: str | None = None
    ca_certs: str | None = None
    validate_cert: bool = True
    accept_cookies: bool = True
    pool_size: int = 64
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    names: OptionNames = field(default=GATEWAY_CLIENT, repr=False)
