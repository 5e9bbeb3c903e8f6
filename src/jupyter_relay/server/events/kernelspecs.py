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

MAX_USERS: Final = 500
"""For how many users it is remembered that their kernelspecs are unavailable."""


def register(logger: EventLogger | None) -> None:
    """Make the schema known to a server's event logger, once."""
    if logger is not None and KERNELSPEC_EVENTS not in logger.schemas:
        logger.register_event_schema(_SCHEMA)


class KernelspecEvents:
    """Emits an event when kernelspecs become unavailable, when they are so for a reason of another
    kind, and when they are available again.

    They may be unavailable for one user alone. Events go to all pages, so such an event has neither
    the user nor the reason: each page asks for its own kernelspecs then.

    Users beyond `MAX_USERS` are not remembered and cause no event when their kernelspecs become
    unavailable. They cause one when they are available again, if no other user has since.
    """

    def __init__(self, logger: EventLogger | None, *, gateway: str, log: Log) -> None:
        self._logger = logger
        self._gateway = gateway
        self._log = log
        self._reported: dict[str | None, type[RelayError]] = {}
        """The kind of error that was last reported for a user; None stands for all users."""
        self._too_many = False
        """Whether an error was not reported, since there were too many users; until the next
        event that kernelspecs are available."""

    def report(self, user: str | None, error: RelayError | None) -> None:
        """Emit that the kernelspecs of a user are unavailable, or with None for the error that
        they are available. None for the user stands for all users. Nothing is emitted where that
        was reported last."""
        if error is None:
            if self._reported.pop(user, None) is not None or self._too_many:
                self._too_many = False
                self._emit("available", f"{self._gateway} answers again.", user)
        elif self._reported.get(user) is not type(error):
            if user not in self._reported and len(self._reported) >= MAX_USERS:
                self._too_many = True
                return
            self._reported[user] = type(error)
            self._emit("unavailable", str(error), user)

    def _emit(self, availability: str, msg: str, user: str | None) -> None:
        logger = self._logger
        if logger is None or KERNELSPEC_EVENTS not in logger.schemas:
            return
        data = {"availability": availability, "gateway": self._gateway}
        if user is None:
            data["msg"] = msg
        try:
            logger.emit(schema_id=KERNELSPEC_EVENTS, data=data)
        except Exception:  # noqa: BLE001  # whoever listens, pages get their kernelspecs
            self._log.exception("An event about the kernelspecs could not be emitted.")
