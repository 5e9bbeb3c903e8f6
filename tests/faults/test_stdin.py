"""`input()`, whose question and answer travel on a channel of their own."""

from __future__ import annotations

from jupyter_relay.link.actions import Happening
from tests.faults.listener import Listener, only
from tests.faults.site import Site

ASK = "print(int(input('?')))"
SOON = "print(0, flush=True)\nimport time; time.sleep(0.5)\n"


async def test_stdin_answer_after_a_reset_reaches_the_kernel(any_site: Site) -> None:
    site, listener = any_site, Listener(any_site.remote)
    await listener.done("0")
    cell = listener.run(ASK, stdin=True)
    await listener.wait_for(lambda: cell.questions)
    site.proxy.reset()
    await site.wait_told(Happening.OPENED)
    listener.answer(only(cell.questions), "42")
    await listener.wait_over(cell)
    assert cell.numbers == [42]
    assert cell.status == "ok"
    assert not cell.notices


async def test_stdin_question_asked_and_answered_in_the_outage_arrives_after_it(
    any_site: Site,
) -> None:
    site, listener = any_site, Listener(any_site.remote)
    cell = listener.run(SOON + ASK, stdin=True)
    await listener.wait_for(lambda: cell.numbers)
    site.proxy.refuse()
    site.proxy.reset()
    await site.wait_told(Happening.DROPPED)
    # The gateway has it by now if another client, which is asked nothing, is done.
    await site.direct.kernel(site.remote.id)
    site.proxy.accept()
    await listener.wait_for(lambda: cell.questions)
    listener.answer(only(cell.questions), "42")
    await listener.wait_over(cell)
    assert cell.numbers == [0, 42]


async def test_interrupt_ends_a_stdin_question_that_was_lost(site: Site) -> None:
    listener = Listener(site.remote)
    cell = listener.run(SOON + ASK, stdin=True)
    await listener.wait_for(lambda: cell.numbers)
    site.proxy.stall(upstream=False)
    await site.wait_told(Happening.DROPPED)
    site.proxy.resume()
    await site.wait_told(Happening.OPENED)
    assert not cell.questions
    await site.remote.interrupt()
    await listener.wait_over(cell)
    assert cell.status == "error"
    assert (await listener.done("print(1)")).numbers == [1]
