"""The options of one gateway: what each is called, what it takes, and what it means.

`OPTIONS` is the one table. The traits of `GatewayClient`, the reading of the environment and the
reference page are made from it; `GatewaySettings` is the value that results.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias
from urllib.parse import urlsplit

import msgspec

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
    _option(
        "client_cert",
        Kind.TEXT,
        None,
        "The file of the client's TLS certificate; it may hold the key, too.",
    ),
    _option(
        "ca_certs",
        Kind.TEXT,
        None,
        "The file, or folder of files, with the certificates to trust instead of the system's.",
    ),
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
        "How often a GET or DELETE is tried again when the gateway is unavailable; all tries "
        "together take no longer than the request timeout.",
    ),
    _option(
        "start_grace",
        Kind.SECONDS,
        5.0,
        "How long Jupyter Server waits for the start of a kernel before it shows it as one that "
        "is starting. An error that comes later shows as a dead kernel.",
    ),
    _option(
        "listing_ttl",
        Kind.SECONDS,
        2.0,
        "How long a list of the kernels answers for all who ask, such as each tab of JupyterLab "
        "every 10 s; what is done here to a kernel ends it.",
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
    _option(
        "state_folder",
        Kind.TEXT,
        None,
        "Where the ids of kernels' websockets are kept, so that after a restart gateways give us "
        "what we missed. For a server the default is jupyter_relay in its data folder; other "
        "programs keep none unless told where.",
    ),
    _option(
        "pool_size",
        Kind.COUNT,
        32,
        "How many TCP connections requests may use at once; 0 for any number. Kernel starts take "
        "half of them at most.",
    ),
)
"""Every option of a gateway."""
