"""Carrying out the calls of a step: which run side by side, and which wait their turn."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from core_kit import FunctionTool, open_study, tool
from crush_trio.agent.calls import PARALLEL, mended, run_calls, tool_result
from crush_trio.messages import ToolCall
from crush_trio.tools.base import Tool, ToolAnswer, ToolContext


class Floor:
    """Tools that begin, wait at a gate and end."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.gates: dict[str, trio.Event] = {}
        self.answered: list[str] = []

    def tool(self, name: str, *, parallel: bool = False) -> FunctionTool:
        async def work(context: ToolContext) -> ToolAnswer:
            gate = self.gates.setdefault(context.tool_call_id, trio.Event())
            self.running.append(context.tool_call_id)
            await gate.wait()
            self.running.remove(context.tool_call_id)
            return ToolAnswer(name, stop_turn=name == "stop")

        return FunctionTool(name, work, parallel=parallel)

    async def take(self, call: ToolCall, _: ToolAnswer) -> None:
        await trio.lowlevel.checkpoint()
        self.answered.append(call.id)

    async def let(self, *ids: str) -> None:
        for identity in ids:
            self.gates[identity].set()
            await wait_all_tasks_blocked()


def calls(*names: str) -> list[ToolCall]:
    return [ToolCall(f"{name}{number}", name, "{}") for number, name in enumerate(names)]


async def test_serial_tools_run_one_after_the_other_and_parallel_ones_beside_them() -> None:
    """In the model's order; results come as they come (agent contract 1.9)."""
    floor = Floor()
    tools: dict[str, Tool] = {
        "serial": floor.tool("serial"),
        "beside": floor.tool("beside", parallel=True),
    }
    stopped: list[bool] = []
    with trio.fail_after(5):
        async with open_study() as study, trio.open_nursery() as nursery:

            def context(call: ToolCall) -> ToolContext:
                return ToolContext(study.session_id, study.session_id, call.id, study.surroundings)  # pyright: ignore[reportArgumentType]

            async def run() -> None:
                step = calls("beside", "serial", "beside", "serial")
                stopped.append(await run_calls(step, frozenset(), tools, context, floor.take))

            nursery.start_soon(run)
            await wait_all_tasks_blocked()
            assert sorted(floor.running) == ["beside0", "serial1"]
            await floor.let("serial1")
            assert sorted(floor.running) == ["beside0", "beside2", "serial3"]
            await floor.let("serial3", "beside2", "beside0")
            assert floor.answered == ["serial1", "serial3", "beside2", "beside0"]
            assert stopped == [False]


async def test_only_so_many_parallel_tools_run_at_once() -> None:
    """Five; the sixth begins when one of them has been answered."""
    floor = Floor()
    tools: dict[str, Tool] = {"beside": floor.tool("beside", parallel=True)}
    with trio.fail_after(5):
        async with open_study() as study, trio.open_nursery() as nursery:

            def context(call: ToolCall) -> ToolContext:
                return ToolContext(study.session_id, study.session_id, call.id, study.surroundings)  # pyright: ignore[reportArgumentType]

            step = calls(*["beside"] * 8)
            nursery.start_soon(run_calls, step, frozenset[str](), tools, context, floor.take)
            await wait_all_tasks_blocked()
            assert len(floor.running) == PARALLEL
            await floor.let(floor.running[0])
            assert len(floor.running) == PARALLEL
            assert len(floor.answered) == 1
            while floor.running:
                await floor.let(*floor.running[:1])
            assert len(floor.answered) == 8


@pytest.mark.promise("D1")
async def test_a_tool_that_stops_the_turn_lets_the_others_finish() -> None:
    """As a denied permission does (agent contract 1.10, wire contract 6.7)."""
    floor = Floor()
    tools: dict[str, Tool] = {"stop": floor.tool("stop"), "look": tool("look")}
    with trio.fail_after(5):
        async with open_study() as study, trio.open_nursery() as nursery:

            def context(call: ToolCall) -> ToolContext:
                return ToolContext(study.session_id, study.session_id, call.id, study.surroundings)  # pyright: ignore[reportArgumentType]

            async def run() -> None:
                step = calls("stop", "look")
                assert await run_calls(step, frozenset(), tools, context, floor.take)

            nursery.start_soon(run)
            await wait_all_tasks_blocked()
            await floor.let("stop0")
            assert floor.answered == ["stop0", "look1"]


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ('{ "a":1 }', '{ "a":1 }'),
        ('{"a": ', '{"a": ""}'),
        ('{"a": "\ud800"}', '{"a": "?"}'),
        ("[1]", None),
        ("12", None),
    ],
)
def test_arguments_are_kept_if_they_are_an_object_and_mended_if_they_can_be(
    arguments: str, kept: str | None
) -> None:
    """History holds JSON objects only (R9)."""
    assert mended(arguments) == kept


def test_an_answer_with_only_a_picture_gets_a_text() -> None:
    """Clients show it, and models that take no pictures read it (agent contract 1.9)."""
    call = ToolCall("c", "view", "{}")
    result = tool_result(call, ToolAnswer("", data="cG5n", mime_type="image/png"))
    assert (result.content, result.data, result.metadata) == (
        "Loaded image/png content",
        "cG5n",
        "",
    )
