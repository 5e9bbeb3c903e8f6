"""The events by which pages learn that kernelspecs are unavailable, and available again."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from jupyter_events import EventLogger
from jupyter_server.auth.identity import IdentityProvider, User
from tornado.web import RequestHandler

from jupyter_relay.errors import ConnectionFailed
from jupyter_relay.server.events.kernelspecs import (
    KERNELSPEC_EVENTS,
    MAX_USERS,
    KernelspecEvents,
    register,
)
from jupyter_relay.testing import Answer, FakeGateway, FaultyProxy, Reset, Silence
from tests.server.test_error_table import At
from tests.server.test_gateway_down import SPECS
from tests.support.server import TOKEN, TestServer, server_on


class Listening:
    """Keeps the events that a logger emits about kernelspecs."""

    def __init__(self, logger: EventLogger | None) -> None:
        assert logger is not None
        self._logger = logger
        self._events: list[dict[str, Any]] = []
        logger.add_listener(schema_id=KERNELSPEC_EVENTS, listener=self._take)

    async def events(self) -> list[dict[str, Any]]:
        """Return what was emitted, once all of it was heard, without its metadata."""
        await self._logger.gather_listeners()
        return [
            {name: value for name, value in event.items() if not name.startswith("__")}
            for event in self._events
        ]

    async def _take(self, logger: object, schema_id: str, data: dict[str, Any]) -> None:
        self._events.append(data)


async def test_kernelspecs_event_on_outage_and_return_is_emitted_once_each(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    listening = Listening(server.app.event_logger)
    await server.call("GET", SPECS)
    assert await listening.events() == []
    fault = fake_gateway.fault("GET", SPECS, Answer.json({"reason": "No disk"}, 500))
    replies = [await server.call("GET", SPECS) for _ in range(3)]
    (event,) = await listening.events()
    assert event == {
        "availability": "unavailable",
        "gateway": fake_gateway.url,
        "msg": replies[0].json["unavailable"],
    }
    fault.lift()
    for _ in range(3):
        await server.call("GET", SPECS)
    _, event = await listening.events()
    assert event == {
        "availability": "available",
        "gateway": fake_gateway.url,
        "msg": f"{fake_gateway.url} answers again.",
    }


async def test_kernelspecs_event_on_reason_of_another_kind_is_emitted_again(
    server: TestServer, fake_gateway: FakeGateway
) -> None:
    listening = Listening(server.app.event_logger)
    fault = fake_gateway.fault("GET", SPECS, Reset())
    await server.call("GET", SPECS)
    fault.lift()
    fake_gateway.fault("GET", SPECS, Answer.json({"reason": "No disk"}, 500))
    await server.call("GET", SPECS)
    lost, refused = await listening.events()
    assert lost["availability"] == refused["availability"] == "unavailable"
    assert "No disk" not in lost["msg"]
    assert "No disk" in refused["msg"]


async def test_kernelspecs_event_on_silence_is_emitted_before_request_fails(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    async with FaultyProxy("127.0.0.1", fake_gateway.port) as proxy:
        proxy.stall()
        async with server_on(At(proxy.url), tmp_path) as server:
            listening = Listening(server.app.event_logger)
            told = await server.call("GET", SPECS)
            (event,) = await listening.events()
            assert event["msg"] == told.json["unavailable"]
            assert "has not answered for 10 s." in event["msg"]
            proxy.resume()
            while "unavailable" in (await server.call("GET", SPECS)).json:
                pass
            assert (await listening.events())[1]["availability"] == "available"


async def test_kernelspecs_event_at_server_end_is_not_emitted(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    async with server_on(fake_gateway, tmp_path) as server:
        listening = Listening(server.app.event_logger)
        await server.call("GET", SPECS)
        fake_gateway.fault("GET", SPECS, Silence())
        await server.call("GET", SPECS)
    assert await listening.events() == []


class NamedUsers(IdentityProvider):
    """Takes the name of a user from a header."""

    def get_user(self, handler: RequestHandler) -> User | None:
        return User(handler.request.headers.get("X-User", "nobody"))


async def test_kernelspecs_event_about_one_user_omits_name_and_reason(
    fake_gateway: FakeGateway, tmp_path: Path
) -> None:
    argv = (
        f"--ServerApp.identity_provider_class={__name__}.NamedUsers",
        f"--NamedUsers.token={TOKEN}",
        "--GatewayClient.forward_user=True",
    )
    async with server_on(fake_gateway, tmp_path, argv=argv) as server:
        listening = Listening(server.app.event_logger)
        fault = fake_gateway.fault("GET", SPECS, Answer.json({"reason": "Not for you, ann"}, 403))
        async with server.http.get(server.url + SPECS, headers={"X-User": "ann"}) as answer:
            assert "Not for you" in (await answer.json())["unavailable"]
        fault.lift()
        async with server.http.get(server.url + SPECS, headers={"X-User": "ann"}) as answer:
            assert "unavailable" not in await answer.json()
        assert await listening.events() == [
            {"availability": "unavailable", "gateway": fake_gateway.url},
            {"availability": "available", "gateway": fake_gateway.url},
        ]


async def availabilities(users: Iterable[str], *, rounds: int) -> tuple[list[str], list[str]]:
    """What is emitted while users ask a gateway that is away, in rounds, and after its return."""
    logger = EventLogger()
    register(logger)
    listening = Listening(logger)
    events = KernelspecEvents(logger, gateway="gpu", log=logging.getLogger("test"))
    for _ in range(rounds):
        for user in users:
            events.report(user, ConnectionFailed("No route."))
    away = [event["availability"] for event in await listening.events()]
    for user in users:
        events.report(user, None)
    return away, [event["availability"] for event in await listening.events()][len(away) :]


async def test_kernelspecs_event_with_many_users_in_outage_is_emitted_once_per_user() -> None:
    users = [f"user-{number}" for number in range(100)]
    away, back = await availabilities(users, rounds=3)
    assert away == ["unavailable"] * 100
    assert back == ["available"] * 100


async def test_kernelspecs_event_with_too_many_users_is_one_for_all_forgotten_at_return() -> None:
    users = [f"user-{number}" for number in range(MAX_USERS + 9)]
    away, back = await availabilities(users, rounds=2)
    assert away == ["unavailable"] * MAX_USERS
    # The first one's return is the event for all that are not remembered.
    assert back == ["available"] * MAX_USERS


async def test_kernelspecs_event_on_return_of_forgotten_user_is_emitted() -> None:
    logger = EventLogger()
    register(logger)
    listening = Listening(logger)
    events = KernelspecEvents(logger, gateway="gpu", log=logging.getLogger("test"))
    for number in range(MAX_USERS + 1):
        events.report(f"user-{number}", ConnectionFailed("No route."))
    events.report(f"user-{MAX_USERS}", None)
    events.report(f"user-{MAX_USERS}", None)
    assert len(await listening.events()) == MAX_USERS + 1


def test_kernelspecs_event_that_cannot_be_emitted_is_logged_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(schema_id: str, data: dict[str, Any]) -> dict[str, Any]:
        raise ValueError("not today")

    logger = EventLogger()
    register(logger)

    async def ignore(logger: object, schema_id: str, data: dict[str, Any]) -> None: ...

    logger.add_listener(schema_id=KERNELSPEC_EVENTS, listener=ignore)
    logger.add_modifier(schema_id=KERNELSPEC_EVENTS, modifier=fail)
    events = KernelspecEvents(logger, gateway="gpu", log=logging.getLogger("test"))
    events.report(None, ConnectionFailed("No route."))
    assert "could not be emitted" in caplog.text
