"""One who listens to a kernel, keeps all it hears, cell by cell, and can be waited for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar
from uuid import uuid4

from jupyter_relay.kernels.kernel import RemoteKernel
from jupyter_relay.testing import read_content
from jupyter_relay.testing.changes import Changes
from jupyter_relay.wire.json import Json
from jupyter_relay.wire.message import EMPTY, Channel, Message, Part, compose

T = TypeVar("T")

OURS = "[Jupyter Relay] "
"""How each notice of ours begins."""

_ANNOUNCED = re.compile(r"up to (\d+) messages? w")


@dataclass
class Cell:
    """What came of one request; ``heard`` counts what the kernel itself said of it."""

    msg_id: str
    heard: int = 0
    printed: str = ""
    notices: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    results: list[Message] = field(default_factory=list)
    replies: list[Message] = field(default_factory=list)
    questions: list[Message] = field(default_factory=list)
    idles: int = 0

    @property
    def over(self) -> bool:
        """Whether its reply and its idle status are both in."""
        return bool(self.replies) and self.idles > 0

    @property
    def status(self) -> Json:
        """The status of its reply."""
        return read_content(self.replies[0])["status"]

    @property
    def reason(self) -> str:
        """What its reply gives as the value of the error; empty if it is none."""
        return str(read_content(self.replies[0]).get("evalue", ""))

    @property
    def numbers(self) -> list[int]:
        """The numbers that it has printed, a line each."""
        return [int(line) for line in self.printed.split()]

    @property
    def announced(self) -> int:
        """How many lost messages its notices tell of."""
        return sum(int(count) for n in self.notices for count in _ANNOUNCED.findall(n))


class Listener:
    """Subscribes to a kernel, and sorts what it hears.

    ``cells`` are by message id, ``statuses`` those that answer no request, ``ended`` the cells
    whose idle has come, in order; ``heard`` counts what the kernel, not we, said.
    """

    def __init__(self, remote: RemoteKernel, session_id: str = "") -> None:
        self.session_id = session_id or uuid4().hex
        self.cells: dict[str, Cell] = {}
        self.statuses: list[str] = []
        self.ended: list[str] = []
        self.heard = 0
        self.changes = Changes()
        self._subscription = remote.subscribe(self.session_id, self.take)

    def run(self, code: str, *, subshell_id: str | None = None, stdin: bool = False) -> Cell:
        """Run a cell."""
        content: dict[str, Json] = {"code": code, "store_history": False, "allow_stdin": stdin}
        return self.ask("execute_request", content, subshell_id=subshell_id)

    def ask(
        self,
        msg_type: str,
        content: Mapping[str, Json] | None = None,
        *,
        channel: Channel = Channel.SHELL,
        subshell_id: str | None = None,
    ) -> Cell:
        """Send a request."""
        message = self._compose(channel, msg_type, content or {}, subshell_id=subshell_id)
        cell = self.cells[message.head.msg_id] = Cell(message.head.msg_id)
        self._subscription.send(message)
        return cell

    def answer(self, question: Message, value: str) -> None:
        """Answer the question of an `input()`."""
        content = {"value": value}
        self._subscription.send(
            self._compose(Channel.STDIN, "input_reply", content, parent_header=question.header)
        )

    async def wait_for(self, condition: Callable[[], T], timeout: float = 30.0) -> T:
        """Return what ``condition`` says as soon as that is true, looking at every message."""
        return await self.changes.wait_for(condition, timeout)

    async def wait_over(self, *cells: Cell, timeout: float = 30.0) -> None:
        """Return once these cells are over."""
        await self.wait_for(lambda: all(cell.over for cell in cells), timeout)

    async def done(self, code: str, timeout: float = 30.0) -> Cell:
        """Run a cell to its end."""
        cell = self.run(code)
        await self.wait_over(cell, timeout=timeout)
        return cell

    def leave(self) -> None:
        """Stop listening."""
        self._subscription.leave()

    def come_back(self, remote: RemoteKernel) -> None:
        """Listen again, as the same."""
        self._subscription = remote.subscribe(self.session_id, self.take)

    def take(self, message: Message) -> None:
        """Hear a message."""
        self.heard += not from_us(message)
        self._sort(message)
        self.changes.notify()

    def _sort(self, message: Message) -> None:
        cell = self.cells.get(message.parent.msg_id)
        if cell is not None and not from_us(message):
            cell.heard += 1
        match message.head.msg_type:
            case "status" if cell is None:
                if not message.parent.msg_id:
                    self.statuses.append(str(read_content(message)["execution_state"]))
            case _ if cell is None:
                return
            case "status":
                if read_content(message)["execution_state"] == "idle":
                    cell.idles += 1
                    self.ended.append(cell.msg_id)
            case "stream":
                text = str(read_content(message)["text"])
                if text.startswith(OURS):
                    cell.notices.append(text.removeprefix(OURS).rstrip())
                else:
                    cell.printed += text
            case "error":
                cell.errors.append(str(read_content(message)["evalue"]))
            case "display_data" | "execute_result":
                cell.results.append(message)
            case "input_request":
                cell.questions.append(message)
            case kind if kind.endswith("_reply"):
                cell.replies.append(message)

    def _compose(
        self,
        channel: Channel,
        msg_type: str,
        content: Mapping[str, Json],
        *,
        parent_header: Part = EMPTY,
        subshell_id: str | None = None,
    ) -> Message:
        return compose(
            channel,
            msg_type,
            content,
            msg_id=uuid4().hex,
            session=self.session_id,
            date=datetime.now(UTC),
            parent_header=parent_header,
            subshell_id=subshell_id,
        )


def from_us(message: Message) -> bool:
    """Whether a message was written in the kernel's place."""
    return b'"jupyter-relay"' in bytes(message.header)


def counter(lines: int, seconds: float, *, first: int = 0) -> str:
    """Return code that prints a number each so many seconds, each as one message."""
    return (
        "import sys, time\n"
        f"for n in range({first}, {first + lines}):\n"
        "    _ = sys.stdout.write(f'{n}\\n')\n"
        "    sys.stdout.flush()\n"
        f"    time.sleep({seconds})\n"
    )


def assert_accounted(cell: Cell, lines: int, *, first: int = 0, slack: int | None = None) -> int:
    """Fail unless each line is there, in order and once, or its loss is told; return the loss.

    With ``slack``, no more than so many above the true loss may be told.
    """
    numbers = cell.numbers
    assert numbers == sorted(set(numbers)), "lines twice, or out of order"
    assert set(numbers) <= set(range(first, first + lines))
    missing = lines - len(numbers)
    assert cell.announced >= missing, (missing, cell)
    if slack is not None:
        assert cell.announced <= missing + slack, (missing, cell)
    return missing


def only(values: Sequence[T]) -> T:
    """Return the one value that there is."""
    assert len(values) == 1, values
    return values[0]
