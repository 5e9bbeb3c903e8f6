"""The settings of one gateway: what its options amount to, and all else consumes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields

import msgspec

from jupyter_relay.backoff import Backoff
from jupyter_relay.errors import ConfigurationError, VariableRefused
from jupyter_relay.link.settings import LinkSettings
from jupyter_relay.redact import SHORTEST_SECRET, secrets_in_headers, secrets_in_url
from jupyter_relay.settings.address import Address, websocket_url
from jupyter_relay.settings.environment import Rules, choose
from jupyter_relay.settings.kinds import Value
from jupyter_relay.settings.on_exit import OnExit
from jupyter_relay.settings.options import OPTIONS
from jupyter_relay.settings.origins import FromOAuth2, Origin, Renew, origin_of

USERNAME = "KERNEL_USERNAME"
"""The variable that tells a gateway as whom to start a kernel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """The settings of one gateway, valid and complete, as `make` makes them; times in seconds.

    ``name`` is what people call it: its URL, unless it was given another. ``proxy`` is the URL of
    the HTTP proxy on the way to it, which may hold a password, and ``ws_proxy`` that of the way to
    its websockets. ``kernel_env`` goes with each kernel's start, beneath what the request itself
    asks for; ``left_out`` names variables of our environment that do not, each with the reason, and
    ``variable_rules`` says which may. ``token_origin`` is where a token comes from that is not
    static. ``given_in`` says by what name people have set each option. ``environment`` is our own,
    as it is at any time.
    ``state_folder`` is where a `Store` keeps its file. Secrets do not show in `repr`.
    """

    name: str
    url: str = field(repr=False)
    ws_url: str = field(repr=False)
    kernels_endpoint: str
    kernelspecs_endpoint: str
    kernelspecs_resource_endpoint: str
    connect_timeout: float
    request_timeout: float
    handshake_timeout: float
    client_key: str | None
    client_cert: str | None
    ca_certs: str | None
    validate_cert: bool
    http_user: str | None
    http_pwd: str | None = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    auth_header_key: str
    auth_scheme: str | None
    auth_token: str = field(repr=False)
    token_origin: Origin | None
    given_in: Mapping[str, str] = field(repr=False)
    forward_user: bool
    protected_envs: frozenset[str]
    allowed_envs: frozenset[str]
    accept_cookies: bool
    proxy: str | None = field(default=None, repr=False)
    ws_proxy: str | None = field(default=None, repr=False)
    pool_size: int
    max_request_retries: int
    start_grace: float
    listing_ttl: float
    ping_interval: float
    backlog_bytes: int
    max_message_bytes: int
    state_folder: str | None
    on_exit: OnExit
    link: LinkSettings
    env_values: str
    variable_rules: Rules
    kernel_env: Mapping[str, str] = field(repr=False)
    left_out: Mapping[str, str]
    environment: Mapping[str, str] = field(repr=False)

    @classmethod
    def make(
        cls,
        given: Mapping[str, Value],
        environment: Mapping[str, str],
        *,
        name: str = "",
        renew: Renew | None = None,
        variables: Collection[str] = (),
    ) -> GatewaySettings:
        """Make settings from options by name; what is not given, or None, takes its default.

        ``environment`` is what kernels may be told of, and what ``auth_token_env`` is looked up
        in. ``renew`` is what a ``gateway_token_renewer_class`` amounts to. ``variables`` names the
        options that were given by their environment variables. Raises `ConfigurationError` naming
        the option that makes no sense.
        """
        values = {
            option.name: option.value(given.get(option.name, option.default)) for option in OPTIONS
        }
        text = {key: value for key, value in values.items() if isinstance(value, str)}
        number = {key: value for key, value in values.items() if isinstance(value, int | float)}
        if not text.get("url"):
            raise ConfigurationError(
                "GatewayClient.url (JUPYTER_GATEWAY_URL) is not set.", option="url"
            )
        address = Address.read(text["url"])
        ws_url = text.get("ws_url") or websocket_url(address.url)
        launch, request = _timeouts(
            number["launch_timeout"], number["request_timeout"], number["launch_timeout_pad"]
        )
        allowed = _names(text.get("allowed_envs", text.get("env_whitelist", "")))
        token = (text.get("auth_token") or address.token).strip()
        if not token.isprintable():
            raise ConfigurationError(
                "GatewayClient.auth_token (JUPYTER_GATEWAY_AUTH_TOKEN) must have no invisible "
                "character in it.",
                option="auth_token",
            )
        user = text.get("http_user") or address.user
        password = text.get("http_pwd") or address.password
        hub_user = _hub_user(environment)
        forward = hub_user is not None if values["forward_user"] is None else values["forward_user"]
        secrets = (token, password, text.get("oauth2_client_secret"))
        rules = Rules(
            allowed=allowed,
            protected=_names(text["protected_envs"]),
            any_value=text["env_values"] == "any",
            secret_names=frozenset(filter(None, (text.get("auth_token_env"),))),
            secrets=frozenset(s for s in secrets if s and len(s) >= SHORTEST_SECRET),
        )
        kernel_env, left_out = _kernel_env(
            environment,
            rules,
            user=user or (hub_user if forward else None),
            launch_timeout=launch,
        )
        given_in = _given_in(text, address, variables)
        retry_max = number.get("gateway_retry_max")
        made = {
            "name": name or address.url.partition("?")[0],
            "url": address.url,
            "ws_url": Address.read(ws_url).url,
            "request_timeout": request,
            "http_user": user,
            "http_pwd": password,
            "headers": msgspec.json.decode(text["headers"], type=dict[str, str]),
            "auth_token": token,
            "allowed_envs": allowed,
            "link": LinkSettings(
                backoff=Backoff(
                    base=number["gateway_retry_interval"], cap=number["gateway_retry_interval_max"]
                ),
                retry_max=None if retry_max is None else int(retry_max),
                linger=number["linger"],
                outbox_messages=int(number["outbox_messages"]),
                outbox_bytes=int(number["outbox_bytes"]),
                max_message_bytes=int(number["max_message_bytes"]),
            ),
            "forward_user": forward,
            "on_exit": OnExit(text["on_exit"]),
            "variable_rules": rules,
            "kernel_env": kernel_env,
            "left_out": left_out,
            "token_origin": origin_of(values, token, given_in, renew),
            "given_in": given_in,
            "protected_envs": rules.protected,
            "environment": environment,
        }
        as_read = {key: values[key] for key in values.keys() & {f.name for f in fields(cls)}}
        return cls(**as_read | made)  # type: ignore[arg-type]  # each was read by its option's kind

    @property
    def secrets(self) -> frozenset[str]:
        """The words of these settings that nobody is to be told."""
        words = secrets_in_headers(self.headers) | {self.auth_token}
        if self.http_pwd:
            words |= {self.http_pwd, f"{self.http_user or ''}:{self.http_pwd}"}
        if isinstance(self.token_origin, FromOAuth2):
            words |= {self.token_origin.client_secret, self.token_origin.refresh_token}
        for url in (self.url, self.ws_url, self.proxy, self.ws_proxy):
            words |= secrets_in_url(url or "")
        return frozenset(filter(None, words))


