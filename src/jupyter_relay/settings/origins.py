"""Where a gateway's token comes from, beside a static one: what the options say of it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TypeAlias
from urllib.parse import urlsplit

from jupyter_relay.errors import ConfigurationError
from jupyter_relay.settings.kinds import Value

Renew: TypeAlias = Callable[[str, str | None, str], str]
"""Takes the header's name, the scheme and the token so far; returns the token to use. May block."""


@dataclass(frozen=True, slots=True)
class FromVariable:
    """A variable of the environment."""

    name: str

    def __str__(self) -> str:
        return f"the variable {self.name} (auth_token_env)"


@dataclass(frozen=True, slots=True)
class FromFile:
    """A file, of which others may make another at any time."""

    path: str

    def __str__(self) -> str:
        return f"the file {self.path} (auth_token_file)"


@dataclass(frozen=True, slots=True)
class FromCommand:
    """What a program prints. Its arguments may hold a secret, and are not shown."""

    argv: tuple[str, ...] = field(repr=False)

    def __str__(self) -> str:
        return f"the command {self.argv[0]} (auth_token_command)"


@dataclass(frozen=True, slots=True)
class FromOAuth2:
    """An OAuth2 server: by a refresh token if there is one, else by client credentials.

    ``proxy`` is the URL of the HTTP proxy on the way to it.
    """

    token_url: str = field(repr=False)
    client_id: str
    client_secret: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    scope: str = ""
    audience: str = ""
    ca_certs: str | None = None
    proxy: str | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        """The server's name, with the port if it has one of its own."""
        return urlsplit(self.token_url).netloc

    def __str__(self) -> str:
        return f"the OAuth2 server {self.host} (oauth2_token_url)"


@dataclass(frozen=True, slots=True)
class FromRenewer:
    """A class of the user's own; ``initial`` is the token that it is given first."""

    renew: Renew = field(repr=False)
    name: str
    initial: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.name} (gateway_token_renewer_class)"


Origin: TypeAlias = FromVariable | FromFile | FromCommand | FromOAuth2 | FromRenewer


def origin_of(
    values: Mapping[str, Value],
    static: str,
    given_in: Mapping[str, str],
    renew: Renew | None = None,
) -> Origin | None:
    """Return where the token comes from; None where it is static, or there is none.

    ``static`` is the token that was given itself; ``given_in`` is as in `GatewaySettings`. Raises
    `ConfigurationError` where there are two sources, or half of one.
    """
    text = {key: value for key, value in values.items() if isinstance(value, str)}
    given = [name for name in _SOURCES if values.get(name)]
    if static and given != ["gateway_token_renewer_class"]:
        given.insert(0, "auth_token")
    if len(given) > 1:
        one, other = given_in[given[0]], given_in[given[1]]
        raise ConfigurationError(
            f"{one[0].upper()}{one[1:]} and {other} are both set; a token can come from one place "
            "only.",
            option=given[1],
        )
    lone = next((key for key in text if key.startswith("oauth2_") and text[key]), None)
    if lone is not None and "oauth2_token_url" not in given:
        raise ConfigurationError(
            f"{given_in[lone]} is set, and {given_in['oauth2_token_url']}, without which it means "
            "nothing, is not.",
            option="oauth2_token_url",
        )
    match given:
        case ["auth_token_env"]:
            return FromVariable(text["auth_token_env"])
        case ["auth_token_file"]:
            return FromFile(text["auth_token_file"])
        case ["auth_token_command"]:
            argv = values["auth_token_command"]
            return FromCommand(argv) if isinstance(argv, tuple) else None
        case ["oauth2_token_url"]:
            return _oauth2(text)
        case ["gateway_token_renewer_class"]:
            return _renewer(values["gateway_token_renewer_class"], static, renew)
    return None


_SOURCES = (
    "auth_token_env",
    "auth_token_file",
    "auth_token_command",
    "oauth2_token_url",
    "gateway_token_renewer_class",
)
"""The options that each name a source."""


def _renewer(kind: Value, static: str, renew: Renew | None) -> FromRenewer:
    if renew is None:  # a class is not loaded here
        raise ConfigurationError(
            "GatewayClient.gateway_token_renewer_class is loaded by jupyter_relay.config; "
            "elsewhere pass `renew` to GatewaySettings.make, too.",
            option="gateway_token_renewer_class",
        )
    return FromRenewer(renew, getattr(kind, "__name__", str(kind)), static)


def _oauth2(text: Mapping[str, str]) -> FromOAuth2:
    url = text["oauth2_token_url"]
    parts = urlsplit(url)
    if parts.scheme.lower() != "https" and not _is_loopback(parts.hostname or ""):
        # RFC 6749, 3.2
        raise ConfigurationError(
            "GatewayClient.oauth2_token_url must begin with https://, since the client's secret "
            "is sent there.",
            option="oauth2_token_url",
        )
    if "@" in parts.netloc:
        raise ConfigurationError(
            "GatewayClient.oauth2_token_url must have no user and password in it; set "
            "oauth2_client_id and oauth2_client_secret.",
            option="oauth2_token_url",
        )
    if not text.get("oauth2_client_id"):
        raise ConfigurationError(
            "GatewayClient.oauth2_client_id is not set, and oauth2_token_url is.",
            option="oauth2_client_id",
        )
    if not (text.get("oauth2_client_secret") or text.get("oauth2_refresh_token")):
        raise ConfigurationError(
            "GatewayClient.oauth2_client_secret is not set; without it, an oauth2_refresh_token "
            "is needed.",
            option="oauth2_client_secret",
        )
    return FromOAuth2(
        url,
        text["oauth2_client_id"],
        text.get("oauth2_client_secret", ""),
        text.get("oauth2_refresh_token", ""),
        text.get("oauth2_scope", ""),
        text.get("oauth2_audience", ""),
        text.get("oauth2_ca_certs") or None,
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require(origin: Origin | None) -> None:
    """Raise `ConfigurationError` where a source needs a package that is not installed."""
    if isinstance(origin, FromOAuth2) and find_spec("oauthlib") is None:
        raise ConfigurationError(
            "GatewayClient.oauth2_token_url needs the package oauthlib; install it with "
            "jupyter-relay[oauth2].",
            option="oauth2_token_url",
        )
