"""The settings of one gateway, in parts: one for each package that uses them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import msgspec

from jupyter_relay.backoff import Backoff
from jupyter_relay.errors import ConfigurationError
from jupyter_relay.link.settings import LinkSettings
from jupyter_relay.redact import SHORTEST_SECRET, secrets_in_url
from jupyter_relay.settings.address import Address, EndpointSettings, websocket_url
from jupyter_relay.settings.credentials import CredentialSettings
from jupyter_relay.settings.environment import Rules
from jupyter_relay.settings.kinds import Value
from jupyter_relay.settings.on_exit import OnExit
from jupyter_relay.settings.option_names import GATEWAY_CLIENT, OptionNames
from jupyter_relay.settings.option_values import OptionValues
from jupyter_relay.settings.options import OPTIONS
from jupyter_relay.settings.origins import Renew, origin_of
from jupyter_relay.settings.proxies import proxy_of
from jupyter_relay.settings.start import StartSettings
from jupyter_relay.settings.transport import TransportSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """The settings of one gateway, valid and complete, as `make` makes them; times in seconds.

    Each package takes the part that is its own. The other fields are the options of their names.
    ``names`` is what the options are called in sentences. No secret shows in `repr`.
    """

    endpoints: EndpointSettings
    transport: TransportSettings
    credentials: CredentialSettings
    link: LinkSettings
    start: StartSettings
    max_request_retries: int
    start_grace: float
    listing_ttl: float
    backlog_bytes: int
    state_folder: str | None
    on_exit: OnExit
    names: OptionNames = field(repr=False)

    @property
    def name(self) -> str:
        """What people call the gateway: its URL, unless it was given another name."""
        return self.endpoints.name

    @property
    def url(self) -> str:
        """The gateway's URL, without a user, a password and a token."""
        return self.endpoints.url

    @classmethod
    def make(
        cls,
        given: Mapping[str, Value],
        environment: Mapping[str, str],
        *,
        name: str = "",
        names: OptionNames = GATEWAY_CLIENT,
        variables: Collection[str] = (),
        renew: Renew | None = None,
    ) -> GatewaySettings:
        """Make settings from options by name; what is not given, or None, takes its default.

        ``environment`` is where variables for kernels, proxies, and the variable that
        ``auth_token_env`` names, are looked up. ``name`` is what people call the gateway. ``names``
        is what they call its options, and ``variables`` are the options that were given by their
        environment variables. ``renew`` is what a ``gateway_token_renewer_class`` amounts to.

        Raises `ConfigurationError` naming the option, or the variable, that makes no sense.
        """
        values = OptionValues.read(given, names)
        address = _address(values, names)
        names = names.given(_given_in(values, address, names, variables))
        endpoints = _endpoints(values, address, name)
        credentials = _credentials(values, address, names, environment, endpoints.name, renew)
        launch_timeout, request_timeout = _timeouts(values)
        return cls(
            endpoints=endpoints,
            transport=_transport(values, endpoints, credentials, request_timeout=request_timeout),
            credentials=credentials,
            link=_link(values),
            start=StartSettings.make(
                environment,
                _rules(values, credentials),
                user=credentials.http_user,
                forward_user=values.find("forward_user", bool),
                launch_timeout=launch_timeout,
            ),
            max_request_retries=values.get("max_request_retries", int),
            start_grace=values.get("start_grace", float),
            listing_ttl=values.get("listing_ttl", float),
            backlog_bytes=values.get("backlog_bytes", int),
            state_folder=values.find("state_folder", str),
            on_exit=OnExit(values.text("on_exit")),
            names=names,
        )


def _address(values: OptionValues, names: OptionNames) -> Address:
    url = values.text("url")
    if not url:
        raise ConfigurationError(
            f"{names.all_of('url', 'JUPYTER_GATEWAY_URL')} is not set.", option="url"
        )
    return Address.parse(url)


def _given_in(
    values: OptionValues, address: Address, names: OptionNames, variables: Collection[str]
) -> dict[str, str]:
    """Return the names of the options that were given by variables, or as parts of the URL."""
    given_in = {
        option.name: option.variable
        for option in OPTIONS
        if option.name in variables and option.variable
    }
    url = given_in.get("url") or names.of("url")
    if address.token and not values.text("auth_token"):
        given_in["auth_token"] = f"the token in {url}"
    if address.user and not values.text("http_user"):
        given_in["http_user"] = f"the user in {url}"
    if address.password and not values.text("http_pwd"):
        given_in["http_pwd"] = f"the password in {url}"
    return given_in


