"""Who keeps a workspace open, for how long, and what ends it."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from crush_trio.ids import ClientID
from crush_trio.settings import Settings
from crush_trio.workspaces.claims import Claim, Claims

A, B = ClientID("a"), ClientID("b")
SETTINGS = Settings(create_hold=30, detach_grace=10)


@attrs.define(eq=False)
class Watch:
    """Claims and the moment at which nobody claimed any more."""

    claims: Claims
    ended_at: float | None = None

    async def watch(self) -> None:
        await self.claims.wait_unclaimed()
        self.ended_at = trio.current_time()


@asynccontextmanager
async def open_watch(*holds: ClientID, limits: Settings = SETTINGS) -> AsyncGenerator[Watch]:
    """Open claims with holds, and watch them until they are over; leaving the block waits for that."""
    claims = Claims(limits)
    watch = Watch(claims)
    for client in holds:
        claims.hold(client)
    with trio.fail_after(3600):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.watch)
            await wait_all_tasks_blocked()
            yield watch


# --- holds and streams ---------------------------------------------------------------------------


@pytest.mark.promise("W2")
async def test_a_hold_without_a_stream_ends_after_its_time(autojump_clock: MockClock) -> None:
    """30 seconds from the last create (wire contract 7.1, 7.2)."""
    async with open_watch(A) as watch:
        await trio.sleep(20)
        watch.claims.hold(A)
    assert watch.ended_at == pytest.approx(50)


@pytest.mark.promise("W2", "W3")
async def test_a_stream_keeps_a_workspace_and_leaves_a_grace(autojump_clock: MockClock) -> None:
    """As long as it is open; then 10 seconds, in which the client may come back."""
    async with open_watch(A) as watch:
        claim = watch.claims.attach(A)
        await trio.sleep(1000)
        watch.claims.detach(A, claim)
        await trio.sleep(9)
        again = watch.claims.attach(A)
        await trio.sleep(1000)
        watch.claims.detach(A, again)
    assert watch.ended_at == pytest.approx(2019)


@pytest.mark.promise("W2")
async def test_without_a_grace_the_end_of_the_stream_is_the_end(autojump_clock: MockClock) -> None:
    """``CRUSH_SERVER_DETACH_GRACE=0`` (wire contract 7.1); a hold is not shortened by it."""
    async with open_watch(A, limits=Settings(create_hold=30, detach_grace=0)) as watch:
        await trio.sleep(29)
        claim = watch.claims.attach(A)
        await trio.sleep(100)
        watch.claims.detach(A, claim)
    assert watch.ended_at == pytest.approx(129)


@pytest.mark.promise("W2")
async def test_a_client_counts_its_streams(autojump_clock: MockClock) -> None:
    """The grace starts with the end of the last one."""
    async with open_watch() as _:
        pass
    async with open_watch(A) as watch:
        claims = watch.claims
        one, two = claims.attach(A), claims.attach(A)
        assert one is two
        await trio.sleep(100)
        claims.detach(A, one)
        await trio.sleep(100)
        assert watch.ended_at is None
        claims.detach(A, two)
        start = trio.current_time()
    assert watch.ended_at == pytest.approx(start + 10)


@pytest.mark.promise("W2")
async def test_a_create_by_a_client_with_a_stream_starts_no_timer(
    autojump_clock: MockClock,
) -> None:
    """The stream keeps the claim; its end leaves the grace, not what is left of a hold."""
    async with open_watch(A) as watch:
        claim = watch.claims.attach(A)
        watch.claims.hold(A)
        await trio.sleep(29)
        watch.claims.detach(A, claim)
    assert watch.ended_at == pytest.approx(39)


@pytest.mark.promise("W2")
async def test_the_last_of_several_clients_decides(autojump_clock: MockClock) -> None:
    """Each has its own hold, stream and grace."""
    async with open_watch(A) as watch:
        await trio.sleep(25)
        watch.claims.hold(B)
        await trio.sleep(10)
        assert watch.ended_at is None
    assert watch.ended_at == pytest.approx(55)


# --- goodbyes ----------------------------------------------------------------------------------------


@pytest.mark.promise("W2", "R3")
@pytest.mark.parametrize("how", ["release", "retire"])
async def test_the_goodbye_of_the_last_client_has_no_grace(
    how: str, autojump_clock: MockClock
) -> None:
    """Also while a run has not settled: a goodbye ends it."""
    async with open_watch(A, B) as watch:
        watch.claims.begin("run")
        getattr(watch.claims, how)(A)
        assert not watch.claims.goodbye
        await trio.sleep(5)
        getattr(watch.claims, how)(B)
        assert watch.claims.goodbye
    assert watch.ended_at == pytest.approx(5)


@pytest.mark.promise("W2")
async def test_a_release_with_an_open_stream_waits_for_its_end(autojump_clock: MockClock) -> None:
    """And then there is no grace for it."""
    async with open_watch(A) as watch:
        claim = watch.claims.attach(A)
        watch.claims.release(A)
        assert not watch.claims.goodbye
        await trio.sleep(100)
        watch.claims.detach(A, claim)
    assert watch.ended_at == pytest.approx(100)


@pytest.mark.promise("R3", "W2")
async def test_the_end_of_a_released_clients_stream_ends_no_run(autojump_clock: MockClock) -> None:
    """It is no goodbye: the run goes on, and the grace starts when it settles."""
    async with open_watch(A) as watch:
        claim = watch.claims.attach(A)
        watch.claims.begin("run")
        watch.claims.release(A)
        watch.claims.detach(A, claim)
        await trio.sleep(500)
        assert watch.ended_at is None
        assert not watch.claims.goodbye
        watch.claims.end("run")
    assert watch.ended_at == pytest.approx(510)


@pytest.mark.promise("W2")
async def test_a_create_takes_a_release_back(autojump_clock: MockClock) -> None:
    """A client that released with a stream open and creates again has its grace again."""
    async with open_watch(A) as watch:
        claim = watch.claims.attach(A)
        watch.claims.release(A)
        watch.claims.hold(A)
        watch.claims.detach(A, claim)
    assert watch.ended_at == pytest.approx(10)


@pytest.mark.promise("W2", "R3")
async def test_the_stream_of_a_retired_client_ends_without_effect(
    autojump_clock: MockClock,
) -> None:
    """Its claim was taken away already, and another client's is not touched."""
    async with open_watch(A) as watch:
        claim = watch.claims.attach(A)
        watch.claims.hold(B)
        watch.claims.retire(A)
        watch.claims.detach(A, claim)
        assert watch.ended_at is None
    assert watch.ended_at == pytest.approx(30)


