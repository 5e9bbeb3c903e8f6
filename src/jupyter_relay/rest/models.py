"""The JSON of gateways as frozen values. Readers are tolerant of what gateways leave out.

Each reader raises `ModelError` for what is not such a model at all.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Final, TypeAlias, TypeVar

import msgspec

from jupyter_relay.redact import Quoter
from jupyter_relay.wire.json import Json, ModelError, check_size, read_date, read_json

MAX_KERNELS: Final = 50_000
MAX_KERNELSPECS: Final = 2_000
"""How many kernels or kernelspecs a list may have."""

MAX_QUOTED_BYTES: Final = 4 * 1024 * 1024
"""How many bytes of a list, in models that may quote a secret, are searched for secrets. A megabyte
of nothing but escapes takes a second."""

_MAX_CLEANED_BYTES: Final = 16 * 1024
"""How many bytes a kernelspec may have from which a secret is cut out; a longer one is refused."""

MAX_OUTLINED: Final = 1_000
"""How many kernelspecs of a list are stored for the next process."""


_MAX_MODEL_BYTES: Final = 1024 * 1024
"""How many bytes the model of one kernel or kernelspec may have."""

_OUTLINED: Final = ("display_name", "language")

_PIECE_BYTES: Final = 1024 * 1024
"""How many bytes of a list are split in one step, which takes a millisecond."""

_BETWEEN_OBJECTS: Final = re.compile(rb"\}\s{0,64}(?P<comma>,)\s{0,64}\{")
"""The comma between two objects of a list."""

_NO_SECRETS: Final = Quoter()

T = TypeVar("T")

Reading: TypeAlias = Generator[None, None, T]
"""The reading of what may be large, in steps of some milliseconds at the most, so that others have
their turn in between. It returns what was read, or raises `ModelError`."""


_IDLE_STATES: Final = frozenset({"starting", "idle", "restarting", "dead"})
"""The states in which a kernel computes nothing."""


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
    def from_json(cls, value: Json, quoter: Quoter = _NO_SECRETS) -> KernelModel:
        """Read a kernel model; only its id is indispensable. Its words pass ``quoter``."""
        model = _expect_object(value, "a kernel model")
        kernel_id = model.get("id")
        if not isinstance(kernel_id, str) or not kernel_id or not kernel_id.isprintable():
            raise ModelError("a kernel model was expected, but it has no id")
        if quoter.quote(kernel_id) != kernel_id:
            raise ModelError("a kernel model was expected, but its id cannot be one")
        connections = model.get("connections")
        return cls(
            id=kernel_id,
            name=quoter.quote(_text_or_empty(model.get("name"))),
            last_activity=read_date(model.get("last_activity")),
            execution_state=quoter.quote(_text_or_empty(model.get("execution_state"))) or "unknown",
            connections=max(0, connections) if isinstance(connections, int) else 0,
            reason=quoter.quote(_text_or_empty(model.get("reason"))),
        )

    @property
    def may_be_at_work(self) -> bool:
        """True if the kernel may be computing, by its state. A kernel that is starting has not
        received a request yet."""
        return self.execution_state not in _IDLE_STATES

    def updated(self, state: str, at: datetime) -> KernelModel:
        """Return the model with the state that the kernel itself has reported, if that is newer.

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
    def from_json(cls, value: Json, name: str, quoter: Quoter = _NO_SECRETS) -> KernelSpecModel:
        """Read a kernelspec in one go; see `steps`."""
        return read_at_once(cls.steps(value, name, quoter))

    @classmethod
    def steps(cls, value: Json, name: str, quoter: Quoter) -> Reading[KernelSpecModel]:
        """Read the kernelspec that is listed, or was asked for, under ``name``.

        Where a text of it tells a secret, that is cut out, and the words for people pass
        ``quoter``.
        """
        model = _expect_object(value, "a kernelspec")
        spec = model.get("spec")
        if not isinstance(spec, dict):
            raise ModelError("a kernelspec was expected, but it has no spec")
        json = msgspec.json.encode(model)
        tells = (yield from quoter.may_contain_secret(json)) and (
            yield from quoter.search_long(json.decode())
        )
        if tells:
            if len(json) > _MAX_CLEANED_BYTES:
                raise ModelError("a kernelspec was expected, but it quotes a credential")
            spec = _without_secrets(spec, quoter)
        words = {key: spec[key] for key in _OUTLINED if key in spec}
        resources = model.get("resources")
        return cls(
            name=quoter.quote(_text_or_empty(model.get("name"))) or name,
            spec=spec | {key: quoter.quote(_text_or_empty(text)) for key, text in words.items()},
            resources={
                key: path
                for key, path in (resources if isinstance(resources, dict) else {}).items()
                if isinstance(path, str) and not (tells and quoter.contains_secret(f"{key} {path}"))
            },
        )


