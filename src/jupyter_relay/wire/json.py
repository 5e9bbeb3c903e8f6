"""JSON of others, read within bounds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, TypeAlias

import msgspec

_PIECE_BYTES: Final = 1024 * 1024

_MOST_VALUES: Final = 500_000
"""How many values an answer may have. To parse it holds up all threads for their time, 100 ms."""

Json: TypeAlias = dict[str, "Json"] | list["Json"] | str | int | float | bool | None


class ModelError(ValueError):
    """What was read is not the model that was expected; its text ends "but …"."""


def read_json(body: bytes) -> Json:
    """Parse an answer's body. Raises `ModelError` if it is not JSON, or has too many values."""
    check_size(body, "JSON")
    try:
        value: Json = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        what = "is empty" if not body.strip() else "is not JSON"
        raise ModelError(f"JSON was expected, but the answer {what}") from error
    return value


def read_date(value: Json | datetime) -> datetime | None:
    """Read an ISO 8601 date, with or without microseconds or an offset, as one in UTC; None for
    what is no date."""
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
    """Raise `ModelError` if a body, which is called ``what``, has too many values to be parsed."""
    values = 0
    for at in range(0, len(body), _PIECE_BYTES):
        values += body.count(b",", at, at + _PIECE_BYTES)
        if values > _MOST_VALUES:
            raise ModelError(f"{what} was expected, but it has more than {_MOST_VALUES:,} values")
