"""The two ids of a kernel: the one it is shown under here, and the one its gateway knows it by.

Most kernels have one id for both. A kernel has two if it was shown under the id that was chosen
here while its start was under way, and its gateway then gave it an id of its own. The id that was
shown stays valid for the kernel's life.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from jupyter_relay.rest.models import KernelModel


class KernelIds:
    """The ids of the kernels that are used here, on one gateway."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}
        self._shown: dict[str, str] = {}
        self._users: Counter[str] = Counter()

    def given(self, kernel_id: str) -> str:
        """Return the id by which the gateway knows a kernel that is shown under ``kernel_id``."""
        return self._given.get(kernel_id, kernel_id)

    def shown(self, kernel_id: str) -> str:
        """Return the id under which a kernel is shown that its gateway knows by ``kernel_id``."""
        return self._shown.get(kernel_id, kernel_id)

    def join(self, shown: str, given: str) -> None:
        """Show the kernel that its gateway knows by ``given`` under the id ``shown``."""
        if shown != given:
            self._given[shown] = given
            self._shown[given] = shown

    def part(self, shown: str) -> None:
        """Forget the gateway's id of a kernel that no longer exists."""
        given = self._given.pop(shown, None)
        if given is not None:
            del self._shown[given]

    def use(self, shown: str) -> None:
        """Count one more user of a kernel here; `release` ends it."""
        self._users[shown] += 1

    def separate(self, shown: str) -> None:
        """Count one user of a kernel less."""
        self._users[shown] -= 1
        if self._users[shown] <= 0:
            del self._users[shown]

    def in_use(self, kernel_id: str) -> bool:
        """True if a kernel with this id, ours or the gateway's, is used here."""
        return self.shown(kernel_id) in self._users

    def named(self, model: KernelModel) -> KernelModel:
        """Return the gateway's model of a kernel under the id that the kernel is shown under."""
        shown = self._shown.get(model.id)
        return model if shown is None else msgspec.structs.replace(model, id=shown)

    def all_named(self, models: Iterable[KernelModel]) -> tuple[KernelModel, ...]:
        """Return the gateway's models under the ids that their kernels are shown under."""
        return tuple(map(self.named, models)) if self._shown else tuple(models)
