"""What a client hears of the request that is sent behind its usage request."""

from __future__ import annotations

import pytest

from jupyter_relay.headless.usage import UsageRequests
from jupyter_relay.wire.message import Channel, Message
from tests.support.messages import Voice, request


def asked() -> tuple[UsageRequests, Message, Message]:
    """Return the usage requests of a client, the only one of them, and what is sent behind it."""
    requests = UsageRequests()
    usage = request("usage_request", {}, channel=Channel.CONTROL)
    behind = requests.follow(usage)
    assert behind is not None
    return requests, usage, behind


def heard(requests: UsageRequests, *messages: Message) -> list[tuple[str, str]]:
    """Return type and parent of what the client hears."""
    shown = [requests.hear(message) for message in messages]
    return [(m.head.msg_type, m.parent.msg_id) for m in shown if m is not None]


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (2, 0, 1)])
def test_usage_request_without_support_has_one_reply_in_any_order_of_the_answers(
    order: tuple[int, int, int],
) -> None:
    requests, usage, behind = asked()
    answer = Voice().answer(behind)
    assert heard(requests, *(answer[place] for place in order)) == [
        ("usage_reply", usage.head.msg_id)
    ]


def test_request_behind_is_not_heard_if_the_kernel_knows_usage_requests() -> None:
    requests, usage, behind = asked()
    kernel = Voice()
    reply = kernel.reply(usage)
    assert heard(requests, reply) == [("usage_reply", usage.head.msg_id)]
    assert heard(requests, *kernel.answer(behind)) == []


def test_request_whose_answer_is_complete_is_no_longer_kept() -> None:
    requests, usage, behind = asked()
    kernel = Voice()
    for message in kernel.answer(behind):
        requests.hear(message)
    assert not requests._asked
    assert heard(requests, *kernel.answer(usage)) != []