def _given_in(
    text: Mapping[str, str], address: Address, variables: Collection[str]
) -> dict[str, str]:
    """How people have set each option; what they have put into the URL is called that."""
    names = {
        option.name: option.written(as_variable=option.name in variables) for option in OPTIONS
    }
    url = names["url"]
    if address.token and not text.get("auth_token"):
        names["auth_token"] = f"the token in {url}"
    if address.user and not text.get("http_user"):
        names["http_user"] = f"the user in {url}"
    if address.password and not text.get("http_pwd"):
        names["http_pwd"] = f"the password in {url}"
    return names


def _hub_user(environment: Mapping[str, str]) -> str | None:
    """Return whose server this is, if a JupyterHub has started it.

    Source: the environment that JupyterHub's ``Spawner.get_env`` makes.
    """
    return (environment.get("JUPYTERHUB_API_TOKEN") and environment.get("JUPYTERHUB_USER")) or None


def _names(text: str) -> frozenset[str]:
    """Read comma-separated names."""
    return frozenset(filter(None, (name.strip() for name in text.split(","))))


def _timeouts(launch: float, request: float, pad: float) -> tuple[float, float]:
    """Return (launch, request) timeouts in step: request = launch + pad, the greater one wins.

    Source: Jupyter Server's documentation of ``launch_timeout_pad``.
    """
    return (launch, launch + pad) if request < launch + pad else (request - pad, request)


def _kernel_env(
    environment: Mapping[str, str], rules: Rules, *, user: str | None, launch_timeout: float
) -> tuple[dict[str, str], dict[str, str]]:
    """Return what goes with each start, and what of our environment does not, with the reasons."""
    try:
        chosen = choose(rules, environment, environment)
    except VariableRefused as error:
        raise ConfigurationError(
            f"A variable of this program's environment cannot be sent to a gateway. {error}",
            option=error.name,
        ) from None
    kept, left_out = dict(chosen.sent), dict(chosen.left_out)
    kept.pop("KERNEL_ID", None)  # an id is for one kernel only
    kept["KERNEL_LAUNCH_TIMEOUT"] = str(int(launch_timeout))
    if user and USERNAME not in kept:
        if flaw := rules.flaw(user):
            left_out[USERNAME] = f"the user's name {flaw}"
        else:
            kept[USERNAME] = user
    return kept, left_out
