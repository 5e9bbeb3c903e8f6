"""Reads and checks the bodies of requests about kernels and sessions, and the paths in them.

Jupyter Server's own handlers check no field, and answer most wrong ones with a 500.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from jupyter_server.utils import ApiPath, to_os_path

from jupyter_relay.server.http.http_errors import PlainHTTPError
from jupyter_relay.wire.message import quoted

_Fields: TypeAlias = Mapping[str, "_Fields | None"]
"""The fields of an object that handlers use: None for a text, or the fields of a nested object."""

_NAMED: Final[_Fields] = {"name": None, "path": None}
_FIELDS: Final[_Fields] = {
    "name": None,
    "path": None,
    "type": None,
    "kernel_id": None,
    "kernel": {"id": None, "name": None},
    "notebook": _NAMED,  # the form of old clients
}

_KINDS: Final = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}


def read_body(body: bytes) -> dict[str, Any] | None:
    """Read the body of a request about a kernel or a session; None if there is none.

    A field that is null counts as missing, except ``name``, which null removes. Raises an HTTP
    error 400 for a body that is no JSON object, and for a field of the wrong type.
    """
    if not body.strip():
        return None
    try:
        model = json.loads(body)
    except RecursionError:
        raise PlainHTTPError(400, "The body of the request is nested too deeply.") from None
    except ValueError:  # also for what is no UTF-8
        raise PlainHTTPError(400, "The body of the request is not JSON.") from None
    if model is None:
        return None
    return _checked(model, _FIELDS, "The body of the request")


def _checked(model: object, fields: _Fields, what: str) -> dict[str, Any]:
    if not isinstance(model, dict):
        raise PlainHTTPError(400, f"{what} must be an object, and is {_kind(model)}.")
    checked = {key: value for key, value in model.items() if value is not None or key == "name"}
    for name, inner in fields.items():
        value = checked.get(name)
        if value is None:
            continue
        where = f"The field {name!r}"
        if inner is not None:
            checked[name] = _checked(value, inner, where)
        elif not isinstance(value, str):
            raise PlainHTTPError(400, f"{where} must be a text, and is {_kind(value)}.")
        elif not _is_unicode(value):
            raise PlainHTTPError(400, f"{where} is no valid Unicode text.")
    return checked


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "a number")


def _is_unicode(text: str) -> bool:
    """True if a text can be encoded; JSON can hold single surrogates, which cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_path(path: str, root_dir: str) -> None:
    """Raise a 400 for an API path that leads out of the server's files, whether there is such a
    folder or not: the answer would tell which folders the server's machine has."""
    root = os.path.normpath(root_dir)
    if not _is_below(root, to_os_path(ApiPath(path), root)):
        shown = quoted(path)
        raise PlainHTTPError(400, f"The path {shown!r} leads out of this server's files.")


def _is_below(root: str, path: str) -> bool:
    """Whether a normalised path is a folder's own, or one below it."""
    try:
        return os.path.commonpath([root, path]) == root
    except ValueError:  # on another drive
        return False
