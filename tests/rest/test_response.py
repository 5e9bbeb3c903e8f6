"""The headers of answers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from jupyter_relay.rest.response import retry_after

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Mon, 04 May 2026 03:03:01 GMT", 60.0),
        ("Monday, 04-May-26 03:03:01 GMT", 60.0),
        ("Mon, 04 May 2026 03:03:01 -0000", 60.0),
        ("Mon, 04 May 2026 01:00:00 GMT", 0.0),
        (None, None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("٣", None),
    ],
)
def test_retry_after_of_each_form_is_read(text: str | None, seconds: float | None) -> None:
    assert retry_after(text, NOW) == seconds
