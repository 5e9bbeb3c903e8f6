"""From traitlets and the environment to plain settings: the only reader of ``os.environ``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # not in typeshed

from traitlets import HasTraits, TraitType
from traitlets.config import LoggingConfigurable

from jupyter_relay.core.options import OPTIONS, Option, Value
from jupyter_relay.core.settings import GatewaySettings


class OptionTrait(TraitType[Value, Value]):
    """The trait of one option: its default is the environment's, or else the table's."""

    def __init__(self, option: Option) -> None:
        super().__init__(
            help=f"{option.help} ({option.variable} env var)" if option.variable else option.help,
            allow_none=True,
        )
        self.option = option
        self.info_text = option.kind.value
        self.tag(config=True)

    def validate(self, obj: HasTraits, value: Value) -> Value:
        """Return the value as the option's kind. Raises `ConfigurationError`."""
        return self.option.read(value)

    def default(self, obj: HasTraits | None = None) -> Value:
        """Return what the environment says, or the table."""
        given = os.environ.get(self.option.variable) if self.option.variable else None
        return self.option.read(self.option.default if given is None else given)

    def from_string(self, s: str) -> Value:
        """Take an option of the command line; its kind reads it."""
        return None if s == "None" else s


class GatewayClient(LoggingConfigurable):
    """The options of the gateway, ``c.GatewayClient.*``, and nothing else.

    Its traits are made from `OPTIONS`, under the names of Jupyter Server's own class. A value that
    makes no sense raises `ConfigurationError`, whether given, configured or in the environment.
    """

    vars().update({option.name: OptionTrait(option) for option in OPTIONS})

    if TYPE_CHECKING:
        url: str | None

    @property
    def configured(self) -> bool:
        """Whether there is a gateway to use."""
        return bool(self.url)

    def settings(self, environment: Mapping[str, str] | None = None) -> GatewaySettings:
        """Return the settings that result; the environment is read now.

        Raises `ConfigurationError` for a value that makes no sense, or where there is no URL.
        """
        given = {option.name: getattr(self, option.name) for option in OPTIONS}
        environment = os.environ if environment is None else environment
        settings = GatewaySettings.make(given, environment)
        return replace(settings, proxy=proxy_of(settings.url, environment))


def proxy_of(url: str, environment: Mapping[str, str]) -> str | None:
    """Return the proxy that the environment names for a URL, in ``HTTP_PROXY``, ``HTTPS_PROXY``
    and ``NO_PROXY`` or their like in small letters, which win."""
    named = {
        name.lower(): value
        for name, value in sorted(environment.items(), key=lambda pair: pair[0].islower())
        if name.lower() in {"http_proxy", "https_proxy", "no_proxy"}
    }
    parts = urlsplit(url)
    bypass = proxy_bypass_environment(parts.netloc, {"no": named.get("no_proxy", "")})
    return None if bypass else named.get(f"{parts.scheme}_proxy") or None