@dataclass(frozen=True, slots=True)
class KernelSpecs:
    """All kernelspecs of a gateway by name, and the name of its default one."""

    default: str | None
    specs: Mapping[str, KernelSpecModel]

    @classmethod
    def from_json(cls, body: bytes, quoter: Quoter = _NO_SECRETS) -> KernelSpecs:
        """Read a list of kernelspecs in one go; see `steps`."""
        return read_at_once(cls.steps(body, quoter))

    @classmethod
    def steps(cls, body: bytes, quoter: Quoter) -> Reading[KernelSpecs]:
        """Read a list of kernelspecs; one that cannot be read does not spoil the others."""
        what = "a list of kernelspecs"
        check_size(body, what)
        try:
            model = _read_specs(body)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            _expect_object(_short_json(body, what), what)
            raise ModelError(f"{what} was expected, but it has none") from error
        listed = model.kernelspecs
        _check_number(len(listed), MAX_KERNELSPECS, what)
        specs = {}
        search = _SecretSearch(quoter, what)
        for name, raw in listed.items():
            yield
            if memoryview(raw).nbytes > _MAX_MODEL_BYTES:
                continue
            words = bytes(raw)
            by = yield from search.quoter_for(words)
            try:
                if quoter.quote(name) == name:
                    specs[name] = yield from KernelSpecModel.steps(_read_model(words), name, by)
            except ModelError:
                continue
        default = quoter.quote(_text_or_empty(_read_model(bytes(model.default))))
        return cls(default=default or None, specs=specs)

    def outline(self) -> bytes:
        """Return the JSON of a list with the same default and the same kernelspecs, `MAX_OUTLINED`
        at the most, each with its display name and language, and with nothing else. `read` reads
        it."""
        shown = {
            name: {"spec": {key: spec.spec[key] for key in _OUTLINED if key in spec.spec}}
            for name, spec in islice(self.specs.items(), MAX_OUTLINED)
        }
        return msgspec.json.encode({"default": self.default, "kernelspecs": shown})


class _RawSpecs(msgspec.Struct):
    """A list of kernelspecs, each of which is yet to be parsed."""

    kernelspecs: dict[str, msgspec.Raw]
    default: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"null"))


_read_specs = msgspec.json.Decoder(_RawSpecs).decode

_read_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


class KernelLists:
    """Reads the lists of kernels that one gateway gives.

    A kernel whose JSON has not changed since the list before is the same object again. Of a
    thousand kernels few change between two lists, and a comparison by identity finds these.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, KernelModel] = {}

    def read(self, body: bytes, quoter: Quoter = _NO_SECRETS) -> tuple[KernelModel, ...]:
        """Read a list of kernels in one go; see `steps`."""
        return read_at_once(self.steps(body, quoter))

    def steps(self, body: bytes, quoter: Quoter) -> Reading[tuple[KernelModel, ...]]:
        """Read a list of kernels; one that cannot be read does not spoil the others."""
        known, found = self._known, {}
        search = _SecretSearch(quoter, "a list of kernels")
        for item in (yield from _split_list(body)):
            yield
            if memoryview(item).nbytes > _MAX_MODEL_BYTES:
                continue  # before it is searched, which would take its time
            words = bytes(item)
            model = known.get(words)
            if model is None:
                by = yield from search.quoter_for(words)
                try:
                    model = KernelModel.from_json(_read_model(words), by)
                except ModelError:
                    continue
            found[words] = model
        self._known = found
        return tuple(found.values())


def read_at_once(steps: Reading[T]) -> T:
    """Take all steps of a reading, and return what was read."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: T = end.value
            return found


