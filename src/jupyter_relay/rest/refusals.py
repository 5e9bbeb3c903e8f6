"""What a gateway's refusal means: HTTP statuses and error bodies to typed errors, in one place."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from jupyter_relay.errors import (
    About,
    AuthenticationFailed,
    GatewayRefused,
    GatewayTimeout,
    GatewayUnavailable,
    KernelNotFound,
    KernelSpecNotFound,
    Redirected,
    RelayError,
    TooManyRequests,
    UnexpectedAnswer,
)
from jupyter_relay.rest.failures import no_kernel
from jupyter_relay.rest.reasons import (
    behind_colon,
    destination_of,
    is_of_api,
    is_page,
    reason_of,
    status_and_reason,
    title_of,
    tracebacks_of,
    wait_sentence,
)
from jupyter_relay.rest.response import Response

UNAVAILABLE = frozenset({502, 503, 504})
"""The statuses with which a proxy, or a gateway, says that it cannot answer just now."""

_MAX_LOGGED: Final = 8_000
"""How many characters of a gateway's traceback are logged: the last ones."""

_UNDERSTOOD = (AuthenticationFailed, KernelNotFound, KernelSpecNotFound, TooManyRequests)
"""The errors that say why a gateway refused; a traceback adds nothing to them."""


class Refusals:
    """Reads the refusals of one gateway: the errors that they mean, and the tracebacks in them.

    ``credential`` names the credentials that are sent; an empty text if there are none.
    """

    def __init__(self, gateway: str, credential: str) -> None:
        self._gateway = gateway
        self._credential = credential
        self._last_traceback = (False, "")
        """``understood`` and the traceback of the call of `new_traceback` that last found one."""

    def error_of(
        self, response: Response, kernel_id: str | None = None, *, credential_failure: str = ""
    ) -> RelayError:
        """Return the error for an answer of status 300 or more, or for a refused handshake.

        ``credential_failure`` is why the credential could not be renewed, if it could not: then
        that is the hint of an `AuthenticationFailed`.
        """
        refusal = _Refusal(
            response,
            self._gateway,
            kernel_id,
            self._credential,
            credential_failure,
            reason_of(response),
        )
        return next(error(refusal) for applies, error in _MEANINGS if applies(refusal))

    def new_traceback(self, response: Response, *, understood: bool) -> str | None:
        """Return the traceback in a refusal, for a log; None if there is none, or the same as in
        the call before. Secrets are cut out of it. ``understood`` is as in `is_understood`."""
        found = understood, "\n".join(tracebacks_of(response))
        if not found[1] or found == self._last_traceback:
            return None
        self._last_traceback = found
        return response.quoter.quote_end(found[1], _MAX_LOGGED)


def is_understood(error: RelayError, response: Response) -> bool:
    """True if an error says all that there is to know of a refusal, so that its traceback is of
    little use."""
    return isinstance(error, _UNDERSTOOD) or response.status == HTTPStatus.NOT_FOUND


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A refusal of a gateway; ``reason`` is in the gateway's words, or empty."""

    response: Response
    gateway: str
    kernel_id: str | None
    credential: str
    credential_failure: str
    reason: str

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def quoted(self) -> str:
        """The reason as the end of a sentence."""
        return behind_colon(self.reason)

    def about(self, hint: str) -> About:
        return About(hint=hint, gateway=self.gateway, kernel_id=self.kernel_id)


def _stopped(refusal: _Refusal) -> RelayError:
    return GatewayUnavailable(
        f"{refusal.gateway} is a server of a JupyterHub, and is stopped ({refusal.status})"
        f"{refusal.quoted}.",
        doubtful=False,
        **refusal.about("Start it on the Hub's page."),
    )


def _against_policy(refusal: _Refusal) -> RelayError:
    return GatewayRefused(
        f"{refusal.gateway} refuses the request (403){refusal.quoted}.",
        status=refusal.status,
        reason=refusal.reason,
        **refusal.about(_policy_hint(refusal.reason)),
    )


def _not_let_in(refusal: _Refusal) -> RelayError:
    hint = _credential_hint(refusal.status, refusal.reason, refusal.credential)
    return AuthenticationFailed(
        f"{refusal.gateway} denied access ({refusal.status}){refusal.quoted}.",
        status=refusal.status,
        reason=refusal.reason,
        **refusal.about(refusal.credential_failure or hint),
    )


def _too_many(refusal: _Refusal) -> RelayError:
    after = refusal.response.retry_after
    when = f"after {after:.0f} s" if after is not None else "later"
    hint = f"Try again {when}, or shut down kernels that are not needed."
    return TooManyRequests(
        f"{refusal.gateway} is limiting requests (429){refusal.quoted}.",
        reason=refusal.reason,
        retry_after=after,
        **refusal.about(hint),
    )


def _kernel_not_found(refusal: _Refusal) -> RelayError:
    return no_kernel(refusal.gateway, refusal.kernel_id or "", refusal.reason)


def _kernel_not_found_by_proxy(refusal: _Refusal) -> RelayError:
    return GatewayUnavailable(
        f"A proxy in front of {refusal.gateway} did not find the kernel (404){refusal.quoted}.",
        **refusal.about("Try again later; if it stays so, look at the gateway's URL."),
    )


def _redirected(refusal: _Refusal) -> RelayError:
    login = f"look at {refusal.credential}" if refusal.credential else "set auth_token"
    return Redirected(
        f"{refusal.gateway} redirects{destination_of(refusal.response)} ({refusal.status}), which "
        "no Jupyter gateway does.",
        status=refusal.status,
        **refusal.about(
            f"If that is a login page, {login}; else set the URL of the gateway itself."
        ),
    )


