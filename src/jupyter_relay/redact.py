"""Redacts foreign text before it is shown or logged.

Foreign text comes from gateways, proxies, kernels, and programs that fetch tokens. All of it passes
a `Quoter`: control characters are replaced, then secrets are cut out, however they are written, and
only then the text is shortened. In another order half of a secret could be left at the end, or a
control character could hide one.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Generator, Iterable, Iterator, Mapping
from itertools import chain
from math import inf
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from jupyter_relay.escapes import ESCAPE, Form, Reading, printable, unescaped

SHORTEST_SECRET: Final = 6
"""How many characters a secret has at least: shorter words of a header or an output stand in many
texts."""

MAX_QUOTED: Final = 300
"""How many characters of foreign text are quoted in a sentence."""

_MAX_READ: Final = 4_000
"""How many characters of a text are read beyond those that are quoted, in place of white space and
secrets, which are cut out."""

_MAX_LEARNED: Final = 64
"""How many learned secrets are remembered: tokens are renewed, and cookies change."""

_DEPTH: Final = 4
"""How many levels of escapes are undone, as of a URL within JSON within a page."""

_STEP: Final = 4096
"""How many characters of a long text are searched in one step; that takes some milliseconds if
quotings stand everywhere."""

_QUICK_STEP: Final = 64 * 1024
"""The same for text without quotings."""

_SENTENCE = re.compile(r"([.!?]) +(?=[A-Z])")

_CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization"})

_SOUNDS_SECRET = re.compile(r"auth|token|secret|key|passw|cookie|credential|session")
"""Parts of the names, in small letters, of headers that carry credentials."""

_LONG_ENOUGH: Final = 10
"""How long a word must be to be taken for a secret in a header whose name says nothing of one: a
shorter one may be a team, or the name of a kernelspec."""

_SCHEMES = frozenset({"basic", "bearer", "digest", "negotiate"})

_ORDINARY = frozenset(
    {"accept", "accept-encoding", "connection", "content-length", "content-type", "host", "origin",
     "sec-websocket-protocol", "sec-websocket-version", "upgrade", "user-agent"}
)  # fmt: skip
"""Headers of requests that carry no secrets."""


class Quoter:
    """Redacts foreign text. ``secrets`` are cut out of it; `learn` adds to them.

    A secret is found as it is, and in every usual way to write it: in URLs, whether or not ``/`` is
    kept and whatever the case of the hexadecimal digits; in HTML, by name or number; in the strings
    of JSON, Python and C; in base64, alone or among other text; in hexadecimal digits; over several
    lines; and in several of these at once. ``[secret]`` stands in its place.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._fixed = _forms(secrets)
        self._learned: dict[str, tuple[Form, ...]] = {}
        self._known = _Known(self._fixed)

    def learn(self, secrets: Iterable[str]) -> None:
        """Cut these secrets out, too; only the latest that were learned are remembered."""
        is_new = False
        for secret in secrets:
            known = self._learned.pop(secret, None)
            is_new = is_new or known is None
            self._learned[secret] = _forms([secret]) if known is None else known
        if not is_new:
            return
        for secret in tuple(self._learned)[:-_MAX_LEARNED]:
            del self._learned[secret]
        self._known = _Known((*self._fixed, *chain(*self._learned.values())))

    def quote(self, text: str, max_length: int = MAX_QUOTED, *, cut: bool = False) -> str:
        """Return a text as part of a sentence: on one line, without control characters, without
        secrets, and with ``max_length`` characters at the most.

        ``cut`` is True if the text was cut off, which may be within a secret.
        """
        if len(text) >= SHORTEST_SECRET:
            read = text[: _MAX_READ + max_length + self._margin]
            text = self._redacted(read, max_length + _MAX_READ, cut=cut and len(read) == len(text))
        line = " ".join(printable(text).split())
        return line if len(line) <= max_length else line[:max_length] + " …"

    def quote_end(self, text: str, max_length: int) -> str:
        """Return the last ``max_length`` characters of a text for a log, line by line."""
        read = text[-(max_length + self._margin) :]
        return self._redacted(read, len(read), lines=True)[-max_length:].strip()

    def contains_secret(self, text: str) -> bool:
        """Return True if a text contains a secret. For a text without escapes this is quick."""
        known = self._known
        if len(text) < known.shortest:
            return False
        for _ in range(_DEPTH + 1):
            for form in known.texts:
                if form in text:
                    return True
            deeper = "".join(printable(text).split())
            if any(sign in deeper for sign in "%&\\"):
                deeper = ESCAPE.sub(unescaped, deeper)
            if deeper == text:
                break
            text = deeper
        return False

    def may_contain_secret(self, json: bytes) -> Generator[None, None, bool]:
        """Search JSON, in steps, for anything that could be a secret. False is certain, and quickly
        found for JSON without escapes."""
        if not json.isascii():
            return True
        text = json.decode()  # it is searched in half of the time
        if "%" in text or "&" in text or "\\" in text or "\x7f" in text:
            return True
        known = self._known
        if any(form in text for form in known.spaced):
            return True
        bare = "".join(text.split())
        for at in range(0, len(bare), _QUICK_STEP):
            piece = bare[at : at + _QUICK_STEP + known.longest]
            for form in known.bare:
                if form in piece:
                    return True
            if len(bare) > _QUICK_STEP:
                yield
        return False

    def search_long(self, text: str) -> Generator[None, None, bool]:
        """Search a long text for secrets, in steps; return True if it contains one."""
        known = self._known
        pieces: list[str] = []
        for at in range(0, len(text), _STEP):
            piece = text[at : at + _STEP + known.longest]
            if any(form in piece for form in known.spaced):
                return True
            pieces += printable(piece[:_STEP]).split()
            yield
        text = "".join(pieces)
        for at in range(0, len(text), _STEP):
            if self.contains_secret(text[at : at + _STEP + self._margin]):
                return True
            yield
        return False

    def without_secrets(self, text: str) -> str:
        """Return a text that is no sentence, such as a path, without secrets and in full length."""
        return self._redacted(text, len(text))

    @property
    def _margin(self) -> int:
        """How many characters are read beyond those that are kept, so that no secret is cut."""
        return 12 * self._known.longest  # ``&amp;#x2f;`` stands for one sign

    def _redacted(
        self, text: str, max_length: int, *, lines: bool = False, cut: bool = False
    ) -> str:
        """Return what the first ``max_length`` characters of a text become without secrets."""
        clean = "\n".join(map(printable, text.split("\n"))) if lines else printable(text)
        if not cut and not self.contains_secret(clean):
            return clean[:max_length]
        parts: list[str] = []
        end = 0
        for start, stop in self._secret_spans(clean, cut=cut):
            if start >= max_length:
                break
            parts += [clean[end:start], "[secret]"]
            end = stop
        return "".join((*parts, clean[end:max_length]))

    def _secret_spans(self, text: str, *, cut: bool = False) -> list[tuple[int, int]]:
        """Return where secrets stand in a text, in order and without overlaps."""
        forms = self._known.forms
        if len(text) < self._known.shortest and not cut:
            return []
        spans: list[tuple[int, int]] = []
        reading = Reading.of(text)
        for _ in range(_DEPTH + 1):
            spans += reading.spans(forms)
            if cut:
                spans += reading.beginnings(forms)
            deeper = reading.undone()
            if deeper.text == reading.text:
                break
            reading = deeper
        return _merged(spans)


