"""Every error that Jupyter Relay raises on purpose.

::

    RelayError                      .gateway .kernel_id .hint
    ├ ConfigurationError            (ValueError) .option: a setting that makes no sense
    ├ CredentialsUnavailable        the source of our token gives none
    ├ VariableRefused               (ValueError) .name: a variable that is not sent to a kernel
    ├ GatewayUnavailable            .retryable .doubtful: no answer, or a proxy's 502, 503, 504
    │ ├ HostNotFound                nobody knows the host's name
    │ ├ ConnectionFailed            refused, reset, no route
    │ ├ TLSFailed                   the certificate, or no TLS at all
    │ ├ GatewayTimeout              (TimeoutError) no answer in time
    │ └ GatewayClosed               we have closed all connections to it
    ├ GatewayRefused                .status .reason: it answered, and said no
    │ ├ AuthenticationFailed        401, 403
    │ ├ TooManyRequests             429 .retry_after
    │ ├ KernelNotFound              (KeyError)
    │ ├ KernelSpecNotFound          (KeyError)
    │ ├ KernelStartFailed
    │ └ UnexpectedAnswer            it answered something that is not the API
    │   ├ OtherKernelAnswered       it answered about another kernel
    │   └ Redirected                it sends us elsewhere, as a login page does
    ├ KernelNotRunning              (RuntimeError) nothing was started, or it has ended
    │ └ OperationUnderWay           what was asked cannot be done beside another operation
    │   └ KernelStarting            it is on its way
    ├ NotPossibleOnGateway          (NotImplementedError) gateways cannot do this to a kernel
    └ WireError
      ├ MalformedFrame              the remote's fault; the frame is skipped, the link lives
      └ UnsendableMessage           ours

The text of an error says what happened, with the gateway's name and words, and then what to do
about it, which is its hint; the facts in it stand in attributes too. No error ever carries a token,
a password or a cookie.
"""

from __future__ import annotations


class RelayError(Exception):
    """The base of all errors of Jupyter Relay.

    ``message`` is one sentence; ``hint`` says what to look at, or is empty. ``gateway`` is the
    name or URL of the gateway concerned, ``kernel_id`` the kernel; None where the error is about
    neither.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        gateway: str | None = None,
        kernel_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.gateway = gateway
        self.kernel_id = kernel_id

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class ConfigurationError(RelayError, ValueError):
    """A setting that makes no sense; ``option`` is the name the user wrote it under."""

    def __init__(self, message: str, *, option: str) -> None:
        super().__init__(message)
        self.option = option


class CredentialsUnavailable(RelayError):
    """There is no token to show to the gateway, since its source gives none.

    The gateway was not asked; it is tried again at the next request.
    """


class VariableRefused(RelayError, ValueError):
    """An environment variable for a kernel has a name or a value that is not sent to a gateway.

    ``name`` is the variable's, as it may be shown; the value is in no text.
    """

    def __init__(self, message: str, *, name: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.name = name


class GatewayUnavailable(RelayError):
    """The gateway cannot be reached, or a proxy says so for it (502, 503, 504).

    ``retryable`` is False where trying again cannot help, as with a certificate that does not
    verify. ``doubtful`` is False where what was asked cannot have been done: no connection was
    made, or the gateway itself says that it could not.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        retryable: bool = True,
        doubtful: bool = True,
        gateway: str | None = None,
        kernel_id: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint, gateway=gateway, kernel_id=kernel_id)
        self.retryable = retryable
        self.doubtful = doubtful


class HostNotFound(GatewayUnavailable):
    """Nobody knows the name of the gateway's host (DNS)."""


class ConnectionFailed(GatewayUnavailable):
    """The connection was refused, reset, or had no way to the gateway."""


class TLSFailed(GatewayUnavailable):
    """The gateway's certificate does not verify, or it does not speak TLS."""


class GatewayTimeout(GatewayUnavailable, TimeoutError):
    """The gateway did not answer in time."""


class GatewayClosed(GatewayUnavailable):
    """All connections to the gateway were closed, on purpose: nothing is asked of it any more."""


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
        super().__init__(message, hint=hint, gateway=gateway, kernel_id=kernel_id)
        self.status = status
        self.reason = reason


class AuthenticationFailed(GatewayRefused):
    """The gateway does not accept our token (401), or forbids its user what was asked (403)."""


class TooManyRequests(GatewayRefused):
    """The gateway limits how often, or how much, it may be asked (429).

    ``retry_after`` is after how many seconds to come again; None if it does not say.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        retry_after: float | None = None,
        hint: str = "",
        gateway: str | None = None,
        kernel_id: str | None = None,
    ) -> None:
        super().__init__(
            message, status=429, reason=reason, hint=hint, gateway=gateway, kernel_id=kernel_id
        )
        self.retry_after = retry_after


class KernelNotFound(GatewayRefused, KeyError):
    """The gateway has no such kernel: it was culled, deleted, or never there."""


class KernelSpecNotFound(GatewayRefused, KeyError):
    """The gateway has no such kernelspec."""


class KernelStartFailed(GatewayRefused):
    """The gateway tried to start the kernel and could not."""


class UnexpectedAnswer(GatewayRefused):
    """What answered does not speak the Jupyter kernel API: HTML, broken JSON, another model."""


class OtherKernelAnswered(UnexpectedAnswer):
    """An answer about one kernel carries the id of another, as a wrong cache gives it."""


class Redirected(UnexpectedAnswer):
    """What answered sends us elsewhere, as a login page does; it is never followed."""


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


class OperationUnderWay(KernelNotRunning):
    """Another operation on the kernel is under way, and what was asked cannot be done beside it."""


class KernelStarting(OperationUnderWay):
    """The kernel is still being started: what was asked is for kernels that are there."""


class NotPossibleOnGateway(RelayError, NotImplementedError):
    """What was asked can be done to a local process, and not to a kernel of a gateway."""


class WireError(RelayError):
    """A frame or a message breaks the kernel websocket protocol."""


class MalformedFrame(WireError):
    """A received frame is not a Jupyter message."""


class UnsendableMessage(WireError):
    """A message of ours does not fit the protocol of this leg."""
