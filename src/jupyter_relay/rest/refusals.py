"""What a gateway's refusal means: HTTP statuses and error bodies to typed errors, in one place."""

from __future__ import annotations

import html
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from jupyter_relay.errors import (
    AuthenticationFailed,
    GatewayClosed,
    GatewayRefused,
    GatewayTimeout,
    GatewayUnavailable,
    KernelNotFound,
    KernelSpecNotFound,
    OtherKernelAnswered,
    Redirected,
    RelayError,
    TooManyRequests,
    UnexpectedAnswer,
)
from jupyter_relay.rest.response import Response
from jupyter_relay.wire.json import Json, ModelError, read_json

_log = logging.getLogger(__name__)

UNAVAILABLE = frozenset({502, 503, 504})
"""The statuses with which a proxy, or a gateway, says that it cannot answer just now."""

_MIB: Final = 1024 * 1024

_MOST_OF_AN_ID: Final = 80
"""How many characters are quoted of an id that a gateway gave."""

_MOST_LOGGED: Final = 8_000
"""How many characters of a gateway's traceback are logged: the last, which say the most."""

_UNDERSTOOD = (AuthenticationFailed, KernelNotFound, KernelSpecNotFound, TooManyRequests)
"""The errors that say why a gateway refused: no traceback says more."""

_WORDS = re.compile(rb'"(reason|message|traceback)"\s*:\s*"((?:[^"\\]++|\\.)*)')
"""What is looked for in a JSON body that was too long to be read whole; plain stretches are taken
in one go, which takes a twentieth of the time."""

_MOST_BEFORE_TITLE: Final = 4_096
"""Within how many bytes of a page its title is looked for."""

_DENIAL = re.compile(
    r"\bno (?:such )?kernel\b|\bkernel\b.*\b(?:does not exist|doesn't exist|not found)\b",
    re.IGNORECASE,
)


class Refusals:
    """Reads the refusals of one gateway, and logs what they say to those who look after it.

    ``credential`` is what people call that which we show it to be let in; an empty text for
    nothing. A traceback in a refusal is for the log, not for people; it is not logged again until
    another comes.
    """

    def __init__(self, gateway: str, credential: str) -> None:
        self._gateway = gateway
        self._credential = credential
        self._logged: tuple[int, str] | None = None

    def read(self, response: Response, kernel_id: str | None = None) -> RelayError:
        """Return the error for an answer of status 300 or more, or for a refused handshake."""
        return _refusal(response, self._gateway, kernel_id, credential=self._credential)

    def log(self, response: Response, error: RelayError) -> None:
        """Log the traceback of an answer, which came to mean this error; of an error that says it
        all, for those only who look closely."""
        understood = isinstance(error, _UNDERSTOOD) or response.status == HTTPStatus.NOT_FOUND
        level = logging.DEBUG if understood else logging.WARNING
        if not _log.isEnabledFor(level):
            return
        found = "\n".join(_tracebacks(response))
        if found and (level, found) != self._logged:
            self._logged = (level, found)
            lines = response.quoter.quote_end(found, _MOST_LOGGED)
            _log.log(level, "%s answered %d with:\n%s", self._gateway, response.status, lines)


def denies_kernel(error: GatewayRefused, kernel_id: str) -> bool:
    """Whether a refusal says, in the gateway's words, that it has no kernel of this id."""
    return (
        error.status in {HTTPStatus.NOT_FOUND, HTTPStatus.INTERNAL_SERVER_ERROR}
        and kernel_id in error.reason
        and _DENIAL.search(error.reason) is not None
    )


def no_kernel(
    gateway: str, kernel_id: str, reason: str = "", *, was_away: bool = False
) -> KernelNotFound:
    """Return the error for a kernel that its gateway does not have.

    ``was_away`` says that the gateway was not reached just before: it may have been restarted.
    """
    restarted = ", or the gateway was restarted without it" if was_away else ""
    return KernelNotFound(
        f"{gateway} has no kernel {kernel_id}.",
        status=HTTPStatus.NOT_FOUND,
        reason=reason,
        hint=f"It was culled or deleted there{restarted}; start another.",
        gateway=gateway,
        kernel_id=kernel_id,
    )


