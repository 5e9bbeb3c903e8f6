"""A link against any history: random listeners, requests, drops, answers, deaths and ends."""

from __future__ import annotations

import re
from collections import Counter, deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from jupyter_relay.link.actions import Timer
from jupyter_relay.link.settings import LinkSettings
from jupyter_relay.link.table import State
from jupyter_relay.wire.message import Channel, Message
from tests.link.rig import UPSTREAM, Rig
from tests.support.messages import (
    Voice,
    failures,
    gateway_status,
    notices,
    request,
    types,
)

SUBSCRIBERS = st.sampled_from(["tab", "console", "papermill"])
LANES = st.sampled_from([(Channel.SHELL, None), (Channel.SHELL, "side"), (Channel.CONTROL, None)])
PIPES = (Channel.IOPUB, Channel.SHELL, Channel.CONTROL)
BOUND = 4
COUNTED = re.compile(r"up to (\d+) messages? ")


class LinkHistory(RuleBasedStateMachine):
    """A kernel, its gateway and all who listen, around one link.

    The kernel answers each lane first-in first-out, and the lanes at the same time. What it says
    travels on iopub and on each reply channel, in order, and they overtake one another. At a drop
    the next messages of each are lost on their way, and the rest too, or kept by the gateway and
    replayed. ``asked`` holds every request by its subscriber, ``lost`` how many lines of
    each request's output were lost, and ``never_came`` counts all messages that were.
    """

    @initialize(numbered=st.booleans(), echoes=st.booleans())
    def begin(self, *, numbered: bool, echoes: bool) -> None:
        self.rig = Rig(LinkSettings(outbox_messages=BOUND))
        self.numbered, self.echoes = numbered, echoes
        self.processes = 0
        self.asked: dict[str, tuple[str, Message]] = {}
        self.order: dict[tuple[str, Channel], list[str]] = {}
        self.taken = 0
        self.pipes: dict[Channel, deque[Message]] = {channel: deque() for channel in PIPES}
        self.lost: Counter[str] = Counter()
        self.never_came = 0
        self.checked = 0
        self.ran: set[str] = set()
        self.questions: set[str] = set()
        self.begin_process()
        self.rig.attach("tab")
        self.rig.open()

    def begin_process(self) -> None:
        """Another process becomes the kernel; the questions of the old one die with it."""
        self.processes += 1
        self.kernel = Voice(
            f"kernel-{self.processes}",
            70 + self.processes,
            numbered=self.numbered,
            echoes=self.echoes,
        )
        self.lanes: dict[tuple[Channel, str | None], deque[Message]] = {}
        self.running: dict[tuple[Channel, str | None], Message] = {}

    def is_open(self) -> bool:
        return self.rig.link.state is State.OPEN

    # Downstream.

    @rule(subscriber=SUBSCRIBERS)
    def attach(self, subscriber: str) -> None:
        self.rig.attach(subscriber)

    @rule(subscriber=SUBSCRIBERS)
    def detach(self, subscriber: str) -> None:
        self.rig.detach(subscriber)

    @rule(subscriber=SUBSCRIBERS, lane=LANES)
    def ask(self, subscriber: str, lane: tuple[Channel, str | None]) -> None:
        channel, subshell_id = lane
        asked = request(session=subscriber, channel=channel, subshell_id=subshell_id)
        self.asked[asked.head.msg_id] = (subscriber, asked)
        self.order.setdefault((subscriber, channel), []).append(asked.head.msg_id)
        self.rig.send(asked, subscriber)

    @rule(lane=LANES, count=st.integers(2, 8), answered=st.integers(0, 8))
    def run_all(self, lane: tuple[Channel, str | None], count: int, answered: int) -> None:
        """A page runs several cells at once; the kernel answers the first of them."""
        for _ in range(count):
            self.ask("tab", lane)
        for _ in range(answered):
            self.answer(lane, 1)

    @rule(writable=st.booleans())
    def set_writable(self, *, writable: bool) -> None:
        self.rig.writable = writable
        self.rig.flush()

    # Upstream.

    @rule()
    def connect(self) -> None:
        if self.rig.link.state is State.WAITING:
            self.rig.wait(1)
            self.rig.fire(Timer.RETRY)
        if self.rig.link.state is State.OPENING:
            self.rig.open()

    @precondition(lambda self: self.rig.link.state in {State.OPENING, State.OPEN})
    @rule(
        arrived=st.booleans(),
        kept=st.booleans(),
        on_the_way=st.fixed_dictionaries({channel: st.integers(0, 5) for channel in PIPES}),
    )
    def drop(self, *, arrived: bool, kept: bool, on_the_way: dict[Channel, int]) -> None:
        if arrived:
            self.arrive()
        self.taken = len(self.rig.sent)
        if kept:
            self.lose(on_the_way)
        else:
            self.clear_pipes()
        self.rig.drop()

    @rule(lane=LANES)
    def begin_next(self, lane: tuple[Channel, str | None]) -> None:
        """The kernel begins what is first in a lane, if nothing runs there."""
        self.arrive()
        if self.lanes.get(lane) and lane not in self.running:
            asked = self.running[lane] = self.lanes[lane].popleft()
            self.ran.add(asked.head.msg_id)
            self.say(self.kernel.status("busy", asked))

    @rule(lane=LANES, lines=st.integers(1, 3))
    def write(self, lane: tuple[Channel, str | None], lines: int) -> None:
        """What runs in a lane writes some lines."""
        if lane in self.running:
            for line in range(lines):
                self.say(self.kernel.stream(f"{line}", self.running[lane]))

    @rule(lane=LANES, meanwhile=LANES)
    def finish(
        self, lane: tuple[Channel, str | None], meanwhile: tuple[Channel, str | None] | None = None
    ) -> None:
        """The kernel finishes what runs in a lane; what runs in another one may write between the
        reply and the idle."""
        if lane in self.running:
            asked = self.running.pop(lane)
            reply = self.kernel.reply(asked)
            if asked.head.msg_id not in self.questions:  # else the gateway keeps it
                self.say(reply)
            else:
                self.never_came += 1
            if meanwhile is not None:
                self.write(meanwhile, 1)
            self.say(self.kernel.status("idle", asked))

    @rule(lane=LANES, lines=st.integers(0, 3))
    def answer(self, lane: tuple[Channel, str | None], lines: int) -> None:
        """The kernel answers what is first in a lane; somebody hears that, or the gateway keeps it,
        or it is lost."""
        self.begin_next(lane)
        self.write(lane, lines)
        self.finish(lane)

    @rule(channel=st.sampled_from([Channel.SHELL, Channel.CONTROL]))
    def be_asked_by_the_gateway(self, channel: Channel) -> None:
        """The gateway asks the kernel itself, as at a handshake, and in our session's name."""
        self.arrive()
        asked = request("kernel_info_request", {}, session=UPSTREAM, channel=channel)
        self.questions.add(asked.head.msg_id)
        self.lanes.setdefault((channel, None), deque()).append(asked)

    @precondition(lambda self: not self.is_open())
    @rule()
    def lose_what_was_kept(self) -> None:
        self.clear_pipes()

    @precondition(lambda self: self.is_open())
    @rule(channel=st.sampled_from(PIPES), count=st.integers(1, 6))
    def hear(self, *, channel: Channel, count: int) -> None:
        pipe = self.pipes[channel]
        for _ in range(min(count, len(pipe))):
            if self.is_open():
                self.rig.hear(pipe.popleft())

    @precondition(lambda self: self.is_open())
    @rule()
    def die(self) -> None:
        self.arrive()
        self.begin_process()
        self.clear_pipes()
        self.rig.hear(gateway_status("restarting", UPSTREAM))

    # A kernel that echoes sessions, or has not answered yet, does not tell who it is.
    @precondition(lambda self: not self.echoes)
    @rule(lanes=st.lists(LANES, max_size=3), cut=st.booleans())
    def be_restarted_elsewhere(self, *, lanes: list[tuple[Channel, str | None]], cut: bool) -> None:
        self.calm_down()
        for lane in lanes:
            self.ask("console", lane)
        self.arrive()
        if cut and self.is_open():
            self.rig.drop()
        self.begin_process()

    @rule()
    def restart(self) -> None:
        self.rig.do(self.rig.link.pause())
        self.arrive()
        self.begin_process()
        self.rig.do(self.rig.link.resume(restarted=True))

    @precondition(lambda self: self.rig.timers)
    @rule(data=st.data())
    def fire(self, data: st.DataObject) -> None:
        timer = data.draw(st.sampled_from(sorted(self.rig.timers, key=lambda t: t.name)))
        self.rig.wait(self.rig.timers[timer])
        self.rig.fire(timer)

    @rule()
    def calm_down(self) -> None:
        """With a link that holds and a kernel that answers, nobody waits."""
        self.rig.attach("tab")
        self.set_writable(writable=True)
        self.connect()
        self.ask("tab", (Channel.SHELL, None))
        while self.is_open() and (
            self.taken < len(self.rig.sent) or any(self.lanes.values()) or self.running
        ):
            self.arrive()
            for lane in list(self.lanes):
                self.finish(lane)
                self.answer(lane, 1)
            for pipe in self.pipes.values():
                while pipe:
                    self.rig.hear(pipe.popleft())
        self.check_that_all_are_answered()

    @rule(
        count=st.integers(1, 3),
        lines=st.integers(1, 5),
        on_the_way=st.fixed_dictionaries({channel: st.integers(0, 5) for channel in PIPES}),
    )
    def lose_output(self, *, count: int, lines: int, on_the_way: dict[Channel, int]) -> None:
        """A kernel whose numbers are known runs some cells, and a drop loses a part of that."""
        self.calm_down()
        for _ in range(count):
            self.ask("tab", (Channel.SHELL, None))
        for _ in range(count):
            self.answer((Channel.SHELL, None), lines)
        if self.is_open():
            self.hear(channel=Channel.IOPUB, count=1)
            self.drop(arrived=True, kept=True, on_the_way=on_the_way)
        self.calm_down()

    @precondition(lambda self: len(self.asked) > 12)
    @rule(gone=st.booleans())
    def end(self, *, gone: bool) -> None:
        self.rig.do(self.rig.link.gone("Culled.") if gone else self.rig.link.close("Bye."))

    def arrive(self) -> None:
        """What went up since reaches its lane."""
        for message in self.rig.sent[self.taken :]:
            lane = (message.channel, message.head.subshell_id)
            self.lanes.setdefault(lane, deque()).append(message)
        self.taken = len(self.rig.sent)

    def say(self, *messages: Message) -> None:
        """The kernel says something."""
        for message in messages:
            self.pipes[message.channel].append(message)

    def clear_pipes(self) -> None:
        """What the kernel said and nobody heard is lost."""
        self.lose({channel: len(pipe) for channel, pipe in self.pipes.items()})

    def lose(self, counts: dict[Channel, int]) -> None:
        """The first messages of each pipe are lost."""
        for channel, count in counts.items():
            for _ in range(min(count, len(self.pipes[channel]))):
                message = self.pipes[channel].popleft()
                self.never_came += 1
                if message.head.msg_type == "stream" and message.parent.session != UPSTREAM:
                    self.lost[message.parent.msg_id] += 1

    # What always holds.

    @invariant()
    def nothing_goes_up_twice(self) -> None:
        ids = [message.head.msg_id for message in self.rig.sent]
        assert len(ids) == len(set(ids))

    @invariant()
    def each_subscriber_and_channel_keeps_its_order(self) -> None:
        went: dict[tuple[str, Channel], list[str]] = {}
        for message in self.rig.asked:
            subscriber, _ = self.asked[message.head.msg_id]
            went.setdefault((subscriber, message.channel), []).append(message.head.msg_id)
        for key, ids in went.items():
            position = {msg_id: place for place, msg_id in enumerate(self.order[key])}
            places = [position[msg_id] for msg_id in ids]
            assert places == sorted(places)

    @invariant()
    def barriers_are_nobodys_business(self) -> None:
        assert all(m.parent.session != UPSTREAM for _, m in self.rig.delivered)

    @invariant()
    def nobody_gets_two_replies(self) -> None:
        assert max(self.replies().values(), default=0) <= 1

    @invariant()
    def no_request_ends_twice(self) -> None:
        idles = Counter(
            m.parent.msg_id for _, m in self.rig.delivered if types([m]) == ["status:idle"]
        )
        assert max(idles.values(), default=0) <= 1

    @invariant()
    def a_socket_is_there_when_the_state_says_so(self) -> None:
        assert self.rig.has_socket == (self.rig.link.state in {State.OPENING, State.OPEN})

    @invariant()
    def timers_fit_the_state(self) -> None:
        state, timers = self.rig.link.state, self.rig.timers
        assert (Timer.RETRY in timers) == (state is State.WAITING)
        if state in {State.GONE, State.CLOSED, State.IDLE, State.PAUSED}:
            assert timers == {}
        if Timer.PROBE in timers:
            assert state in {State.OPENING, State.OPEN}
        assert state is not State.OPENING or Timer.PROBE in timers

    def replies(self) -> Counter[str]:
        """How many replies each request has got, all to who asked."""
        counts: Counter[str] = Counter()
        for to, message in self.rig.delivered:
            if message.channel is not Channel.IOPUB:
                subscriber, _ = self.asked[message.parent.msg_id]
                assert to == subscriber
                counts[message.parent.msg_id] += 1
        return counts

    @invariant()
    def what_it_says_of_a_lost_request_is_true(self) -> None:
        for _, message in self.rig.delivered:
            for text in failures([message]):
                ran = message.parent.msg_id in self.ran
                assert not (ran and "never reached" in text)
                assert ran or "this ran" not in text

    @invariant()
    def a_counted_loss_is_neither_smaller_nor_larger_than_promised(self) -> None:
        for _, message in self.rig.delivered[self.checked :]:
            for text in notices([message]):
                if count := COUNTED.search(text):
                    missed = self.lost[message.parent.msg_id]
                    assert missed <= int(count[1]), "fewer than the cell misses"
                    assert int(count[1]) <= self.never_came, "more than did not come"
        self.checked = len(self.rig.delivered)

    def teardown(self) -> None:
        self.rig.do(self.rig.link.close("The end."))
        assert self.rig.timers == {}
        assert not self.rig.has_socket
        self.check_that_all_are_answered()

    def check_that_all_are_answered(self) -> None:
        replies = self.replies()
        ended = {m.parent.msg_id for _, m in self.rig.delivered if types([m]) == ["status:idle"]}
        for msg_id in self.asked:
            assert replies[msg_id] == 1, "a request without its reply"
            assert msg_id in ended, "a request without its idle"
        losses = [m for _, m in self.rig.delivered if any(" lost" in text for text in notices([m]))]
        told = {m.parent.msg_id for m in losses}
        told |= {m.parent.msg_id for _, m in self.rig.delivered if failures([m])}
        assert self.lost.keys() <= told, "lost output of which nothing is said in its cell"
        notes = Counter(m.parent.msg_id for m in losses)
        assert max(notes.values(), default=0) <= 1, "a cell that is told twice"


LinkHistory.TestCase.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
TestLinkHistory = LinkHistory.TestCase
