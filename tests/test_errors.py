"""The tree of errors: what is drawn is what is there, and each knows its HTTP status."""

from __future__ import annotations

import inspect
import re

import pytest

from jupyter_relay import errors
from jupyter_relay.errors import RelayError

ABOUT = {"hint": "Do this.", "gateway": "gpu", "kernel_id": "k1"}

CLASSES = {
    name: kind
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, RelayError)
}

STATUSES = {
    "RelayError": 500,
    "ConfigurationError": 500,
    "CredentialsUnavailable": 503,
    "VariableRefused": 400,
    "GatewayUnavailable": 503,
    "HostNotFound": 503,
    "ConnectionFailed": 503,
    "TLSFailed": 503,
    "GatewayTimeout": 504,
    "GatewayClosed": 503,
    "GatewayRefused": 418,
    "AuthenticationFailed": 418,
    "TooManyRequests": 429,
    "KernelNotFound": 404,
    "KernelSpecNotFound": 404,
    "KernelStartFailed": 418,
    "UnexpectedAnswer": 502,
    "OtherKernelAnswered": 502,
    "Redirected": 502,
    "KernelNotRunning": 404,
    "OperationUnderWay": 409,
    "KernelStarting": 409,
    "LinkLost": 500,
    "NotPossibleOnGateway": 501,
    "WireError": 500,
    "MalformedFrame": 502,
    "UnsendableMessage": 500,
}
"""The HTTP status of each error, where its gateway answered 418 if it answered."""

OWN = {"option": "url", "name": "KERNEL_X", "status": 418}
"""What some errors cannot be made without."""


def make(name: str, **facts: object) -> RelayError:
    kind = CLASSES[name]
    taken: set[str] = set()
    for base in inspect.getmro(kind):
        if "__init__" in vars(base):
            parameters = inspect.signature(base).parameters
            taken |= {p for p in parameters if parameters[p].default is inspect.Parameter.empty}
            break
    own = {key: value for key, value in OWN.items() if key in taken}
    return kind("Something failed.", **own, **ABOUT, **facts)  # type: ignore[arg-type]  # each its own


def drawn() -> dict[str, str]:
    """Return the parent of each class in the drawing of the tree."""
    parents: dict[str, str] = {}
    path = ["RelayError"]
    for indent, name in re.findall(r"^    ([│ ]*)[├└] (\w+)", errors.__doc__ or "", re.MULTILINE):
        depth = len(indent) // 2 + 1
        path[depth:] = [name]
        parents[name] = path[depth - 1]
    return parents


def test_error_tree_in_the_drawing_is_that_of_the_classes() -> None:
    parents = {
        name: kind.__bases__[0].__name__ for name, kind in CLASSES.items() if kind is not RelayError
    }
    assert drawn() == parents


@pytest.mark.parametrize("name", CLASSES)
def test_error_has_its_status_and_its_subject(name: str) -> None:
    error = make(name)
    assert error.http_status == STATUSES[name]
    assert (error.hint, error.gateway, error.kernel_id) == ("Do this.", "gpu", "k1")
    assert str(error) == "Something failed. Do this."


def test_refusal_without_the_status_of_an_error_is_a_fault_of_the_server() -> None:
    assert errors.GatewayRefused("No.", status=304).http_status == 500


def test_closed_gateway_error_is_never_retryable() -> None:
    assert errors.GatewayClosed.retryable is False
    assert not errors.GatewayClosed("It was closed.").doubtful
    assert errors.GatewayClosed("It was closed.", doubtful=True).doubtful
