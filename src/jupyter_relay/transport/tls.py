"""TLS with one gateway: whom we trust, and what we show."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from jupyter_relay.errors import ConfigurationError
from jupyter_relay.settings.transport import TransportSettings

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

_Version: TypeAlias = "tuple[tuple[str, int, int, int], ...]"
"""The files with their inodes, sizes and times of change: what differs after a renewal."""

_CERTIFICATE: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL
)


class Tls:
    """The TLS context of one gateway, for HTTP and websockets; made anew when its files change.

    A new context, not the old one changed: an authority cannot be taken back from a context.
    ``current`` is the one in use. Everything that touches a disk is done in a thread.
    """

    def __init__(self, settings: TransportSettings) -> None:
        self._settings = settings
        self.current: ssl.SSLContext | None = None
        self._seen: _Version = ()
        self._turn = asyncio.Lock()

    async def context(self) -> ssl.SSLContext | None:
        """Return the context; None where nothing goes by TLS.

        Raises `ConfigurationError` naming the option whose file is of no use.
        """
        if self.current is not None or not _wanted(self._settings):
            return self.current
        async with self._turn:
            if self.current is None:
                self._seen, self.current = await asyncio.to_thread(_read, self._settings)
                if not self._settings.validate_cert:
                    _log.warning(
                        "The certificate of %s is not verified (validate_cert is off): who sits on "
                        "the way to it can read and change everything.",
                        self._settings.name,
                    )
        return self.current

    async def renewed(self, used: ssl.SSLContext) -> bool:
        """Look whether the files have changed; say whether ``used`` is the context no more.

        Files that are of no use are told in the log, once, and change nothing: they may be half
        written, and the next look finds the rest.
        """
        if not _files(self._settings):
            return False
        async with self._turn:
            if self.current is used:
                await asyncio.to_thread(self._look)
        return self.current is not used

    def _look(self) -> None:
        version = _version(self._settings)
        if version == self._seen:
            return
        self._seen = version
        try:
            self.current = _load(self._settings)
        except ConfigurationError as error:
            _log.warning("%s What was read before stays in use.", error)
        else:
            _log.info("The certificate files of %s were read again.", self._settings.name)


def _wanted(settings: TransportSettings) -> bool:
    urls = (settings.url, settings.ws_url, settings.proxy or "", settings.ws_proxy or "")
    return any(url.startswith(("https:", "wss:")) for url in urls)


def _files(settings: TransportSettings) -> list[str]:
    named = (settings.ca_certs, settings.client_cert, settings.client_key)
    return [path for path in named if path]


def _version(settings: TransportSettings) -> _Version:
    found = []
    for path in _files(settings):
        for file in _within(Path(path)):
            try:
                status = file.stat()
            except OSError:  # it is gone, or being replaced: that differs, too
                continue
            found.append((str(file), status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(found)


def _within(path: Path) -> list[Path]:
    """Return the files of a folder; of a file, itself."""
    return sorted(filter(Path.is_file, path.iterdir())) if path.is_dir() else [path]


def _read(settings: TransportSettings) -> tuple[_Version, ssl.SSLContext]:
    # In this order: what changes in between is seen as changed at the next look.
    return _version(settings), _load(settings)


def _load(settings: TransportSettings) -> ssl.SSLContext:
    if not settings.validate_cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif path := settings.ca_certs:
        context = _useful(settings, "ca_certs", path, lambda: _trusting(Path(path)))
    else:
        context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])  # who is not told may choose HTTP/2
    certificate, key = settings.client_cert, settings.client_key
    if certificate:
        # Read once for itself: OpenSSL does not say whether it is this file or the key's.
        _useful(settings, "client_cert", certificate, lambda: _trusting(Path(certificate)))
        _useful(
            settings,
            "client_key" if key else "client_cert",
            key or certificate,
            lambda: context.load_cert_chain(certificate, key or None, _no_password),
        )
    elif key:
        raise ConfigurationError(
            f"{settings.names.of('client_key')} of {settings.name} is set, and its certificate "
            f"({settings.names.of('client_cert')}) is not.",
            option="client_cert",
        )
    return context


def _trusting(path: Path) -> ssl.SSLContext:
    """Return a context that trusts the certificates in a file or folder.

    Only those in PEM are read; what else is there, such as a key, is no matter.
    """
    found = [block for file in _within(path) for block in _CERTIFICATE.findall(file.read_bytes())]
    if not found:
        raise ValueError("there is no PEM certificate in it")
    return ssl.create_default_context(cadata=b"\n".join(found).decode("ascii"))


def _no_password() -> str:
    """Refuse; without this OpenSSL asks at the terminal, and the server stands still."""
    raise ValueError("its key is encrypted, which is not supported")


def _useful(settings: TransportSettings, option: str, path: str, read: Callable[[], _T]) -> _T:
    """Return what is read from a file; raise `ConfigurationError` if it is of no use."""
    try:
        return read()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ConfigurationError(
            f"{settings.names.of(option)} of {settings.name} cannot be used ({path}): {why}.",
            option=option,
        ) from error
