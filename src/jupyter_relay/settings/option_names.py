"""What the options of a gateway are called in sentences: as their user writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class OptionNames:
    """The names of one gateway's options, as they stand in the user's configuration.

    ``before`` and ``after`` stand around the option's own name. ``have_variables`` is True if
    environment variables can set these options too. ``given_in`` has the name of each option that
    was given in another way, such as by its environment variable.
    """

    before: str = "GatewayClient."
    after: str = ""
    have_variables: bool = True
    given_in: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def in_dictionary(cls, path: str) -> OptionNames:
        """Return the names of options that are the keys of a dictionary, such as
        ``GatewayFleet.gateways["gpu"]``."""
        return cls(f'{path}["', '"]', have_variables=False)

    def of(self, option: str) -> str:
        """Return what an option is called, by the way in which it was given."""
        return self.given_in.get(option) or f"{self.before}{option}{self.after}"

    def all_of(self, option: str, variable: str | None) -> str:
        """Return what an option is called where it is not known how it was given."""
        also = f" ({variable})" if variable and self.have_variables else ""
        return f"{self.before}{option}{self.after}{also}"

    def given(self, names: Mapping[str, str]) -> OptionNames:
        """Return these names, with those of more options that were given in another way."""
        return replace(self, given_in={**self.given_in, **names})


GATEWAY_CLIENT = OptionNames()
"""The names of the options of `GatewayClient`."""
