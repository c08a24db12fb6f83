"""The permission gate: who is asked, who decides, and what everybody learns of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from crush_trio.errors import UnattendedError
from crush_trio.hub import Hub
from crush_trio.permissions import Permissions
from crush_trio.testing import run
from crush_trio.wire.events import Event, PermissionNotification
from crush_trio.wire.permissions import GrantAction, PermissionRequest


@attrs.define(eq=False)
class Asking:
    """One tool's question and what became of it."""

    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    done: trio.Event = attrs.field(factory=trio.Event)
    granted: bool | None = None


@attrs.define(eq=False)
class Gate:
    """A gate, what it published, and tools that ask."""

    permissions: Permissions
    events: list[Event]
    nursery: trio.Nursery

    async def ask(self, call: str = "c1", **changed: Any) -> Asking:
        """Let a tool ask, and return when it waits or is done."""
        asking = Asking()
        self.nursery.start_soon(self._ask, asking, call, changed)
        await wait_all_tasks_blocked()
        return asking

    async def _ask(self, asking: Asking, call: str, changed: dict[str, Any]) -> None:
        question: dict[str, Any] = {
            "session_id": "s",
            "tool_name": "bash",
            "action": "execute",
            "description": "Execute command: ls",
            "params": {"command": "ls"},
            "path": "/p",
        }
        with asking.scope:
            asking.granted = await self.permissions.ask(tool_call_id=call, **(question | changed))
        asking.done.set()

    def open(self) -> list[PermissionRequest]:
        """Return the requests that a new stream is told of."""
        return [
            event.payload
            for event in self.permissions.open_events()
            if isinstance(event.payload, PermissionRequest)
        ]

    def told(self) -> list[str]:
        """Return what was published as short texts."""
        return [told(event) for event in self.events]


def told(event: Event) -> str:
    match event.payload:
        case PermissionRequest(tool_call_id=call):
            return f"request {call}"
        case PermissionNotification(call, granted, denied):
            return f"{'granted' if granted else 'denied' if denied else 'asked'} {call}"
        case _:
            return event.type


@asynccontextmanager
async def open_gate(**options: Any) -> AsyncGenerator[Gate]:
    events: list[Event] = []
    with trio.fail_after(5):
        await trio.lowlevel.checkpoint()
        async with trio.open_nursery() as nursery:
            yield Gate(Permissions(events.append, **options), events, nursery)
            nursery.cancel_scope.cancel("the test is over")


# --- decisions --------------------------------------------------------------------------------


@pytest.mark.promise("D1")
@pytest.mark.parametrize(("action", "granted"), [("allow", True), ("deny", False)])
async def test_the_first_answer_decides_and_everybody_learns_of_it(
    action: GrantAction, granted: bool
) -> None:
    """The tool gets that answer; a second one decides nothing and tells nobody anything."""
    async with open_gate() as gate:
        asking = await gate.ask()
        (request,) = gate.open()
        assert gate.permissions.answer(request.id, action)
        opposite: GrantAction = "deny" if granted else "allow_session"
        assert not gate.permissions.answer(request.id, opposite)
        await asking.done.wait()
        assert asking.granted is granted
        assert gate.told() == ["asked c1", "request c1", "granted c1" if granted else "denied c1"]
        assert gate.open() == []


@pytest.mark.promise("D1")
async def test_a_losing_allow_for_the_session_leaves_no_trace() -> None:
    """The same question is asked again."""
    async with open_gate() as gate:
        await gate.ask()
        (request,) = gate.open()
        assert gate.permissions.answer(request.id, "deny")
        assert not gate.permissions.answer(request.id, "allow_session")
        again = await gate.ask("c2")
        assert again.granted is None
        assert [each.tool_call_id for each in gate.open()] == ["c2"]


@pytest.mark.promise("D1")
async def test_an_answer_to_nothing_decides_nothing() -> None:
    """Neither an unknown id nor one of a request that was withdrawn."""
    async with open_gate() as gate:
        assert not gate.permissions.answer("unknown", "allow_session")
        asking = await gate.ask()
        (request,) = gate.open()
        asking.scope.cancel("test")
        await wait_all_tasks_blocked()
        assert not gate.permissions.answer(request.id, "allow_session")
        again = await gate.ask("c2")
        assert again.granted is None


@pytest.mark.promise("D1")
async def test_allowed_for_the_session_covers_the_same_thing_and_nothing_else() -> None:
    """Session, tool, action and directory; another of any of them is asked for."""
    async with open_gate() as gate:
        await gate.ask()
        assert gate.permissions.answer(gate.open()[0].id, "allow_session")
        same = await gate.ask("c2", params={"command": "rm"})
        assert same.granted is True
        assert gate.told()[-2:] == ["asked c2", "granted c2"]
        for changed in (
            {"session_id": "other"},
            {"tool_name": "write"},
            {"action": "read"},
            {"path": "/other"},
        ):
            asking = await gate.ask("c3", **changed)
            assert asking.granted is None
            asking.scope.cancel("next")
            await asking.done.wait()


