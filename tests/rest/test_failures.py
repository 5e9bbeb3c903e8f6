"""The errors for no answer of a gateway, and for answers of no use."""

from __future__ import annotations

import pytest

from jupyter_relay.errors import GatewayRefused
from jupyter_relay.redact import Quoter
from jupyter_relay.rest.failures import (
    closed,
    denies_kernel,
    no_answer,
    no_kernel,
    other_kernel,
    quotes_credentials,
    too_large,
    unexpected,
)
from jupyter_relay.rest.response import Response
from jupyter_relay.wire.json import ModelError


@pytest.mark.parametrize(
    ("status", "reason", "denies"),
    [
        (404, "Kernel does not exist: k1", True),
        (500, "no kernel k1", True),
        (500, "Kernel k2 not found", False),
        (500, "k1 is busy", False),
        (403, "no such kernel k1", False),
    ],
)
def test_failure_by_refusal_denies_a_kernel_by_its_id_and_its_words(
    status: int, reason: str, denies: bool
) -> None:
    assert denies_kernel(GatewayRefused("No.", status=status, reason=reason), "k1") is denies


def test_failure_by_a_missing_kernel_mentions_a_restart_of_the_gateway() -> None:
    assert "restarted" not in no_kernel("gpu", "k1").hint
    error = no_kernel("gpu", "k1", "gone", was_away=True)
    assert "or the gateway was restarted without it" in error.hint
    assert (error.status, error.reason, error.kernel_id) == (404, "gone", "k1")


def test_failure_without_an_answer_is_doubtful_unless_nothing_was_sent() -> None:
    assert no_answer("gpu").doubtful
    assert not no_answer("gpu", doubtful=False).doubtful


def test_failure_by_a_closed_gateway_is_doubtful_for_requests_under_way() -> None:
    assert not closed("gpu").doubtful
    assert closed("gpu", doubtful=True).doubtful


def test_failure_by_an_unexpected_answer_quotes_the_title_of_a_page_or_the_reader() -> None:
    error = ModelError("a kernel model was expected, but it is a list")
    page = Response(200, content_type="text/html", body=b"<title>Sign in</title>")
    assert unexpected(error, page, gateway="gpu").message.endswith(": a web page came: Sign in.")
    other = unexpected(error, Response(200), gateway="gpu", kernel_id="k1")
    assert other.message.endswith(": a kernel model was expected, but it is a list.")
    assert (other.status, other.kernel_id) == (200, "k1")


def test_failure_by_an_answer_about_another_kernel_quotes_its_id_without_secrets() -> None:
    response = Response(200, quoter=Quoter(["hunter22"]))
    error = other_kernel(response, gateway="gpu", kernel_id="k1", answered="k2-hunter22" + "x" * 99)
    assert "k1" in error.message
    assert "k2-[secret]" in error.message
    assert len(error.message) < 250


@pytest.mark.parametrize(("at_most", "said"), [(2**20, "1 MiB"), (64 * 2**10, "64 KiB")])
def test_failure_by_too_large_an_answer_names_the_bound(at_most: int, said: str) -> None:
    assert f"of more than {said}, " in too_large("gpu", 200, at_most, "k1").message


def test_failure_by_a_file_that_quotes_credentials_is_a_refusal() -> None:
    assert quotes_credentials("gpu", 200).message.startswith("gpu sent a file that quotes our")
