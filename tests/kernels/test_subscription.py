"""A subscription: how messages are read, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from jupyter_relay.errors import KernelNotRunning
from jupyter_relay.kernels.mailbox import Mailbox
from jupyter_relay.kernels.subscription import Subscription, SubscriptionEnded
from jupyter_relay.link.backlog import Dropped
from jupyter_relay.wire.message import Message
from tests.support.messages import request


class Kernel:
    """What a subscription belongs to; it writes down what it is called with."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Message]] = []
        self.removed: list[bool] = []
        self.ends = 0
        self.mailbox = Mailbox(max_bytes=2**20)
        self.subscription = Subscription("tab", self.mailbox, to=self, among=self, on_end=self.end)

    def attach(self, subscriber_id: str) -> None:
        raise AssertionError

    def detach(self, subscriber_id: str) -> None:
        raise AssertionError

    def send(self, subscriber_id: str, message: Message) -> None:
        self.sent.append((subscriber_id, message))

    def describe(self, dropped: Dropped) -> Message:
        raise AssertionError

    def remove_subscriber(self, subscription: Subscription, *, keep: bool) -> None:
        self.removed.append(keep)

    def end(self) -> None:
        self.ends += 1


async def test_receive_with_a_message_here_returns_it_at_once() -> None:
    kernel, message = Kernel(), request()
    kernel.mailbox.append(message)
    assert await kernel.subscription.receive() is message
    assert kernel.subscription.receive_nowait() is None


async def test_receive_without_a_message_waits_for_one() -> None:
    kernel, message = Kernel(), request()
    reader = asyncio.create_task(kernel.subscription.receive())
    await asyncio.sleep(0)
    assert not reader.done()
    kernel.mailbox.append(message)
    assert await reader is message


async def test_receive_batch_returns_what_is_here_up_to_its_size() -> None:
    kernel = Kernel()
    sent = [request() for _ in range(4)]
    for message in sent:
        kernel.mailbox.append(message)
    assert await kernel.subscription.receive_batch(1) == sent[:1]
    assert await kernel.subscription.receive_batch(2 * sent[0].size) == sent[1:3]
    assert await kernel.subscription.receive_batch(2**20) == sent[3:]


async def test_receive_of_one_that_ended_returns_what_is_here_and_then_raises() -> None:
    kernel, message = Kernel(), request()
    kernel.mailbox.append(message)
    kernel.subscription.finish()
    assert await kernel.subscription.receive() is message
    for _ in range(2):
        with pytest.raises(SubscriptionEnded):
            await kernel.subscription.receive()


@pytest.mark.parametrize("how", [Subscription.finish, Subscription.supersede, Subscription.leave])
async def test_receive_that_waits_raises_when_the_subscription_ends(
    how: Callable[[Subscription], None],
) -> None:
    kernel = Kernel()
    reader = asyncio.create_task(kernel.subscription.receive())
    await asyncio.sleep(0)
    how(kernel.subscription)
    with pytest.raises(SubscriptionEnded):
        await reader
    assert kernel.ends == 1


async def test_iteration_gives_each_message_and_stops_at_the_end() -> None:
    kernel = Kernel()
    sent = [request(), request()]
    for message in sent:
        kernel.mailbox.append(message)
    kernel.subscription.finish()
    assert [message async for message in kernel.subscription] == sent


async def test_block_leaves_for_good_at_its_end() -> None:
    kernel = Kernel()
    async with kernel.subscription as subscription:
        pass
    assert subscription.ended
    assert kernel.removed == [False]


def test_leave_is_reported_once() -> None:
    kernel = Kernel()
    kernel.subscription.leave()
    kernel.subscription.leave()
    assert kernel.removed == [True]
    assert kernel.ends == 1


def test_send_goes_to_the_kernel_under_the_subscribers_id() -> None:
    kernel, message = Kernel(), request()
    kernel.subscription.send(message)
    assert kernel.sent == [("tab", message)]


def test_send_of_one_that_ended_raises() -> None:
    kernel = Kernel()
    kernel.subscription.leave()
    with pytest.raises(KernelNotRunning, match="has ended"):
        kernel.subscription.send(request())
    assert kernel.sent == []
