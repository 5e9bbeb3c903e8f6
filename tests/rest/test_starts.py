"""What a start sends, and what its refusal means."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from jupyter_relay.errors import (
    AuthenticationFailed,
    GatewayRefused,
    KernelNotFound,
    KernelStartFailed,
    RelayError,
    TooManyRequests,
)
from jupyter_relay.rest.starts import (
    LeftOutVariables,
    no_kernelspec,
    refused_start,
    start_body,
    start_environment,
)
from jupyter_relay.settings.settings import GatewaySettings
from jupyter_relay.settings.start import StartSettings

ID = "4a61ae7e-d0c1-4f5c-9e60-6ea2ff1e9a0b"


def settings() -> StartSettings:
    """The settings of a gateway of which only the URL is given."""
    return GatewaySettings.make({"url": "http://gpu.example"}, {}).start


def environment(env: dict[str, str], cwd: str | None) -> tuple[dict[str, str], dict[str, str]]:
    """What a start sends, without the time-out that every start sends; and what it leaves out."""
    sent, left_out = start_environment(settings(), env, cwd, None)
    del sent["KERNEL_LAUNCH_TIMEOUT"]
    return sent, left_out


def meaning(error: GatewayRefused, name: str | None = "python3") -> RelayError:
    """What the refusal of a start means."""
    return refused_start(error, gateway="gpu", kernel_id=ID, name=name)


def refused(status: int, reason: str = "") -> GatewayRefused:
    """A refusal as it is read from an answer."""
    return GatewayRefused("gpu refused.", status=status, reason=reason)


def test_left_out_variables_each_is_reported_once_by_its_reason() -> None:
    left_out = LeftOutVariables()
    lines = list(left_out.lines({"B": "it is long", "A": "it is long", "C": "it is odd"}))
    assert lines == [
        "A, B: not sent to kernels, since it is long.",
        "C: not sent to kernels, since it is odd.",
    ]
    assert list(left_out.lines({"A": "it is long", "D": "it is odd"})) == [
        "D: not sent to kernels, since it is odd."
    ]


def test_left_out_variables_of_many_names_ten_are_shown_and_a_thousand_remembered() -> None:
    left_out = LeftOutVariables()
    (line,) = left_out.lines({f"V{number:04}": "it is long" for number in range(1500)})
    assert line.startswith("V0000, V0001, ")
    assert line.endswith(", V0009 and 990 more: not sent to kernels, since it is long.")
    assert list(left_out.lines({"W": "it is long"})) == []


def test_start_environment_with_a_folder_sends_it_unless_it_is_set() -> None:
    assert environment({}, "/mnt/work") == ({"KERNEL_WORKING_DIR": "/mnt/work"}, {})
    own = {"KERNEL_WORKING_DIR": "/mnt/own"}
    assert environment(own, "/mnt/work") == (own, {})
    assert environment({}, None) == ({}, {})


def test_start_environment_with_a_folder_that_cannot_be_sent_leaves_it_out() -> None:
    sent, left_out = environment({}, "/mnt/a\nb")
    assert sent == {}
    assert left_out["KERNEL_WORKING_DIR"].startswith("the path of the folder ")


@pytest.mark.parametrize("name", ["python3", None])
def test_start_body_has_the_id_at_both_places_and_the_name_if_there_is_one(
    name: str | None,
) -> None:
    env = {"KERNEL_X": "1"}
    body = start_body(ID, name, env)
    assert body.get("name") == name
    assert (body["kernel_id"], body["env"]) == (ID, {"KERNEL_X": "1", "KERNEL_ID": ID})
    assert "name" in body or name is None
    assert env == {"KERNEL_X": "1"}


def test_refused_start_that_denies_the_id_is_kernel_not_found() -> None:
    error = meaning(refused(HTTPStatus.NOT_FOUND, f"Kernel does not exist: {ID}"))
    assert isinstance(error, KernelNotFound)
    assert error.kernel_id == ID


@pytest.mark.parametrize(
    "error", [AuthenticationFailed("gpu refused.", status=401), TooManyRequests("gpu refused.")]
)
def test_refused_start_of_the_credentials_or_the_rate_is_the_same_error(
    error: GatewayRefused,
) -> None:
    assert meaning(error) is error


def test_refused_start_that_is_forbidden_names_the_kernelspec() -> None:
    error = meaning(refused(HTTPStatus.FORBIDDEN, "quota"))
    assert isinstance(error, KernelStartFailed)
    assert error.message == "gpu refuses to start python3: quota."
    of_default = meaning(refused(HTTPStatus.FORBIDDEN, "quota"), None)
    assert isinstance(of_default, KernelStartFailed)
    assert of_default.message == "gpu refuses to start its default kernel: quota."


def test_refused_start_otherwise_has_the_reason_or_the_status() -> None:
    error = meaning(refused(500, "no memory"))
    assert isinstance(error, KernelStartFailed)
    assert error.message == "gpu could not start a python3 kernel: no memory."
    without = meaning(refused(500), None)
    assert isinstance(without, KernelStartFailed)
    assert without.message == "gpu could not start a default kernel: it answered 500."


def test_start_without_a_known_kernelspec_names_it_and_the_gateway() -> None:
    error = no_kernelspec("gpu", "cobol", 404, "nothing")
    assert error.message == "gpu has no kernelspec 'cobol'."
    assert (error.status, error.reason) == (404, "nothing")
