"""The settings of one gateway: what its options amount to, and all else consumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

import msgspec

from jupyter_relay.core.backoff import Backoff
from jupyter_relay.core.options import OPTIONS, Value
from jupyter_relay.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """The bounds and times of a link; times are in seconds.

    ``retry_max`` None means to go on as long as somebody needs the link. ``linger`` is how long a
    socket that nobody needs stays open. ``probe_after`` is how long a kernel that owes an answer
    may be silent before it is asked for; ``alarm_after`` how long an outage may last before the
    waiting cells are told.
    """

    backoff: Backoff = field(default_factory=lambda: Backoff(base=1.0, cap=30.0))
    retry_max: int | None = None
    linger: float = 30.0
    probe_after: float = 10.0
    alarm_after: float = 10.0
    outbox_messages: int = 1000
    outbox_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """The settings of one gateway, valid and complete; times in seconds.

    ``name`` is what people call it: its URL, unless it was given another. ``proxy`` is the URL of
    the HTTP proxy on the way to it, which may hold a password, and ``ws_proxy`` that of the way to
    its websockets. ``kernel_env`` goes with each kernel's start, beneath what the request itself
    asks for. ``state_folder`` is where a `Store` keeps its file. Secrets do not show in `repr`.
    """

    name: str
    url: str = field(repr=False)
    ws_url: str = field(repr=False)
    kernels_endpoint: str = "/api/kernels"
    kernelspecs_endpoint: str = "/api/kernelspecs"
    kernelspecs_resource_endpoint: str = "/kernelspecs"
    connect_timeout: float = 40.0
    request_timeout: float = 42.0
    handshake_timeout: float = 90.0
    client_key: str | None = None
    client_cert: str | None = None
    ca_certs: str | None = None
    validate_cert: bool = True
    http_user: str | None = None
    http_pwd: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    auth_header_key: str = "Authorization"
    auth_scheme: str | None = "token"
    auth_token: str = field(default="", repr=False)
    allowed_envs: frozenset[str] = frozenset()
    accept_cookies: bool = True
    proxy: str | None = field(default=None, repr=False)
    ws_proxy: str | None = field(default=None, repr=False)
    pool_size: int = 32
    max_request_retries: int = 2
    start_grace: float = 5.0
    listing_ttl: float = 2.0
    ping_interval: float = 20.0
    backlog_bytes: int = 64 * 2**20
    max_message_bytes: int = 2**30
    state_folder: str | None = None
    link: LinkSettings = field(default_factory=LinkSettings)
    kernel_env: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def make(
        cls, given: Mapping[str, Value], environment: Mapping[str, str], *, name: str = ""
    ) -> GatewaySettings:
        """Make settings from options by name; what is not given, or None, takes its default.

        ``environment`` is what kernels may be told of. Raises `ConfigurationError` naming the
        option that makes no sense.
        """
        values = {
            option.name: option.value(given.get(option.name, option.default)) for option in OPTIONS
        }
        text = {key: value for key, value in values.items() if isinstance(value, str)}
        number = {
            key: float(value) for key, value in values.items() if isinstance(value, int | float)
        }
        if not text.get("url"):
            raise ConfigurationError(
                "GatewayClient.url (JUPYTER_GATEWAY_URL) is not set.", option="url"
            )
        address = _Address.read(text["url"])
        ws_url = text.get("ws_url") or _ws_of(address.url)
        launch, request = _timeouts(
            number["launch_timeout"], number["request_timeout"], number["launch_timeout_pad"]
        )
        allowed = frozenset(filter(None, (n.strip() for n in text["allowed_envs"].split(","))))
        user = text.get("http_user") or address.user
        own = {f.name for f in fields(cls)}
        retry_max = number.get("gateway_retry_max")
        settings = cls(
            name=name or address.url.partition("?")[0],
            url=address.url,
            ws_url=_Address.read(ws_url).url,
            link=LinkSettings(
                backoff=Backoff(
                    base=number["gateway_retry_interval"], cap=number["gateway_retry_interval_max"]
                ),
                retry_max=None if retry_max is None else int(retry_max),
                linger=number["linger"],
                outbox_messages=int(number["outbox_messages"]),
                outbox_bytes=int(number["outbox_bytes"]),
            ),
        )
        plain = own - {
            "name", "url", "ws_url", "link", "request_timeout", "http_user", "http_pwd",
            "headers", "auth_token", "allowed_envs", "kernel_env",
        }  # fmt: skip
        return replace(
            settings,
            **{key: values[key] for key in plain & values.keys()},  # type: ignore[arg-type]  # each value was read by its option's kind
            request_timeout=request,
            http_user=user,
            http_pwd=text.get("http_pwd") or address.password,
            headers=msgspec.json.decode(text["headers"], type=dict[str, str]),
            auth_token=(text.get("auth_token") or address.token).strip(),
            allowed_envs=allowed,
            kernel_env=_kernel_env(environment, allowed, user=user, launch_timeout=launch),
        )


@dataclass(frozen=True, slots=True)
class _Address:
    """A URL without its secrets, and the secrets."""

    url: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str = field(default="", repr=False)

    @classmethod
    def read(cls, text: str) -> _Address:
        parts = urlsplit(text)
        query = parse_qsl(parts.query, keep_blank_values=True)
        token = next((value for key, value in query if key == "token"), "")
        rest = urlencode([pair for pair in query if pair[0] != "token"])
        host = parts.netloc.rpartition("@")[2]
        url = urlunsplit((parts.scheme.lower(), host, parts.path.rstrip("/"), rest, ""))
        return cls(
            url,
            unquote(parts.username) if parts.username else None,
            unquote(parts.password) if parts.password else None,
            token,
        )


def _ws_of(url: str) -> str:
    return "ws" + url.removeprefix("http")


def _timeouts(launch: float, request: float, pad: float) -> tuple[float, float]:
    """Return (launch, request) timeouts in step: request = launch + pad, the greater one wins.

    Source: Jupyter Server's documentation of ``launch_timeout_pad``.
    """
    return (launch, launch + pad) if request < launch + pad else (request - pad, request)


def _kernel_env(
    environment: Mapping[str, str],
    allowed: frozenset[str],
    *,
    user: str | None,
    launch_timeout: float,
) -> dict[str, str]:
    kept = kernel_variables(environment, allowed)
    kept.pop("KERNEL_ID", None)  # an id is for one kernel only
    kept["KERNEL_LAUNCH_TIMEOUT"] = str(int(launch_timeout))
    if user:
        kept.setdefault("KERNEL_USERNAME", user)
    return kept


def kernel_variables(env: Mapping[str, str], allowed: frozenset[str]) -> dict[str, str]:
    """Keep what may travel to a gateway: ``KERNEL_*`` and the names that are allowed."""
    return {
        name: str(value)
        for name, value in env.items()
        if name.startswith("KERNEL_") or name in allowed
    }
