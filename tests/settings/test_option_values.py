"""The values of all options, each as its kind."""

from __future__ import annotations

import pytest

from jupyter_relay.settings.option_names import GATEWAY_CLIENT
from jupyter_relay.settings.option_values import OptionValues
from jupyter_relay.settings.options import OPTIONS


def test_values_have_what_was_given_and_else_the_defaults() -> None:
    values = OptionValues.read({"linger": "7", "allowed_envs": " A ,, B"}, GATEWAY_CLIENT)
    assert values.values.keys() == {option.name for option in OPTIONS}
    assert values.get("linger", float) == 7.0
    assert values.get("pool_size", int) == 64
    assert values.listed("allowed_envs") == {"A", "B"}
    assert values.text("client_key") == ""
    assert values.find("client_key", str) is None


def test_option_without_a_value_is_a_lookup_error() -> None:
    values = OptionValues.read({}, GATEWAY_CLIENT)
    with pytest.raises(LookupError, match="gateway_retry_max"):
        values.get("gateway_retry_max", int)


def test_values_are_not_shown() -> None:
    assert "hunter2" not in repr(OptionValues.read({"auth_token": "hunter2"}, GATEWAY_CLIENT))
