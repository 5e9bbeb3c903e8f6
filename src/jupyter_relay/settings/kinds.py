"""What an option takes: its kind, and how a value of each kind is read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum
from functools import partial
from typing import TypeAlias
from urllib.parse import urlsplit

import msgspec

from jupyter_relay.settings.on_exit import OnExit

Value: TypeAlias = str | int | float | bool | type | Sequence[str] | None
"""The value of an option; a string from the environment is read by the option's kind."""


class Kind(Enum):
    """What an option takes; the value describes it to people."""

    TEXT = "a text of one line"
    SECONDS = "a number of seconds, 0 or more"
    COUNT = "a whole number, 0 or more"
    FLAG = "true or false (also yes, no, on, off, 1, 0)"
    HTTP_URL = "a URL that begins with http:// or https://"
    WS_URL = "a URL that begins with ws:// or wss://"
    PATH = "a path, such as /api/kernels"
    HEADER = "the name of an HTTP header"
    HEADERS = "a JSON object of header names and texts"
    COMMAND = "a list of texts, or one text with quotes as in a shell"
    NAMES = "names of variables, with commas between them; * and ? stand for any characters"
    VALUES = "safe or any"
    ON_EXIT = "shutdown, keep or keep-busy"
    CLASS = "a class, or its name with that of its module before it"


_TEXTS = frozenset({Kind.TEXT, Kind.NAMES})
_NAME = re.compile(r"(?:[A-Za-z_*?][\w*?]*)?", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HEADER = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)  # RFC 9110, section 5.6.2
_PATH = re.compile(r"(?!\w+://)[^\s?#\\]+")


def _text(given: object) -> str:
    if isinstance(given, bool) or not isinstance(given, str | int):
        raise TypeError
    text = str(given).strip("\r\n")  # a file that was read into a variable ends with one
    if _CONTROL.search(text):
        raise ValueError
    return text


def _word(pattern: re.Pattern[str], given: object) -> str:
    text = _text(given).strip()
    if not pattern.fullmatch(text):
        raise ValueError
    return text


def _number(given: object) -> str | int | float:
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        raise TypeError
    return given


def _seconds(given: object) -> float:
    number = float(_number(given))
    if not 0 <= number < float("inf"):
        raise ValueError
    return number


def _count(given: object) -> int:
    number = int(_number(given))
    if number < 0 or (isinstance(given, float) and given != number):
        raise ValueError
    return number


_FLAGS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


def _flag(given: object) -> bool:
    if isinstance(given, bool):
        return given
    flag = _FLAGS.get(_text(given).strip().lower())
    if flag is None:
        raise ValueError
    return flag


def _url(*schemes: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{'|'.join(schemes)})://[^/?#\s]+[^\s]*", re.IGNORECASE)


_HTTP_URL = _url("http", "https")
_WS_URL = _url("ws", "wss")


def _address(pattern: re.Pattern[str], given: object) -> str:
    text = _word(pattern, given)
    # The port raises ValueError if it is none.
    if not urlsplit(text).hostname or urlsplit(text).port == 0:
        raise ValueError
    return text


def _headers(given: object) -> str:
    if not isinstance(given, str):
        raise TypeError
    try:
        headers = msgspec.json.decode(given, type=dict[str, str])
    except msgspec.MsgspecError as error:
        raise ValueError from error
    if any(not _HEADER.fullmatch(key) or _CONTROL.search(headers[key]) for key in headers):
        raise ValueError
    return given.strip()


def _command(given: object) -> tuple[str, ...]:
    """Read a command; no shell is to run it, so nothing in it is expanded."""
    words = shlex.split(given) if isinstance(given, str) else given
    if not isinstance(words, Sequence) or not all(isinstance(w, str) for w in words) or not words:
        raise ValueError
    return tuple(words)


def _names(given: object) -> str:
    text = _text(given)
    if not all(_NAME.fullmatch(name.strip()) for name in text.split(",")):
        raise ValueError
    return text


def _one_of(words: Collection[str], given: object) -> str:
    text = _text(given).strip().lower()
    if text not in words:
        raise ValueError
    return text


_DOTTED = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")


def _class(given: object) -> str | type:
    if isinstance(given, type):
        return given
    text = str(given).strip()
    if not _DOTTED.fullmatch(text):
        raise ValueError
    return text


_READERS: Mapping[Kind, Callable[[object], Value]] = {
    Kind.TEXT: _text,
    Kind.SECONDS: _seconds,
    Kind.COUNT: _count,
    Kind.FLAG: _flag,
    Kind.HTTP_URL: partial(_address, _HTTP_URL),
    Kind.WS_URL: partial(_address, _WS_URL),
    Kind.PATH: partial(_word, _PATH),
    Kind.HEADER: partial(_word, _HEADER),
    Kind.HEADERS: _headers,
    Kind.COMMAND: _command,
    Kind.NAMES: _names,
    Kind.VALUES: partial(_one_of, ("safe", "any")),
    Kind.ON_EXIT: partial(_one_of, [choice.value for choice in OnExit]),
    Kind.CLASS: _class,
}


def read_value(kind: Kind, given: object) -> Value:
    """Return a value as its kind; None where none was given.

    An empty text is a value for a text and for names only: a compose file sets variables to it.
    The text None stands for None, which neither the environment nor a command line can say
    otherwise.

    Raises `ValueError`, `TypeError` or `OverflowError` for what the kind does not take.
    """
    if given is None or given == "None":
        return None
    if kind not in _TEXTS and isinstance(given, str) and not given.strip():
        return None
    return _READERS[kind](given)