@pytest.mark.promise("W2")
async def test_an_old_streams_end_does_not_touch_a_newer_claim(autojump_clock: MockClock) -> None:
    """A retired client that attaches again is counted anew."""
    async with open_watch(A, B) as watch:
        old = watch.claims.attach(A)
        watch.claims.retire(A)
        new = watch.claims.attach(A)
        watch.claims.detach(A, old)
        await trio.sleep(1000)
        assert watch.ended_at is None
        watch.claims.detach(A, new)
    assert watch.ended_at == pytest.approx(1010)


@pytest.mark.promise("W2", "R3")
@pytest.mark.parametrize("how", ["release", "retire"])
async def test_a_goodbye_after_the_hold_expired_is_none(
    how: str, autojump_clock: MockClock
) -> None:
    """It takes no claim away: the run goes on."""
    async with open_watch(A) as watch:
        watch.claims.begin("run")
        await trio.sleep(30)
        getattr(watch.claims, how)(A)
        assert not watch.claims.goodbye
        await trio.sleep(10)
        watch.claims.end("run")
    assert watch.ended_at == pytest.approx(50)


@pytest.mark.promise("W2", "R3")
@pytest.mark.parametrize("how", ["release", "retire"])
async def test_in_the_tick_of_the_deadline_the_hold_is_over(
    how: str, autojump_clock: MockClock
) -> None:
    """Of a goodbye and an expiry in one tick the expiry counts: nothing is cancelled by it."""
    async with open_watch(A) as watch:
        watch.claims.begin("run")
        await trio.sleep(30)
        assert trio.current_time() == 30
        getattr(watch.claims, how)(A)
        assert not watch.claims.goodbye
        watch.claims.end("run")
    assert watch.ended_at == pytest.approx(40)


# --- work ------------------------------------------------------------------------------------------------