def no_answer(gateway: str, *, doubtful: bool = True) -> GatewayTimeout:
    """Return the error for a gateway that did not answer in time."""
    return GatewayTimeout(
        f"{gateway} did not answer in time.",
        hint="Look whether the gateway, and each proxy before it, answers at all.",
        doubtful=doubtful,
        gateway=gateway,
    )


def closed(gateway: str, *, doubtful: bool = False) -> GatewayClosed:
    """Return the error for a gateway to which we have closed all connections; ``doubtful`` is as in
    `GatewayClosed`."""
    return GatewayClosed(
        f"The connection to {gateway} was closed.",
        hint="What closed it has to open it again, or the program is about to end.",
        doubtful=doubtful,
        gateway=gateway,
    )


def unexpected(
    error: ModelError, response: Response, *, gateway: str, kernel_id: str | None = None
) -> UnexpectedAnswer:
    """Return the error for an answer that is not what the Jupyter API would say."""
    what = f"a web page came{_quoted(_said(response))}" if _is_page(response) else str(error)
    return UnexpectedAnswer(
        f"{gateway} does not answer like a Jupyter gateway: {what}.",
        status=response.status,
        hint="Look at the gateway's URL, and whether a proxy or a login page stands before it.",
        gateway=gateway,
        kernel_id=kernel_id,
    )


def other_kernel(
    response: Response, *, gateway: str, kernel_id: str, answered: str
) -> OtherKernelAnswered:
    """Return the error for an answer about ``kernel_id`` that carries the id ``answered``."""
    return OtherKernelAnswered(
        f"{gateway} was asked about kernel {kernel_id} and answered about kernel "
        f"{response.quoter.quote(answered, _MOST_OF_AN_ID)}; the answer was not used.",
        status=response.status,
        hint="Look whether a proxy before the gateway gives out answers that it has kept.",
        gateway=gateway,
        kernel_id=kernel_id,
    )


def too_large(
    gateway: str, status: int, at_most: int, kernel_id: str | None = None
) -> UnexpectedAnswer:
    """Return the error for an answer with more than ``at_most`` bytes."""
    most = f"{at_most // _MIB} MiB" if at_most >= _MIB else f"{at_most // 1024} KiB"
    return UnexpectedAnswer(
        f"{gateway} gave an answer of more than {most}, which is the most that is taken.",
        status=status,
        hint="Look at what answers under the gateway's URL.",
        gateway=gateway,
        kernel_id=kernel_id,
    )


def quotes_us(gateway: str, status: int) -> UnexpectedAnswer:
    """Return the error for a file in which stands what we sent to be let in."""
    return UnexpectedAnswer(
        f"{gateway} gave a file that quotes what it was shown to let us in; it is not passed on.",
        status=status,
        hint="Look at what answers under the gateway's URL.",
        gateway=gateway,
    )


_NOTHING_SHOWN: Final = "It was shown no token; set auth_token, or where one comes from."


