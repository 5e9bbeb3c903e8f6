"""What an answer gives as its reason, and the tracebacks in it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from jupyter_relay.rest.response import Response
from jupyter_relay.wire.json import Json, ModelError, read_json

_KEYS_OF_WORDS = re.compile(rb'"(reason|message|traceback)"\s*:\s*"((?:[^"\\]|\\.)*)')
"""The texts that are read from a JSON body that was too long to be read whole."""

_MAX_BEFORE_TITLE: Final = 4_096
"""Within how many bytes of a page its title is looked for."""


def reason_of(response: Response) -> str:
    """Return what an answer gives as its reason, on one line: a gateway's own words, the title of a
    web page, the beginning of plain text. Tracebacks are left out."""
    words = _json_object(response)
    if words:
        # Tornado puts a gateway's own reason into the status line, too.
        usual = {"", "unhandled error", _standard_phrase(response.status).lower()}
        given = (words.get(key) for key in ("reason", "message"))
        texts = [text.strip(" .") for text in given if isinstance(text, str)]
        texts = [text for text in texts if text.lower() not in usual and not _is_trace(text)]
        reason = "; ".join(dict.fromkeys(texts))
    elif is_page(response):
        reason = html.unescape(_text(title_of(response.body)))
    elif response.content_type == "text/plain" and not _is_trace(_text(response.body)):
        reason = _text(response.body)
    else:
        reason = ""
    reason = response.quoter.quote(reason, cut=response.cut).rstrip(".")
    return re.sub(rf"^{response.status}\b[: ]*", "", reason) or reason


def title_of(page: bytes) -> bytes:
    """Return the title of a page, empty if there is none near its beginning."""
    head = page[:_MAX_BEFORE_TITLE]
    lowered = head.lower()
    begin = lowered.find(b">", lowered.find(b"<title")) + 1 if b"<title" in lowered else 0
    end = lowered.find(b"</title", begin)
    return head[begin:end] if 0 < begin < end else b""


def behind_colon(reason: str) -> str:
    """Return a reason as the end of a sentence; nothing for none."""
    return f": {reason}" if reason else ""


def status_and_reason(response: Response, reason: str) -> str:
    """Return the status with its phrase, and the reason if it says more than these."""
    phrase = _phrase(response)
    beside = "" if reason.lower() in {phrase.lower(), str(response.status)} else reason
    return f"{response.status} {phrase}".rstrip() + behind_colon(beside)


def wait_sentence(response: Response) -> str:
    """Return a sentence with the time of a ``Retry-After``; nothing without one."""
    seconds = response.retry_after
    return "" if seconds is None else f" It asks for no request within {seconds:.0f} s."


def is_of_api(response: Response) -> bool:
    """True if an answer has the words of a gateway itself, and not of a proxy before it."""
    return not _json_object(response).keys().isdisjoint({"message", "reason"})


def is_page(response: Response) -> bool:
    """True if an answer is a web page."""
    return response.content_type in {"text/html", "application/xhtml+xml"}


def _json_object(response: Response) -> Mapping[str, Json]:
    """Return the JSON object of an error body; an empty one if it is none."""
    if response.cut:
        found = _KEYS_OF_WORDS.finditer(response.body)
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
    reason = response.quoter.quote(response.reason).rstrip(".")
    return reason or _standard_phrase(response.status)


def _standard_phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:  # an unknown status
        return ""


def destination_of(response: Response) -> str:
    """Return where a redirect leads, as the end of a sentence, without what may be secret in it."""
    try:
        parts = urlsplit(response.headers.get("Location", ""))
    except ValueError:
        return ""
    where = response.quoter.quote(parts.netloc.rpartition("@")[2] + parts.path)
    return f" to {where}" if where else ""


def tracebacks_of(response: Response) -> Iterator[str]:
    """Yield the tracebacks in an answer, as the gateway wrote them."""
    words = _json_object(response)
    for value in words.values():
        text = "".join(map(str, value)) if isinstance(value, list) else value
        if isinstance(text, str) and _is_trace(text):
            yield text.strip()
    if not words and _is_trace(_text(response.body)):
        yield _text(response.body).strip()


def _is_trace(text: str) -> bool:
    return "Traceback (most recent" in text


def _text(data: bytes) -> str:
    """Return text that may not be UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")
