"""Whether the gateway lists its kernelspecs, as Jupyter events."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from jupyter_relay.errors import RelayError
from jupyter_relay.log import Log

if TYPE_CHECKING:
    from jupyter_events import EventLogger

KERNELSPEC_EVENTS = "https://events.jupyter.org/jupyter_relay/kernelspecs/v1"
"""The id of the schema, under which listeners find them."""

# Read here, since a running server must not wait for files.
_SCHEMA = Path(__file__).with_name("kernelspecs.v1.yaml").read_text(encoding="utf-8")

_MOST_USERS: Final = 64
"""For how many users it is remembered what they were told."""


def register(logger: EventLogger | None) -> None:
    """Make the schema known to a server's event logger, once."""
    if logger is not None and KERNELSPEC_EVENTS not in logger.schemas:
        logger.register_event_schema(_SCHEMA)


class KernelspecEvents:
    """Emits an event when kernelspecs become unavailable, when they are so for a reason of another
    kind, and when they are available again.

    What is unavailable may be so for one user alone: None stands for all of them.
    """

    def __init__(self, logger: EventLogger | None, *, gateway: str, log: Log) -> None:
        self._logger = logger
        self._gateway = gateway
        self._log = log
        self._told: dict[str | None, type[RelayError]] = {}

    def report(self, user: str | None, error: RelayError | None) -> None:
        """Emit why the kernelspecs are unavailable, or with None that they are available; nothing
        where that was told last."""
        if error is None:
            if self._told.pop(user, None) is not None:
                self._emit("available", f"{self._gateway} answers again.", user)
        elif self._told.get(user) is not type(error):
            self._told.pop(user, None)
            self._told[user] = type(error)
            for other in tuple(self._told)[:-_MOST_USERS]:
                del self._told[other]
            self._emit("unavailable", str(error), user)

    def _emit(self, availability: str, msg: str, user: str | None) -> None:
        logger = self._logger
        if logger is None or KERNELSPEC_EVENTS not in logger.schemas:
            return
        data = {"availability": availability, "gateway": self._gateway, "msg": msg}
        if user is not None:
            data["user"] = user
        try:
            logger.emit(schema_id=KERNELSPEC_EVENTS, data=data)
        except Exception:  # noqa: BLE001  # whoever listens, pages get their kernelspecs
            self._log.exception("An event about the kernelspecs could not be emitted.")
