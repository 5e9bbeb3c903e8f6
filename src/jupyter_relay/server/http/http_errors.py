"""The only place where our errors become HTTP errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tornado import web

from jupyter_relay.errors import RelayError
from jupyter_relay.redact import MAX_QUOTED
from jupyter_relay.wire.message import quoted


def http_error(error: RelayError, failed: str = "") -> web.HTTPError:
    """Return the HTTP error for one of ours: a fitting status, and its text.

    A refusal of the gateway keeps the gateway's status. ``failed`` says what has failed, where
    the person needs to know more than that.
    """
    return PlainHTTPError(error.http_status, f"{failed}: {error}" if failed else str(error))


class PlainHTTPError(web.HTTPError):
    """An HTTP error whose text is shown as it is, percent signs included.

    Jupyter Server puts `log_message` into an answer of JSON as it stands, where tornado has doubled
    each percent sign; into a page of HTML it puts that text after formatting it. Ours is the same
    in both.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self._text = _PlainText(text)

    @property
    def log_message(self) -> str | None:
        """The text that Jupyter Server puts into its answer."""
        return self._text


def cut_short(error: web.HTTPError) -> web.HTTPError:
    """Return an HTTP error whose text is cut and cleaned. Those of Jupyter Server quote what a
    request says, however long it is; ours, which may have several sentences, have that done."""
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
    """Let our errors leave the block as HTTP errors; ``failed`` is as in `http_error`."""
    try:
        yield
    except RelayError as error:
        raise http_error(error, failed) from error
