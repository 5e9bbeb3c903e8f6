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


def test_http_error_of_relay_error_has_its_status_and_text() -> None:
    error = http_error(REFUSED)
    assert error.status_code == REFUSED.http_status
    assert error.log_message == str(REFUSED) == "100% of %s is used. Delete something."


def test_http_error_with_failed_action_names_it_before_the_text() -> None:
    assert http_error(REFUSED, "Kernel k was not started").log_message == (
        "Kernel k was not started: 100% of %s is used. Delete something."
    )


def test_plain_http_error_formatted_or_not_has_same_text() -> None:
    text = PlainHTTPError(500, "100% of %s").log_message
    assert text is not None
    assert text == text % () == "100% of %s"


def test_http_errors_on_relay_error_raises_http_error_from_it() -> None:
    with pytest.raises(web.HTTPError) as caught, http_errors("Not found"):
        raise KernelNotFound("There is none.", gateway="G", kernel_id="k", status=404)
    assert caught.value.status_code == 404
    assert isinstance(caught.value.__cause__, RelayError)


def test_http_errors_on_other_error_raises_it_unchanged() -> None:
    with pytest.raises(KeyError), http_errors():
        raise KeyError


def test_cut_short_of_long_foreign_text_keeps_status_reason_and_beginning() -> None:
    error = web.HTTPError(404, "x" * 10_000, reason="Gone")
    cut = cut_short(error)
    assert (cut.status_code, cut.reason) == (404, "Gone")
    assert cut.log_message is not None
    assert len(cut.log_message) <= MAX_QUOTED + 1, "and a sign that it is cut"
    assert cut.log_message.startswith("xxx")


@pytest.mark.parametrize(
    "error", [web.HTTPError(404, "short"), web.HTTPError(404), PlainHTTPError(500, "x" * 10_000)]
)
def test_cut_short_of_short_or_own_text_returns_same_error(error: web.HTTPError) -> None:
    assert cut_short(error) is error
