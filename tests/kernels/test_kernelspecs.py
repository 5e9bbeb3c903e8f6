"""The kernelspecs of one gateway, cached for each user and kept for the next process."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from jupyter_relay.errors import GatewayRefused, KernelSpecNotFound, RelayError
from jupyter_relay.gateway.gateway import Gateway
from jupyter_relay.kernels.kernelspecs import NO_USER, KernelspecLists
from jupyter_relay.rest.models import KernelSpecs
from jupyter_relay.rest.users import NotebookUser
from jupyter_relay.store.store import Store
from jupyter_relay.testing import Answer, FakeGateway
from tests.support.gateway import settings_for

SPECS = "/api/kernelspecs"
ANNA, BEN = NotebookUser("anna"), NotebookUser("ben")


@asynccontextmanager
async def lists_of(
    fake: FakeGateway, folder: Path | None = None, **options: bool
) -> AsyncIterator[KernelspecLists]:
    """The kernelspecs of a fake gateway; with a folder, as a process that has its store there."""
    gateway = Gateway(settings_for(fake.url, **options))
    log = logging.getLogger(__name__)
    store = Store(folder, log=log) if folder is not None else None
    lists = KernelspecLists(gateway, store, log=log)
    try:
        yield lists
    finally:
        await lists.close()
        await gateway.close()
        if store is not None:
            await store.close()


async def test_cached_is_one_list_for_all_where_the_gateway_is_told_no_user(
    fake_gateway: FakeGateway,
) -> None:
    async with lists_of(fake_gateway) as lists:
        assert lists.cached(ANNA) is lists.cached(BEN)
        assert lists.is_for_all(ANNA)


async def test_cached_is_a_list_for_each_user_that_the_gateway_is_told_of(
    fake_gateway: FakeGateway,
) -> None:
    async with lists_of(fake_gateway, forward_user=True) as lists:
        assert lists.cached(ANNA) is not lists.cached(BEN)
        assert not lists.is_for_all(ANNA)
        assert lists.is_for_all(NO_USER)


async def test_cached_of_too_many_users_forgets_the_one_who_asked_first(
    fake_gateway: FakeGateway,
) -> None:
    async with lists_of(fake_gateway, forward_user=True) as lists:
        first, second = lists.cached(ANNA), lists.cached(BEN)
        for number in range(63):
            lists.cached(NotebookUser(f"user-{number}"))
        assert lists.cached(BEN) is second
        assert lists.cached(ANNA) is not first


async def test_known_is_what_was_listed_last(fake_gateway: FakeGateway) -> None:
    async with lists_of(fake_gateway) as lists:
        assert lists.known("python3", NO_USER) is None
        await lists.cached(NO_USER).answer()
        spec = lists.known("python3", NO_USER)
        assert spec is not None
        assert spec.name == "python3"
        assert lists.known("r", NO_USER) is None


async def test_get_asks_for_one_kernelspec(fake_gateway: FakeGateway) -> None:
    async with lists_of(fake_gateway) as lists:
        assert (await lists.get("python3", NO_USER)).name == "python3"
        with pytest.raises(KernelSpecNotFound):
            await lists.get("r", NO_USER)


async def test_resource_that_does_not_exist_is_none(fake_gateway: FakeGateway) -> None:
    async with lists_of(fake_gateway) as lists:
        assert await lists.resource("python3", "logo-64x64.png", NO_USER)
        fake_gateway.fault("GET", "/kernelspecs/*/*", Answer(404))
        assert await lists.resource("python3", "logo-64x64.png", NO_USER) is None


async def test_callbacks_are_called_with_each_list_and_each_outcome(
    fake_gateway: FakeGateway,
) -> None:
    listed: list[tuple[NotebookUser, KernelSpecs]] = []
    outcomes: list[RelayError | None] = []
    async with lists_of(fake_gateway) as lists:
        lists.on_listed = lambda user, specs: listed.append((user, specs))
        lists.on_outcome = lambda user, error: outcomes.append(error)
        await lists.cached(NO_USER).answer()
        fake_gateway.fault("GET", SPECS, Answer(500))
        await lists.cached(NO_USER).answer()
    assert [(user, list(specs.specs)) for user, specs in listed] == [(NO_USER, ["python3"])]
    assert [type(outcome) for outcome in outcomes] == [type(None), GatewayRefused]


async def test_recall_without_a_store_is_none(fake_gateway: FakeGateway) -> None:
    async with lists_of(fake_gateway) as lists:
        assert await lists.recall(NO_USER) is None


async def test_recall_in_the_next_process_has_what_the_last_one_listed(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    async with lists_of(fake_gateway, tmp_path) as lists:
        assert await lists.recall(NO_USER) is None
        await lists.cached(NO_USER).answer()
    async with lists_of(fake_gateway, tmp_path) as lists:
        recalled = await lists.recall(NO_USER)
        assert recalled is not None
        assert list(recalled.specs) == ["python3"]
        assert await lists.recall(NO_USER) is recalled


async def test_recall_of_what_cannot_be_read_is_none_and_logged(
    fake_gateway: FakeGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with lists_of(fake_gateway, tmp_path) as lists:
        await lists.cached(NO_USER).answer()
        store = lists._store
        assert store is not None
        store.kernelspecs.put(lists._gateway.address, "", b"[7")
    async with lists_of(fake_gateway, tmp_path) as lists:
        assert await lists.recall(NO_USER) is None
    assert "are not used" in caplog.text
