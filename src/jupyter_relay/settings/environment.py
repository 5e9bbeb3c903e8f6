"""Which environment variables go to a gateway with the start of a kernel.

==================================================  ===============================================
a variable                                          is
==================================================  ===============================================
whose name begins with ``KERNEL_``, or stands in    sent; one that cannot be sent is an error
``allowed_envs``
that only a pattern of ``allowed_envs`` matches     sent; one of our own environment that cannot be
                                                    sent is left out
that only a pattern matches, and that describes     left out
this machine or looks like a secret
any other                                           left out
==================================================  ===============================================

A name is made of at most 255 ASCII letters, digits and ``_``; a value is a text of at most 4,096
characters.
Enterprise Gateway puts values into shells, templates and manifests (CVE-2026-44181 and others), so
that ``$``, a backtick, CR and LF are not sent either, unless ``env_values`` is ``any``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Final, TypeGuard

from jupyter_relay.errors import VariableRefused
from jupyter_relay.settings.option_names import GATEWAY_CLIENT, OptionNames

MAX_VALUE: Final = 4096
"""The longest value, in characters; the limit of Enterprise Gateway."""

SESSION_NAME: Final = "JPY_SESSION_NAME"
"""Jupyter Server adds this variable, the path of the document, to the start of each session."""

PROTECTED: Final = (
    "KERNEL_USERNAME",
    "KERNEL_ID",
    "KERNEL_LAUNCH_TIMEOUT",
    "KERNEL_UID",
    "KERNEL_GID",
    "KERNEL_NAMESPACE",
    "KERNEL_SERVICE_ACCOUNT_NAME",
)
"""Variables by which gateways decide as whom, where and for how long a kernel is started."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_MAX_SHOWN: Final = 100

_HINT: Final = (
    "Gateways put such values into shells and templates; if yours does not, set {option} to any."
)

_MACHINE: Final = re.compile(
    r"PATH|HOME|USER|USERNAME|LOGNAME|SHELL|SHLVL|PWD|OLDPWD|HOSTNAME|MAIL|TERM|TMPDIR|TMP|TEMP"
    r"|DISPLAY|VIRTUAL_ENV|PS[0-9]|PATHEXT|COMSPEC|SYSTEMROOT|WINDIR|APPDATA|LOCALAPPDATA|_"
    r"|USERPROFILE|PROGRAMDATA|(LD|DYLD|PYTHON|CONDA|XDG|SSH|DBUS|KUBERNETES|JUPYTER|JPY).*"
    r"|.*_PROXY"
)
"""Names, in capitals, of variables that describe this machine or configure Jupyter on it."""

_SECRET: Final = re.compile(
    r"TOKEN|SECRET|PASSW|PASSPHRASE|_PASS$|_PWD$|CREDENTIAL|COOKIE"
    r"|(PRIVATE|API|ACCESS|SIGNING|ENCRYPTION)_?KEY"
)
"""Parts of the names, in capitals, of variables that hold secrets."""

_PASSWORD_IN_URL: Final = re.compile(r"://[^/\s:@]*:[^/\s@]+@")

