"""The same steps on a server with kernels of its own, and on one whose kernels are on a gateway:
each route answers the same after each step, but for what the table `DIFFERENCES` lists.

Status, content type, ``Location`` and JSON are compared, value by value. Ids are replaced by names.
Of a date it is compared whether it is later than what was told of the same thing at earlier steps.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from fnmatch import fnmatchcase
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp
import pytest

from jupyter_relay.testing.servers import RunningServer, jupyter_server, kernel_gateway
from jupyter_relay.wire.json import Json
from jupyter_relay.wire.subprotocol import OFFERED
from tests.support.tab import Tab, printed, status_of

pytestmark = pytest.mark.long

UNKNOWN: Final = "00000000-0000-4000-8000-000000000000"

SECONDS: Final = 60.0
"""How long anything may take; on an idle machine all of it takes less than 20 s."""


class Difference(NamedTuple):
    """A known difference: patterns of the rows and places where it is, and why."""

    rows: str
    places: str
    reason: str
    statuses: tuple[int, int] | None = None
    """The status of a server with local kernels, and ours; None if they are the same."""


_OUR_WORDS: Final = "Our sentence says which kernel, field or gateway is meant."
_A_CLIENTS_FAULT: Final = (
    "What is the client's fault is a 4xx of ours, as at the other routes; Jupyter Server's handler "
    "fails with a 500 or 501."
)
_TAKEN_NOT_STARTED: Final = (
    "A kernel's id in a request for a session is that of one that runs on the gateway, whoever "
    "has started it. Jupyter Server starts a new kernel under an id that it does not know; a page "
    "would take it for the one that it had, and miss its variables."
)
_REMEMBERED: Final = (
    "A kernel that is gone from the gateway is remembered for a minute, with the reason, which "
    "JupyterLab's dialog shows. Until then it can be deleted."
)

DIFFERENCES: Final = (
    Difference("no JSON: *", ".body.message", _OUR_WORDS),
    Difference("a list: POST /api/kernels", "*", _A_CLIENTS_FAULT, (500, 400)),
    Difference("a name that is none: POST /api/kernels", "*", _A_CLIENTS_FAULT, (500, 400)),
    Difference("an unknown kernelspec: POST /api/kernels", "*", _A_CLIENTS_FAULT, (500, 404)),
    Difference("an unknown kernelspec: * /api/sessions*", "*", _A_CLIENTS_FAULT, (501, 404)),
    Difference("*: POST /api/kernels/*/restart", "*", _A_CLIENTS_FAULT, (500, 404)),
    Difference("an unknown kernel: POST /api/sessions", "*", _TAKEN_NOT_STARTED, (201, 404)),
    Difference("a kernel deleted *: POST /api/sessions", "*", _TAKEN_NOT_STARTED, (201, 404)),
    Difference("deleted elsewhere: GET /api/kernels/<kernel 5>", "*", _REMEMBERED, (404, 200)),
    Difference("a kernel deleted elsewhere: POST */interrupt", ".body.message", _OUR_WORDS),
    Difference("a kernel deleted elsewhere: DELETE /api/kernels/*", "*", _REMEMBERED, (404, 204)),
)
"""All of them: another one fails the test, and so does one of these that there is not."""

_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


class Row(NamedTuple):
    """One answer."""

    status: int
    content_type: str
    location: str
    body: Json


class Player:
    """Takes one server through the steps, and writes down what it answers.

    ``behind`` is the server that has the kernels, and ``delete_elsewhere`` deletes one there; a
    server with kernels of its own has nobody behind it, and is asked itself. ``flag`` is a file
    that a cell waits for.
    """

    def __init__(
        self,
        server: RunningServer,
        http: aiohttp.ClientSession,
        behind: RunningServer,
        delete_elsewhere: Callable[[str], Awaitable[None]],
    ) -> None:
        self.rows: dict[str, Row] = {}
        self.delete_elsewhere = delete_elsewhere
        self.flag = Path(server.directory) / "flag"
        self._server = server
        self._http = http
        self._names: dict[str, str] = {}
        self._behind = behind
        self._step = ""
        self._dates: dict[str, str] = {}
        self._dates_of_step: dict[str, str] = {}

    async def ask(
        self, step: str, method: str, path: str, body: object = None, *, token: str = ""
    ) -> Row:
        """Make a request, and write down the answer. A body that is a text is sent as it is."""
        row = await self._request(method, path, body, token)
        if step != self._step:
            self._step = step
            self._dates |= self._dates_of_step
        name = f"{step}: {method} {self._named(path)}"
        assert name not in self.rows, name
        self._name_what_is_new(row.body)
        shown = self._named(json.dumps(self._without_dates(row.body, "")))
        location = self._named(row.location)
        self.rows[name] = row._replace(location=location, body=json.loads(shown))
        return row

    async def make(self, step: str, path: str, body: object) -> str:
        """Make a kernel or a session by a POST, and return its id."""
        row = await self.ask(step, "POST", path, body)
        assert row.status == HTTPStatus.CREATED, row
        return text_at(row, "id")

    async def take(self, step: str, body: object) -> None:
        """Ask for a session of a kernel that there is not; one that is made is taken back."""
        names = dict(self._names)
        row = await self.ask(step, "POST", "/api/sessions", body)
        if row.status == HTTPStatus.CREATED:
            await self._request("DELETE", f"/api/sessions/{text_at(row, 'id')}", None)
            self._names = names

    async def look(self, step: str) -> None:
        """Ask for all that the server tells of its kernels and sessions."""
        for path in ("/api/kernels", "/api/sessions", "/api/status"):
            await self.ask(step, "GET", path)
        for known, name in self._names.items():
            await self.ask(step, "GET", f"/api/{name.split()[0]}s/{known}")

    async def until(self, kernel_id: str, state: str, connections: int) -> None:
        """Wait until the server says this of a kernel, and the one behind it says so of its state.
        They hear what a kernel does, and that a page has closed, beside the pages; nothing but
        their answers tells that they have."""
        url = f"{self._behind.url}/api/kernels/{kernel_id}"
        async with asyncio.timeout(SECONDS):
            while True:
                async with self._http.get(
                    url, params=UNNOTICED, headers=self._behind.headers
                ) as answer:
                    if (await answer.json())["execution_state"] == state:
                        break
                await asyncio.sleep(0.05)
            while True:
                model = (await self._request("GET", f"/api/kernels/{kernel_id}", None)).body
                assert isinstance(model, dict)
                said = model["execution_state"], model["connections"]
                if said == (state, connections):
                    return
                await asyncio.sleep(0.05)

    @asynccontextmanager
    async def page(self, kernel_id: str, session_id: str = "page") -> AsyncIterator[Tab]:
        """Open the websocket of a kernel as a page does."""
        async with self._http.ws_connect(
            f"{self._server.url}/api/kernels/{kernel_id}/channels",
            params={"session_id": session_id},
            protocols=OFFERED,
        ) as websocket:
            tab = Tab(websocket, session_id)
            yield tab

    async def run_a_cell(self, kernel_id: str) -> None:
        """Run a cell, after which a new kernel has said all that it says by itself."""
        async with self.page(kernel_id) as page:
            await page.run("1")
        await self.until(kernel_id, "idle", 0)

    async def connect_in_vain(self, step: str, kernel_id: str) -> None:
        """Write down how the websocket of a kernel is refused, to a page that had none before."""
        status = 101
        try:
            async with self.page(kernel_id, "another page"):
                pass
        except aiohttp.WSServerHandshakeError as error:
            status = error.status
        self.rows[f"{step}: websocket"] = Row(status, "", "", None)

    async def _request(self, method: str, path: str, body: object, token: str = "") -> Row:
        given = body if isinstance(body, str) else None if body is None else json.dumps(body)
        async with self._http.request(
            method,
            self._server.url + path,
            params=UNNOTICED,
            data=given,
            headers={"Authorization": f"token {token}"} if token else None,
        ) as answer:
            content = await answer.read()
            location = answer.headers.get("Location", "")
            kind = answer.content_type if content else ""
            status = answer.status
        if kind == "application/json":
            return Row(status, kind, location, json.loads(content))
        # The page of an error tells of its server.
        alike = status < HTTPStatus.BAD_REQUEST
        return Row(status, kind, location, hashlib.sha256(content).hexdigest() if alike else None)

    def _name_what_is_new(self, model: Json) -> None:
        if not isinstance(model, dict) or "id" not in model:
            return
        kind = "session" if "kernel" in model else "kernel"
        self._name_what_is_new(model.get("kernel"))
        number = sum(name.startswith(kind) for name in self._names.values()) + 1
        self._names.setdefault(str(model["id"]), f"{kind} {number}")

    def _named(self, text: str) -> str:
        for known, name in self._names.items():
            text = text.replace(known, f"<{name}>")
        return text

    def _without_dates(self, model: Json, place: str) -> Json:
        """Return the JSON with each date replaced by how it is to that of earlier steps."""
        if isinstance(model, list):
            return [self._without_dates(value, place) for value in model]
        if isinstance(model, dict):
            at = str(model.get("id", ""))
            return {k: self._without_dates(value, f"{at} {k}") for k, value in model.items()}
        if not isinstance(model, str) or not _DATE.fullmatch(model):
            return model
        before, self._dates_of_step[place] = self._dates.get(place, ""), model
        if model == before:
            return "<the same date>"
        return "<a later date>" if model > before else "<an earlier date>"


UNNOTICED: Final = {"no_track_activity": "1"}
"""The query of a request that is not to be the server's last activity."""


