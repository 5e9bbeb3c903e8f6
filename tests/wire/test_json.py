"""Foreign JSON is read within bounds, and what cannot be read has a reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from jupyter_relay.wire.json import Json, ModelError, check_size, read_date, read_json


def test_json_is_read() -> None:
    assert read_json(b'{"a": [1, null, "x"]}') == {"a": [1, None, "x"]}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "JSON was expected, but the answer is empty"),
        (b" \n", "JSON was expected, but the answer is empty"),
        (b"<html>", "JSON was expected, but the answer is not JSON"),
        (b'"\xff"', "JSON was expected, but the answer is not JSON"),
        (b"[" * 100_000, "JSON was expected, but the answer is not JSON"),
        (b"[" + b"," * 500_001 + b"]", "JSON was expected, but it has more than 500,000 values"),
    ],
)
def test_json_body_that_cannot_be_read_is_an_error_with_the_reason(
    body: bytes, reason: str
) -> None:
    with pytest.raises(ModelError) as raised:
        read_json(body)
    assert str(raised.value) == reason


def test_json_body_of_many_bytes_and_few_values_is_within_the_bound() -> None:
    check_size(b" " * 3 * 1024 * 1024, "a list")


NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "date"),
    [
        ("2026-05-04T12:00:00Z", NOON),
        ("2026-05-04T14:00:00+02:00", NOON),
        ("2026-05-04T12:00:00", NOON),
        ("2026-05-04T12:00:00.000000Z", NOON),
        (NOON, NOON),
        (NOON.replace(tzinfo=None), NOON),
        (NOON.astimezone(timezone(timedelta(hours=5))), NOON),
        ("yesterday", None),
        ("", None),
        (7, None),
        (None, None),
        (["2026-05-04"], None),
        ("0001-01-01T00:00:00+05:00", None),
    ],
)
def test_json_date_is_read_as_utc(value: Json | datetime, date: datetime | None) -> None:
    read = read_date(value)
    assert read == date
    assert read is None or read.tzinfo is UTC
