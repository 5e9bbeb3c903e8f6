"""What is sent to a gateway with the start of a kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from jupyter_relay.errors import ConfigurationError, VariableRefused
from jupyter_relay.settings.environment import Rules, choose

USERNAME: Final = "KERNEL_USERNAME"
"""The variable that tells a gateway as whom to start a kernel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartSettings:
    """What is sent with each start of a kernel.

    ``kernel_env`` are the variables of our own environment that are sent, beneath those that the
    request itself asks for; ``left_out`` names those that are not, each with the reason. ``rules``
    says which variables may be sent. ``forward_user`` is True if a kernel is started as the user
    who is logged in. ``environment`` is our own, as it is at any time.
    """

    kernel_env: Mapping[str, str] = field(repr=False)
    left_out: Mapping[str, str] = field(default_factory=dict)
    rules: Rules = field(default_factory=Rules)
    forward_user: bool = False
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def make(
        cls,
        environment: Mapping[str, str],
        rules: Rules,
        *,
        user: str | None,
        forward_user: bool | None,
        launch_timeout: float,
    ) -> StartSettings:
        """Choose what is sent of our own environment.

        ``user`` is for whom kernels are started where the environment does not say; by default
        the user whose server a JupyterHub has started. ``forward_user`` None stands for True on
        such a server. ``launch_timeout`` is in seconds.

        Raises `ConfigurationError` naming a variable that should be sent, and cannot be.
        """
        hub_user = _hub_user(environment)
        forward = hub_user is not None if forward_user is None else forward_user
        try:
            chosen = choose(rules, environment, environment)
        except VariableRefused as error:
            raise ConfigurationError(
                f"A variable of this program's environment cannot be sent to a gateway. {error}",
                option=error.name,
            ) from None
        sent, left_out = dict(chosen.sent), dict(chosen.left_out)
        sent.pop("KERNEL_ID", None)  # an id is for one kernel only
        sent["KERNEL_LAUNCH_TIMEOUT"] = str(int(launch_timeout))
        user = user or (hub_user if forward else None)
        if user and USERNAME not in sent:
            if flaw := rules.flaw(user):
                left_out[USERNAME] = f"the user's name {flaw}"
            else:
                sent[USERNAME] = user
        return cls(
            kernel_env=sent,
            left_out=left_out,
            rules=rules,
            forward_user=forward,
            environment=environment,
        )


def _hub_user(environment: Mapping[str, str]) -> str | None:
    """Return whose server this is, if a JupyterHub has started it.

    Source: the environment that JupyterHub's ``Spawner.get_env`` makes.
    """
    return (environment.get("JUPYTERHUB_API_TOKEN") and environment.get("JUPYTERHUB_USER")) or None
