"""The endpoints of one gateway. Ids and names are quoted before they enter a URL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Final
from urllib.parse import quote, unquote, urlencode, urlsplit, urlunsplit

from jupyter_relay.errors import KernelNotFound, KernelSpecNotFound
from jupyter_relay.settings.address import EndpointSettings
from jupyter_relay.wire.message import quoted

_UNQUOTED: Final = 4
"""How often a path is unquoted to check where it leads: proxies do that, and then the gateway."""

_MAX_NAME: Final = 255
"""How many characters the name of a kernelspec or of a file, or the id of a kernel, may have: they
name files and folders on the gateway's machine, and those of Linux have 255 bytes at the most."""

_MAX_PATH: Final = 1024
"""How many characters the path of a kernelspec's file may have."""

_ID = re.compile(rf"\w[\w.-]{{0,{_MAX_NAME - 1}}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where each thing of a gateway is found.

    A name that cannot exist is reported as one that does not, before anything is asked: its
    methods raise `KernelNotFound` or `KernelSpecNotFound` for what is no id or no name.
    """

    settings: EndpointSettings

    @property
    def kernels(self) -> str:
        """All kernels."""
        return _join(self.settings.url, self.settings.kernels_endpoint)

    def kernel(self, kernel_id: str, action: str | None = None) -> str:
        """One kernel, or its ``interrupt`` or ``restart``."""
        return _join(self.kernels, self._id(kernel_id), *([action] if action else []))

    def channels(self, kernel_id: str, session_id: str) -> str:
        """The websocket of one kernel, for one session."""
        url = _join(
            self.settings.ws_url, self.settings.kernels_endpoint, self._id(kernel_id), "channels"
        )
        return _with_query(url, session_id=session_id)

    def kernelspecs(self, user: str | None = None) -> str:
        """All kernelspecs; only those that ``user`` may start, where the gateway filters."""
        return _with_query(_join(self.settings.url, self.settings.kernelspecs_endpoint), user=user)

    @property
    def resources(self) -> str:
        """The files of all kernelspecs."""
        return _join(self.settings.url, self.settings.kernelspecs_resource_endpoint)

    def kernelspec(self, name: str, user: str | None = None) -> str:
        """One kernelspec."""
        url = _join(self.settings.url, self.settings.kernelspecs_endpoint, self._name(name))
        return _with_query(url, user=user)

    def resource(self, name: str, path: str) -> str:
        """A file of a kernelspec, by its path beneath it."""
        self.check_kernelspec(name)
        segments = path.split("/")
        if len(path) > _MAX_PATH or not all(map(_names_a_file, segments)):
            raise KernelSpecNotFound(
                f"{quoted(path)!r} cannot be a file of the kernelspec {quoted(name)!r}.",
                status=404,
                gateway=self.settings.name,
            )
        return _join(
            self.settings.url,
            self.settings.kernelspecs_resource_endpoint,
            self._name(name),
            *(quote(segment, safe="") for segment in segments),
        )

    def check_kernelspec(self, name: str) -> None:
        """Raise `KernelSpecNotFound` for what cannot be the name of a kernelspec."""
        fits = name.isprintable() and 0 < len(name) <= _MAX_NAME
        if not fits or name in {".", ".."} or "/" in name or "\\" in name:
            raise KernelSpecNotFound(
                f"{quoted(name)!r} cannot be the name of a kernelspec.",
                status=404,
                gateway=self.settings.name,
            )

    def _id(self, kernel_id: str) -> str:
        if not _ID.fullmatch(kernel_id):
            raise KernelNotFound(
                f"{quoted(kernel_id)!r} cannot be the id of a kernel.",
                status=404,
                gateway=self.settings.name,
                kernel_id=kernel_id,
            )
        return quote(kernel_id, safe="")

    def _name(self, name: str) -> str:
        self.check_kernelspec(name)
        # Jupyter Server's routes know a percent sign, and no ~, which `quote` lets stand.
        return quote(name, safe="").replace("~", "%7E")


def read_channels(url: str, kernels_endpoint: str) -> tuple[str, str]:
    """Read the URL of a kernel's websocket: return that of the gateway's websockets, which any
    `Endpoints` may have, and the kernel's id. Raises `ValueError` for any other URL."""
    parts = urlsplit(url)
    base, found, rest = parts.path.rpartition(f"/{kernels_endpoint.strip('/')}/")
    kernel_id, channels = map(unquote, rest.rstrip("/").partition("/")[::2])
    if parts.scheme.lower() not in {"ws", "wss"} or not found or channels != "channels":
        raise ValueError("this is not the URL of a kernel's websocket")
    query = [pair for pair in parts.query.split("&") if not pair.startswith("session_id=")]
    return urlunsplit(parts._replace(path=base, query="&".join(query))), kernel_id


def file_of_kernelspec(url: str, name: str, gateway_url: str) -> str | None:
    """Return the path of a kernelspec's file below the folder of that kernelspec, quoted, as the
    gateway's URL of it says; None for a URL that leads to anything else.

    The URL is a path, below any base URL, or one of the gateway's own origin.
    """
    if not url.isprintable() or "\\" in url or url.startswith("//"):
        return None
    try:
        parts, gateway = urlsplit(url), urlsplit(gateway_url)
    except ValueError:
        return None
    if (parts.scheme, parts.netloc) not in {("", ""), (gateway.scheme, gateway.netloc)}:
        return None
    first, *segments = map(unquote, parts.path.split("/"))
    if first or not all(map(_names_a_file, segments)):
        return None
    for at, folder in enumerate(pairwise(segments)):
        below = segments[at + 2 :]
        if folder == ("kernelspecs", name) and below:
            return "/".join(quote(segment, safe="") for segment in below)
    return None


def _names_a_file(segment: str) -> bool:
    """True if a segment of a path, unquoted once, names a file or folder of the folder before it;
    also for somebody who unquotes it again."""
    if len(segment) > _MAX_NAME:
        return False
    for _ in range(_UNQUOTED):
        if segment in {"", ".", ".."} or "/" in segment or "\\" in segment:
            return False
        if not segment.isprintable() or segment != segment.strip():
            return False
        segment = unquote(segment)
    return True


def _join(url: str, *segments: str) -> str:
    """Put segments after a URL's path, and before its query if it has one."""
    parts = urlsplit(url)
    path = "/".join([parts.path.rstrip("/"), *(segment.strip("/") for segment in segments)])
    return urlunsplit(parts._replace(path=path))


def _with_query(url: str, **values: str | None) -> str:
    given = urlencode({key: value for key, value in values.items() if value}, quote_via=quote)
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, given)))))
