"""The credentials that are sent to a gateway."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jupyter_relay.redact import secrets_in_headers
from jupyter_relay.settings.option_names import GATEWAY_CLIENT, OptionNames
from jupyter_relay.settings.origins import FromOAuth2, Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialSettings:
    """The credentials of one gateway; the options of the same names are described in their table.

    ``gateway`` is what people call the gateway. ``token_origin`` is where a token comes from that
    is not static, None for one that is, or for none. ``environment`` is our own, as it is at any
    time. ``names`` is what the options are called in sentences.
    """

    gateway: str
    http_user: str | None = None
    http_pwd: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    auth_header_key: str
    auth_scheme: str | None
    auth_token: str = field(default="", repr=False)
    token_origin: Origin | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    names: OptionNames = field(default=GATEWAY_CLIENT, repr=False)

    @property
    def secrets(self) -> frozenset[str]:
        """The words of these settings that are cut out of logs and errors."""
        words = secrets_in_headers(self.headers) | {self.auth_token}
        if self.http_pwd:
            words |= {self.http_pwd, f"{self.http_user or ''}:{self.http_pwd}"}
        if isinstance(self.token_origin, FromOAuth2):
            words |= {self.token_origin.client_secret, self.token_origin.refresh_token}
        return frozenset(filter(None, words))
