"""Every error that Jupyter Relay raises on purpose.

::

    RelayError                      .gateway .kernel_id .hint .http_status
    ├ ConfigurationError            (ValueError) .option: a setting that makes no sense
    ├ CredentialsUnavailable        the source of our token gives none
    ├ VariableRefused               (ValueError) .name: a variable that is not sent to a kernel
    ├ GatewayUnavailable            .retryable .doubtful: no answer, or a proxy's 502, 503, 504
    │ ├ HostNotFound                the name of the gateway's host cannot be resolved
    │ ├ ConnectionFailed            refused, reset, no route
    │ ├ TLSFailed                   the certificate, or no TLS at all
    │ └ GatewayTimeout              (TimeoutError) no answer in time
    ├ GatewayClosed                 .doubtful: this program has closed its connections
    ├ GatewayRefused                .status .reason: the gateway answered, and refused
    │ ├ AuthenticationFailed        401, 403
    │ ├ TooManyRequests             429 .retry_after
    │ ├ KernelNotFound              (KeyError)
    │ ├ KernelSpecNotFound          (KeyError)
    │ └ KernelStartFailed
    ├ UnexpectedAnswer              .status: the answer is not one of the Jupyter API
    │ ├ OtherKernelAnswered         the answer is about another kernel
    │ └ Redirected                  the answer leads elsewhere, such as to a login page
    ├ KernelNotRunning              (RuntimeError) no kernel was started, or it has ended
    │ └ OperationUnderWay           the request is not possible during another operation
    │   └ KernelStarting            the kernel is still being started
    ├ LinkLost                      what a cell shows whose request or answer was lost
    ├ NotPossibleOnGateway          (NotImplementedError) gateways cannot do this to a kernel
    └ WireError
      ├ MalformedFrame              received; the frame is skipped, the link stays open
      └ UnsendableMessage           ours

The text of an error says what happened, with the gateway's name and words, and then what to do
about it, which is its hint; the facts in it stand in attributes too. No error carries a token, a
password or a cookie. An error is not changed after it was made.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import ClassVar, TypedDict, Unpack


class About(TypedDict, total=False):
    """What every error takes, as `RelayError` describes it."""

    hint: str
    gateway: str | None
    kernel_id: str | None


class RelayError(Exception):
    """The base of all errors of Jupyter Relay.

    ``message`` is one sentence; ``hint`` says what to do about it, or is empty. ``gateway`` is the
    name or URL of the gateway concerned, ``kernel_id`` the kernel; None where the error is about
    neither.
    """

    _HTTP_STATUS: ClassVar[int] = HTTPStatus.INTERNAL_SERVER_ERROR

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

    @property
    def http_status(self) -> int:
        """The status with which an HTTP server passes the error on to its own client."""
        return int(self._HTTP_STATUS)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class ConfigurationError(RelayError, ValueError):
    """A setting that makes no sense; ``option`` is the name of the option, or of the variable."""

    def __init__(self, message: str, *, option: str, **about: Unpack[About]) -> None:
        super().__init__(message, **about)
        self.option = option


class CredentialsUnavailable(RelayError):
    """There is no token to send to the gateway, since the source of the token gives none.

    The gateway was not asked. The source is asked again at the next request.
    """

    _HTTP_STATUS = HTTPStatus.SERVICE_UNAVAILABLE


class VariableRefused(RelayError, ValueError):
    """An environment variable for a kernel has a name or a value that is not sent to a gateway.

    ``name`` is the variable's, as it may be shown; the value is in no text.
    """

    _HTTP_STATUS = HTTPStatus.BAD_REQUEST

    def __init__(self, message: str, *, name: str, **about: Unpack[About]) -> None:
        super().__init__(message, **about)
        self.name = name


class GatewayUnavailable(RelayError):
    """The gateway cannot be reached, or a proxy answers so in its place (502, 503, 504).

    ``retryable`` is False where another try cannot help, as with a certificate that does not
    verify. ``doubtful`` is False where the request cannot have been carried out: no connection was
    made, or the gateway itself answers that it could not.
    """

    _HTTP_STATUS = HTTPStatus.SERVICE_UNAVAILABLE

    def __init__(
        self,
        message: str,
        *,
        retryable: bool = True,
        doubtful: bool = True,
        **about: Unpack[About],
    ) -> None:
        super().__init__(message, **about)
        self.retryable = retryable
        self.doubtful = doubtful


class HostNotFound(GatewayUnavailable):
    """The name of the gateway's host cannot be resolved (DNS)."""


class ConnectionFailed(GatewayUnavailable):
    """The connection was refused or reset, or there is no route to the gateway."""


