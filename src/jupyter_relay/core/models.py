"""The JSON of gateways as frozen values. Readers are tolerant of what gateways leave out.

Each reader raises `ModelError` for what is not such a model at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias

import msgspec

Json: TypeAlias = dict[str, "Json"] | list["Json"] | str | int | float | bool | None


class ModelError(ValueError):
    """What was read is not the model that was expected; its text ends "but …"."""


class KernelModel(msgspec.Struct, frozen=True, gc=False):
    """A running kernel, as its gateway describes it.

    ``last_activity`` is in UTC; None where the gateway gives no date that can be read. It is a
    msgspec struct, which is made and compared in a fraction of a dataclass's time: a list may have
    a thousand.
    """

    id: str
    name: str
    last_activity: datetime | None = None
    execution_state: str = "unknown"
    connections: int = 0
    reason: str = ""

    @classmethod
    def read(cls, value: Json) -> KernelModel:
        """Read a kernel model; only its id is indispensable."""
        model = _object(value, "a kernel model")
        kernel_id = model.get("id")
        if not isinstance(kernel_id, str) or not kernel_id or not kernel_id.isprintable():
            raise ModelError("a kernel model was expected, but it has no id")
        connections = model.get("connections")
        return cls(
            id=kernel_id,
            name=_string(model.get("name")),
            last_activity=read_date(model.get("last_activity")),
            execution_state=_string(model.get("execution_state")) or "unknown",
            connections=max(0, connections) if isinstance(connections, int) else 0,
            reason=_string(model.get("reason")),
        )

    def updated(self, state: str, at: datetime) -> KernelModel:
        """Return what is known once the kernel itself has told its state: the later word counts.

        ``at`` is when, by the kernel's clock; ``last_activity`` is by its gateway's, which hears a
        status after it was written. Of a kernel that is dead only its gateway can tell.
        """
        since = self.last_activity
        if self.execution_state == "dead" or (since is not None and at <= since):
            return self
        return msgspec.structs.replace(self, execution_state=state, last_activity=at)


@dataclass(frozen=True, slots=True)
class KernelSpecModel:
    """A kernelspec: ``spec`` as the kernel's author wrote it, ``resources`` by name to URL path."""

    name: str
    spec: Mapping[str, Json] = field(default_factory=dict)
    resources: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, value: Json, name: str) -> KernelSpecModel:
        """Read the kernelspec that is listed, or was asked for, under ``name``."""
        model = _object(value, "a kernelspec")
        spec = model.get("spec")
        if not isinstance(spec, dict):
            raise ModelError("a kernelspec was expected, but it has no spec")
        resources = model.get("resources")
        return cls(
            name=_string(model.get("name")) or name,
            spec=spec,
            resources={
                key: path
                for key, path in (resources if isinstance(resources, dict) else {}).items()
                if isinstance(path, str)
            },
        )


@dataclass(frozen=True, slots=True)
class KernelSpecs:
    """All kernelspecs of a gateway by name, and the name of its default one."""

    default: str | None
    specs: Mapping[str, KernelSpecModel]

    @classmethod
    def read(cls, value: Json) -> KernelSpecs:
        """Read a list of kernelspecs; one that cannot be read does not spoil the others."""
        model = _object(value, "a list of kernelspecs")
        listed = model.get("kernelspecs")
        if not isinstance(listed, dict):
            raise ModelError("a list of kernelspecs was expected, but it has none")
        specs = {}
        for name, spec in listed.items():
            try:
                specs[name] = KernelSpecModel.read(spec, name)
            except ModelError:
                continue
        return cls(default=_string(model.get("default")) or None, specs=specs)


_read_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


class KernelLists:
    """Reads the lists of kernels that one gateway gives.

    What it says of a kernel in the same words as the time before is the same object: of a thousand
    kernels few change between two lists, and whoever takes one sees at once that nothing is new.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, KernelModel] = {}

    def read(self, body: bytes) -> tuple[KernelModel, ...]:
        """Read a list of kernels; one that cannot be read does not spoil the others."""
        items = _items(body)
        known, self._known = self._known, {}
        for item in items:
            words = bytes(item)
            model = known.get(words)
            if model is None:
                try:
                    model = KernelModel.read(read_json(words))
                except ModelError:
                    continue
            self._known[words] = model
        return tuple(self._known.values())


def read_json(body: bytes) -> Json:
    """Parse an answer's body. Raises `ModelError` if it is not JSON."""
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


def _items(body: bytes) -> list[msgspec.Raw]:
    try:
        return _read_items(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        value = read_json(body)
        raise ModelError(f"a list of kernels was expected, but it is {_kind(value)}") from error


def _object(value: Json, what: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise ModelError(f"{what} was expected, but it is {_kind(value)}")
    return value


def _string(value: Json) -> str:
    return value if isinstance(value, str) else ""


def _kind(value: Json) -> str:
    return {dict: "an object", list: "a list", str: "a text", type(None): "null"}.get(
        type(value), "a number"
    )
