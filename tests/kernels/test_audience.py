"""An audience: who receives a message, what the absent miss, and who falls behind."""

from __future__ import annotations

import asyncio
import logging

import pytest

from jupyter_relay.kernels.audience import MAX_ABSENT, Audience
from jupyter_relay.kernels.subscription import Subscription, SubscriptionEnded
from jupyter_relay.link.backlog import Dropped
from jupyter_relay.log import KernelLog
from jupyter_relay.wire.message import Message
from tests.support.messages import request

BOUND = 100 * request().size


class Link:
    """What is subscribed to; it writes down what it is called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.sent: list[Message] = []

    def attach(self, subscriber_id: str) -> None:
        self.calls.append(("attach", subscriber_id))

    def detach(self, subscriber_id: str) -> None:
        self.calls.append(("detach", subscriber_id))

    def send(self, subscriber_id: str, message: Message) -> None:
        self.calls.append(("send", subscriber_id))
        self.sent.append(message)

    def describe(self, dropped: Dropped) -> Message:
        return request(f"dropped_{dropped.count}")


class Hall:
    """An audience and its link."""

    def __init__(self, bound: int = BOUND) -> None:
        self.link = Link()
        log = KernelLog(logging.getLogger(__name__), "k1")
        self.audience = Audience(self.link, backlog_bytes=bound, log=log)

    def add(self, subscriber_id: str) -> Subscription:
        """A subscriber that reads."""
        return self.audience.add_subscriber(
            subscriber_id, on_message=None, on_end=None, unread=None
        )


def read(subscription: Subscription) -> list[Message]:
    """What waits for a subscriber."""
    messages = []
    while (message := subscription.receive_nowait()) is not None:
        messages.append(message)
    return messages


def test_deliver_without_an_addressee_reaches_all() -> None:
    hall = Hall()
    tab, console = hall.add("tab"), hall.add("console")
    message = request()
    hall.audience.deliver(message, None)
    assert read(tab) == read(console) == [message]


def test_deliver_to_an_addressee_reaches_that_one_alone() -> None:
    hall = Hall()
    tab, console = hall.add("tab"), hall.add("console")
    message = request()
    hall.audience.deliver(message, "tab")
    hall.audience.deliver(message, "stranger")
    assert read(tab) == [message]
    assert read(console) == []


def test_deliver_to_one_that_fails_reaches_the_others_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hall = Hall()

    def fail(message: Message) -> None:
        raise ValueError("broken")

    hall.audience.add_subscriber("broken", on_message=fail, on_end=None, unread=None)
    tab = hall.add("tab")
    message = request()
    hall.audience.deliver(message, None)
    assert read(tab) == [message]
    assert "Kernel k1: a subscriber failed." in caplog.text


def test_add_and_leave_report_to_the_link() -> None:
    hall = Hall()
    tab = hall.add("tab")
    tab.send(request())
    tab.leave()
    tab.leave()
    assert hall.link.calls == [("attach", "tab"), ("send", "tab"), ("detach", "tab")]
    assert not hall.audience


def test_add_under_an_id_that_left_gives_what_was_missed() -> None:
    hall = Hall()
    hall.add("tab").leave()
    message = request()
    hall.audience.deliver(message, None)
    assert hall.audience.has_missed("tab")
    assert read(hall.add("tab")) == [message]
    assert not hall.audience.has_missed("tab")


def test_add_with_a_callback_under_an_id_that_left_calls_it_with_what_was_missed() -> None:
    hall = Hall()
    hall.add("tab").leave()
    heard: list[Message] = []
    missed, fresh, late = request(), request(), request()
    hall.audience.deliver(missed, None)
    tab = hall.audience.add_subscriber("tab", on_message=heard.append, on_end=None, unread=None)
    hall.audience.deliver(fresh, None)
    tab.leave()
    hall.audience.deliver(late, None)
    assert heard == [missed, fresh]
    assert read(hall.add("tab")) == [late]


def test_add_under_an_id_that_is_present_supersedes_that_one() -> None:
    hall = Hall()
    first = hall.add("tab")
    message = request()
    hall.audience.deliver(message, None)
    second = hall.add("tab")
    assert first.ended
    assert read(first) == []
    assert read(second) == [message]
    first.leave()
    assert len(hall.audience) == 1


def test_leave_with_unread_messages_keeps_them_for_the_successor() -> None:
    hall = Hall()
    given = [request(), request()]
    tab = hall.audience.add_subscriber("tab", on_message=None, on_end=None, unread=lambda: given)
    for message in given:
        hall.audience.deliver(message, None)
    assert read(tab) == given
    tab.leave()
    assert read(hall.add("tab")) == given


def test_leave_for_good_keeps_nothing() -> None:
    hall = Hall()
    hall.add("tab").leave(keep=False)
    hall.audience.deliver(request(), None)
    assert read(hall.add("tab")) == []


def test_leave_of_too_many_forgets_those_that_left_first() -> None:
    hall = Hall()
    witness = hall.add("witness")
    for number in range(MAX_ABSENT + 1):
        hall.add(f"page-{number}").leave()
    message = request()
    hall.audience.deliver(message, None)
    assert not hall.audience.has_missed("page-0")
    assert hall.audience.has_missed("page-1")
    assert hall.audience.has_missed(f"page-{MAX_ABSENT}")
    assert read(witness) == [message]


def test_describe_is_the_links_notice() -> None:
    notice = Hall().audience.describe(Dropped(3, b"{}"))
    assert notice.head.msg_type == "dropped_3"


async def test_throttle_with_a_subscriber_that_falls_behind_waits_until_it_has_caught_up() -> None:
    hall = Hall(5 * request().size)
    hall.add("quick")
    slow = hall.add("slow")
    for _ in range(3):
        hall.audience.deliver(request(), "slow")
    throttled = asyncio.create_task(hall.audience.throttle())
    await asyncio.sleep(0)
    assert not throttled.done()
    read(slow)
    for _ in range(5):  # less than the moment that it waits at most
        await asyncio.sleep(0)
    assert throttled.done()


async def test_throttle_with_nobody_behind_returns_at_once() -> None:
    hall = Hall()
    hall.add("quick")
    throttled = asyncio.create_task(hall.audience.throttle())
    await asyncio.sleep(0)
    assert throttled.done()


async def test_end_ends_all_and_forgets_the_absent() -> None:
    hall = Hall()
    tab = hall.add("tab")
    hall.add("away").leave()
    message = request()
    hall.audience.deliver(message, None)
    hall.audience.end_all()
    assert await tab.receive() is message
    with pytest.raises(SubscriptionEnded):
        await tab.receive()
    assert not hall.audience
    assert not hall.audience.has_missed("away")
