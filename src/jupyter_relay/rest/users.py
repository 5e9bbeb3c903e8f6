"""Who asks for a kernel through a server, and what of the kernel's environment is theirs to say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jupyter_relay.settings.environment import choose, is_str
from jupyter_relay.settings.start import USERNAME, StartSettings


@dataclass(frozen=True, slots=True)
class NotebookUser:
    """One who asks through a server. ``name`` is empty where the server does not know it.

    A program that asks for itself is none: what it says of itself is its own affair.
    """

    name: str = ""


def kernel_user(settings: StartSettings, user: NotebookUser | None) -> str | None:
    """Return the user that a gateway is told of, None where there is none to tell."""
    if settings.forward_user and user is not None and user.name:
        return user.name
    return settings.kernel_env.get(USERNAME)


def kernel_environment(
    settings: StartSettings, asked: Mapping[str, str], user: NotebookUser | None
) -> tuple[dict[str, str], dict[str, str]]:
    """Return what a start sends of ``asked`` and of our own environment, and what it leaves out,
    each with the reason.

    Left out are protected variables that a notebook user has tried to set. Servers ask with their
    whole own environment, which is no such try. Raises `VariableRefused` as `choose` does.
    """
    rules, own = settings.rules, settings.environment
    barred = {n for n in asked if user is not None and is_str(n) and rules.is_protected(n)}
    chosen = choose(rules, {n: asked[n] for n in asked if n not in barred}, own)
    left_out = {**settings.left_out, **chosen.left_out}
    for name in barred:
        if asked[name] != own.get(name) and (rules.is_named(name) or rules.is_matched(name)):
            left_out[name] = "nobody can set such through this server (protected_envs)"
    sent = {**settings.kernel_env, **chosen.sent}
    told = kernel_user(settings, user)
    if settings.forward_user and user is not None and told:
        sent[USERNAME] = rules.check(USERNAME, told)
    return sent, left_out