_UNSAFE: Final = (
    (re.compile(r"\$"), "has a $ in it"),
    (re.compile("`"), "has a backtick in it"),
    (re.compile(r"[\r\n]"), "has a line break in it"),
)
"""Characters that a shell or a template may interpret, each with the text of the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Which variables may be sent, by the options.

    ``allowed`` and ``protected`` are names, in which ``*`` and ``?`` stand for any characters.
    ``any_value`` lets unsafe signs and long values through. ``secret_names`` and ``secrets`` are
    the names and values of variables that no pattern allows. ``names`` is what the options are
    called in errors.
    """

    allowed: frozenset[str] = frozenset()
    protected: frozenset[str] = frozenset()
    any_value: bool = False
    secret_names: frozenset[str] = frozenset()
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    names: OptionNames = field(default=GATEWAY_CLIENT, repr=False)

    def is_named(self, name: str) -> bool:
        """True if a variable is sent by its own name, not by a pattern."""
        return name.startswith("KERNEL_") or name in self.allowed

    def is_matched(self, name: str) -> bool:
        """True if a pattern of ``allowed`` matches a name that patterns may match."""
        return not (name in self.secret_names or _MACHINE.fullmatch(name.upper())) and any(
            fnmatchcase(name, entry) for entry in self.allowed
        )

    def is_protected(self, name: str) -> bool:
        """True if no notebook user may set a variable. Upper and lower case are the same, as for
        a process on Windows."""
        capitals = name.upper()
        return any(fnmatchcase(capitals, entry.upper()) for entry in self.protected)

    def flaw(self, value: object) -> str:
        """Return what keeps a value from being sent; an empty text if nothing does."""
        if not isinstance(value, str) or not _is_unicode(value):
            return "is not a text"
        if "\0" in value:
            return "has a NUL character in it"
        if self.any_value:
            return ""
        if len(value) > MAX_VALUE:
            return f"is longer than {MAX_VALUE:,} characters"
        return next((reason for pattern, reason in _UNSAFE if pattern.search(value)), "")

    def check(self, name: str, value: object) -> str:
        """Return the value of a variable that is to be sent. Raises `VariableRefused`."""
        if flaw := self.flaw(value):
            in_any_case = flaw == replace(self, any_value=True).flaw(value)
            raise VariableRefused(
                f"The variable {name} cannot be set for a kernel: its value {flaw}.",
                name=name,
                hint="" if in_any_case else _HINT.format(option=self.names.of("env_values")),
            )
        return str(value)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The variables to send, and the names of those left out that people may expect, each with the
    reason."""

    sent: Mapping[str, str] = field(repr=False)
    left_out: Mapping[str, str]


def choose(
    rules: Rules, variables: Mapping[str, object], environment: Mapping[str, object]
) -> Chosen:
    """Return which of these variables are sent.

    ``environment`` is this program's own. Servers ask for a kernel with all of it, so that what
    only a pattern allows is not asked for on purpose if it stands there with the same value.

    Raises `VariableRefused` for a name that is none, and for a value that cannot be sent.
    """
    sent: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for name, value in variables.items():
        is_text = is_str(name)
        inherited = is_text and name in environment and environment[name] == value
        if not is_text or not _NAME.fullmatch(name):
            if inherited and not name.startswith("KERNEL_"):  # such as a function of a shell
                continue
            raise _no_name(name)
        named = rules.is_named(name)
        if not named and not rules.is_matched(name):
            continue
        if not named and (secret := _secret(rules, name, value)):
            left_out[name] = secret
        elif (flaw := rules.flaw(value)) and (name == SESSION_NAME or (inherited and not named)):
            left_out[name] = f"its value {flaw}"
        else:
            sent[name] = rules.check(name, value)
    return Chosen(sent, left_out)


def is_str(value: object) -> TypeGuard[str]:
    """True for a text: what extensions and programs ask with need not be one."""
    return isinstance(value, str)


def _secret(rules: Rules, name: str, value: object) -> str:
    """Why no pattern allows a variable that holds a secret; an empty text if it holds none."""
    secret = _SECRET.search(name.upper()) or (
        is_str(value) and (value in rules.secrets or _PASSWORD_IN_URL.search(value))
    )
    return "only a pattern of allowed_envs matches what looks like a secret" if secret else ""


def _no_name(name: object) -> VariableRefused:
    shown = ascii(name) if len(ascii(name)) <= _MAX_SHOWN else f"{ascii(name)[:_MAX_SHOWN]} …"
    return VariableRefused(
        f"{shown} cannot be the name of a variable: that is made of at most 255 letters A to Z and "
        "a to z, digits and _, and does not begin with a digit.",
        name=shown,
    )


def _is_unicode(text: str) -> bool:
    """False for what Python reads from bytes of the environment that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
