"""Where a gateway's token comes from, beside a static one: what the options say of it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TypeAlias
from urllib.parse import urlsplit

from jupyter_relay.errors import ConfigurationError
from jupyter_relay.redact import secrets_in_url
from jupyter_relay.settings.kinds import Value
from jupyter_relay.settings.option_names import OptionNames
from jupyter_relay.settings.option_values import OptionValues
from jupyter_relay.settings.options import OPTIONS
from jupyter_relay.settings.proxies import proxy_of
from jupyter_relay.settings.transport import TransportSettings

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
    """A file, which other programs may replace at any time."""

    path: str

    def __str__(self) -> str:
        return f"the file {self.path} (auth_token_file)"


@dataclass(frozen=True, slots=True)
class FromCommand:
    """The output of a program. Its arguments may hold a secret, and are not shown."""

    argv: tuple[str, ...] = field(repr=False)

    def __str__(self) -> str:
        return f"the command {self.argv[0]} (auth_token_command)"


@dataclass(frozen=True, slots=True)
class FromOAuth2:
    """An OAuth2 server: by a refresh token if there is one, else by client credentials.

    ``transport`` is how the server is reached; its ``url`` is that of the token endpoint.
    """

    transport: TransportSettings
    client_id: str
    client_secret: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    scope: str = ""
    audience: str = ""

    def __str__(self) -> str:
        return f"{self.transport.name} (oauth2_token_url)"


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
    values: OptionValues,
    static: str,
    names: OptionNames,
    environment: Mapping[str, str],
    renew: Renew | None = None,
) -> Origin | None:
    """Return where the token comes from; None where it is static, or there is none.

    ``static`` is the token that was given itself; ``environment`` is where a proxy on the way to
    an OAuth2 server is looked for. Raises `ConfigurationError` where there are two sources, or half
    of one.
    """
    given = [option for option in _SOURCES if values.values[option]]
    if static and given != ["gateway_token_renewer_class"]:
        given.insert(0, "auth_token")
    if len(given) > 1:
        one, other = names.of(given[0]), names.of(given[1])
        raise ConfigurationError(
            f"{one[0].upper()}{one[1:]} and {other} are both set; a token can come from one place "
            "only.",
            option=given[1],
        )
    lone = next((option for option in _OF_OAUTH2 if values.text(option)), None)
    if lone is not None and "oauth2_token_url" not in given:
        raise ConfigurationError(
            f"{names.of(lone)} is set, and {names.of('oauth2_token_url')}, without which it means "
            "nothing, is not.",
            option="oauth2_token_url",
        )
    match given:
        case ["auth_token_env"]:
            return FromVariable(values.text("auth_token_env"))
        case ["auth_token_file"]:
            return FromFile(values.text("auth_token_file"))
        case ["auth_token_command"]:
            return FromCommand(values.get("auth_token_command", tuple))
        case ["oauth2_token_url"]:
            return _oauth2(values, names, environment)
        case ["gateway_token_renewer_class"]:
            return _renewer(values.values["gateway_token_renewer_class"], static, names, renew)
    return None


_SOURCES = (
    "auth_token_env",
    "auth_token_file",
    "auth_token_command",
    "oauth2_token_url",
    "gateway_token_renewer_class",
)
"""The options that each name a source."""

_OF_OAUTH2 = tuple(option.name for option in OPTIONS if option.name.startswith("oauth2_"))


def _renewer(kind: Value, static: str, names: OptionNames, renew: Renew | None) -> FromRenewer:
    if renew is None:  # a class is not loaded here
        raise ConfigurationError(
            f"{names.of('gateway_token_renewer_class')} is loaded by jupyter_relay.config; "
            "elsewhere pass `renew` to GatewaySettings.make, too.",
            option="gateway_token_renewer_class",
        )
    return FromRenewer(renew, getattr(kind, "__name__", str(kind)), static)


def _oauth2(values: OptionValues, names: OptionNames, environment: Mapping[str, str]) -> FromOAuth2:
    url = values.text("oauth2_token_url")
    client_id, secret = values.text("oauth2_client_id"), values.text("oauth2_client_secret")
    refresh_token = values.text("oauth2_refresh_token")
    parts = urlsplit(url)
    if parts.scheme.lower() != "https" and not _is_loopback(parts.hostname or ""):
        # RFC 6749, 3.2
        raise ConfigurationError(
            f"{names.of('oauth2_token_url')} must begin with https://, since the client's secret "
            "is sent there.",
            option="oauth2_token_url",
        )
    if "@" in parts.netloc:
        raise ConfigurationError(
            f"{names.of('oauth2_token_url')} must have no user and password in it; set "
            f"{names.of('oauth2_client_id')} and {names.of('oauth2_client_secret')}.",
            option="oauth2_token_url",
        )
    if not client_id:
        raise ConfigurationError(
            f"{names.of('oauth2_client_id')} is not set, and {names.of('oauth2_token_url')} is.",
            option="oauth2_client_id",
        )
    if not (secret or refresh_token):
        raise ConfigurationError(
            f"{names.of('oauth2_client_secret')} is not set; without it, "
            f"{names.of('oauth2_refresh_token')} is needed.",
            option="oauth2_client_secret",
        )
    proxy = proxy_of(url, environment)
    transport = TransportSettings(
        name=f"the OAuth2 server {parts.netloc}",
        url=url,
        proxy=proxy,
        ca_certs=values.text("oauth2_ca_certs") or None,
        accept_cookies=False,
        secrets=_secrets(url, proxy or "", secret, refresh_token),
        names=names.given({"ca_certs": names.of("oauth2_ca_certs")}),
    )
    return FromOAuth2(
        transport,
        client_id,
        secret,
        refresh_token,
        values.text("oauth2_scope"),
        values.text("oauth2_audience"),
    )


def _secrets(url: str, proxy: str, *words: str) -> frozenset[str]:
    return frozenset(filter(None, words)) | secrets_in_url(url) | secrets_in_url(proxy)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_installed(origin: Origin | None) -> None:
    """Raise `ConfigurationError` where a source needs a package that is not installed."""
    if isinstance(origin, FromOAuth2) and find_spec("oauthlib") is None:
        raise ConfigurationError(
            f"{origin.transport.names.of('oauth2_token_url')} needs the package oauthlib; install "
            "it with jupyter-relay[oauth2].",
            option="oauth2_token_url",
        )
