"""Where tokens come from: a variable, a file, a command, a class of the user's own."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from jupyter_relay.credentials.source import TokenSource
from jupyter_relay.credentials.tokens import MAX_TOKEN_BYTES, NoToken, Token, read_output
from jupyter_relay.errors import RelayError
from jupyter_relay.redact import Quoter
from jupyter_relay.settings.credentials import CredentialSettings
from jupyter_relay.settings.origins import (
    FromCommand,
    FromFile,
    FromOAuth2,
    FromRenewer,
    FromVariable,
    check_installed,
)

_COMMAND_SECONDS: Final = 30.0
"""How long a command may read_printed."""

_MAX_DETAIL: Final = 2000
"""How many characters of what a failed command wrote are logged: the last ones."""


class VariableSource(TokenSource):
    """A variable of an environment."""

    def __init__(self, origin: FromVariable, environment: Mapping[str, str]) -> None:
        super().__init__(origin)
        self._variable = origin.name
        self._environment = environment

    async def fetch(self, now: float) -> Token:
        """See `TokenSource.fetch`."""
        value = self._environment.get(self._variable, "").strip()
        if not value:
            raise NoToken("is not set.", hint="Set it before the program starts.")
        return Token(value)


class FileSource(TokenSource):
    """A file. It is checked at each request, and read if it was replaced or written."""

    def __init__(self, origin: FromFile) -> None:
        super().__init__(origin)
        self._path = Path(origin.path).expanduser()
        self._seen: tuple[tuple[int, ...], Token] | None = None

    async def fetch(self, now: float) -> Token:
        """See `TokenSource.fetch`."""
        return await asyncio.to_thread(self._read_file)

    def _read_file(self) -> Token:
        """Read the file if it has changed. Kubernetes replaces files by symbolic links, so that the
        opened file is compared, and not its path."""
        try:
            with self._path.open("rb") as file:
                stat = os.fstat(file.fileno())
                mark = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
                if self._seen is not None and self._seen[0] == mark:
                    return self._seen[1]
                text = file.read(MAX_TOKEN_BYTES + 1)
        except OSError as error:
            raise NoToken(
                f"cannot be read: {error.strerror or type(error).__name__}.",
                hint="Look at its path, and at who may read it.",
            ) from None
        token = Token(_decode(text).strip())
        self._seen = (mark, token)
        return token


class CommandSource(TokenSource):
    """A command. It is run without a shell, in a session of its own, with an empty stdin."""

    each_time = False

    def __init__(self, origin: FromCommand, *, seconds: float = _COMMAND_SECONDS) -> None:
        super().__init__(origin)
        self._argv = origin.argv
        self._seconds = seconds

    async def fetch(self, now: float) -> Token:
        """See `TokenSource.fetch`. If it is cancelled, the command is killed."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._argv, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, start_new_session=True
            )
        except (OSError, ValueError) as error:
            raise NoToken(
                f"cannot be run: {getattr(error, 'strerror', None) or type(error).__name__}.",
                hint="Look at its name, and at the PATH of this program.",
            ) from None
        try:
            async with asyncio.timeout(self._seconds):
                printed, said = await _read_outputs(process)
        except TimeoutError:
            raise NoToken(
                f"did not end within {self._seconds:g} s.",
                hint="It must not ask for input: nobody can answer.",
            ) from None
        finally:
            await _kill(process)
        if process.returncode != 0:
            raise NoToken(
                f"failed with exit status {process.returncode}.",
                hint="Run it by hand; the log has what it wrote to stderr.",
                detail=f"It said: {_without_printed_words(said, printed)}",
            )
        return read_output(_decode(printed), now)


async def _read_outputs(process: Process) -> tuple[bytes, bytes]:
    """Wait for a command's end; return its stdout, and the end of its stderr.

    Raises `NoToken` as soon as it has printed more than a token can have.
    """
    assert process.stdout is not None  # noqa: S101  # both are pipes
    assert process.stderr is not None  # noqa: S101
    printed, said = bytearray(), bytearray()

    async def read_printed(stream: asyncio.StreamReader) -> None:
        while len(printed) <= MAX_TOKEN_BYTES and (piece := await stream.read(MAX_TOKEN_BYTES)):
            printed.extend(piece)

    async def read_errors(stream: asyncio.StreamReader) -> None:
        while piece := await stream.read(MAX_TOKEN_BYTES):
            said.extend(piece)
            del said[:-MAX_TOKEN_BYTES]

    reading_errors = asyncio.ensure_future(read_errors(process.stderr))
    try:
        await read_printed(process.stdout)
        if len(printed) > MAX_TOKEN_BYTES:
            raise NoToken("gave far more than a token.")
        await reading_errors
        await process.wait()
    finally:
        reading_errors.cancel()
        await asyncio.wait([reading_errors])
    return bytes(printed), bytes(said)


def _without_printed_words(said: bytes, printed: bytes) -> str:
    """Return the end of a command's stderr without the words that it printed: one of them may be a
    token."""
    quoter = Quoter(printed.decode(errors="replace").split())
    return quoter.quote_end(said.decode(errors="replace"), _MAX_DETAIL)


class RenewerSource(TokenSource):
    """A class of the user's own. An error that it raises leaves the last token in use. An error of
    ours, such as for a class that cannot be imported, is raised as it is."""

    def __init__(self, origin: FromRenewer, settings: CredentialSettings) -> None:
        super().__init__(origin)
        self._renew = origin.renew
        self._token = origin.initial
        self._header = (settings.auth_header_key, settings.auth_scheme)

    async def fetch(self, now: float) -> Token:
        """See `TokenSource.fetch`."""
        try:
            token = await asyncio.to_thread(self._renew, *self._header, self._token)
        except RelayError:
            raise
        except Exception as error:  # noqa: BLE001  # any error of the class means that there is no token
            said = Quoter([self._token]).quote_end(str(error), _MAX_DETAIL)
            raise NoToken(
                f"raised {type(error).__name__}.", hint="The log has its text.", detail=said
            ) from None
        if not isinstance(token, str):
            raise NoToken(f"returned {type(token).__name__} instead of a text.")
        token = token.strip()
        made = Token(token)
        self._token = token
        return made


def source_of(settings: CredentialSettings) -> TokenSource | None:
    """Return the source of a gateway's token; None where the token is static, or there is none.

    Raises as `check_installed`.
    """
    check_installed(settings.token_origin)
    match settings.token_origin:
        case FromVariable() as origin:
            return VariableSource(origin, settings.environment)
        case FromFile() as origin:
            return FileSource(origin)
        case FromCommand() as origin:
            return CommandSource(origin)
        case FromRenewer() as origin:
            return RenewerSource(origin, settings)
        case FromOAuth2() as origin:
            from jupyter_relay.credentials.oauth2 import OAuth2Source

            return OAuth2Source(origin)
        case None:
            return None


async def _kill(process: Process) -> None:
    """Kill a process that still runs, with all that it has started, and wait for its end."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        await process.communicate()


def _decode(text: bytes) -> str:
    if len(text) > MAX_TOKEN_BYTES:
        raise NoToken("gave far more than a token.")
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise NoToken("gave something that is no text.") from None
