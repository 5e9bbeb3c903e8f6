"""Starting kernels."""

from __future__ import annotations

import os

import pytest

from jupyter_relay.errors import (
    KernelSpecNotFound,
    KernelStartFailed,
    UnexpectedAnswer,
)
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.testing import (
    Answer,
    FakeGateway,
)
from tests.support.gateway import KERNELS, NO_ANSWERS, settings_for


def sent_env(fake: FakeGateway) -> dict[str, str]:
    """The environment of the last start, without the kernel's id."""
    body = fake.requests_to("POST", KERNELS)[-1].json
    assert isinstance(body, dict)
    env: dict[str, str] = body["env"]
    return {name: value for name, value in env.items() if name != "KERNEL_ID"}


async def test_start_returns_the_started_kernel(
    gateway: Gateway, fake_gateway: FakeGateway
) -> None:
    model = await gateway.start_kernel("python3")
    assert set(fake_gateway.kernels) == {model.id}
    assert model.name == "python3"


async def test_start_without_a_name_starts_the_gateways_default(
    gateway: Gateway, fake_gateway: FakeGateway
) -> None:
    fake_gateway.kernelspecs = ["r", "python3"]
    assert (await gateway.start_kernel(None)).name == "r"
    body = fake_gateway.requests_to("POST", KERNELS)[0].json
    assert isinstance(body, dict)
    assert "name" not in body


async def test_start_always_sends_the_environment(
    gateway: Gateway, fake_gateway: FakeGateway
) -> None:
    await gateway.start_kernel("python3")
    assert sent_env(fake_gateway) == {"KERNEL_LAUNCH_TIMEOUT": "40"}


async def test_start_merges_the_users_environment_over_ours_without_change_to_ours(
    fake_gateway: FakeGateway,
) -> None:
    before = dict(os.environ)
    own = {"KERNEL_A": "ours", "KERNEL_B": "ours", "HOME": "ours", "PROXY": "ours"}
    gateway = Gateway(settings_for(fake_gateway.url, own, allowed_envs="PROXY"))
    given = {"KERNEL_A": "theirs", "PROXY": "theirs", "PATH": "theirs"}
    await gateway.start_kernel("python3", env=given)
    await gateway.start_kernel("python3")
    await gateway.close()
    bodies = [request.json for request in fake_gateway.requests_to("POST", KERNELS)]
    envs = [body["env"] for body in bodies if isinstance(body, dict)]
    assert len({env.pop("KERNEL_ID") for env in envs}) == 2
    common = {"KERNEL_B": "ours", "KERNEL_LAUNCH_TIMEOUT": "40"}
    assert envs == [
        {"KERNEL_A": "theirs", "PROXY": "theirs", **common},
        {"KERNEL_A": "ours", "PROXY": "ours", **common},
    ]
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("env", "cwd", "sent"),
    [
        ({}, "/work", "/work"),
        ({"KERNEL_WORKING_DIR": "/mine"}, "/work", "/mine"),
        ({}, None, None),
    ],
)
async def test_start_sends_the_working_directory(
    gateway: Gateway, fake_gateway: FakeGateway, env: dict[str, str], cwd: str, sent: str
) -> None:
    await gateway.start_kernel("python3", env=env, cwd=cwd)
    assert sent_env(fake_gateway).get("KERNEL_WORKING_DIR") == sent


async def test_start_of_a_missing_kernelspec_is_an_error(gateway: Gateway) -> None:
    with pytest.raises(KernelSpecNotFound, match="has no kernelspec 'fortran'") as caught:
        await gateway.start_kernel("fortran")
    assert isinstance(caught.value, KeyError)


async def test_start_that_fails_gives_the_gateways_reason(
    gateway: Gateway, fake_gateway: FakeGateway
) -> None:
    body = {"reason": "Out of GPUs.", "message": "", "traceback": "Traceback …"}
    fake_gateway.fault("POST", KERNELS, Answer.json(body, 500))
    with pytest.raises(KernelStartFailed, match="python3 kernel: Out of GPUs") as caught:
        await gateway.start_kernel("python3")
    assert (caught.value.status, caught.value.reason) == (500, "Out of GPUs")
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("answer", [*NO_ANSWERS, Answer.json({"id": None})])
async def test_start_answered_by_something_that_is_no_gateway_is_an_error(
    gateway: Gateway, fake_gateway: FakeGateway, answer: Answer
) -> None:
    fake_gateway.fault("POST", KERNELS, answer)
    with pytest.raises(UnexpectedAnswer, match="does not answer like a Jupyter gateway"):
        await gateway.start_kernel("python3")


async def test_start_answered_by_a_redirect_to_a_login_is_an_error(
    gateway: Gateway, fake_gateway: FakeGateway
) -> None:
    fake_gateway.fault("POST", KERNELS, Answer(302, headers={"Location": "/login"}))
    with pytest.raises(UnexpectedAnswer, match="302"):
        await gateway.start_kernel("python3")