@pytest.mark.promise("W2", "R3")
async def test_a_run_keeps_its_workspace_beyond_hold_and_grace(autojump_clock: MockClock) -> None:
    """When the last one settles and nobody else is there, the grace starts."""
    async with open_watch(A) as watch:
        watch.claims.begin("run")
        watch.claims.begin("title")
        await trio.sleep(100)
        watch.claims.end("run")
        await trio.sleep(20)
        assert watch.ended_at is None
        watch.claims.end("title")
        watch.claims.end("title")
    assert watch.ended_at == pytest.approx(130)


@pytest.mark.promise("W2")
async def test_work_that_ends_while_a_client_is_there_starts_no_grace(
    autojump_clock: MockClock,
) -> None:
    """The client's own hold decides."""
    async with open_watch(A) as watch:
        watch.claims.begin("run")
        await trio.sleep(25)
        watch.claims.end("run")
    assert watch.ended_at == pytest.approx(30)


@pytest.mark.promise("W3")
async def test_a_client_that_comes_in_the_grace_behind_a_run_keeps_the_workspace(
    autojump_clock: MockClock,
) -> None:
    """It finds its workspace, as in any other grace."""
    async with open_watch(A) as watch:
        watch.claims.begin("run")
        await trio.sleep(100)
        watch.claims.end("run")
        await trio.sleep(9)
        claim = watch.claims.attach(A)
        await trio.sleep(1000)
        watch.claims.detach(A, claim)
    assert watch.ended_at == pytest.approx(1119)


# --- the tick of the deadline ----------------------------------------------------------------------------


class BeforeStepOf(trio.abc.Instrument):
    """Does something sync right before the next step of the task with a name."""

    def __init__(self, name: str, action: Callable[[], object]) -> None:
        self.done = False
        self._name = name
        self._action = action

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task.name == self._name and not self.done:
            self.done = True
            self._action()


@pytest.mark.promise("W2", "W3")
@pytest.mark.parametrize("first", ["the claim", "the deadline"])
@pytest.mark.parametrize("what", ["hold", "attach", "begin"])
async def test_a_claim_that_comes_in_the_tick_of_the_deadline_counts(
    what: str, first: str, mock_clock: MockClock
) -> None:
    """Whoever was woken by the deadline looks at what is there now, not at why it woke: also when
    the deadline has woken it already and it has only not run yet."""
    claims = Claims(SETTINGS)
    claims.hold(A)
    watch = Watch(claims)
    claim = {
        "hold": lambda: claims.hold(B),
        "attach": lambda: claims.attach(B),
        "begin": lambda: claims.begin("run"),
    }[what]
    late = BeforeStepOf("watcher", claim)
    with trio.fail_after(3600):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.watch, name="watcher")
            await wait_all_tasks_blocked()
            mock_clock.jump(30)  # the deadline has passed, and Trio has not noticed yet
            if first == "the claim":
                claim()
            else:
                trio.lowlevel.add_instrument(late)
            await wait_all_tasks_blocked()
            assert late.done == (first == "the deadline")
            assert watch.ended_at is None
            claims.part_all()


@pytest.mark.promise("W2")
async def test_with_nobody_there_it_is_over_at_once() -> None:
    """A workspace whose opener has left is not kept."""
    with trio.fail_after(5):
        await Claims(SETTINGS).wait_unclaimed()
        await trio.lowlevel.checkpoint()


async def test_the_server_says_goodbye_for_everybody(autojump_clock: MockClock) -> None:
    """Streams, holds and work alike."""
    async with open_watch(A, B) as watch:
        claim = watch.claims.attach(A)
        watch.claims.begin("run")
        watch.claims.part_all()
        watch.claims.detach(A, claim)
        watch.claims.end("run")
    assert watch.ended_at == 0


async def test_a_newcomer_takes_back_a_goodbye_of_a_workspace_that_is_still_opening() -> None:
    """Only then can somebody come after a goodbye."""
    claims = Claims(SETTINGS)
    claims.hold(A)
    claims.retire(A)
    assert claims.goodbye
    claims.hold(B)
    assert not claims.goodbye
    await trio.lowlevel.checkpoint()


# --- presence ------------------------------------------------------------------------------------------------


