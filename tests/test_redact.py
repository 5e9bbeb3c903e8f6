"""The words of others: cleaned, without secrets however they are written, and then cut."""

from __future__ import annotations

import html
import json
import textwrap
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Generator
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_relay.escapes import printable
from jupyter_relay.redact import (
    MAX_QUOTED,
    Quoter,
    secrets_in_headers,
    secrets_in_url,
)

TOKEN = "t0ken/of+the=gateway&\"1'<2>é"
QUOTER = Quoter([TOKEN])


def lower_hex(text: str) -> str:
    quoted = quote(text, safe="")
    return quoted.replace("%2F", "%2f").replace("%2B", "%2b").replace("%3D", "%3d")


QUOTINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in Latin-1, read as UTF-8": lambda text: text.encode().decode("latin-1"),
    "in a URL": lambda text: quote(text, safe=""),
    "in a URL that keeps slashes": quote,
    "in a form": quote_plus,
    "in a URL with small hexadecimal digits": lower_hex,
    "in a URL, each sign": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "twice in a URL": lambda text: quote(quote(text, safe=""), safe=""),
    "in HTML": html.escape,
    "in HTML, by decimal numbers": lambda text: "".join(f"&#{ord(sign)};" for sign in text),
    "in HTML, by hexadecimal numbers": lambda text: "".join(f"&#x{ord(sign):x};" for sign in text),
    "in HTML, slashes by number": lambda text: html.escape(text).replace("/", "&#x2f;"),
    "in HTML, by names": lambda text: (
        html.escape(text).replace("/", "&sol;").replace("+", "&plus;")
    ),
    "in JSON": json.dumps,
    "in JSON as PHP writes it": lambda text: json.dumps(text).replace("/", "\\/"),
    "in JSON, slashes by number": lambda text: json.dumps(text).replace("/", "\\u002f"),
    "in JSON, HTML's signs by number": lambda text: (
        json.dumps(text).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    ),
    "twice in JSON": lambda text: json.dumps(json.dumps(text)),
    "in HTML in JSON": lambda text: json.dumps(html.escape(text).replace("/", "&#47;")),
    "as Python shows bytes": lambda text: repr(text.encode()),
    "as C escapes it": lambda text: "".join(f"\\{byte:03o}" for byte in text.encode()),
    "in base64": lambda text: b64encode(text.encode()).decode(),
    "in base64 for URLs": lambda text: urlsafe_b64encode(text.encode()).decode(),
    "in base64, behind one sign": lambda text: b64encode(f"u{text}".encode()).decode(),
    "in base64, behind two": lambda text: b64encode(f"u:{text}".encode()).decode(),
    "in base64, among others": lambda text: b64encode(f"alice:{text} and more".encode()).decode(),
    "in base64, in a URL": lambda text: quote(b64encode(text.encode()).decode(), safe=""),
    "in hexadecimal digits": lambda text: text.encode().hex(),
    "over several lines": lambda text: "\r\n ".join(textwrap.wrap(text, 5)),
    "with a control character in it": lambda text: f"{text[:5]}\0{text[5:]}",
    "with a change of direction in it": lambda text: f"{text[:5]}\u202e{text[5:]}",
}


COMMON = [quoting for quoting in QUOTINGS if quoting.startswith(("in a", "in HTML", "in JSON"))]


@pytest.mark.parametrize("quoting", QUOTINGS)
def test_quote_a_secret_in_any_quoting_is_cut_out_whole(quoting: str) -> None:
    said = f"before {QUOTINGS[quoting](TOKEN)} after"
    assert QUOTER.contains_secret(said)
    told = QUOTER.quote(said)
    # What a quoting puts around it may stay.
    told = told.replace("b'", "'").replace('\\"', '"').replace("\\\\", "")
    told = told.replace("]%3D", "]")
    assert [word.strip("\"'\\") for word in told.split()] == ["before", "[secret]", "after"], said


@pytest.mark.parametrize("quoting", QUOTINGS)
def test_quote_a_secret_where_the_text_is_cut_leaves_no_part_of_it(quoting: str) -> None:
    written = QUOTINGS[quoting](TOKEN)
    told = QUOTER.quote("x" * (MAX_QUOTED - 8) + " " + written)
    rest = told.removesuffix(" …").removeprefix("x" * (MAX_QUOTED - 8))
    assert "[secret]".startswith(rest.lstrip(" b\"'\\")), told


def test_quote_a_secret_behind_more_white_space_than_is_read_leaves_no_part_of_it() -> None:
    for pad in range(4_000, 5_000):
        told = QUOTER.quote(" " * pad + TOKEN)
        assert told in {"", "[secret]"}, pad


