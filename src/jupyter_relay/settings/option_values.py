"""The values of all options of one gateway, each as its kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from jupyter_relay.settings.kinds import Value
from jupyter_relay.settings.option_names import OptionNames
from jupyter_relay.settings.options import OPTIONS

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OptionValues:
    """The values of all options, by their names: what was given, or the default."""

    values: Mapping[str, Value] = field(repr=False)

    @classmethod
    def read(cls, given: Mapping[str, Value], names: OptionNames) -> OptionValues:
        """Read options by name; what is not given, or None, takes its default.

        Raises `ConfigurationError`.
        """
        return cls(
            {o.name: o.value(given.get(o.name, o.default), names) for o in OPTIONS},
        )

    def find(self, option: str, kind: type[T]) -> T | None:
        """Return the value of an option whose kind this is; None where it has none."""
        value = self.values[option]
        return value if isinstance(value, kind) else None

    def get(self, option: str, kind: type[T]) -> T:
        """Return the value of an option that has one. Raises `LookupError`."""
        value = self.find(option, kind)
        if value is None:
            raise LookupError(option)
        return value

    def text(self, option: str) -> str:
        """Return the text of an option; an empty one where it has none."""
        return self.find(option, str) or ""

    def listed(self, option: str) -> frozenset[str]:
        """Return the names that an option lists, with commas between them."""
        return frozenset(filter(None, (name.strip() for name in self.text(option).split(","))))