def _nothing_there(refusal: _Refusal) -> RelayError:
    return UnexpectedAnswer(
        f"{refusal.gateway} answered {status_and_reason(refusal.response, refusal.reason)}, not as "
        "a Jupyter gateway does.",
        status=refusal.status,
        **refusal.about(
            "Check whether the URL is that of a gateway, and not of a page or a login."
        ),
    )


def _proxy_timed_out(refusal: _Refusal) -> RelayError:
    return GatewayTimeout(
        f"A proxy in front of {refusal.gateway} did not wait for its answer (504){refusal.quoted}.",
        **refusal.about("The proxy's time-out is shorter than a kernel's start."),
    )


def _unavailable(refusal: _Refusal) -> RelayError:
    return GatewayUnavailable(
        f"{refusal.gateway} is not available just now ({refusal.status}){refusal.quoted}."
        f"{wait_sentence(refusal.response)}",
        doubtful=not is_of_api(refusal.response),
        **refusal.about("Try again later."),
    )


def _refused(refusal: _Refusal) -> RelayError:
    return GatewayRefused(
        f"{refusal.gateway} answered {status_and_reason(refusal.response, refusal.reason)}."
        f"{wait_sentence(refusal.response)}",
        status=refusal.status,
        reason=refusal.reason,
        **refusal.about("The gateway's log may say more."),
    )


_Applies = Callable[[_Refusal], bool]
_Meaning = Callable[[_Refusal], RelayError]


def _status_is(*statuses: int) -> _Applies:
    return lambda refusal: refusal.status in statuses


_MEANINGS: Final[tuple[tuple[_Applies, _Meaning], ...]] = (
    (lambda r: _is_stopped_server(r.response), _stopped),
    (lambda r: r.status == HTTPStatus.FORBIDDEN and bool(_policy_hint(r.reason)), _against_policy),
    (_status_is(401, 403), _not_let_in),
    (_status_is(429), _too_many),
    (lambda r: _is_of_kernel(r) and is_of_api(r.response), _kernel_not_found),
    (lambda r: _is_of_kernel(r), _kernel_not_found_by_proxy),
    (lambda r: r.status < HTTPStatus.BAD_REQUEST, _redirected),
    (lambda r: r.status == HTTPStatus.NOT_FOUND and not is_of_api(r.response), _nothing_there),
    (_status_is(504), _proxy_timed_out),
    (_status_is(*UNAVAILABLE), _unavailable),
    (lambda _: True, _refused),
)
"""What each refusal means: the first row that applies counts."""


def _is_of_kernel(refusal: _Refusal) -> bool:
    """True for a 404 in answer to a request about a kernel."""
    return refusal.status == HTTPStatus.NOT_FOUND and refusal.kernel_id is not None


# What a refusal is about.

_USER_WORDS = re.compile(
    r"KERNEL_USERNAME|\buser\b.*\bnot (?:authorized|allowed|permitted|in the set of users)\b"
)
_LIMIT_WORDS = re.compile(
    r"\b(?:limits?|quotas?|exceed\w*|maximum|max kernels|too many|capacity|insufficient)\b"
    r"|\b(?:uid|gid|namespace|image)\b.*\b(?:prohibited|not (?:allowed|permitted))\b",
    re.IGNORECASE,
)
_CREDENTIAL_WORDS = re.compile(
    r"token|credential|log ?in|logged|password|expired|authenti|unauthori[sz]ed|signature|scope",
    re.IGNORECASE,
)

_USER_HINT: Final = (
    "A kernel is started for the user in KERNEL_USERNAME of the environment, else for http_user; "
    "with forward_user, for the user who is logged in."
)
_LIMIT_HINT: Final = "Shut down kernels that are not needed, or ask who runs the gateway."

_NOTHING_SENT_HINT: Final = "No token was sent; set auth_token, or a source of tokens."


def _policy_hint(reason: str) -> str:
    """Return what to do about a 403 that is about a user or a limit; an empty text if it may be
    about the token.

    The words are those of Enterprise Gateway 3.3 (``max_kernels``, ``max_kernels_per_user``,
    authorized and unauthorized users, prohibited ids) and of Kubernetes.
    """
    if _USER_WORDS.search(reason):
        return _USER_HINT
    if _LIMIT_WORDS.search(reason) and not _CREDENTIAL_WORDS.search(reason):
        return _LIMIT_HINT
    return ""


def _credential_hint(status: int, reason: str, credential: str) -> str:
    if not credential:
        return _NOTHING_SENT_HINT
    about = status == HTTPStatus.UNAUTHORIZED or not reason or _CREDENTIAL_WORDS.search(reason)
    look = "Look" if about else "If that is about the credentials, look"
    return f"{look} at {credential}, and at what its user may do."


def _is_stopped_server(response: Response) -> bool:
    """True if a JupyterHub answers for a server of its own that does not run.

    The Hub redirects browsers to ``/hub/user/…`` or ``/hub/spawn…``, and answers 424, before
    version 2.0 503, to requests of the API; its proxy shows a page of 503 for a server that has
    just died.
    """
    if response.status < HTTPStatus.BAD_REQUEST:
        try:
            path = urlsplit(response.headers.get("Location", "")).path
        except ValueError:
            return False
        return _TO_SPAWN.search(path) is not None
    if response.status not in {HTTPStatus.FAILED_DEPENDENCY, HTTPStatus.SERVICE_UNAVAILABLE}:
        return False
    return "X-JupyterHub-Version" in response.headers or (
        is_page(response) and b"jupyterhub" in title_of(response.body).lower()
    )


_TO_SPAWN = re.compile(r"/hub/(?:user|spawn)(?:/|-|$)")
