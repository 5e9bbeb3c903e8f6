"""Who asks for a kernel through a server, and what of the kernel's environment is theirs to say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jupyter_relay.core.settings import GatewaySettings, kernel_variables

USERNAME = "KERNEL_USERNAME"


@dataclass(frozen=True, slots=True)
class NotebookUser:
    """One who asks through a server. ``name`` is empty where the server does not know it.

    A program that asks for itself is none: what it says of itself is its own affair.
    """

    name: str = ""


def kernel_user(settings: GatewaySettings, user: NotebookUser | None) -> str | None:
    """Return the user that a gateway is told of, None where there is none to tell."""
    if settings.forward_user and user is not None and user.name:
        return user.name
    return settings.kernel_env.get(USERNAME)


def kernel_environment(
    settings: GatewaySettings, asked: Mapping[str, str], user: NotebookUser | None
) -> tuple[dict[str, str], frozenset[str]]:
    """Return what a start sends of ``asked`` and of our own environment, and what it leaves out.

    Left out, and named, are the protected variables that a notebook user has tried to set. Servers
    ask with their whole own environment, which is no such try.
    """
    wanted = kernel_variables(asked, settings.allowed_envs)
    barred = wanted.keys() & settings.protected_envs if user is not None else frozenset()
    own = settings.environment
    refused = frozenset(name for name in barred if wanted[name] != own.get(name))
    sent = dict(settings.kernel_env)
    sent |= {name: value for name, value in wanted.items() if name not in barred}
    name = kernel_user(settings, user)
    if settings.forward_user and user is not None and name:
        sent[USERNAME] = name
    return sent, refused
