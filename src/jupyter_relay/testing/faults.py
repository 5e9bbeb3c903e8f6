"""What a fake gateway can be told to do instead of answering as it should.

Each fault is a value for `FakeGateway.fault`. A websocket handshake is a request like the others,
``GET /api/kernels/*/channels``, and takes the same faults.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from jupyter_relay.wire.json import Json


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer with this status and body, and do nothing else."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: Json, status: int = 200) -> Answer:
        """Answer with a JSON value: an error, ``null``, a list where an object is due."""
        return cls(status, msgspec.json.encode(value))

    @classmethod
    def html(cls, text: str, status: int = 200) -> Answer:
        """Answer with a page, as a proxy or a login form does."""
        return cls(status, text.encode(), "text/html")


@dataclass(frozen=True, slots=True)
class Hold:
    """Wait until ``released`` is set, then carry the request out, its client there or not."""

    released: asyncio.Event


@dataclass(frozen=True, slots=True)
class Delay:
    """Wait so many seconds, then answer as usual."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Silence:
    """Read the request and never answer it."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Abort the TCP connection (RST), with ``after`` once the request has been carried out."""

    after: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """Carry out the request and answer with what ``edit`` makes of the JSON body.

    ::

        gateway.fault("GET", "/api/kernels/*", Change(without("connections")))
    """

    edit: Callable[[Json], Json]


Fault: TypeAlias = Answer | Hold | Delay | Silence | Reset | Change


def without(*fields: str) -> Callable[[Json], Json]:
    """Return an edit that takes these fields out of a model, or of each model of a list."""

    def edit(value: Json) -> Json:
        if isinstance(value, Mapping):
            return {key: item for key, item in value.items() if key not in fields}
        return [edit(item) for item in value] if isinstance(value, list) else value

    return edit


def replaced(**fields: Json) -> Callable[[Json], Json]:
    """Return an edit that sets these fields in a model, or in each model of a list."""

    def edit(value: Json) -> Json:
        if isinstance(value, Mapping):
            return {**value, **fields}
        return [edit(item) for item in value] if isinstance(value, list) else value

    return edit


class FaultRule:
    """A fault in force for some requests; made by `FakeGateway.fault`.

    ``hits`` counts the requests that it has met.
    """

    def __init__(self, method: str, path: str, fault: Fault, times: int | None) -> None:
        self.fault = fault
        self.hits = 0
        self._method = method
        self._path = re.compile("[^/]*".join(re.escape(piece) for piece in path.split("*")))
        self._times = times

    def meets(self, method: str, path: str) -> bool:
        """Whether the fault is to befall this request."""
        return (
            (self._times is None or self.hits < self._times)
            and self._method in ("*", method)
            and self._path.fullmatch(path) is not None
        )

    def lift(self) -> None:
        """Let the next requests pass."""
        self._times = 0