# --- who is not asked ---------------------------------------------------------------------------


@pytest.mark.parametrize("allowed", ["bash", "bash:execute"])
async def test_what_the_configuration_allows_is_not_asked(allowed: str) -> None:
    """No event at all; what it does not name is asked."""
    async with open_gate(allowed_tools=[allowed]) as gate:
        assert (await gate.ask()).granted is True
        assert gate.events == []
        assert (await gate.ask("c2", tool_name="write")).granted is None


async def test_skipping_can_be_turned_on_and_off() -> None:
    """From then on; a request that is open stays open."""
    async with open_gate() as gate:
        first = await gate.ask()
        gate.permissions.skip = True
        assert (await gate.ask("c2")).granted is True
        assert first.granted is None
        gate.permissions.skip = False
        assert (await gate.ask("c3")).granted is None


async def test_being_allowed_unasked_is_a_checkpoint() -> None:
    """A tool that is cancelled does not slip through."""
    async with open_gate(skip=True) as gate:
        asking = Asking()
        asking.scope.cancel("test")
        await gate._ask(asking, "c1", {})
        assert asking.granted is None


# --- one at a time --------------------------------------------------------------------------------


@pytest.mark.promise("D2")
async def test_one_request_is_open_at_a_time() -> None:
    """Others wait in the order in which they came, and are asked when it is their turn."""
    async with open_gate() as gate:
        first, second, third = [await gate.ask(f"c{n}") for n in (1, 2, 3)]
        for number, asking in enumerate((first, second, third), 1):
            (request,) = gate.open()
            assert request.tool_call_id == f"c{number}"
            assert gate.permissions.answer(request.id, "allow")
            await asking.done.wait()
            await wait_all_tasks_blocked()
        assert gate.told() == [
            f"{what} c{number}" for number in (1, 2, 3) for what in ("asked", "request", "granted")
        ]


@pytest.mark.promise("D1")
async def test_an_allow_for_the_session_also_serves_those_who_wait_behind_it() -> None:
    """They are not asked any more, and clients learn that they were granted."""
    async with open_gate() as gate:
        await gate.ask("c1")
        second = await gate.ask("c2")
        gate.permissions.answer(gate.open()[0].id, "allow_session")
        await second.done.wait()
        assert second.granted is True
        assert gate.told() == [
            "asked c1",
            "request c1",
            "granted c1",
            "asked c2",
            "granted c2",
        ]


# --- cancel -----------------------------------------------------------------------------------------


@pytest.mark.promise("D3")
async def test_a_cancelled_question_is_withdrawn_on_every_client() -> None:
    """With a denied notification; the next one in line is asked."""
    async with open_gate() as gate:
        first = await gate.ask("c1")
        second = await gate.ask("c2")
        first.scope.cancel("test")
        await first.done.wait()
        await wait_all_tasks_blocked()
        assert first.granted is None
        assert gate.told() == ["asked c1", "request c1", "denied c1", "asked c2", "request c2"]
        assert [each.tool_call_id for each in gate.open()] == ["c2"]
        assert second.granted is None


@pytest.mark.promise("D3")
async def test_a_question_that_is_cancelled_in_line_was_never_asked() -> None:
    """Nobody heard of it, so nobody has to be told."""
    async with open_gate() as gate:
        await gate.ask("c1")
        waiting = await gate.ask("c2")
        waiting.scope.cancel("test")
        await waiting.done.wait()
        assert gate.told() == ["asked c1", "request c1"]


@pytest.mark.promise("D1", "D3")
@pytest.mark.parametrize("first", ["answer", "cancel"])
async def test_an_answer_and_a_cancel_in_one_step_make_one_decision(first: str) -> None:
    """Clients are told once, whichever came first, and the tool is not carried out of a cancel."""
    async with open_gate() as gate:
        asking = await gate.ask()
        (request,) = gate.open()
        if first == "answer":
            assert gate.permissions.answer(request.id, "allow")
            asking.scope.cancel("test")
        else:
            asking.scope.cancel("test")
            gate.permissions.answer(request.id, "allow")
        await asking.done.wait()
        assert gate.told()[:2] == ["asked c1", "request c1"]
        assert len(gate.told()) == 3
        assert gate.open() == []
        assert asking.granted is (True if first == "answer" else None)


@pytest.mark.promise("C3", "D2")
async def test_a_question_that_cannot_be_told_is_not_left_open() -> None:
    """The tool gets the error; the next one is asked, and new streams hear nothing of it."""
    hub = Hub()
    permissions = Permissions(hub.publish)
    with trio.fail_after(5):
        with pytest.raises(UnicodeEncodeError):
            await permissions.ask(
                session_id="s",
                tool_call_id="c1",
                tool_name="bash",
                action="execute",
                description="\ud800",
                params={},
                path="/p",
            )
        assert permissions.open_events() == []
        async with trio.open_nursery() as nursery:
            gate = Gate(permissions, [], nursery)
            await gate.ask("c2")
            assert [each.tool_call_id for each in gate.open()] == ["c2"]
            nursery.cancel_scope.cancel("the test is over")