class _SecretSearch:
    """Which models of a list are searched for secrets, and how much that may be."""

    def __init__(self, quoter: Quoter, what: str) -> None:
        self._quoter = quoter
        self._what = what
        self._left = MAX_QUOTED_BYTES

    def quoter_for(self, words: bytes) -> Reading[Quoter]:
        """Return what the words of a model have to pass, which is less where no secret can be."""
        if not (yield from self._quoter.may_contain_secret(words)):
            return _NO_SECRETS
        self._left -= len(words)
        if self._left < 0:
            raise ModelError(
                f"{self._what} was expected, but it has more than {MAX_QUOTED_BYTES:,} bytes in "
                "which something is quoted"
            )
        return self._quoter


def _split_list(body: bytes) -> Reading[list[msgspec.Raw]]:
    """Take a list apart; a long one piece by piece, as long as it is one of objects."""
    what = "a list of kernels"
    check_size(body, what)
    items: list[msgspec.Raw] = []
    rest = body
    start = 0
    while (end := _end_of_piece(body, start)) is not None:
        # A piece that ends within a text or a model cannot be parsed as a list.
        try:
            items += _read_items(b"[" + body[start + 1 : end] + b"]")
        except (msgspec.DecodeError, ValueError, RecursionError):
            break
        start = end
        yield
    if start:
        rest = b"[" + body[start + 1 :]
    try:
        items += _read_items(rest)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        value = _short_json(body, what)
        raise ModelError(f"{what} was expected, but it is {_json_kind(value)}") from error
    _check_number(len(items), MAX_KERNELS, what)
    return items


def _end_of_piece(body: bytes, start: int) -> int | None:
    """The comma at which a piece of a long list may end; None where the rest is not long, or no
    comma stands between two objects there.

    ``start`` is where the list begins, or the comma before the piece.
    """
    if len(body) - start < 2 * _PIECE_BYTES or not body.startswith(b"["):
        return None
    found = _BETWEEN_OBJECTS.search(body, start + _PIECE_BYTES, start + 2 * _PIECE_BYTES)
    return found.start("comma") if found is not None else None


def _short_json(body: bytes, what: str) -> Json:
    """Parse what is no list as it should be, to say what it is. Raises `ModelError` for what is
    long."""
    if len(body) > _MAX_MODEL_BYTES:
        raise ModelError(f"{what} was expected, but the answer is not one that can be read")
    return read_json(body)


def _read_model(words: bytes) -> Json:
    """Parse one model of a list. Raises `ModelError` if it is too long."""
    if len(words) > _MAX_MODEL_BYTES:
        raise ModelError(f"a model was expected, but it has more than {_MAX_MODEL_BYTES:,} bytes")
    return read_json(words)


def _check_number(number: int, most: int, what: str) -> None:
    if number > most:
        raise ModelError(f"{what} was expected, but it has {number:,}, and {most:,} are the most")


def _without_secrets(spec: dict[str, Json], quoter: Quoter) -> dict[str, Json]:
    """Return a kernelspec without what is secret."""

    def clean(value: Json) -> Json:
        match value:
            case str():
                return quoter.without_secrets(value) if quoter.contains_secret(value) else value
            case list():
                return [clean(item) for item in value]
            case dict():
                kept = value.items()
                return {key: clean(item) for key, item in kept if not quoter.contains_secret(key)}
        return value

    try:
        return {key: clean(value) for key, value in spec.items() if not quoter.contains_secret(key)}
    except RecursionError as error:
        raise ModelError("a kernelspec was expected, but it has too many levels") from error


def _expect_object(value: Json, what: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise ModelError(f"{what} was expected, but it is {_json_kind(value)}")
    return value


def _text_or_empty(value: Json) -> str:
    return value if isinstance(value, str) else ""


def _json_kind(value: Json) -> str:
    return {dict: "an object", list: "a list", str: "a text", type(None): "null"}.get(
        type(value), "a number"
    )
