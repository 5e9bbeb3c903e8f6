"""The user for whom a kernel is started through a server, and the variables that they may set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jupyter_relay.settings.environment import choose, is_str
from jupyter_relay.settings.start import USERNAME, StartSettings


@dataclass(frozen=True, slots=True)
class NotebookUser:
    """A user of a server; ``name`` is empty if the server does not know it.

    A program that starts a kernel for itself is no such user, and may set any variable.
    """

    name: str = ""


def kernel_user(settings: StartSettings, user: NotebookUser | None) -> str | None:
    """Return the user as whom a gateway starts a kernel; None if none is sent."""
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
            left_out[name] = "users of this server cannot set it (protected_envs)"
    sent = {**settings.kernel_env, **chosen.sent}
    name_sent = kernel_user(settings, user)
    if settings.forward_user and user is not None and name_sent:
        sent[USERNAME] = rules.check(USERNAME, name_sent)
    return sent, left_out
