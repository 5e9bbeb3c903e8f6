"""The options of one gateway: what each is called, what it takes, and what it means.

`OPTIONS` is the one table. The traits of `GatewayClient`, the reading of the environment and the
reference page are made from it; `GatewaySettings` is the value that results.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import partial

from jupyter_relay.errors import ConfigurationError
from jupyter_relay.link.settings import LinkSettings
from jupyter_relay.settings.environment import PROTECTED
from jupyter_relay.settings.kinds import Kind, Value, read_value
from jupyter_relay.settings.option_names import GATEWAY_CLIENT, OptionNames
from jupyter_relay.settings.transport import TransportSettings


class Group(Enum):
    """What an option is about; the value is its heading for people."""

    PLACE = "Where the gateway is"
    IDENTITY = "Who we are"
    TLS = "TLS"
    TIME = "Time"
    REQUESTS = "Requests"
    LINK = "The link"


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its trait's name, what it takes, its environment variable, default and help.

    ``instead`` is the option to use in its place, for one that is deprecated.
    """

    group: Group
    name: str
    kind: Kind
    variable: str | None
    default: Value
    help: str
    instead: str | None = None

    def read(self, given: object, names: OptionNames = GATEWAY_CLIENT) -> Value:
        """Return the value that was given, as its kind; None where none was; see `read_value`.

        Raises `ConfigurationError` naming the option, and never the value of a secret.
        """
        try:
            return read_value(self.kind, given)
        except (ValueError, TypeError, OverflowError):
            raise ConfigurationError(
                f"{names.all_of(self.name, self.variable)} must be {self.kind.value}.",
                option=self.name,
            ) from None

    def value(self, given: object, names: OptionNames = GATEWAY_CLIENT) -> Value:
        """Return the value to use: as `read`, with the default where there is none."""
        value = self.read(given, names)
        if value is None and self.name != "auth_scheme":  # None is a choice there
            return self.default
        return value


_TRANSPORT = TransportSettings(name="", url="")
_LINK = LinkSettings()


def _row(
    group: Group,
    name: str,
    kind: Kind,
    default: Value,
    help: str,  # noqa: A002  # the word that traitlets uses
    *,
    variable: str | None = "",
    instead: str | None = None,
) -> Option:
    if variable == "":
        variable = "JUPYTER_GATEWAY_" + name.removeprefix("gateway_").upper()
    return Option(group, name, kind, variable, default, help, instead)