# --- late joiners -------------------------------------------------------------------------------------


@pytest.mark.promise("D2")
async def test_whoever_comes_later_is_told_of_the_open_request() -> None:
    """As if it had just been asked, unchanged; of those that wait in line nothing yet."""
    async with open_gate() as gate:
        await gate.ask("c1")
        await gate.ask("c2")
        late = gate.permissions.open_events()
        assert [told(event) for event in late] == ["asked c1", "request c1"]
        assert late[1].payload is gate.events[1].payload
        gate.permissions.answer(gate.open()[0].id, "deny")
        assert gate.permissions.open_events() == []


# --- what a request says ---------------------------------------------------------------------------


async def test_a_request_says_what_is_asked(tmp_path: Path) -> None:
    """A file counts as its directory, a dot as the working directory; the rest is as it came."""
    file = tmp_path / "a.txt"
    file.write_text("x")
    async with open_gate(working_dir="/work") as gate:
        places: list[str] = []
        for path in (str(file), ".", "/no/such"):
            asking = await gate.ask(path=path)
            (request,) = gate.open()
            places.append(request.path)
            assert (request.session_id, request.tool_name, request.action) == (
                "s",
                "bash",
                "execute",
            )
            assert request.params == {"command": "ls"}
            asking.scope.cancel("next")
            await asking.done.wait()
        assert places == [str(tmp_path), "/work", "/no/such"]


@pytest.mark.promise("D3")
def test_an_ask_that_is_cancelled_before_it_is_open_is_never_shown() -> None:
    """Wherever the cancel strikes on the way to the question, nobody is asked for nothing: taking
    the turn has a step that no cancel interrupts."""

    async def cancelled_after(steps: int) -> bool:
        async with open_gate() as gate:
            asking, nothing = Asking(), dict[str, Any]()
            gate.nursery.start_soon(gate._ask, asking, "c1", nothing)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            shown = gate.told()
            asking.scope.cancel()
            await asking.done.wait()
            assert ("request c1" in gate.told()) == ("request c1" in shown)
        return "request c1" in shown

    ways = [(steps, seed) for steps in range(5) for seed in range(10)]
    shown = [run(cancelled_after, steps, seed=seed) for steps, seed in ways]
    assert True in shown
    assert False in shown


# --- when nobody can be asked ----------------------------------------------------------------


async def test_a_rule_answers_for_a_session_that_nobody_attends_to() -> None:
    """At once, with the notifications that clients draw, and only for that session (R-37)."""
    async with open_gate() as gate:
        with gate.permissions.unattended("s", "allow"):
            assert (await gate.ask("c1")).granted is True
            other = await gate.ask("c2", session_id="other")
            assert other.granted is None
            assert (await gate.ask("c3")).granted is True, "not behind somebody else's dialog"
        assert gate.told()[:2] == [
            told(_notified("c1", granted=False)),
            told(_notified("c1", granted=True)),
        ]
        (open_request,) = gate.open()
        assert open_request.tool_call_id == "c2"


async def test_a_rule_that_denies_says_why() -> None:
    """An error that names the setting and the tool; clients are told that it was denied."""
    async with open_gate() as gate:
        with gate.permissions.unattended("s", "deny"), pytest.raises(UnattendedError) as caught:
            await gate.permissions.ask(
                session_id="s",
                tool_call_id="c1",
                tool_name="bash",
                action="execute",
                description="",
                params={},
                path="/p",
            )
        assert "permissions.unattended is 'deny'" in str(caught.value)
        assert "'bash'" in str(caught.value)
        last = gate.events[-1].payload
        assert last == PermissionNotification("c1", granted=False, denied=True)


async def test_the_rule_ends_with_its_run_or_when_somebody_comes() -> None:
    """Then people are asked again."""
    async with open_gate() as gate:
        with gate.permissions.unattended("s", "allow"):
            gate.permissions.attend("s")
            assert (await gate.ask("c1")).granted is None
            gate.permissions.answer(gate.open()[0].id, "deny")
        with gate.permissions.unattended("s", "allow"):
            pass
        assert (await gate.ask("c2")).granted is None


async def test_what_the_configuration_allows_needs_no_rule() -> None:
    """The list of allowed tools comes first, also where the rule denies."""
    async with open_gate(allowed_tools=["bash"]) as gate:
        with gate.permissions.unattended("s", "deny"):
            assert (await gate.ask("c1")).granted is True
        assert gate.events == []


def _notified(call: str, *, granted: bool) -> Event:
    notification = PermissionNotification(call, granted=granted, denied=False)
    return Event("permission_notification", "created", notification)
