"""Where tokens come from: real files, real programs, a real thread."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path

import psutil
import pytest

from jupyter_relay.credentials.sources import (
    CommandSource,
    FileSource,
    RenewerSource,
    VariableSource,
)
from jupyter_relay.credentials.tokens import NoToken
from jupyter_relay.settings.origins import FromCommand, FromFile, FromRenewer, FromVariable, Renew
from jupyter_relay.settings.settings import GatewaySettings

NOW = 1_700_000_000.0
SECRET = "hunter2"
SETTINGS = GatewaySettings.make({"url": "http://gpu.example", "auth_scheme": "Bearer"}, {})


def python(code: str, *arguments: str, seconds: float = 30.0) -> CommandSource:
    """A source that runs Python code."""
    return CommandSource(FromCommand((sys.executable, "-c", code, *arguments)), seconds=seconds)


# A variable.


async def test_variable_source_reads_its_variable_each_time() -> None:
    environment = {"TOKEN": " one\n"}
    source = VariableSource(FromVariable("TOKEN"), environment)
    assert (await source.fetch(NOW)).value == "one"
    environment["TOKEN"] = "two"
    assert (await source.fetch(NOW)).value == "two"
    del environment["TOKEN"]
    with pytest.raises(NoToken, match="not set"):
        await source.fetch(NOW)


# A file.


async def test_file_source_reads_its_file_again_when_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("  one\n")
    source = FileSource(FromFile(str(path)))
    assert (await source.fetch(NOW)).value == "one"
    path.write_text("three")
    assert (await source.fetch(NOW)).value == "three"


async def test_file_source_does_not_read_an_unchanged_file_again(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    source = FileSource(FromFile(str(path)))
    first = await source.fetch(NOW)
    assert await source.fetch(NOW) is first


async def test_file_source_notices_a_token_that_kubernetes_replaces(tmp_path: Path) -> None:
    """A projected volume: token -> ..data/token, ..data -> a folder for each version."""
    path = tmp_path / "token"
    path.symlink_to("..data/token")
    for version, token in enumerate(("one", "two")):
        folder = tmp_path / f"..{version}"
        folder.mkdir()
        (folder / "token").write_text(token)
        os.utime(folder / "token", (NOW, NOW))  # of one size and time: only the file is another
        (tmp_path / "..new").symlink_to(folder.name)
        (tmp_path / "..new").replace(tmp_path / "..data")
        if version == 0:
            source = FileSource(FromFile(str(path)))
        assert (await source.fetch(NOW)).value == token


async def test_file_source_reads_a_half_written_file_again(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("")
    source = FileSource(FromFile(str(path)))
    with pytest.raises(NoToken, match="empty"):
        await source.fetch(NOW)
    path.write_text("one")
    assert (await source.fetch(NOW)).value == "one"


@pytest.mark.parametrize("content", [b"a\nb", b"\xff\xfe", b"a" * 100_000])
async def test_file_source_with_other_contents_gives_no_token(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(NoToken):
        await FileSource(FromFile(str(path))).fetch(NOW)


async def test_file_source_without_its_file_is_an_error(tmp_path: Path) -> None:
    source = FileSource(FromFile(str(tmp_path / "none")))
    with pytest.raises(NoToken, match="No such file"):
        await source.fetch(NOW)


# A command.


async def test_command_source_gives_what_the_command_prints() -> None:
    token = await python('print(\'{"token": "abc", "expires_in": 100}\')').fetch(NOW)
    assert (token.value, token.expires_at) == ("abc", NOW + 100)


async def test_command_source_passes_its_words_without_a_shell() -> None:
    words = ("$HOME; `id`", "*")
    token = await python("import sys; print('|'.join(sys.argv[1:]))", *words).fetch(NOW)
    assert token.value == "|".join(words)


async def test_command_source_gives_the_command_no_input() -> None:
    token = await python("import sys; print(repr(sys.stdin.read()))").fetch(NOW)
    assert token.value == "''"


async def test_command_source_that_fails_quotes_its_errors_and_not_its_output() -> None:
    code = f"import sys; print('{SECRET}'); sys.exit('please log in')"
    with pytest.raises(NoToken) as caught:
        await python(code).fetch(NOW)
    assert "exit status 1" in str(caught.value)
    assert "please log in" in caught.value.detail
    assert SECRET not in f"{caught.value} {caught.value.hint} {caught.value.detail}"


async def test_command_source_without_its_command_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NoToken, match="No such file"):
        await CommandSource(FromCommand((str(tmp_path / "none"),))).fetch(NOW)


async def test_command_source_ends_a_command_that_prints_without_end() -> None:
    with pytest.raises(NoToken, match="far more than a token"):
        await python("while True: print('x' * 10_000)").fetch(NOW)


async def test_command_source_that_complains_at_length_quotes_the_last_words() -> None:
    code = f"""
import sys
print('{SECRET}/one')
for _ in range(200):
    sys.stderr.write('x' * 10_000)
sys.exit('\\x1b[2Jgot {SECRET}%2fone, expired')
"""
    with pytest.raises(NoToken) as caught:
        await python(code).fetch(NOW)
    assert caught.value.detail.endswith(" [2Jgot [secret], expired")
    assert len(caught.value.detail) < 2100


SLEEPS = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open(sys.argv[1], "w") as pipe:
    pipe.write(f"{os.getpid()} {child.pid}")
child.wait()
"""
"""Tells its own process and one that it has started, and does not end."""


@pytest.mark.parametrize("way", ["time", "cancelled"])
async def test_command_source_kills_a_command_that_does_not_end_with_all_it_has_started(
    way: str, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    source = python(SLEEPS, str(pipe), seconds=2.0 if way == "time" else 600.0)
    fetching = asyncio.create_task(source.fetch(NOW))
    processes = [
        psutil.Process(int(pid)) for pid in (await asyncio.to_thread(pipe.read_text)).split()
    ]
    if way == "cancelled":
        fetching.cancel()
    with pytest.raises(asyncio.CancelledError if way == "cancelled" else NoToken):
        await fetching
    # The child of a child is reaped by whoever has taken it over.
    _, alive = await asyncio.to_thread(psutil.wait_procs, processes, 10)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


# A class of the user's own.


def renewer(renew: Renew, initial: str = "") -> RenewerSource:
    """A source that asks a function in place of an instance."""
    return RenewerSource(FromRenewer(renew, "mine.Renewer", initial), SETTINGS.credentials)


async def test_renewer_source_is_called_in_a_thread_with_the_previous_token() -> None:
    asked: list[tuple[object, ...]] = []

    def renew(key: str, scheme: str | None, token: str) -> str:
        asked.append((key, scheme, token, threading.current_thread() is threading.main_thread()))
        return token + "+"

    source = renewer(renew, "one")
    tokens = [(await source.fetch(NOW)).value for _ in range(2)]
    assert tokens == ["one+", "one++"]
    assert asked == [
        ("Authorization", "Bearer", "one", False),
        ("Authorization", "Bearer", "one+", False),
    ]


async def test_renewer_source_that_raises_is_an_error_without_the_token() -> None:
    def renew(key: str, scheme: str | None, token: str) -> str:
        raise RuntimeError(f"{token} has expired")

    with pytest.raises(NoToken, match="RuntimeError") as caught:
        await renewer(renew, SECRET).fetch(NOW)
    assert caught.value.detail == "[secret] has expired"


async def test_renewer_source_that_returns_no_text_is_an_error() -> None:
    with pytest.raises(NoToken, match="NoneType"):
        await renewer(lambda key, scheme, token: None).fetch(NOW)  # type: ignore[arg-type,return-value]  # on purpose
