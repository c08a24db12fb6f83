"""What a strict provider accepts as a conversation."""

from __future__ import annotations

import pytest

from crush_trio.providers.base import CalledTool, ModelMessage
from crush_trio.providers.strict import complaint

SYSTEM = ModelMessage("system", "be good")
USER = ModelMessage("user", "hi")
ANSWER = ModelMessage("assistant", "hello")
ONE = CalledTool("c1", "bash", "{}")
TWO = CalledTool("c2", "bash", '{"a": 1}')
CALLS = ModelMessage("assistant", tool_calls=(ONE, TWO))
RESULT_1 = ModelMessage("tool", "r1", tool_call_id="c1")
RESULT_2 = ModelMessage("tool", "r2", tool_call_id="c2")


def calling(*calls: CalledTool) -> ModelMessage:
    return ModelMessage("assistant", tool_calls=calls)


@pytest.mark.parametrize(
    "messages",
    [
        [USER],
        [SYSTEM, SYSTEM, USER, USER],
        [USER, ANSWER, USER],
        [USER, CALLS, RESULT_2, RESULT_1],
        [SYSTEM, USER, CALLS, RESULT_1, RESULT_2, ANSWER, USER],
        [USER, calling(ONE), RESULT_1, calling(ONE), RESULT_1],
    ],
)
def test_a_well_formed_conversation_passes(messages: list[ModelMessage]) -> None:
    """Results may come in any order, and prompts may follow each other."""
    assert complaint(messages) == ""


@pytest.mark.promise("R9")
@pytest.mark.parametrize(
    ("messages", "about"),
    [
        ([], "does not start with a user"),
        ([SYSTEM, ANSWER, USER], "does not start with a user"),
        ([USER, SYSTEM], "system message stands behind"),
        ([USER, ANSWER], "ends with an assistant"),
        ([USER, CALLS, RESULT_1], "no result for tool calls ['c2']"),
        ([USER, CALLS, RESULT_1, USER], "no result for tool calls ['c2']"),
        ([USER, CALLS, RESULT_1, USER, RESULT_2], "no result for tool calls ['c2']"),
        ([USER, calling(ONE), RESULT_1, RESULT_1], "'c1' has no call before it, or is the second"),
        ([USER, RESULT_1], "'c1' has no call"),
        ([USER, calling(ONE, ONE), RESULT_1], "the same id"),
        ([USER, calling(CalledTool("c1", "bash", "[1")), RESULT_1], "no JSON object"),
        ([USER, calling(CalledTool("c1", "bash", "12")), RESULT_1], "no JSON object"),
        ([USER, calling(CalledTool("", "bash", "{}")), RESULT_1], "no id or no name"),
        ([USER, ModelMessage("assistant", " "), USER], "says nothing"),
    ],
)
def test_an_ill_formed_conversation_is_named(messages: list[ModelMessage], about: str) -> None:
    """Each of these is refused by some provider, for ever once it is stored."""
    assert about in complaint(messages)
