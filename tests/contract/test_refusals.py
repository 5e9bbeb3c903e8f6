"""What Enterprise Gateway says when it starts no kernel, and what people are told of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from jupyter_relay.errors import KernelStartFailed
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.testing.servers import RunningServer, enterprise_gateway
from tests.support.enterprise import needs_enterprise_gateway
from tests.support.gateway import settings_for

pytestmark = pytest.mark.enterprise

LIMITS = {
    "all": ({"EG_MAX_KERNELS": "0"}, "Resource Limit"),
    "user": (
        {"EG_MAX_KERNELS_PER_USER": "0"},
        "A max kernels per user limit has been set to 0 and user 'ann' currently has",
    ),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def unlimited() -> AsyncIterator[RunningServer]:
    """A gateway that takes any number of kernels, but none for some users."""
    async with enterprise_gateway(
        python=needs_enterprise_gateway(), env={"EG_UNAUTHORIZED_USERS": "root,bob"}
    ) as running:
        yield running


async def refusal(gateway: RunningServer, environment: dict[str, str]) -> KernelStartFailed:
    """The error of a start that is refused."""
    asked = Gateway(settings_for(gateway.url, environment, auth_token=gateway.token))
    with pytest.raises(KernelStartFailed) as caught:
        await asked.start_kernel("python3")
    await asked.close()
    assert caught.value.status == 403
    assert "token" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("limit", LIMITS)
async def test_start_beyond_a_limit_gives_the_gateways_words_and_does_not_blame_the_token(
    limit: str,
) -> None:
    env, said = LIMITS[limit]
    async with enterprise_gateway(python=needs_enterprise_gateway(), env=env) as gateway:
        error = await refusal(gateway, {"KERNEL_USERNAME": "ann"})
    assert error.message.startswith(f"{gateway.url} refuses to start python3: {said}")
    assert error.hint.startswith("Shut down kernels")


@pytest.mark.parametrize("environment", [{}, {"KERNEL_USERNAME": "bob"}])
async def test_start_by_a_forbidden_user_says_so(
    environment: dict[str, str], unlimited: RunningServer
) -> None:
    error = await refusal(unlimited, environment)
    name = environment.get("KERNEL_USERNAME", "root")
    assert f"refuses to start python3: User '{name}' is not authorized" in error.message
    assert "forward_user" in error.hint


async def test_hub_server_names_its_user_so_that_the_kernel_starts(
    unlimited: RunningServer,
) -> None:
    hub = {"JUPYTERHUB_USER": "ann", "JUPYTERHUB_API_TOKEN": "not-the-gateways"}
    gateway = Gateway(settings_for(unlimited.url, hub, auth_token=unlimited.token))
    model = await gateway.start_kernel("python3")
    await gateway.shutdown_kernel(model.id)
    await gateway.close()
    assert model.name == "python3"