async def test_presence_is_of_clients_with_a_stream() -> None:
    """Each counts once, for the session that it shows (wire contract 5.9, R-09)."""
    claims = Claims(SETTINGS)
    claims.hold(A, "v0.90.0")
    claims.hold(B)
    assert not claims.show(A, "s")
    claim = claims.attach(A)
    claims.attach(A)
    claims.attach(B)
    assert claims.show(A, "s")
    assert claims.show(B, "s")
    assert (claims.showing("s"), claims.showing("other")) == (2, 0)
    claims.show(B, "")
    assert claims.showing("s") == 1
    claims.detach(A, claim)
    assert claims.showing("s") == 1
    claims.detach(A, claim)
    assert claims.showing("s") == 0
    assert claims.versions() == ["v0.90.0"]
    claims.hold(A)
    assert claims.versions() == ["v0.90.0"]
    await trio.lowlevel.checkpoint()


# --- any order -----------------------------------------------------------------------------------------------


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["hold", "attach", "detach", "release", "retire", "begin", "end", "wait"]),
        st.sampled_from([A, B]),
        st.integers(1, 40),
    ),
    max_size=25,
)


@attrs.define(eq=False)
class Model:
    """What the contract says, in the plainest form: each claim with the time at which it ends."""

    holds: dict[ClientID, float] = attrs.field(factory=dict[ClientID, float])
    streams: dict[ClientID, list[Claim]] = attrs.field(factory=dict[ClientID, list[Claim]])
    released: set[ClientID] = attrs.field(factory=set[ClientID])
    work: int = 0
    linger: float = -math.inf
    goodbye: bool = False

    def present(self, now: float) -> set[ClientID]:
        with_streams = {client for client, open_ in self.streams.items() if open_}
        return with_streams | {client for client, until in self.holds.items() if until > now}

    def claimed(self, now: float) -> bool:
        return not self.goodbye and bool(self.present(now) or self.work or self.linger > now)

    def part(self, client: ClientID, now: float) -> None:
        if client in self.present(now):
            self.holds.pop(client, None)
            self.streams.pop(client, None)
            self.goodbye = not self.present(now)

    # One method for each thing that can happen, done to the model and to the real ones.

    def hold(self, claims: Claims, client: ClientID, now: float) -> None:
        claims.hold(client)
        self.released.discard(client)
        if not self.streams.get(client):
            self.holds[client] = now + 30

    def attach(self, claims: Claims, client: ClientID, now: float) -> None:
        if client not in self.present(now):
            self.released.discard(client)
        self.holds.pop(client, None)
        self.streams.setdefault(client, []).append(claims.attach(client))

    def detach(self, claims: Claims, client: ClientID, now: float) -> None:
        if open_ := self.streams.get(client):
            claims.detach(client, open_.pop())
            if not open_:
                self.holds[client] = now + (0 if client in self.released else 10)

    def release(self, claims: Claims, client: ClientID, now: float) -> None:
        claims.release(client)
        if self.streams.get(client):
            self.released.add(client)
        else:
            self.part(client, now)

    def retire(self, claims: Claims, client: ClientID, now: float) -> None:
        claims.retire(client)
        self.part(client, now)

    def begin(self, claims: Claims, _: ClientID, __: float) -> None:
        claims.begin(self.work)
        self.work += 1

    def end(self, claims: Claims, _: ClientID, now: float) -> None:
        if self.work:
            self.work -= 1
            claims.end(self.work)
            if not self.work and not self.present(now):
                self.linger = now + 10

    def wait(self, claims: Claims, _: ClientID, __: float) -> None:
        """Nothing happens; time passes."""


@pytest.mark.promise("W2")
@settings(deadline=None)
@given(ACTIONS)
def test_whatever_happens_it_is_over_when_the_contract_says_so(
    actions: list[tuple[str, ClientID, int]],
) -> None:
    """Compared with a model of the rules that has no events and no deadlines, second by second."""

    async def main() -> None:
        claims, model = Claims(SETTINGS), Model()
        claims.hold(A)
        model.holds[A] = trio.current_time() + 30
        watch = Watch(claims)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.watch)
            await wait_all_tasks_blocked()
            for what, client, seconds in actions:
                now = trio.current_time()
                getattr(model, what)(claims, client, now)
                await wait_all_tasks_blocked()
                assert (watch.ended_at is None) == model.claimed(now), what
                for _ in range(seconds if what == "wait" else 0):
                    await trio.sleep(1)
                    await wait_all_tasks_blocked()
                    assert (watch.ended_at is None) == model.claimed(trio.current_time())
                    if watch.ended_at is not None:
                        break
                if watch.ended_at is not None:
                    break
            nursery.cancel_scope.cancel("the test is over")

    trio.run(main, clock=MockClock(autojump_threshold=0))
