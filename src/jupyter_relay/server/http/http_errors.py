"""Turns our errors into HTTP errors; no other file does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tornado import web

from jupyter_relay.errors import RelayError
from jupyter_relay.redact import MAX_QUOTED
from jupyter_relay.wire.message import quoted


def http_error(error: RelayError, failed: str = "") -> web.HTTPError:
    """Return the HTTP error for one of ours, with its ``http_status`` and its text.

    ``failed`` is put before the text: what has failed, where a person needs to know more.
    """
    return PlainHTTPError(error.http_status, f"{failed}: {error}" if failed else str(error))


class PlainHTTPError(web.HTTPError):
    """An HTTP error whose text is shown as it is, percent signs included.

    Jupyter Server puts `log_message` into JSON as it is, after tornado has doubled each percent
    sign; and into HTML after formatting it. This text is the same in both.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self._text = _PlainText(text)

    @property
    def log_message(self) -> str | None:
        """The text that Jupyter Server puts into its answer."""
        return self._text


def cut_short(error: web.HTTPError) -> web.HTTPError:
    """Return an HTTP error whose text is shortened and cleaned.

    Jupyter Server's own errors quote parts of a request, however long they are. Ours are returned
    as they are: their quotations are shortened already.
    """
    text = error.get_message()
    if isinstance(error, PlainHTTPError) or not text or quoted(text, MAX_QUOTED) == text:
        return error
    cut = PlainHTTPError(error.status_code, quoted(text, MAX_QUOTED))
    cut.reason = error.reason
    return cut.with_traceback(error.__traceback__)


class _PlainText(str):
    """A text in which a percent sign stands for itself, also where the text is formatted."""

    __slots__ = ()

    def __mod__(self, _: object) -> str:
        return self


@contextmanager
def http_errors(failed: str = "") -> Iterator[None]:
    """Raise our errors of the block as HTTP errors; ``failed`` is as in `http_error`."""
    try:
        yield
    except RelayError as error:
        raise http_error(error, failed) from error