_place = partial(_row, Group.PLACE)
_identity = partial(_row, Group.IDENTITY)
_tls = partial(_row, Group.TLS)
_time = partial(_row, Group.TIME)
_requests = partial(_row, Group.REQUESTS)
_link = partial(_row, Group.LINK)
OPTIONS: tuple[Option, ...] = (
    _place(
        "url",
        Kind.HTTP_URL,
        None,
        "Where the gateway is; setting it switches Relay on. A user, a password and a `token` in "
        "it are taken out, for `http_user`, `http_pwd` and `auth_token` where those are not given.",
    ),
    _place(
        "ws_url",
        Kind.WS_URL,
        None,
        "Where its websockets are; by default `url` with ws in place of http.",
    ),
    _place("kernels_endpoint", Kind.PATH, "/api/kernels", "The path of its kernels."),
    _place(
        "kernelspecs_endpoint",
        Kind.PATH,
        "/api/kernelspecs",
        "The path of its kernelspecs.",
    ),
    _place(
        "kernelspecs_resource_endpoint",
        Kind.PATH,
        "/kernelspecs",
        "The path of the files of its kernelspecs, such as logos.",
    ),
    _identity(
        "http_user",
        Kind.TEXT,
        None,
        "The user for HTTP basic authentication, and KERNEL_USERNAME where that is not set.",
    ),
    _identity(
        "http_pwd",
        Kind.TEXT,
        None,
        "The password for HTTP basic authentication, which is sent where no token needs the same "
        "header.",
    ),
    _identity(
        "auth_header_key",
        Kind.HEADER,
        "Authorization",
        "The header that carries the token. With another than Authorization, `http_user` and "
        "`http_pwd` are sent beside it.",
    ),
    _identity(
        "auth_scheme",
        Kind.TEXT,
        "token",
        "The word before the token; None sends the bare token.",
    ),
    _identity("auth_token", Kind.TEXT, None, "The token of the gateway."),
    _identity(
        "auth_token_env",
        Kind.TEXT,
        None,
        "The name of an environment variable with the token, such as JUPYTERHUB_API_TOKEN.",
    ),
    _identity(
        "auth_token_file",
        Kind.TEXT,
        None,
        "A file with the token; it is read again whenever it has changed.",
    ),
    _identity(
        "auth_token_command",
        Kind.COMMAND,
        None,
        "A command that prints the token, bare or in a JSON object with its end; it is run without "
        "a shell, and again before the token's end.",
    ),
    _identity(
        "oauth2_token_url",
        Kind.HTTP_URL,
        None,
        "The token endpoint of an OAuth2 server; needs jupyter-relay[oauth2].",
    ),
    _identity("oauth2_client_id", Kind.TEXT, None, "The client's id at the OAuth2 server."),
    _identity("oauth2_client_secret", Kind.TEXT, None, "The client's secret at the OAuth2 server."),
    _identity(
        "oauth2_refresh_token",
        Kind.TEXT,
        None,
        "The refresh token. Without one, tokens are requested by client credentials.",
    ),
    _identity("oauth2_scope", Kind.TEXT, None, "The scopes to ask for, with spaces between them."),
    _identity("oauth2_audience", Kind.TEXT, None, "The audience to ask for, if one is required."),
    _identity(
        "oauth2_ca_certs",
        Kind.TEXT,
        None,
        "The file of the certificates to trust for the OAuth2 server, instead of the system's.",
    ),
    _identity(
        "gateway_token_renewer_class",
        Kind.CLASS,
        None,
        "A subclass of Jupyter Server's GatewayTokenRenewerBase, asked for the token, in a thread, "
        "at each request.",
    ),
    _identity(
        "forward_user",
        Kind.FLAG,
        None,
        "Whether a kernel is started as the user who is logged in to this server: the name goes as "
        "KERNEL_USERNAME. By default a server that a JupyterHub has started does so, and others do "
        "not: Enterprise Gateway, run by root, refuses a start without a name.",
    ),
    _identity(
        "protected_envs",
        Kind.NAMES,
        ",".join(PROTECTED),
        "Which variables no user of this server can set for a kernel, in upper or lower case.",
    ),
    _tls("client_key", Kind.TEXT, None, "The file of the client's TLS key."),
    _tls(
        "client_cert",
        Kind.TEXT,
        None,
        "The file of the client's TLS certificate; it may hold the key, too.",
    ),
    _tls(
        "ca_certs",
        Kind.TEXT,
        None,
        "The file, or folder of files, with the certificates to trust instead of the system's.",
    ),
    _tls(
        "validate_cert",
        Kind.FLAG,
        True,
        "Whether the gateway's certificate is verified.",
    ),
    _time(
        "connect_timeout",
        Kind.SECONDS,
        _TRANSPORT.connect_timeout,
        "How long a TCP connection may take to open; 0 sets no limit.",
    ),
    _time(
        "request_timeout",
        Kind.SECONDS,
        _TRANSPORT.request_timeout,
        "How long a request may take; never less than the launch timeout and its pad.",
    ),
    _time(
        "launch_timeout",
        Kind.SECONDS,
        40.0,
        "How long the gateway may take to start a kernel, and longer if `request_timeout` leaves "
        "more; sent to it as KERNEL_LAUNCH_TIMEOUT, in whole seconds.",
        variable="KERNEL_LAUNCH_TIMEOUT",
    ),
    _time(
        "launch_timeout_pad",
        Kind.SECONDS,
        2.0,
        "How much longer than the launch timeout a request waits, at least.",
    ),
    _time(
        "start_grace",
        Kind.SECONDS,
        5.0,
        "How long Jupyter Server waits for the start of a kernel before it shows the kernel as "
        "one that is starting. A later error is shown in the cells that are run on it.",
    ),
    _requests(
        "headers", Kind.HEADERS, "{}", "Headers to send with each request, as a JSON object."
    ),
    _requests(
        "allowed_envs",
        Kind.NAMES,
        None,
        "Which environment variables to send with a kernel's start, beside KERNEL_*: names, and "
        "patterns such as MY_*. They come from our own environment and from the request. No "
        "pattern matches what describes this machine (PATH, HOME, JUPYTER_* …); what looks like a "
        "secret must be named in full.",
    ),
    _requests(
        "env_whitelist",
        Kind.NAMES,
        None,
        "Deprecated: what `allowed_envs` was called; used where that is not given.",
        instead="allowed_envs",
    ),
    _requests(
        "env_values",
        Kind.VALUES,
        "safe",
        "What the values of these variables may be. safe refuses one with a $, a backtick or a "
        "line break, or of more than 4,096 characters, by the variable's name: gateways put values "
        "into shells and templates. any sends every text.",
    ),
    _requests(
        "accept_cookies",
        Kind.FLAG,
        True,
        "Whether cookies are kept, for load balancers.",
    ),
    _requests(
        "max_request_retries",
        Kind.COUNT,
        2,
        "How often a GET or DELETE is tried again when the gateway is unavailable; all tries "
        "together take no longer than the request timeout.",
    ),
    _requests(
        "listing_ttl",
        Kind.SECONDS,
        2.0,
        "How long a list of the kernels is cached for all who ask, such as each tab of JupyterLab "
        "every 10 s. An operation on a kernel ends it earlier.",
    ),
    _requests(
        "on_exit",
        Kind.ON_EXIT,
        "shutdown",
        "What happens to the kernels that a Jupyter Server has started when it stops. shutdown "
        "deletes them. keep leaves them running for the next server. keep-busy leaves running "
        "those that are busy or may be, and deletes the others. Programs without a server always "
        "delete what they have started.",
    ),
    _requests(
        "pool_size",
        Kind.COUNT,
        _TRANSPORT.pool_size,
        "How many TCP connections requests may use at once; 0 for any number. Kernel starts take "
        "half of them at most, restarts a quarter.",
    ),
    _link(
        "gateway_retry_interval",
        Kind.SECONDS,
        _LINK.backoff.base,
        "How long to wait before the first reconnect, at most; doubled at each try.",
    ),
    _link(
        "gateway_retry_interval_max",
        Kind.SECONDS,
        _LINK.backoff.cap,
        "How long to wait between reconnects, at most.",
    ),
    _link(
        "gateway_retry_max",
        Kind.COUNT,
        None,
        "After how many reconnects to give up; with None, never while somebody uses the kernel.",
    ),
    _link(
        "ping_interval",
        Kind.SECONDS,
        _TRANSPORT.ping_interval,
        "How long a websocket may be silent before it is pinged; without an answer it is closed "
        "after half of that time. 0 never pings. 20 finds a dead one within 30 s, and is below "
        "the idle limits of common proxies (60 s).",
    ),
    _link(
        "handshake_timeout",
        Kind.SECONDS,
        _TRANSPORT.handshake_timeout,
        "How long a websocket may take to open; 0 sets no limit. Gateways wait up to 60 s for the "
        "kernel first.",
    ),
    _link(
        "linger",
        Kind.SECONDS,
        _LINK.linger,
        "How long a kernel's websocket stays open when nobody uses it.",
    ),
    _link(
        "outbox_messages",
        Kind.COUNT,
        _LINK.outbox_messages,
        "How many messages may wait for a kernel's websocket to open again.",
    ),
    _link(
        "outbox_bytes",
        Kind.COUNT,
        _LINK.outbox_bytes,
        "How many bytes may wait for a kernel's websocket to open again.",
    ),
    _link(
        "backlog_bytes",
        Kind.COUNT,
        64 * 2**20,
        "How many bytes are kept for one slow or absent reader of a kernel.",
    ),
    _link(
        "max_message_bytes",
        Kind.COUNT,
        _LINK.max_message_bytes,
        "The largest message that is accepted from a gateway, complete or not, or sent to a "
        "kernel; 0 is for any.",
    ),
    _link(
        "state_folder",
        Kind.TEXT,
        None,
        "Where the ids of kernels' websockets are stored, so that after a restart gateways send "
        "what was missed; for a server also the names of the kernelspecs. The default for a "
        "server is jupyter_relay in its data folder; other programs store none unless this is "
        "set.",
    ),
)
"""Every option of a gateway."""