class TLSFailed(GatewayUnavailable):
    """The gateway's certificate does not verify, or the gateway does not use TLS."""


class GatewayTimeout(GatewayUnavailable, TimeoutError):
    """The gateway did not answer in time."""

    _HTTP_STATUS = HTTPStatus.GATEWAY_TIMEOUT


class GatewayClosed(RelayError):
    """This program has closed all its connections to the gateway.

    ``doubtful`` is as in `GatewayUnavailable`: True for a request that was under way. Another try
    cannot help: ``retryable`` is always False.
    """

    _HTTP_STATUS = HTTPStatus.SERVICE_UNAVAILABLE

    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, doubtful: bool = False, **about: Unpack[About]) -> None:
        super().__init__(message, **about)
        self.doubtful = doubtful


class GatewayRefused(RelayError):
    """The gateway answered, and refused.

    ``status`` is the HTTP status, ``reason`` what the gateway gave as its reason (may be empty).
    """

    def __init__(
        self, message: str, *, status: int, reason: str = "", **about: Unpack[About]
    ) -> None:
        super().__init__(message, **about)
        self.status = status
        self.reason = reason

    @property
    def http_status(self) -> int:
        """See `RelayError.http_status`: that of the gateway, if it is one of an error."""
        is_error = self.status >= HTTPStatus.BAD_REQUEST
        return int(self.status) if is_error else super().http_status


class AuthenticationFailed(GatewayRefused):
    """The gateway refuses our token (401), or forbids its user what was asked (403)."""


class TooManyRequests(GatewayRefused):
    """The gateway limits how often, or how much, it may be asked (429).

    ``retry_after`` is after how many seconds to ask again; None if the gateway gives no time.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        retry_after: float | None = None,
        **about: Unpack[About],
    ) -> None:
        super().__init__(message, status=HTTPStatus.TOO_MANY_REQUESTS, reason=reason, **about)
        self.retry_after = retry_after


class KernelNotFound(GatewayRefused, KeyError):
    """The gateway has no such kernel: it was culled or deleted, or never existed."""

    @property
    def http_status(self) -> int:
        """See `RelayError.http_status`."""
        return HTTPStatus.NOT_FOUND.value


class KernelSpecNotFound(GatewayRefused, KeyError):
    """The gateway has no such kernelspec."""

    @property
    def http_status(self) -> int:
        """See `RelayError.http_status`."""
        return HTTPStatus.NOT_FOUND.value


class KernelStartFailed(GatewayRefused):
    """The gateway tried to start the kernel and could not."""


class UnexpectedAnswer(RelayError):
    """What answered does not speak the Jupyter kernel API: HTML, broken JSON, another model.

    ``status`` is the HTTP status of the answer.
    """

    _HTTP_STATUS = HTTPStatus.BAD_GATEWAY

    def __init__(self, message: str, *, status: int, **about: Unpack[About]) -> None:
        super().__init__(message, **about)
        self.status = status


class OtherKernelAnswered(UnexpectedAnswer):
    """An answer about one kernel carries the id of another, as a wrong cache gives it."""


class Redirected(UnexpectedAnswer):
    """The answer leads to another URL, such as that of a login page; it is never followed."""


class KernelNotRunning(RelayError, RuntimeError):
    """No kernel has been started or attached, or it has ended.

    The default text is the one by which nbclient recognises this condition.
    """

    _HTTP_STATUS = HTTPStatus.NOT_FOUND

    def __init__(self, message: str = "No kernel is running!", **about: Unpack[About]) -> None:
        super().__init__(message, **about)


class OperationUnderWay(KernelNotRunning):
    """The request is not possible while another operation on the kernel is under way."""

    _HTTP_STATUS = HTTPStatus.CONFLICT


class KernelStarting(OperationUnderWay):
    """The kernel is still being started, and the request is for a kernel that runs."""


class LinkLost(RelayError):
    """A request of a cell was not sent to the kernel, or its answer was lost, in an outage.

    It is not raised: a cell, whose request is answered in the kernel's place, shows its name
    (``ename``) and the reason. Without an outage it also ends cells whose kernel restarted or died.
    """


class NotPossibleOnGateway(RelayError, NotImplementedError):
    """What was asked is possible with a local process, and not with a kernel of a gateway."""

    _HTTP_STATUS = HTTPStatus.NOT_IMPLEMENTED


class WireError(RelayError):
    """A frame or a message breaks the kernel websocket protocol."""


class MalformedFrame(WireError):
    """A received frame is not a Jupyter message."""

    _HTTP_STATUS = HTTPStatus.BAD_GATEWAY


class UnsendableMessage(WireError):
    """A message of ours does not fit the protocol of the websocket that it is for."""
