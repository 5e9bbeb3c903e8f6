"""TLS with one server: the certificates that are trusted, and our own."""

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

_Versions: TypeAlias = "tuple[tuple[str, int, int, int], ...]"
"""The files with their inodes, sizes and times of change: these differ after a renewal."""

_CERTIFICATE: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL
)


class Tls:
    """The TLS context of one server, for HTTP and websockets; a new one when its files change.

    The old context is not changed, since an authority cannot be removed from a context.
    ``current`` is the context in use. All disk access is done in a thread.
    """

    def __init__(self, settings: TransportSettings) -> None:
        self._settings = settings
        self.current: ssl.SSLContext | None = None
        self._loaded_versions: _Versions = ()
        self._lock = asyncio.Lock()

    async def context(self) -> ssl.SSLContext | None:
        """Return the context; None where nothing goes by TLS.

        Raises `ConfigurationError` naming the option whose file cannot be used.
        """
        if self.current is not None or not _uses_tls(self._settings):
            return self.current
        async with self._lock:
            if self.current is None:
                self._loaded_versions, self.current = await asyncio.to_thread(
                    _load_with_versions, self._settings
                )
                if not self._settings.validate_cert:
                    _log.warning(
                        "The certificate of %s is not verified (validate_cert is off): anybody on "
                        "the way to it can read and change everything.",
                        self._settings.name,
                    )
        return self.current

    async def is_outdated(self, used: ssl.SSLContext) -> bool:
        """Check whether the files have changed; return True if ``used`` is no longer the context.

        Files that cannot be used are logged once, and change nothing: they may be half written, and
        are read again when they have changed.
        """
        if not _named_files(self._settings):
            return False
        async with self._lock:
            if self.current is used:
                await asyncio.to_thread(self._reload_if_changed)
        return self.current is not used

    def _reload_if_changed(self) -> None:
        version = _file_versions(self._settings)
        if version == self._loaded_versions:
            return
        self._loaded_versions = version
        try:
            self.current = _make_context(self._settings)
        except ConfigurationError as error:
            _log.warning("%s The files that were read before stay in use.", error)
        else:
            _log.info("The certificate files of %s were read again.", self._settings.name)


def _uses_tls(settings: TransportSettings) -> bool:
    urls = (settings.url, settings.ws_url, settings.proxy or "", settings.ws_proxy or "")
    return any(url.startswith(("https:", "wss:")) for url in urls)


def _named_files(settings: TransportSettings) -> list[str]:
    named = (settings.ca_certs, settings.client_cert, settings.client_key)
    return [path for path in named if path]


def _file_versions(settings: TransportSettings) -> _Versions:
    found = []
    for path in _named_files(settings):
        for file in _files_in(Path(path)):
            try:
                status = file.stat()
            except OSError:  # it is missing, or being replaced: that is a change, too
                continue
            found.append((str(file), status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(found)


def _files_in(path: Path) -> list[Path]:
    """Return the files of a folder; for a file, the file itself."""
    return sorted(filter(Path.is_file, path.iterdir())) if path.is_dir() else [path]


def _load_with_versions(settings: TransportSettings) -> tuple[_Versions, ssl.SSLContext]:
    # In this order: a change in between is found at the next check.
    return _file_versions(settings), _make_context(settings)


def _make_context(settings: TransportSettings) -> ssl.SSLContext:
    if not settings.validate_cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif path := settings.ca_certs:
        context = _read_option(settings, "ca_certs", path, lambda: _context_trusting(Path(path)))
    else:
        context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])  # without this a server may choose HTTP/2
    certificate, key = settings.client_cert, settings.client_key
    if certificate:
        # Read by itself first: OpenSSL does not report whether this file or the key's is wrong.
        _read_option(
            settings, "client_cert", certificate, lambda: _context_trusting(Path(certificate))
        )
        _read_option(
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


def _context_trusting(path: Path) -> ssl.SSLContext:
    """Return a context that trusts the certificates in a file or folder.

    Only certificates in PEM are read; all else there, such as a key, is ignored.
    """
    found = [block for file in _files_in(path) for block in _CERTIFICATE.findall(file.read_bytes())]
    if not found:
        raise ValueError("there is no PEM certificate in it")
    return ssl.create_default_context(cadata=b"\n".join(found).decode("ascii"))


def _no_password() -> str:
    """Refuse to give one; without this OpenSSL would ask at the terminal, and block the server."""
    raise ValueError("its key is encrypted, which is not supported")


def _read_option(settings: TransportSettings, option: str, path: str, read: Callable[[], _T]) -> _T:
    """Return what is read from the file of an option. Raises `ConfigurationError`."""
    try:
        return read()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ConfigurationError(
            f"{settings.names.of(option)} of {settings.name} cannot be used ({path}): {why}.",
            option=option,
        ) from error