def text_at(row: Row, *keys: str) -> str:
    """Return a text of an answer's JSON."""
    value = row.body
    for key in keys:
        assert isinstance(value, dict), row
        value = value[key]
    return str(value)


def session(path: str, **kernel: str) -> dict[str, object]:
    """Return the body by which a page makes a session."""
    return {"path": path, "name": path, "type": "notebook", "kernel": kernel}


async def play(player: Player) -> None:
    """Take a server through all steps."""
    await before_the_first_kernel(player)
    kernel_id = await a_kernel_and_its_page(player)
    await sessions(player, kernel_id)
    await kernels_that_end(player)


async def before_the_first_kernel(player: Player) -> None:
    """Ask for what there is, for what there is not, and for what cannot be."""
    step = "nothing started"
    await player.look(step)
    for path in (
        "/api/kernelspecs",
        "/api/kernelspecs/python3",
        "/api/kernelspecs/cobol",
        "/kernelspecs/python3/logo-64x64.png",
        "/kernelspecs/python3/none.png",
        "/kernelspecs/cobol/logo-64x64.png",
        f"/api/kernels/{UNKNOWN}",
        f"/api/sessions/{UNKNOWN}",
        "/api/kernels/none",
        "/api/sessions/none",
    ):
        await player.ask(step, "GET", path)
    for path in ("/api/kernels", "/api/sessions", "/api/status", "/api/kernelspecs"):
        await player.ask("a wrong token", "GET", path, token="wrong")
    for path in (f"/api/kernels/{UNKNOWN}", f"/api/sessions/{UNKNOWN}"):
        await player.ask(step, "DELETE", path)
    await player.ask(step, "PATCH", f"/api/sessions/{UNKNOWN}", {"path": "b"})
    for action in ("interrupt", "restart"):
        await player.ask(step, "POST", f"/api/kernels/{UNKNOWN}/{action}")
    await player.connect_in_vain(step, UNKNOWN)
    for method, path in (("PUT", "/api/kernels"), ("PATCH", f"/api/kernels/{UNKNOWN}")):
        await player.ask(step, method, path, {})
    bodies: dict[str, object] = {
        "no JSON": "{",
        "a list": [],
        "an unknown kernelspec": {"name": "cobol"},
        "a name that is none": {"name": 7},
    }
    for what, body in bodies.items():
        await player.ask(what, "POST", "/api/kernels", body)
    bodies = {
        "no JSON": "{",
        "no body": None,
        "no path": {"type": "notebook"},
        "no type": {"path": "a"},
        "an unknown kernelspec": session("a", name="cobol"),
    }
    for what, body in bodies.items():
        await player.ask(what, "POST", "/api/sessions", body)
    await player.take("an unknown kernel", session("a", id=UNKNOWN))


