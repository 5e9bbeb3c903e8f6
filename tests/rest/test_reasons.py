"""What an answer gives as its reason."""

from __future__ import annotations

import json

import pytest

from jupyter_relay.redact import Quoter
from jupyter_relay.rest.reasons import (
    destination_of,
    reason_of,
    status_and_reason,
    title_of,
    tracebacks_of,
    wait_sentence,
)
from jupyter_relay.rest.response import Response

TRACE = "Traceback (most recent call last):\n  in a deep place"


def says(status: int, **words: object) -> Response:
    return Response(status, content_type="application/json", body=json.dumps(words).encode())


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (says(500, message="disk full."), "disk full"),
        (says(500, reason="No space", message="disk full"), "No space; disk full"),
        (says(500, reason="disk full", message="disk full"), "disk full"),
        (says(500, reason="Internal Server Error", message="Unhandled error"), ""),
        (says(500, message=TRACE), ""),
        (says(500, message=["a", "list"]), ""),
        (says(404, message="404: nothing here"), "nothing here"),
        (says(404, message="404"), "404"),
        (Response(500, content_type="text/plain", body=b"disk full"), "disk full"),
        (Response(500, content_type="text/plain", body=TRACE.encode()), ""),
        (Response(500, content_type="image/png", body=b"disk full"), ""),
        (Response(500, content_type="text/plain", body="für Sie".encode("latin-1")), "für Sie"),
        (Response(500, content_type="text/html", body=b"<title>a &amp;\n b</title>"), "a & b"),
        (Response(500, content_type="application/json", body=b"[1]"), ""),
        (Response(500, content_type="application/json", body=b"{"), ""),
    ],
)
def test_reason_is_the_words_the_title_or_the_text(response: Response, reason: str) -> None:
    assert reason_of(response) == reason


def test_reason_of_a_cut_body_is_what_there_is_of_it() -> None:
    body = rb'{"x": 1, "message": "disk \u00fcll", "reason": "no \u00'
    response = Response(500, content_type="application/json", body=body, cut=True)
    assert reason_of(response) == "no; disk üll"
    nothing = Response(
        500, content_type="application/json", body=b'{"message": "\xff\xff', cut=True
    )
    assert reason_of(nothing) == ""


def test_reason_has_no_secrets() -> None:
    response = Response(
        500, content_type="text/plain", body=b"not hunter22", quoter=Quoter(["hunter22"])
    )
    assert reason_of(response) == "not [secret]"


@pytest.mark.parametrize(
    ("page", "title"),
    [
        (b"<title>a</title>", b"a"),
        (b"<HTML><TITLE lang=en>a</TITLE>", b"a"),
        (b"<title>a", b""),
        (b"a</title>", b""),
        (b"<p>a", b""),
        (b" " * 5000 + b"<title>a</title>", b""),
    ],
)
def test_page_title_is_found_near_the_beginning_of_a_page(page: bytes, title: bytes) -> None:
    assert title_of(page) == title


@pytest.mark.parametrize(
    ("status", "phrase", "said", "sentence"),
    [
        (404, "", "", "404 Not Found"),
        (404, "Gone fishing.", "no spec", "404 Gone fishing: no spec"),
        (404, "", "not found", "404 Not Found"),
        (404, "", "404", "404 Not Found"),
        (599, "", "odd", "599: odd"),
    ],
)
def test_reason_that_repeats_the_status_is_left_out(
    status: int, phrase: str, said: str, sentence: str
) -> None:
    assert status_and_reason(Response(status, phrase), said) == sentence


def test_wait_is_a_sentence_if_there_is_one() -> None:
    assert wait_sentence(Response(429)) == ""
    assert wait_sentence(Response(429, retry_after=1.6)) == " It asks for no request within 2 s."


@pytest.mark.parametrize(
    ("location", "destination"),
    [
        ("https://u:p@login.example/sso?state=s3cr3t", " to login.example/sso"),
        ("/login", " to /login"),
        ("http://[::1", ""),
        ("", ""),
    ],
)
def test_destination_is_a_host_and_a_path(location: str, destination: str) -> None:
    assert destination_of(Response(302, headers={"Location": location})) == destination


@pytest.mark.parametrize(
    ("response", "found"),
    [
        (says(500, traceback=TRACE), [TRACE]),
        (says(500, traceback=[TRACE, " and more"]), [f"{TRACE} and more"]),
        (says(500, traceback=7, message="no"), []),
        (Response(500, body=TRACE.encode()), [TRACE]),
        (Response(500, body=b"no"), []),
    ],
)
def test_tracebacks_are_found_in_words_and_in_text(response: Response, found: list[str]) -> None:
    assert list(tracebacks_of(response)) == found
