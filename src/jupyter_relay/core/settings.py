"""The settings of one gateway: what each is called, what it takes, and the value that results.

`OPTIONS` is the one table. The traits of `GatewayClient`, the reading of the environment and the
reference page are made from it; `GatewaySettings` is what everything else consumes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from typing import TypeAlias
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

import msgspec

from jupyter_relay.core.backoff import Backoff
from jupyter_relay.errors import ConfigurationError

Value: TypeAlias = str | int | float | bool | None
"""What an option can be given as; a string, from the environment, is read by its kind."""


class Kind(Enum):
    """What an option takes; the value is how that is said to a person."""

    TEXT = "a text"
    SECONDS = "a number of seconds, 0 or more"
    COUNT = "a whole number, 0 or more"
    FLAG = "true or false (also yes, no, on, off, 1, 0)"
    HTTP_URL = "a URL that begins with http:// or https://"
    WS_URL = "a URL that begins with ws:// or wss://"
    HEADERS = "a JSON object of header names and texts"


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its trait's name, what it takes, its environment variable, default and help."""

    name: str
    kind: Kind
    variable: str | None
    default: Value
    help: str

    def read(self, given: Value) -> Value:
        """Return the value that was given, as its kind; None where none was.

        An empty text is a value for a text only: a compose file sets variables to it.

        Raises `ConfigurationError` naming the option, and never the value of a secret.
        """
        if given is None or (self.kind is not Kind.TEXT and str(given).strip() == ""):
            return None
        try:
            return _READERS[self.kind](given)
        except (ValueError, TypeError, OverflowError):
            named = f"{self.name} ({self.variable})" if self.variable else self.name
            raise ConfigurationError(
                f"GatewayClient.{named} must be {self.kind.value}.", option=self.name
            ) from None

    def value(self, given: Value) -> Value:
        """Return the value to use: as `read`, with the default where there is none."""
        value = self.read(given)
        if value is None and self.name != "auth_scheme":  # None is a choice there
            return self.default
        return value


def _text(given: Value) -> str:
    return str(given)


def _seconds(given: Value) -> float:
    number = float(given) if not isinstance(given, bool) and given is not None else -1.0
    if not 0 <= number < float("inf"):
        raise ValueError
    return number


def _count(given: Value) -> int:
    number = int(given) if not isinstance(given, bool) and given is not None else -1
    if number < 0 or (isinstance(given, float) and given != number):
        raise ValueError
    return number


_FLAGS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


def _flag(given: Value) -> bool:
    if isinstance(given, bool):
        return given
    flag = _FLAGS.get(str(given).strip().lower())
    if flag is None:
        raise ValueError
    return flag


def _url(*schemes: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{'|'.join(schemes)})://[^/?#\s]+[^\s]*", re.IGNORECASE)


_HTTP_URL = _url("http", "https")
_WS_URL = _url("ws", "wss")


def _matching(pattern: re.Pattern[str], given: Value) -> str:
    text = str(given).strip()
    # The port raises ValueError if it is none.
    if not pattern.fullmatch(text) or not urlsplit(text).hostname or urlsplit(text).port == 0:
        raise ValueError
    return text


def _headers(given: Value) -> str:
    text = str(given).strip()
    try:
        msgspec.json.decode(text, type=dict[str, str])
    except msgspec.MsgspecError as error:
        raise ValueError from error
    return text


_READERS: Mapping[Kind, Callable[[Value], Value]] = {
    Kind.TEXT: _text,
    Kind.SECONDS: _seconds,
    Kind.COUNT: _count,
    Kind.FLAG: _flag,
    Kind.HTTP_URL: lambda given: _matching(_HTTP_URL, given),
    Kind.WS_URL: lambda given: _matching(_WS_URL, given),
    Kind.HEADERS: _headers,
}


def _option(
    name: str,
    kind: Kind,
    default: Value,
    help: str,  # noqa: A002  # the word that traitlets uses
    *,
    variable: str | None = "",
) -> Option:
    if variable == "":
        variable = "JUPYTER_GATEWAY_" + name.removeprefix("gateway_").upper()
    return Option(name, kind, variable, default, help)