def _refusal(
    response: Response, gateway: str, kernel_id: str | None, *, credential: str
) -> RelayError:
    status = response.status
    said = _said(response)
    quoted = _quoted(said)
    if _is_stopped_server(response):
        return GatewayUnavailable(
            f"{gateway} is a server of a JupyterHub, and is stopped ({status}){quoted}.",
            hint="Start it on the Hub's page.",
            doubtful=False,
            gateway=gateway,
            kernel_id=kernel_id,
        )
    if status == HTTPStatus.FORBIDDEN and (hint := _policy_hint(said)):
        return GatewayRefused(
            f"{gateway} refuses that (403){quoted}.",
            status=status,
            reason=said,
            hint=hint,
            gateway=gateway,
            kernel_id=kernel_id,
        )
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return AuthenticationFailed(
            f"{gateway} does not let us in ({status}){quoted}.",
            status=status,
            reason=said,
            hint=_credential_hint(status, said, credential),
            gateway=gateway,
            kernel_id=kernel_id,
        )
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        after = response.retry_after
        when = f"after {after:.0f} s" if after is not None else "later"
        return TooManyRequests(
            f"{gateway} takes no more for now (429){quoted}.",
            reason=said,
            retry_after=after,
            hint=f"Try again {when}, or shut down kernels that are not needed.",
            gateway=gateway,
            kernel_id=kernel_id,
        )
    if status == HTTPStatus.NOT_FOUND and kernel_id is not None:
        if _is_api(response):
            return no_kernel(gateway, kernel_id, said)
        return GatewayUnavailable(
            f"A proxy in front of {gateway} does not find it (404){quoted}.",
            hint="Try again later; if it stays so, look at the gateway's URL.",
            gateway=gateway,
            kernel_id=kernel_id,
        )
    if status < HTTPStatus.BAD_REQUEST:
        login = f"look at {credential}" if credential else "set auth_token"
        return Redirected(
            f"{gateway} sends us on{_destination(response)} ({status}), as no Jupyter gateway "
            "does.",
            status=status,
            hint=f"If that is a login page, {login}; else set the URL of the gateway itself.",
            gateway=gateway,
            kernel_id=kernel_id,
        )
    if status == HTTPStatus.NOT_FOUND and not _is_api(response):
        return UnexpectedAnswer(
            f"{gateway} answered {_answered(response, said)}, as no Jupyter gateway does.",
            status=status,
            hint="Look whether the URL is that of a gateway, and not of a page or a login.",
            gateway=gateway,
            kernel_id=kernel_id,
        )
    if status == HTTPStatus.GATEWAY_TIMEOUT:
        return GatewayTimeout(
            f"A proxy in front of {gateway} did not wait for its answer (504){quoted}.",
            hint="The proxy's time-out is shorter than a kernel's start.",
            gateway=gateway,
            kernel_id=kernel_id,
        )
    if status in UNAVAILABLE:
        return GatewayUnavailable(
            f"{gateway} is not available just now ({status}){quoted}.{_wait(response)}",
            hint="Try again later.",
            doubtful=not _is_api(response),
            gateway=gateway,
            kernel_id=kernel_id,
        )
    return GatewayRefused(
        f"{gateway} answered {_answered(response, said)}.{_wait(response)}",
        status=status,
        reason=said,
        hint="The gateway's log may say more.",
        gateway=gateway,
        kernel_id=kernel_id,
    )


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
    "with forward_user for who is logged in."
)
_LIMIT_HINT: Final = "Shut down kernels that are not needed, or ask who runs the gateway."


def _policy_hint(said: str) -> str:
    """What to do about a 403 that is about a user or a limit; an empty text if it may be about the
    token.

    The words are those of Enterprise Gateway 3.3 (``max_kernels``, ``max_kernels_per_user``,
    authorized and unauthorized users, prohibited ids) and of Kubernetes.
    """
    if _USER_WORDS.search(said):
        return _USER_HINT
    if _LIMIT_WORDS.search(said) and not _CREDENTIAL_WORDS.search(said):
        return _LIMIT_HINT
    return ""


def _credential_hint(status: int, said: str, credential: str) -> str:
    if not credential:
        return _NOTHING_SHOWN
    about = status == HTTPStatus.UNAUTHORIZED or not said or _CREDENTIAL_WORDS.search(said)
    look = "Look" if about else "If that is about who asks, look"
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
        _is_page(response) and b"jupyterhub" in _title(response.body).lower()
    )


_TO_SPAWN = re.compile(r"/hub/(?:user|spawn)(?:/|-|$)")


# What an answer says.