def test_quote_a_text_that_was_cut_within_a_secret_leaves_no_part_of_it() -> None:
    assert QUOTER.quote(f"sent {TOKEN[:10]}", cut=True) == "sent [secret]"
    assert QUOTER.quote(f"sent {TOKEN[:10]}") == f"sent {TOKEN[:10]}"


def test_quote_a_long_text_with_control_characters_is_one_short_line() -> None:
    told = Quoter().quote("\x1b[31mred\r\n\u2028and\u202emore " * 100_000)
    assert told.startswith("[31mred and more [31mred")
    assert len(told) <= MAX_QUOTED + 2
    assert told.isprintable()


def test_quote_what_is_no_secret_stays_as_it_was_said() -> None:
    said = 'No room: 100% of 4&nbsp;GiB, see C:\\new\\table or "https://x/?q=a%20b" &c.'
    assert QUOTER.quote(said) == said


def test_quote_end_a_secret_where_the_text_begins_leaves_no_part_of_it() -> None:
    for most in range(1, 60):
        told = QUOTER.quote_end(f"a {TOKEN} and\nmore", most)
        assert not any(part in told for part in (TOKEN[-8:], "gateway", "t0ken")), told
    assert QUOTER.quote_end(f"a {TOKEN} and\nmore", 100) == "a [secret] and\nmore"


def test_learn_more_than_is_remembered_forgets_the_oldest_and_never_the_fixed() -> None:
    quoter = Quoter(["fixed-secret"])
    for number in range(100):
        quoter.learn([f"learned-{number:04}"])
    told = quoter.quote("fixed-secret learned-0099 learned-0000")
    assert told == "[secret] [secret] learned-0000"


@given(
    secret=st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=6),
    quotings=st.lists(st.sampled_from(COMMON), min_size=1, max_size=2),
    before=st.text(max_size=20),
    after=st.text(max_size=20),
)
def test_quote_any_secret_in_two_quotings_is_never_told(
    secret: str, quotings: list[str], before: str, after: str
) -> None:
    written = secret
    for quoting in quotings:
        written = QUOTINGS[quoting](written)
    told = Quoter([secret]).quote(f"{before} {written} {after}")
    assert written not in told.replace("[secret]", "")
    assert "[secret]" in told


def test_shown_a_text_with_invisible_characters_has_spaces_for_them() -> None:
    assert printable("a\0b\u200bc\u202ed\x7fe") == "a b c d e"


def test_secrets_in_headers_every_word_that_may_be_one_is_found() -> None:
    basic = b64encode(b"alice:passw0rd").decode()
    found = secrets_in_headers(
        {
            "Authorization": f"Basic {basic}",
            "Cookie": "a=c00kie-value; b=x",
            "X-Site": "site-secret",
            "X-Api-Key": "sh0rt1",
            "X-Team": "science python3",
            "User-Agent": "aiohttp-agent",
        }
    )
    assert {basic, "passw0rd", "alice:passw0rd", "c00kie-value", "site-secret", "sh0rt1"} <= found
    assert not found & {"aiohttp-agent", "Basic", "x", "science", "python3"}


def test_secrets_in_url_password_and_query_are_found() -> None:
    found = secrets_in_url("http://alice:pass%2Fword@host/path?sig=abc%2Bdef&v=1")
    assert found == {"pass/word", "alice:pass/word", "abc+def"}


def taken(steps: Generator[None, None, bool]) -> tuple[bool, int]:
    """Take all steps; return what was found, and how many there were."""
    number = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return bool(end.value), number
        number += 1


@pytest.mark.parametrize("quoting", QUOTINGS)
@pytest.mark.parametrize("before", [0, 4090, 8150, 65_530])
def test_search_a_secret_anywhere_in_a_long_text_in_any_quoting_is_found(
    quoting: str, before: int
) -> None:
    text = "x" * before + QUOTINGS[quoting](TOKEN) + "x" * 9000
    assert taken(QUOTER.may_contain_secret(json.dumps({"a b": text}).encode()))[0]
    assert taken(QUOTER.search_long(text))[0]


def test_search_a_secret_with_white_space_within_is_found() -> None:
    spread = (" " * 10_000).join(TOKEN)
    assert taken(QUOTER.may_contain_secret(json.dumps(spread).encode()))[0]
    assert taken(QUOTER.search_long(spread))[0]
    said = Quoter(["ab cd ef"])
    for text in ("ab cd ef", "abcdef"):
        assert taken(said.may_contain_secret(f'["x", "{text}"]'.encode()))[0]
        assert taken(said.search_long(f"{'x' * 5000} {text}"))[0]


def test_search_a_long_text_without_a_secret_takes_many_steps_and_finds_none() -> None:
    found, steps = taken(QUOTER.search_long("%41&amp;" * 10_000))
    assert not found
    assert steps >= 20
    assert taken(QUOTER.may_contain_secret(b'{"a": "' + b"x" * 1_000_000 + b'"}')) == (False, 16)
