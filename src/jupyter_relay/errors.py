"""Every error that Jupyter Relay raises on purpose.

::

    RelayError                      .gateway .kernel_id
    ├ ConfigurationError            (ValueError) .option: a setting that makes no sense
    ├ GatewayUnavailable            .hint .retryable: unreachable, DNS, TLS, 502, 503, 504
    │ └ GatewayTimeout              (TimeoutError) no answer in time
    ├ GatewayRefused                .status .reason .hint: it answered, and said no
    │ ├ AuthenticationFailed        401, 403
    │ ├ KernelNotFound              (KeyError)
    │ ├ KernelSpecNotFound          (KeyError)
    │ ├ KernelStartFailed
    │ └ UnexpectedAnswer            it answered something that is not the API
    ├ KernelNotRunning              (RuntimeError) nothing was started, or it has ended
    └ WireError
      ├ MalformedFrame              the remote's fault; the frame is skipped, the link lives
      └ UnsendableMessage           ours

The text of an error is one sentence that a person can act on; the facts in it stand in attributes
too. No error ever carries a token, a password or a cookie.
"""

from __future__ import annotations


class RelayError(Exception):
    """The base of all errors of Jupyter Relay.

    ``gateway`` is the name or URL of the gateway concerned, ``kernel_id`` the kernel; None where
    the error is about neither.
    """

    def __init__(
        self, message: str, *, gateway: str | None = None, kernel_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.gateway = gateway
        self.kernel_id = kernel_id

    def __str__(self) -> str:
        # KeyError, a second base of some, would show the repr.
        return str(self.args[0])


class ConfigurationError(RelayError, ValueError):
    """A setting that makes no sense; ``option`` is the name the user wrote it under."""

    def __init__(self, message: str, *, option: str) -> None:
        super().__init__(message)
        self.option = option


class GatewayUnavailable(RelayError):
    """The gateway cannot be reached, or a proxy says so for it (502, 503, 504).

    ``hint`` says what to look at. ``retryable`` is False where trying again cannot help, as with a
    certificate that does not verify.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        retryable: bool = True,
        gateway: str | None = None,
        kernel_id: str | None = None,
    ) -> None:
        super().__init__(message, gateway=gateway, kernel_id=kernel_id)
        self.hint = hint
        self.retryable = retryable


class GatewayTimeout(GatewayUnavailable, TimeoutError):
    """The gateway did not answer in time."""


class GatewayRefused(RelayError):
    """The gateway answered and said no.

    ``status`` is the HTTP status, ``reason`` what the gateway gave as its reason (may be empty).
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        reason: str = "",
        hint: str = "",
        gateway: str | None = None,
        kernel_id: str | None = None,
    ) -> None:
        super().__init__(message, gateway=gateway, kernel_id=kernel_id)
        self.status = status
        self.reason = reason
        self.hint = hint


class AuthenticationFailed(GatewayRefused):
    """The gateway does not accept our token or user (401, 403)."""


class KernelNotFound(GatewayRefused, KeyError):
    """The gateway has no such kernel: it was culled, deleted, or never there."""


class KernelSpecNotFound(GatewayRefused, KeyError):
    """The gateway has no such kernelspec."""


class KernelStartFailed(GatewayRefused):
    """The gateway tried to start the kernel and could not."""


class UnexpectedAnswer(GatewayRefused):
    """What answered does not speak the Jupyter kernel API: HTML, broken JSON, another model."""


class KernelNotRunning(RelayError, RuntimeError):
    """No kernel has been started or attached, or it has ended.

    The default text is the one by which nbclient knows this condition.
    """

    def __init__(
        self,
        message: str = "No kernel is running!",
        *,
        gateway: str | None = None,
        kernel_id: str | None = None,
    ) -> None:
        super().__init__(message, gateway=gateway, kernel_id=kernel_id)


class WireError(RelayError):
    """A frame or a message breaks the kernel websocket protocol."""


class MalformedFrame(WireError):
    """A received frame is not a Jupyter message."""


class UnsendableMessage(WireError):
    """A message of ours does not fit the protocol of this leg."""
