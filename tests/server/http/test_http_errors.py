"""Our errors as HTTP errors."""

from __future__ import annotations

import pytest
from tornado import web

from jupyter_relay.errors import KernelNotFound, KernelStartFailed, RelayError
from jupyter_relay.redact import MAX_QUOTED
from jupyter_relay.server.http.http_errors import (
    PlainHTTPError,
    cut_short,
    http_error,
    http_errors,
)

REFUSED = KernelStartFailed("100% of %s is used.", status=507, hint="Delete something.")


def test_http_error_has_the_status_and_the_text_of_the_error() -> None:
    error = http_error(REFUSED)
    assert error.status_code == REFUSED.http_status
    assert error.log_message == str(REFUSED) == "100% of %s is used. Delete something."


def test_http_error_has_what_has_failed_before_the_text() -> None:
    assert http_error(REFUSED, "Kernel k was not started").log_message == (
        "Kernel k was not started: 100% of %s is used. Delete something."
    )


def test_plain_http_error_has_one_text_whether_it_is_formatted_or_not() -> None:
    text = PlainHTTPError(500, "100% of %s").log_message
    assert text is not None
    assert text == text % () == "100% of %s"


def test_http_errors_raises_ours_as_http_errors_with_ours_as_cause() -> None:
    with pytest.raises(web.HTTPError) as caught, http_errors("Not found"):
        raise KernelNotFound("There is none.", gateway="G", kernel_id="k", status=404)
    assert caught.value.status_code == 404
    assert isinstance(caught.value.__cause__, RelayError)


def test_http_errors_raises_other_errors_as_they_are() -> None:
    with pytest.raises(KeyError), http_errors():
        raise KeyError


def test_cut_short_of_a_long_text_of_others_keeps_status_reason_and_beginning() -> None:
    error = web.HTTPError(404, "x" * 10_000, reason="Gone")
    cut = cut_short(error)
    assert (cut.status_code, cut.reason) == (404, "Gone")
    assert cut.log_message is not None
    assert len(cut.log_message) <= MAX_QUOTED + 1, "and a sign that it is cut"
    assert cut.log_message.startswith("xxx")


@pytest.mark.parametrize(
    "error", [web.HTTPError(404, "short"), web.HTTPError(404), PlainHTTPError(500, "x" * 10_000)]
)
def test_cut_short_of_a_short_text_or_of_ours_is_the_same_error(error: web.HTTPError) -> None:
    assert cut_short(error) is error
