"""What refusals mean: one row of the table each."""

from __future__ import annotations

import json

import pytest

from jupyter_relay.errors import (
    AuthenticationFailed,
    GatewayRefused,
    GatewayTimeout,
    GatewayUnavailable,
    KernelNotFound,
    Redirected,
    RelayError,
    TooManyRequests,
    UnexpectedAnswer,
)
from jupyter_relay.redact import Quoter
from jupyter_relay.rest.refusals import Refusals, is_understood
from jupyter_relay.rest.response import Response

HTML = "text/html"
TRACE = "Traceback (most recent call last):\n  in a deep place\nKeyError"


def says(status: int, **words: object) -> Response:
    """An answer with the words of a gateway."""
    return Response(status, content_type="application/json", body=json.dumps(words).encode())


def page(status: int, title: str = "", **headers: str) -> Response:
    """An answer with a web page."""
    return Response(
        status, content_type=HTML, body=f"<title>{title}</title>".encode(), headers=headers
    )


def read(
    response: Response, kernel_id: str | None = None, *, credential: str = "auth_token"
) -> RelayError:
    return Refusals("gpu", credential).error_of(response, kernel_id)


@pytest.mark.parametrize(
    "response",
    [
        page(302, Location="/hub/user/ann/api"),
        page(302, Location="https://hub.example/hub/spawn-pending/ann"),
        page(424, **{"X-JupyterHub-Version": "5"}),
        page(503, "JupyterHub"),
    ],
)
def test_stopped_server_of_a_hub_is_unavailable_and_not_doubtful(response: Response) -> None:
    error = read(response)
    assert type(error) is GatewayUnavailable
    assert not error.doubtful
    assert "is a server of a JupyterHub, and is stopped" in error.message


@pytest.mark.parametrize("location", ["/hub/home", "http://[::1", ""])
def test_redirect_without_a_known_cause_is_an_unexpected_answer(location: str) -> None:
    error = read(page(302, Location=location))
    assert type(error) is Redirected
    assert error.hint.startswith("If that is a login page, look at auth_token;")
    bare = read(page(302, Location=location), credential="")
    assert bare.hint.startswith("If that is a login page, set auth_token;")


def test_redirect_error_says_where_it_leads_without_query_and_user() -> None:
    error = read(page(302, Location="https://u:p@login.example/sso?state=s3cr3t"))
    assert error.message == (
        "gpu redirects to login.example/sso (302), which no Jupyter gateway does."
    )


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("the user bob is not authorized to start kernels", "KERNEL_USERNAME"),
        ("Resource Limit", "Shut down kernels"),
        ("uid 0 is prohibited", "Shut down kernels"),
    ],
)
def test_status_403_about_a_user_or_a_limit_is_not_about_the_credential(
    said: str, hint: str
) -> None:
    error = read(says(403, message=said))
    assert type(error) is GatewayRefused
    assert error.message == f"gpu refuses the request (403): {said}."
    assert hint in error.hint


@pytest.mark.parametrize(
    ("response", "credential", "hint"),
    [
        (says(401), "auth_token", "Look at auth_token, and"),
        (says(403), "auth_token", "Look at auth_token, and"),
        (says(403, message="The token's limit"), "auth_token", "Look at auth_token, and"),
        (says(403, message="Not you"), "auth_token", "If that is about the credentials, look at"),
        (says(401), "", "No token was sent;"),
    ],
)
def test_status_401_or_403_otherwise_is_about_the_credential(
    response: Response, credential: str, hint: str
) -> None:
    error = read(response, credential=credential)
    assert type(error) is AuthenticationFailed
    assert error.hint.startswith(hint)


def test_credential_that_could_not_be_renewed_is_the_hint() -> None:
    refusals = Refusals("gpu", "auth_token")
    error = refusals.error_of(says(401), credential_failure="The file is gone.")
    assert error.hint == "The file is gone."


@pytest.mark.parametrize(("after", "when"), [(7.2, "after 7 s"), (None, "later")])
def test_status_429_says_when_to_try_again(after: float | None, when: str) -> None:
    error = read(Response(429, retry_after=after), "k1")
    assert isinstance(error, TooManyRequests)
    assert error.retry_after == after
    assert error.hint.startswith(f"Try again {when},")


def test_status_404_about_a_kernel_counts_only_from_the_gateway_itself() -> None:
    error = read(says(404, message="no kernel k1"), "k1")
    assert isinstance(error, KernelNotFound)
    assert error.reason == "no kernel k1"
    proxy = read(page(404, "no backend"), "k1")
    assert type(proxy) is GatewayUnavailable
    assert proxy.message == ("A proxy in front of gpu did not find the kernel (404): no backend.")


def test_status_404_about_anything_else_is_a_refusal_or_an_unexpected_answer() -> None:
    refused = read(says(404, message="no spec"))
    assert type(refused) is GatewayRefused
    assert refused.message == "gpu answered 404 Not Found: no spec."
    unexpected = read(page(404, "no backend"))
    assert type(unexpected) is UnexpectedAnswer
    assert unexpected.message == (
        "gpu answered 404 Not Found: no backend, not as a Jupyter gateway does."
    )


def test_status_504_is_a_timeout_of_a_proxy() -> None:
    assert type(read(page(504))) is GatewayTimeout


def test_status_503_is_doubtful_unless_the_gateway_itself_says_so() -> None:
    own, proxy = read(says(503, reason="starting")), read(page(502))
    assert isinstance(own, GatewayUnavailable)
    assert isinstance(proxy, GatewayUnavailable)
    assert (own.doubtful, proxy.doubtful) == (False, True)
    waits = read(Response(503, retry_after=9.0))
    assert waits.message == (
        "gpu is not available just now (503). It asks for no request within 9 s."
    )


def test_status_of_any_other_kind_is_a_refusal() -> None:
    error = read(says(500, message="disk full"))
    assert isinstance(error, GatewayRefused)
    assert (error.status, error.reason) == (500, "disk full")


def test_traceback_that_is_new_is_returned_once_and_without_secrets() -> None:
    refusals = Refusals("gpu", "")
    response = Response(500, body=TRACE.encode() + b" hunter22", quoter=Quoter(["hunter22"]))
    assert refusals.new_traceback(response, understood=False) == f"{TRACE} [secret]"
    assert refusals.new_traceback(response, understood=False) is None
    assert refusals.new_traceback(response, understood=True) is not None
    assert refusals.new_traceback(says(500), understood=False) is None


def test_refusal_is_understood_by_its_error_or_a_404() -> None:
    error = GatewayRefused("No.", status=500)
    assert is_understood(AuthenticationFailed("No.", status=401), Response(401))
    assert is_understood(error, Response(404))
    assert not is_understood(error, Response(500))
