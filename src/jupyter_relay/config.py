"""From traitlets and the environment to plain settings: the only reader of ``os.environ``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from inspect import isabstract
from typing import TYPE_CHECKING, Protocol

from traitlets import HasTraits, TraitType
from traitlets.config import LoggingConfigurable
from traitlets.utils.importstring import import_item

from jupyter_relay.errors import ConfigurationError
from jupyter_relay.settings.kinds import Value
from jupyter_relay.settings.option_names import GATEWAY_CLIENT
from jupyter_relay.settings.options import OPTIONS, Option
from jupyter_relay.settings.origins import check_installed
from jupyter_relay.settings.settings import GatewaySettings


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

    def validate(self, obj: HasTraits, value: object) -> Value:
        """Return the value as the option's kind. Raises `ConfigurationError`."""
        return self.option.read(value)

    def default(self, obj: HasTraits | None = None) -> Value:
        """Return what the environment says, or the table."""
        given = os.environ.get(self.option.variable) if self.option.variable else None
        return self.option.read(self.option.default if given is None else given)

    def from_string(self, s: str) -> Value:
        """Take an option of the command line; its kind reads it."""
        return s

    def from_string_list(self, s_list: list[str]) -> str | list[str]:
        """Take an option that the command line gives any number of times; no kind reads two."""
        return s_list[0] if len(s_list) == 1 else s_list


class GatewayClient(LoggingConfigurable):
    """The options of the gateway, ``c.GatewayClient.*``, and nothing else.

    Its traits are made from `OPTIONS`, under the names of Jupyter Server's own class. A value that
    makes no sense raises `ConfigurationError`, whether given, configured or in the environment.
    """

    vars().update({option.name: OptionTrait(option) for option in OPTIONS})

    if TYPE_CHECKING:
        url: str | None
        ws_url: str | None
        kernels_endpoint: str
        gateway_token_renewer_class: type | str | None

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        for option in OPTIONS:
            if option.instead is not None and getattr(self, option.name) is not None:
                self.log.warning(
                    "%s is deprecated, use %s.",
                    GATEWAY_CLIENT.all_of(option.name, option.variable),
                    GATEWAY_CLIENT.of(option.instead),
                )
        if unknown := _unknown_variables(os.environ):
            self.log.warning("No option is set by %s.", ", ".join(unknown))

    @property
    def configured(self) -> bool:
        """True if there is a gateway to use."""
        return bool(self.url)

    def settings(self, environment: Mapping[str, str] | None = None) -> GatewaySettings:
        """Return the settings that result; the environment is read now.

        A renewer class is loaded when it is first needed, in a thread. Raises `ConfigurationError`
        for a value that makes no sense, or where there is no URL.
        """
        given = {option.name: getattr(self, option.name) for option in OPTIONS}
        environment = os.environ if environment is None else environment
        settings = GatewaySettings.make(
            given, environment, renew=_Renewer(self), variables=self._variables(environment)
        )
        check_installed(settings.credentials.token_origin)
        return settings

    def _variables(self, environment: Mapping[str, str]) -> frozenset[str]:
        """The options whose values are those of their environment variables."""
        found = set()
        for option in OPTIONS:
            if option.variable is not None and option.variable in environment:
                with suppress(ConfigurationError):  # then the value was given in another way
                    if getattr(self, option.name) == option.read(environment[option.variable]):
                        found.add(option.name)
        return frozenset(found)

    def check(self) -> None:
        """Load what else would be loaded when it is needed. It blocks.

        Raises `ConfigurationError` for what is not there.
        """
        if self.gateway_token_renewer_class is not None:
            _renewer_class(self.gateway_token_renewer_class)


_PREFIX = "JUPYTER_GATEWAY_"

_RENEWER_CLASS = GATEWAY_CLIENT.of("gateway_token_renewer_class")


def _unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Return the unknown variables with the prefix of ours, each with the known one it is like."""
    known = {option.variable for option in OPTIONS}
    ours = [name.removeprefix(_PREFIX) for name in known if name and name.startswith(_PREFIX)]
    found = []
    for name in sorted(environment.keys() - known):
        if name.startswith(_PREFIX):
            meant = get_close_matches(name.removeprefix(_PREFIX), ours, n=1)
            found.append(f"{name} (did you mean {_PREFIX}{meant[0]}?)" if meant else name)
    return found


class _Renewer:
    """Asks one instance of the renewer class for tokens; it is made when it is first asked.

    All of it may block. One calls at a time. Raises `ConfigurationError` for what is no class.
    """

    def __init__(self, options: GatewayClient) -> None:
        self._options = options
        self._instance: _RenewerClass | None = None

    def __call__(self, auth_header_key: str, auth_scheme: str | None, auth_token: str) -> str:
        if self._instance is None:
            kind = _renewer_class(self._options.gateway_token_renewer_class)
            self._instance = kind(parent=self._options, log=self._options.log)
        return self._instance.get_token(auth_header_key, auth_scheme, auth_token)


class _RenewerClass(Protocol):
    """The interface of ``GatewayTokenRenewerBase``, as Jupyter Server's own client uses it."""

    def __init__(self, *, parent: LoggingConfigurable, log: object) -> None: ...

    def get_token(
        self, auth_header_key: str, auth_scheme: str | None, auth_token: str, **kwargs: object
    ) -> str: ...


def _renewer_class(given: type | str | None) -> type[_RenewerClass]:
    """Load a renewer class. Raises `ConfigurationError`."""
    name = getattr(given, "__name__", given)
    try:
        kind = import_item(given) if isinstance(given, str) else given
    except Exception as error:  # it runs the user's own module
        raise ConfigurationError(
            f"{_RENEWER_CLASS}: {name} cannot be imported "
            f"({type(error).__name__}: {' '.join(str(error).split())}).",
            option="gateway_token_renewer_class",
        ) from error
    if not isinstance(kind, type) or not hasattr(kind, "get_token") or isabstract(kind):
        raise ConfigurationError(
            f"{_RENEWER_CLASS}: {name} must be a class with a method "
            "get_token, as GatewayTokenRenewerBase of Jupyter Server has it.",
            option="gateway_token_renewer_class",
        )
    return kind