class _Known:
    """All forms that are searched for. It is replaced and never changed, since threads read it."""

    def __init__(self, forms: tuple[Form, ...]) -> None:
        self.forms = forms
        self.texts = tuple(form.text for form in forms)
        self.longest = max(map(len, self.texts), default=0)
        self.shortest: float = min(map(len, self.texts), default=inf)
        self.spaced = tuple(text for text in self.texts if not _is_one_word(text))
        self.bare = tuple(text for text in self.texts if text.isascii() and _is_one_word(text))


def _is_one_word(text: str) -> bool:
    """True if a text has no white space in it."""
    return len(text.split()) == 1


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def _forms(secrets: Iterable[str]) -> tuple[Form, ...]:
    """The ways in which secrets may be written, beside the quotings that can be undone."""
    plain: dict[str, None] = {}
    encoded: dict[str, None] = {}
    for secret in secrets:
        if len(secret) < SHORTEST_SECRET:
            continue
        data = secret.encode(errors="replace")
        # In Latin-1, as a status line is read; with the plus that some write for a space.
        for word in (secret, data.decode("latin-1"), secret.replace(" ", "+")):
            reading = Reading.of(printable(word))
            plain |= {printable(word): None}
            for _ in range(_DEPTH):
                reading = reading.undone()
                plain |= {reading.text: None}
        plain |= {data.hex(): None, data.hex().upper(): None}
        encoded |= dict.fromkeys(_base64_cores(data))
    long = [word for word in plain if len(word) >= SHORTEST_SECRET]
    return (*map(Form, long), *(Form(core, base64=True) for core in encoded))


def _base64_cores(data: bytes) -> Iterator[str]:
    """What is sure to stand in base64 of any text that holds these bytes: three bytes make four
    signs, so it depends on how many bytes stand before them."""
    for before in range(3):
        signs = b64encode(b"\0" * before + data).decode().rstrip("=")
        core = signs[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
        if len(core) >= SHORTEST_SECRET:
            yield core
            yield core.replace("+", "-").replace("/", "_")


def secrets_in_headers(headers: Mapping[str, str]) -> set[str]:
    """The words of the headers of a request that may be secrets: in those that carry credentials,
    and the long ones in each that is not one of the ordinary."""
    found: set[str] = set()
    for name, value in headers.items():
        lowered = name.lower()
        if lowered in _ORDINARY:
            continue
        parts = re.split(r"[\s;,]+", value)
        words = {value, *parts}
        if lowered == "cookie":
            words |= {part.partition("=")[2] for part in parts}
        if lowered in _CREDENTIALS:
            words |= {word for part in parts for word in _basic(part)}
        shortest = SHORTEST_SECRET if _SOUNDS_SECRET.search(lowered) else _LONG_ENOUGH
        found |= {w for w in words if len(w) >= shortest and w.lower() not in _SCHEMES}
    return found


def secrets_in_url(url: str) -> set[str]:
    """The parts of a URL that may be secrets: its password, and the values of its query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return set()
    words = {value for _, value in parse_qsl(parts.query)}
    if parts.password:
        user, password = unquote(parts.username or ""), unquote(parts.password)
        words |= {password, f"{user}:{password}"}
    return {word for word in words if len(word) >= SHORTEST_SECRET}


def _basic(word: str) -> list[str]:
    """The user's password in the word of a basic authentication; nothing in any other."""
    try:
        user, found, password = b64decode(word, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return []
    return [f"{user}:{password}", password] if found else []


def in_lines(text: str) -> str:
    """Return a text of several sentences with a line break after the first, for dialogs that do not
    wrap."""
    return _SENTENCE.sub(r"\1\n", text, count=1)
