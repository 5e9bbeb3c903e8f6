"""The id that a kernel is shown under, and the one that its gateway knows it by."""

from __future__ import annotations

from jupyter_relay.rest.ids import KernelIds
from jupyter_relay.rest.models import KernelModel


def test_kernel_has_one_id_unless_two_are_joined() -> None:
    ids = KernelIds()
    assert (ids.given("a"), ids.shown("a")) == ("a", "a")
    ids.join("a", "a")
    model = KernelModel("a", "python3")
    assert ids.named(model) is model
    assert ids.all_named([model]) == (model,)


def test_joined_ids_are_one_kernel_until_it_is_gone() -> None:
    ids = KernelIds()
    ids.join("shown", "given")
    assert (ids.given("shown"), ids.shown("given")) == ("given", "shown")
    assert (ids.given("given"), ids.shown("shown")) == ("given", "shown")
    other = KernelModel("other", "python3")
    named = ids.all_named([KernelModel("given", "python3"), other])
    assert [model.id for model in named] == ["shown", "other"]
    ids.part("shown")
    assert (ids.given("shown"), ids.shown("given")) == ("shown", "given")
    ids.part("shown")


def test_kernel_is_in_use_by_either_id_until_the_last_user_leaves() -> None:
    ids = KernelIds()
    ids.join("shown", "given")
    ids.use("shown")
    ids.use("shown")
    ids.separate("shown")
    assert ids.in_use("shown")
    assert ids.in_use("given")
    ids.separate("shown")
    assert not ids.in_use("shown")
    assert not ids.in_use("given")
