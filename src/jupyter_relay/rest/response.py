"""An answer to an HTTP request, and how much of one is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from jupyter_relay.redact import Quoter

LIST_BYTES: Final = 64 * 1024 * 1024
FILE_BYTES: Final = 16 * 1024 * 1024
MODEL_BYTES: Final = 1024 * 1024
REASON_BYTES: Final = 64 * 1024
"""How many bytes are read of a body, after decompression: of a list of kernels or kernelspecs, a
file of a kernelspec, the model of one kernel or kernelspec; of a refusal, or of a body that is not
used."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer to an HTTP request; ``content_type`` has no parameters.

    ``headers`` are its own. ``quoter`` redacts its words before they are shown or logged: it knows
    the credentials that were sent, which an answer may quote. ``cut`` is True if the body was
    longer than is read; then there is its beginning at most. ``retry_after`` is after how many
    seconds the server asks for the next request; None if it does not.
    """

    status: int
    reason: str = ""
    content_type: str = ""
    retry_after: float | None = None
    body: bytes = field(default=b"", repr=False)
    cut: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    quoter: Quoter = field(default_factory=Quoter, repr=False, compare=False)


def retry_after(text: str | None, now: datetime) -> float | None:
    """Read a ``Retry-After`` header: the seconds from ``now``, None where it gives none.

    It holds whole seconds, or a date (RFC 9110, 10.2.3); one that has passed means now.
    """
    text = (text or "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    # A date "-0000" comes without a zone, and is UTC.
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds())