def _said(response: Response) -> str:
    """What an answer gives as its reason, on one line: of a gateway its own words, of a web page
    its title, of another's plain text the beginning. Tracebacks are not for people."""
    words = _words(response)
    if words:
        # Tornado puts a gateway's own reason into the status line, too.
        usual = {"", "unhandled error", _standard_phrase(response.status).lower()}
        given = (words.get(key) for key in ("reason", "message"))
        texts = [text.strip(" .") for text in given if isinstance(text, str)]
        texts = [text for text in texts if text.lower() not in usual and not _is_trace(text)]
        said = "; ".join(dict.fromkeys(texts))
    elif _is_page(response):
        said = html.unescape(_text(_title(response.body)))
    elif response.content_type == "text/plain" and not _is_trace(_text(response.body)):
        said = _text(response.body)
    else:
        said = ""
    said = response.quoter.quote(said, cut=response.cut).rstrip(".")
    return re.sub(rf"^{response.status}\b[: ]*", "", said) or said


def _title(page: bytes) -> bytes:
    """Return the title of a page, empty if there is none near its beginning."""
    head = page[:_MOST_BEFORE_TITLE]
    lowered = head.lower()
    begin = lowered.find(b">", lowered.find(b"<title")) + 1 if b"<title" in lowered else 0
    end = lowered.find(b"</title", begin)
    return head[begin:end] if 0 < begin < end else b""


def _quoted(said: str) -> str:
    return f": {said}" if said else ""


def _answered(response: Response, said: str) -> str:
    """The status and its words, and what is said beside them."""
    phrase = _phrase(response)
    beside = "" if said.lower() in {phrase.lower(), str(response.status)} else said
    return f"{response.status} {phrase}".rstrip() + _quoted(beside)


def _wait(response: Response) -> str:
    """A sentence with the time that an answer asks for, if it does."""
    seconds = response.retry_after
    return "" if seconds is None else f" It asks to be left alone for {seconds:.0f} s."


def _is_api(response: Response) -> bool:
    """Whether a refusal is a gateway's own words, and not those of a proxy on the way."""
    return not _words(response).keys().isdisjoint({"message", "reason"})


def _is_page(response: Response) -> bool:
    return response.content_type in {"text/html", "application/xhtml+xml"}


def _words(response: Response) -> Mapping[str, Json]:
    """The JSON object of an error body; empty if it is none."""
    if response.cut:
        found = _WORDS.finditer(response.body)
        return {match[1].decode(): _unquoted(match[2]) for match in found}
    try:
        body = read_json(response.body)
    except ModelError:
        return {}
    return body if isinstance(body, dict) else {}


def _unquoted(text: bytes) -> str:
    """A string of JSON that may be cut off."""
    for end in range(len(text), max(0, len(text) - 6), -1):  # an escape has six signs at most
        with suppress(ModelError):
            return str(read_json(b'"' + text[:end] + b'"'))
    return ""


def _phrase(response: Response) -> str:
    """The words of the status line; in Latin-1, it may be anything."""
    said = response.quoter.quote(response.reason).rstrip(".")
    return said or _standard_phrase(response.status)


def _standard_phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:  # a status that nobody knows
        return ""


def _destination(response: Response) -> str:
    """Where a redirect leads, without what may be secret in it."""
    try:
        parts = urlsplit(response.headers.get("Location", ""))
    except ValueError:
        return ""
    where = response.quoter.quote(parts.netloc.rpartition("@")[2] + parts.path)
    return f" to {where}" if where else ""


def _tracebacks(response: Response) -> Iterator[str]:
    words = _words(response)
    for value in words.values():
        text = "".join(map(str, value)) if isinstance(value, list) else value
        if isinstance(text, str) and _is_trace(text):
            yield text.strip()
    if not words and _is_trace(_text(response.body)):
        yield _text(response.body).strip()


def _is_trace(text: str) -> bool:
    return "Traceback (most recent" in text


def _text(data: bytes) -> str:
    """Bytes of somebody who need not have heard of UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")
