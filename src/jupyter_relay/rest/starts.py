"""What a gateway is sent to start a kernel, and what it means if it refuses that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Final

from jupyter_relay.errors import (
    AuthenticationFailed,
    GatewayRefused,
    KernelSpecNotFound,
    KernelStartFailed,
    RelayError,
    TooManyRequests,
)
from jupyter_relay.rest.failures import denies_kernel, no_kernel
from jupyter_relay.rest.users import NotebookUser, kernel_environment
from jupyter_relay.settings.start import StartSettings
from jupyter_relay.wire.message import quoted

NO_MODEL: Final = b"null"
"""The body of the 201 with which Jupyter Server's own gateway client answers a start with an id
that its gateway does not know (seen on jupyter_server 2.21)."""

_WORKING_DIR: Final = "KERNEL_WORKING_DIR"

_MAX_LEFT_OUT: Final = 1000
"""Of how many variables the log says that they are left out; pages may ask with any number."""

_MAX_NAMED: Final = 10
"""How many of them one line names."""


class LeftOutVariables:
    """The variables that starts on one gateway left out, each reported once."""

    def __init__(self) -> None:
        self._reported: set[str] = set()

    def lines(self, left_out: Mapping[str, str]) -> Iterator[str]:
        """Return a line for each reason for which variables are left out that were not reported
        before; ``left_out`` has the reason of each by its name."""
        why = {quoted(name): reason for name, reason in left_out.items()}
        new = sorted(why.keys() - self._reported)[: _MAX_LEFT_OUT - len(self._reported)]
        self._reported.update(new)
        for reason in dict.fromkeys(why[name] for name in new):
            names = [name for name in new if why[name] == reason]
            more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
            shown = ", ".join(names[:_MAX_NAMED]) + more
            yield f"{shown}: not sent to kernels, since {reason}."


def start_environment(
    settings: StartSettings, env: Mapping[str, str], cwd: str | None, user: NotebookUser | None
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the environment that a start sends, and the variables that it leaves out, each with
    the reason. ``cwd`` goes as ``KERNEL_WORKING_DIR``; see `kernel_environment` for the others.

    Raises `VariableRefused` for what of ``env`` cannot be sent.
    """
    sent, left_out = kernel_environment(settings, env, user)
    if cwd is not None and _WORKING_DIR not in sent:
        if flaw := settings.rules.flaw(cwd):
            left_out[_WORKING_DIR] = f"the path of the folder {flaw} (env_values)"
        else:
            sent[_WORKING_DIR] = cwd
    return sent, left_out


def start_body(kernel_id: str, name: str | None, env: Mapping[str, str]) -> dict[str, object]:
    """Return the body of the request that starts a kernel under an id; without a ``name`` it is
    one of the gateway's default kernelspec.

    Enterprise Gateway looks for the id in the environment, the others in the request, and each
    ignores the other place (seen).
    """
    body: dict[str, object] = {"kernel_id": kernel_id, "env": {**env, "KERNEL_ID": kernel_id}}
    if name is not None:
        body["name"] = name
    return body


def refused_start(
    error: GatewayRefused, *, gateway: str, kernel_id: str, name: str | None
) -> RelayError:
    """Return what the refusal of a start means: the error itself, or one that says more.

    `KernelNotFound` means that the gateway takes an id for that of a kernel to attach to, and has
    started nothing.
    """
    if denies_kernel(error, kernel_id):
        return no_kernel(gateway, kernel_id, error.reason)
    if isinstance(error, AuthenticationFailed | TooManyRequests):
        return error
    if error.status == HTTPStatus.FORBIDDEN:
        return KernelStartFailed(
            f"{gateway} refuses to start {name or 'its default kernel'}: {error.reason}.",
            status=error.status,
            reason=error.reason,
            hint=error.hint,
            gateway=gateway,
        )
    return KernelStartFailed(
        f"{gateway} could not start a {name or 'default'} kernel: "
        f"{error.reason or f'it answered {error.status}'}.",
        status=error.status,
        reason=error.reason,
        hint="The gateway's log has the details.",
        gateway=gateway,
    )


def no_kernelspec(gateway: str, name: str, status: int, reason: str) -> KernelSpecNotFound:
    """Return the error for a kernelspec that a gateway does not have."""
    return KernelSpecNotFound(
        f"{gateway} has no kernelspec {name!r}.",
        status=status,
        reason=reason,
        hint="Choose one of those it lists.",
        gateway=gateway,
    )