OPTIONS: tuple[Option, ...] = (
    _option("url", Kind.HTTP_URL, None, "Where the gateway is. Setting it switches Relay on."),
    _option(
        "ws_url",
        Kind.WS_URL,
        None,
        "Where its websockets are; by default `url` with ws in place of http.",
    ),
    _option("kernels_endpoint", Kind.TEXT, "/api/kernels", "The path of its kernels."),
    _option("kernelspecs_endpoint", Kind.TEXT, "/api/kernelspecs", "The path of its kernelspecs."),
    _option(
        "kernelspecs_resource_endpoint",
        Kind.TEXT,
        "/kernelspecs",
        "The path of the files of its kernelspecs, such as logos.",
    ),
    _option("connect_timeout", Kind.SECONDS, 40.0, "How long a TCP connection may take to open."),
    _option(
        "request_timeout",
        Kind.SECONDS,
        42.0,
        "How long a request may take; never less than the launch timeout and its pad.",
    ),
    _option(
        "launch_timeout",
        Kind.SECONDS,
        40.0,
        "How long the gateway may take to start a kernel; sent to it as KERNEL_LAUNCH_TIMEOUT.",
        variable="KERNEL_LAUNCH_TIMEOUT",
    ),
    _option(
        "launch_timeout_pad",
        Kind.SECONDS,
        2.0,
        "How much longer than the launch timeout a request waits.",
    ),
    _option("client_key", Kind.TEXT, None, "The file of the client's TLS key."),
    _option("client_cert", Kind.TEXT, None, "The file of the client's TLS certificate."),
    _option("ca_certs", Kind.TEXT, None, "The file of the certificates to trust."),
    _option("validate_cert", Kind.FLAG, True, "Whether the gateway's certificate is verified."),
    _option(
        "http_user",
        Kind.TEXT,
        None,
        "The user for HTTP basic authentication, and KERNEL_USERNAME where that is not set.",
    ),
    _option("http_pwd", Kind.TEXT, None, "The password for HTTP basic authentication."),
    _option("headers", Kind.HEADERS, "{}", "Headers to send with each request, as a JSON object."),
    _option("auth_header_key", Kind.TEXT, "Authorization", "The header that carries the token."),
    _option(
        "auth_scheme",
        Kind.TEXT,
        "token",
        "The word before the token; None sends the bare token.",
    ),
    _option("auth_token", Kind.TEXT, None, "The token of the gateway."),
    _option(
        "allowed_envs",
        Kind.TEXT,
        "",
        "Comma-separated names of environment variables to send with a kernel's start, beside "
        "those that begin with KERNEL_.",
    ),
    _option("accept_cookies", Kind.FLAG, True, "Whether cookies are kept, for load balancers."),
    _option(
        "gateway_retry_interval",
        Kind.SECONDS,
        1.0,
        "How long to wait before the first reconnect, at most; doubled at each try.",
    ),
    _option(
        "gateway_retry_interval_max",
        Kind.SECONDS,
        30.0,
        "How long to wait between reconnects, at most.",
    ),
    _option(
        "gateway_retry_max",
        Kind.COUNT,
        None,
        "After how many reconnects to give up; None goes on while anybody waits.",
    ),
    _option(
        "max_request_retries",
        Kind.COUNT,
        2,
        "How often a GET or DELETE is tried again when the gateway is unavailable.",
    ),
    _option(
        "ping_interval",
        Kind.SECONDS,
        20.0,
        "How long a websocket may be silent before it is pinged; half of it later, without an "
        "answer, it is given up. 20 finds a dead one within 30 s, and is below the idle limits of "
        "common proxies (60 s).",
    ),
    _option(
        "handshake_timeout",
        Kind.SECONDS,
        90.0,
        "How long a websocket may take to open. Gateways wait up to 60 s for the kernel first.",
    ),
    _option(
        "linger",
        Kind.SECONDS,
        30.0,
        "How long a kernel's websocket stays open when nobody uses it.",
    ),
    _option(
        "outbox_messages",
        Kind.COUNT,
        1000,
        "How many messages may wait for a kernel's websocket to open again.",
    ),
    _option(
        "outbox_bytes",
        Kind.COUNT,
        64 * 2**20,
        "How many bytes may wait for a kernel's websocket to open again.",
    ),
    _option(
        "backlog_bytes",
        Kind.COUNT,
        64 * 2**20,
        "How many bytes are kept for one slow or absent reader of a kernel.",
    ),
    _option(
        "max_message_bytes",
        Kind.COUNT,
        2**30,
        "The largest message that is taken from a gateway; 0 takes any.",
    ),
)
"""Every option of a gateway."""


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
    the HTTP proxy on the way to it, which may hold a password. ``kernel_env`` goes with
    each kernel's start, beneath what the request itself asks for. Secrets do not show in `repr`.
    """

    name: str
    url: str
    ws_url: str
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
    max_request_retries: int = 2
    ping_interval: float = 20.0
    backlog_bytes: int = 64 * 2**20
    max_message_bytes: int = 2**30
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
            raise ConfigurationError("GatewayClient.url is not set.", option="url")
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
            name=name or address.url,
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
