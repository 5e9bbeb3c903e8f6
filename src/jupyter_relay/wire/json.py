"""Reading foreign JSON within bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, TypeAlias

import msgspec

_SCANNED_BYTES: Final = 1024 * 1024
"""The bytes of a body that are scanned at once."""

_MAX_VALUES: Final = 500_000
"""The most values of a body. Parsing that many holds up all threads for about 100 ms."""

Json: TypeAlias = Mapping[str, "Json"] | Sequence["Json"] | str | int | float | bool | None
"""A value that JSON can hold."""


class ModelError(ValueError):
    """A body is not the model that was expected. Its text is "… was expected, but …"."""


def read_json(body: bytes) -> Json:
    """Parse a body. Raises `ModelError` if it is not JSON, or has more than 500,000 values."""
    check_size(body, "JSON")
    try:
        value: Json = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        what = "is empty" if not body.strip() else "is not JSON"
        raise ModelError(f"JSON was expected, but the answer {what}") from error
    return value


def read_date(value: Json | datetime) -> datetime | None:
    """Read an ISO 8601 date, with or without microseconds or an offset, and convert it to UTC.

    A date without an offset is taken as UTC. Returns None for a value that is not a date.
    """
    try:
        date = datetime.fromisoformat(value) if isinstance(value, str) else value
        if not isinstance(date, datetime):
            return None
        if date.tzinfo is UTC:
            return date
        return date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def check_size(body: bytes, what: str) -> None:
    """Raise `ModelError` if a body has more than 500,000 values; ``what`` names it in the error."""
    values = 0
    for at in range(0, len(body), _SCANNED_BYTES):
        values += body.count(b",", at, at + _SCANNED_BYTES)
        if values > _MAX_VALUES:
            raise ModelError(f"{what} was expected, but it has more than {_MAX_VALUES:,} values")
