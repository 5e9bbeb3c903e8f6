"""All that an error shows to who looks closely."""

from __future__ import annotations

from collections.abc import Iterator


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error and all that it came from."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__


def shown(error: BaseException) -> str:
    """The texts and attributes of an error and all that it came from."""
    return "\n".join(f"{link!s} {link!r} {vars(link)}" for link in chain(error))