def _endpoints(values: OptionValues, address: Address, name: str) -> EndpointSettings:
    ws_url = values.text("ws_url") or websocket_url(address.url)
    return EndpointSettings(
        name=name or address.url.partition("?")[0],
        url=address.url,
        ws_url=Address.parse(ws_url).url,
        kernels_endpoint=values.text("kernels_endpoint"),
        kernelspecs_endpoint=values.text("kernelspecs_endpoint"),
        kernelspecs_resource_endpoint=values.text("kernelspecs_resource_endpoint"),
    )


def _credentials(
    values: OptionValues,
    address: Address,
    names: OptionNames,
    environment: Mapping[str, str],
    gateway: str,
    renew: Renew | None,
) -> CredentialSettings:
    token = (values.text("auth_token") or address.token).strip()
    if not token.isprintable():
        raise ConfigurationError(
            f"{names.of('auth_token')} must have no invisible character in it.",
            option="auth_token",
        )
    return CredentialSettings(
        gateway=gateway,
        http_user=values.text("http_user") or address.user,
        http_pwd=values.text("http_pwd") or address.password,
        headers=msgspec.json.decode(values.text("headers"), type=dict[str, str]),
        auth_header_key=values.text("auth_header_key"),
        auth_scheme=values.find("auth_scheme", str),
        auth_token=token,
        token_origin=origin_of(values, token, names, environment, renew),
        environment=environment,
        names=names,
    )


def _transport(
    values: OptionValues,
    endpoints: EndpointSettings,
    credentials: CredentialSettings,
    *,
    request_timeout: float,
) -> TransportSettings:
    url, ws_url, environment = endpoints.url, endpoints.ws_url, credentials.environment
    proxy, ws_proxy = proxy_of(url, environment), proxy_of(ws_url, environment)
    in_urls = map(secrets_in_url, (url, ws_url, proxy or "", ws_proxy or ""))
    return TransportSettings(
        name=endpoints.name,
        url=url,
        ws_url=ws_url,
        proxy=proxy,
        ws_proxy=ws_proxy,
        connect_timeout=values.get("connect_timeout", float),
        request_timeout=request_timeout,
        handshake_timeout=values.get("handshake_timeout", float),
        ping_interval=values.get("ping_interval", float),
        max_message_bytes=values.get("max_message_bytes", int),
        client_key=values.find("client_key", str),
        client_cert=values.find("client_cert", str),
        ca_certs=values.find("ca_certs", str),
        validate_cert=values.get("validate_cert", bool),
        accept_cookies=values.get("accept_cookies", bool),
        pool_size=values.get("pool_size", int),
        secrets=credentials.secrets.union(*in_urls),
        names=credentials.names,
    )


def _link(values: OptionValues) -> LinkSettings:
    return LinkSettings(
        backoff=Backoff(
            base=values.get("gateway_retry_interval", float),
            cap=values.get("gateway_retry_interval_max", float),
        ),
        retry_max=values.find("gateway_retry_max", int),
        linger=values.get("linger", float),
        outbox_messages=values.get("outbox_messages", int),
        outbox_bytes=values.get("outbox_bytes", int),
        max_message_bytes=values.get("max_message_bytes", int),
    )


def _rules(values: OptionValues, credentials: CredentialSettings) -> Rules:
    given = values.find("allowed_envs", str)
    secrets = (
        credentials.auth_token,
        credentials.http_pwd,
        values.text("oauth2_client_secret"),
    )
    return Rules(
        allowed=values.listed("env_whitelist" if given is None else "allowed_envs"),
        protected=values.listed("protected_envs"),
        any_value=values.text("env_values") == "any",
        secret_names=frozenset(filter(None, (values.text("auth_token_env"),))),
        secrets=frozenset(s for s in secrets if s and len(s) >= SHORTEST_SECRET),
        names=credentials.names,
    )


def _timeouts(values: OptionValues) -> tuple[float, float]:
    """Return (launch, request) timeouts in step: request = launch + pad, the greater one wins.

    Source: Jupyter Server's documentation of ``launch_timeout_pad``.
    """
    launch, pad = values.get("launch_timeout", float), values.get("launch_timeout_pad", float)
    request = values.get("request_timeout", float)
    return (launch, launch + pad) if request < launch + pad else (request - pad, request)
