"""When a turn goes round in circles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crush_trio.agent.limits import LoopDetector
from crush_trio.messages import ToolCall, ToolResult


def step(name: str, content: str = "same") -> list[tuple[ToolCall, ToolResult]]:
    return [(ToolCall("id", "bash", name), ToolResult("id", "bash", content))]


def test_the_same_step_more_than_five_times_in_ten_is_a_loop() -> None:
    """And never before the tenth step (agent contract 1.10)."""
    loops = LoopDetector()
    assert [loops.looping(step("a")) for _ in range(10)] == [False] * 9 + [True]
    loops = LoopDetector()
    assert not any(loops.looping(step("ab"[number % 2])) for number in range(50))


@pytest.mark.parametrize("changed", ["input", "result", "data"])
def test_a_step_that_differs_in_anything_is_another_one(changed: str) -> None:
    """A command that is run again and again while its output changes is no loop."""
    loops = LoopDetector()
    for number in range(30):
        call = ToolCall("id", "bash", f"{number}" if changed == "input" else "a")
        result = ToolResult(
            "id",
            "bash",
            f"{number}" if changed == "result" else "x",
            f"{number}" if changed == "data" else "",
        )
        assert not loops.looping([(call, result)])


def test_steps_without_calls_are_no_loop() -> None:
    """They end a turn by themselves."""
    loops = LoopDetector()
    assert not any(loops.looping([]) for _ in range(30))


@given(st.lists(st.sampled_from("abc"), max_size=40))
def test_a_turn_is_stopped_exactly_when_the_window_says_so(names: list[str]) -> None:
    """Compared with a count over the last ten steps."""
    loops = LoopDetector()
    for number, name in enumerate(names, 1):
        window = names[max(0, number - 10) : number]
        expected = number >= 10 and max(window.count(each) for each in window) > 5
        assert loops.looping(step(name)) == expected
