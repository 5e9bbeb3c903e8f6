"""Text in which characters are written in other ways, and what it is when that is undone."""

from __future__ import annotations

import html
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Final

ESCAPE = re.compile(
    r"(?P<url>(?:%[0-9A-Fa-f]{2})+)"
    r"|(?P<html>&(?:\#[0-9]{1,8}|\#[xX][0-9A-Fa-f]{1,8}|[A-Za-z][A-Za-z0-9]{1,31});?)"
    r"|(?P<u>(?:\\u[0-9A-Fa-f]{4})+)|(?P<x>(?:\\x[0-9A-Fa-f]{2})+)|(?P<o>(?:\\[0-3][0-7]{2})+)"
    r"|\\(?P<sign>[^\w\s])"
    r"|(?P<space>\s+)"
)
"""Escapes of other characters: of URLs, of HTML, and of the strings of JSON, Python and C."""

_MIN_BEGINNING: Final = 4
"""How many characters at the end of a text that was cut are taken for the beginning of a secret."""

_BASE64 = re.compile(r"[A-Za-z0-9+/_=-]*")

_MAX_AROUND: Final = 1024
"""How much base64 around a secret is cut out with it, to either side."""


def printable(text: str) -> str:
    """Return a text with a space for each character that a terminal obeys, or that turns the
    direction of what follows."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else " " for sign in text)


class Form:
    """One way in which a secret may be written."""

    __slots__ = ("base64", "text")

    def __init__(self, text: str, *, base64: bool = False) -> None:
        self.text = text
        self.base64 = base64


class Reading:
    """A text, or what it is once escapes are undone; and where each character of it came from.

    ``marks`` are the places in ``text`` at which a piece begins, ``starts`` and ``stops`` where
    that piece stands in the ``original``; pieces of equal length are the same text.
    """

    __slots__ = ("marks", "original", "starts", "stops", "text")

    def __init__(
        self, original: str, text: str, marks: list[int], starts: list[int], stops: list[int]
    ) -> None:
        self.original = original
        self.text = text
        self.marks = marks
        self.starts = starts
        self.stops = stops

    @classmethod
    def of(cls, text: str) -> Reading:
        """Read a text as it is."""
        return cls(text, text, [0], [0], [len(text)])

    def undone(self) -> Reading:
        """Undo one level of escapes, and leave out white space and invisible characters."""
        pieces: list[str] = []
        marks: list[int] = []
        starts: list[int] = []
        stops: list[int] = []
        length = end = 0

        def add(piece: str, start: int, stop: int) -> None:
            nonlocal length
            if piece:
                pieces.append(piece)
                marks.append(length)
                starts.append(start)
                stops.append(stop)
                length += len(piece)

        def keep(start: int, stop: int) -> None:
            """Keep a part as it is, with the pieces that it is made of."""
            while start < stop:
                at = bisect_right(self.marks, start) - 1
                ends = self.marks[at + 1] if at + 1 < len(self.marks) else len(self.text)
                until = min(stop, ends)
                add(self.text[start:until], *self._origin(start, until))
                start = until

        for escape in ESCAPE.finditer(self.text):
            keep(end, escape.start())
            add(unescaped(escape), *self._origin(escape.start(), escape.end()))
            end = escape.end()
        keep(end, len(self.text))
        return Reading(self.original, "".join(pieces), marks or [0], starts or [0], stops or [0])

    def spans(self, forms: Iterable[Form]) -> Iterator[tuple[int, int]]:
        """Yield where in the original one of the forms stands."""
        text = self.text
        for form in forms:
            at = text.find(form.text)
            while at >= 0:
                start, stop = at, at + len(form.text)
                yield self._origin(start, stop, around=form.base64)
                at = text.find(form.text, stop)

    def beginnings(self, forms: Iterable[Form]) -> Iterator[tuple[int, int]]:
        """Yield where in the original the beginning of a form stands at the end of the text."""
        text = self.text
        for form in forms:
            for length in range(min(len(form.text), len(text) + 1) - 1, _MIN_BEGINNING - 1, -1):
                if text.endswith(form.text[:length]):
                    yield self._origin(len(text) - length, len(text))
                    break

    def _origin(self, start: int, stop: int, *, around: bool = False) -> tuple[int, int]:
        """Return where a part of this text stands in the original, and the base64 ``around`` it."""
        first = bisect_right(self.marks, start) - 1
        last = bisect_right(self.marks, stop - 1) - 1
        begin, end = self._place(first, start)[0], self._place(last, stop - 1)[1]
        if around:
            begin -= _base64_length(self.original[max(0, begin - _MAX_AROUND) : begin][::-1])
            end += _base64_length(self.original[end : end + _MAX_AROUND])
        return begin, end

    def _place(self, piece: int, at: int) -> tuple[int, int]:
        mark, start, stop = self.marks[piece], self.starts[piece], self.stops[piece]
        ends = self.marks[piece + 1] if piece + 1 < len(self.marks) else len(self.text)
        if stop - start != ends - mark:  # it was an escape: one place for all
            return start, stop
        return start + at - mark, start + at - mark + 1


def unescaped(escape: re.Match[str]) -> str:
    """Return what an escape stands for; nothing for white space and invisible characters."""
    return printable(_decode_escape(escape)).replace(" ", "")


def _decode_escape(escape: re.Match[str]) -> str:
    kind = escape.lastgroup
    value = escape[kind] if kind else ""
    match kind:
        case "url":
            return _decode(bytes.fromhex(value.replace("%", "")))
        case "html":
            return html.unescape(value)
        case "u":  # of a sign beyond the first 65,536 there are two
            units = bytes.fromhex(value.replace("\\u", ""))
            return units.decode("utf-16-be", errors="replace")
        case "x":
            return _decode(bytes.fromhex(value.replace("\\x", "")))
        case "o":
            return _decode(bytes(int(number, 8) for number in value.split("\\")[1:]))
        case "sign":
            return value
        case _:
            return ""


def _decode(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _base64_length(text: str) -> int:
    """Return how many characters at the beginning of a text may be base64."""
    found = _BASE64.match(text)
    return found.end() if found else 0