async def a_kernel_and_its_page(player: Player) -> str:
    """Start a kernel, and do to it what people do."""
    kernel_id = await player.make("started", "/api/kernels", {"name": "python3"})
    at = f"/api/kernels/{kernel_id}"
    async with player.page(kernel_id) as page:
        await page.run("1")
        await player.until(kernel_id, "idle", 1)
        await player.look("idle, with a page")
        waits = f"while not os.path.exists({str(player.flag)!r}): time.sleep(0.02)"
        await until_at_work(page, await page.execute(f"{AT_WORK}\n{waits}"))
        await player.until(kernel_id, "busy", 1)
        await player.look("busy, with a page")
    await player.until(kernel_id, "busy", 0)
    await player.look("busy, behind a closed page")
    player.flag.touch()
    await player.until(kernel_id, "idle", 0)
    await player.look("idle, without a page")
    async with player.page(kernel_id) as page:
        await page.run("2")
        sleeping = await page.execute(f"{AT_WORK}\ntime.sleep(600)")
        await until_at_work(page, sleeping)
        await player.ask("interrupted", "POST", f"{at}/interrupt")
        await page.until_idle(sleeping)
        await player.until(kernel_id, "idle", 1)
        await player.look("interrupted")
        await player.ask("restarted", "POST", f"{at}/restart")
        await page.run("3")
        await player.until(kernel_id, "idle", 1)
        await player.look("restarted, and a cell run")
        await page.execute("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
        while status_of(await page.receive()) != "restarting":
            pass
        await page.run("4")
        await player.until(kernel_id, "idle", 1)
        await player.look("crashed, started again, and a cell run")
    await player.until(kernel_id, "idle", 0)
    return kernel_id


AT_WORK: Final = "import os, time; print('at work', flush=True)"


async def until_at_work(page: Tab, msg_id: str) -> None:
    """Wait until a cell has printed something."""
    while (message := await page.receive()).parent.msg_id != msg_id or not printed([message]):
        pass


async def sessions(player: Player, kernel_id: str) -> None:
    """Make sessions, change them, and end them."""
    first = await player.make("a session", "/api/sessions", session("a.ipynb"))
    await player.make("one of a kernel", "/api/sessions", session("b.ipynb", id=kernel_id))
    third = await player.make("a second of it", "/api/sessions", session("c.ipynb", id=kernel_id))
    again = await player.ask("the same path", "POST", "/api/sessions", session("a.ipynb"))
    await player.run_a_cell(text_at(again, "kernel", "id"))
    await player.look("three sessions of two kernels")
    at = f"/api/sessions/{first}"
    for what, body in {
        "moved": {"path": "d/e.ipynb"},
        "renamed": {"name": "e.ipynb"},
        "of another type": {"type": "console"},
        "unchanged": {},
        "an unknown kernel": {"kernel": {"id": UNKNOWN}},
        "an unknown kernelspec": {"kernel": {"name": "cobol"}},
        "no JSON": "{",
        "of another kernel": {"kernel": {"id": kernel_id}},
    }.items():
        await player.ask(what, "PATCH", at, body)
    await player.look("a session with another's kernel")
    of_a_name = {"kernel": {"name": "python3"}}
    row = await player.ask("of a new kernel", "PATCH", f"/api/sessions/{third}", of_a_name)
    await player.run_a_cell(text_at(row, "kernel", "id"))
    await player.look("a session with a new kernel")
    await player.ask("ended", "DELETE", at)
    await player.look("a session ended")


async def kernels_that_end(player: Player) -> None:
    """Delete kernels, here and elsewhere, and open their notebooks again."""
    notebooks = {what: session(f"{what}.ipynb") for what in ("here", "elsewhere")}
    ids, kernels = {}, {}
    for what, body in notebooks.items():
        row = await player.ask(f"to be deleted {what}", "POST", "/api/sessions", body)
        ids[what], kernels[what] = text_at(row, "id"), text_at(row, "kernel", "id")
    await asyncio.gather(*map(player.run_a_cell, kernels.values()))
    async with player.page(kernels["here"]) as page:
        await page.run("1")
        await player.ask("deleted here", "DELETE", f"/api/kernels/{kernels['here']}")
        await player.look("deleted here")
    await player.delete_elsewhere(kernels["elsewhere"])
    await player.look("deleted elsewhere")
    for what, kernel_id in kernels.items():
        step = f"a kernel deleted {what}"
        await player.ask(step, "PATCH", f"/api/sessions/{ids[what]}", {"name": "b"})
        await player.ask(step, "DELETE", f"/api/sessions/{ids[what]}")
        for action in ("interrupt", "restart"):
            await player.ask(step, "POST", f"/api/kernels/{kernel_id}/{action}")
        await player.connect_in_vain(step, kernel_id)
        await player.ask(step, "DELETE", f"/api/kernels/{kernel_id}")
    for what, kernel_id in kernels.items():
        await player.take(f"a kernel deleted {what}", session("f.ipynb", id=kernel_id))
    opened = [
        await player.ask(f"opened again, deleted {what}", "POST", "/api/sessions", body)
        for what, body in notebooks.items()
    ]
    await asyncio.gather(*(player.run_a_cell(text_at(row, "kernel", "id")) for row in opened))
    await player.look("at the end")


@asynccontextmanager
async def two_players() -> AsyncIterator[tuple[Player, Player]]:
    """Run the servers; the players are that of the one with local kernels, and the other's."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context

        async def on_a_gateway() -> tuple[RunningServer, RunningServer]:
            gateway = await enter(kernel_gateway())
            fresh = ["--GatewayClient.listing_ttl=0"]  # a local server's answer is never an old one
            return gateway, await enter(jupyter_server(gateway=gateway, extra_args=fresh))

        local, (gateway, relayed) = await asyncio.gather(enter(jupyter_server()), on_a_gateway())
        players = []
        for server, behind in ((local, local), (relayed, gateway)):
            http = await enter(aiohttp.ClientSession(headers=server.headers))
            players.append(Player(server, http, behind, partial(delete, behind)))
        yield players[0], players[1]


async def delete(server: RunningServer, kernel_id: str) -> None:
    """Delete a kernel as another client does."""
    async with (
        aiohttp.ClientSession(headers=server.headers) as http,
        http.delete(f"{server.url}/api/kernels/{kernel_id}", params=UNNOTICED) as answer,
    ):
        assert answer.status == HTTPStatus.NO_CONTENT, await answer.text()


def differing(local: Json, relayed: Json, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield each place where two JSON values differ, and what is there."""
    if isinstance(local, dict) and isinstance(relayed, dict):
        for key in sorted(local.keys() | relayed.keys()):
            pair = local.get(key, "<nothing>"), relayed.get(key, "<nothing>")
            yield from differing(*pair, f"{place}.{key}")
    elif isinstance(local, list) and isinstance(relayed, list) and len(local) == len(relayed):
        for number, (theirs, ours) in enumerate(zip(local, relayed, strict=True)):
            yield from differing(theirs, ours, f"{place}[{number}]")
    elif local != relayed or type(local) is not type(relayed):
        yield place, f"local: {local!r}, relayed: {relayed!r}"


def known(name: str, place: str, statuses: tuple[int, int]) -> Difference | None:
    """Return what the table says of a difference; None if it is not there."""
    for difference in DIFFERENCES:
        listed = difference.statuses or (statuses[0], statuses[0])
        if (
            fnmatchcase(name, difference.rows)
            and fnmatchcase(place, difference.places)
            and listed == statuses
        ):
            return difference
    return None


async def test_server_with_gateway_answers_as_one_with_local_kernels() -> None:
    async with two_players() as (local, relayed):
        await asyncio.gather(play(local), play(relayed))
    assert list(local.rows) == list(relayed.rows)
    unlisted, seen = [], set()
    for name, row in local.rows.items():
        ours = relayed.rows[name]
        for place, what in differing(row._asdict(), ours._asdict()):
            difference = known(name, place, (row.status, ours.status))
            seen.add(difference)
            if difference is None:
                unlisted.append(f"{name} {place}: {what}")
    assert not unlisted, "\n".join(unlisted)
    assert not set(DIFFERENCES) - seen
