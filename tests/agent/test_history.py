"""What a model is told of a stored conversation: always something that a strict provider takes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, overload

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crush_trio.agent.history import INTERRUPTED, Memo, model_messages, user_text
from crush_trio.ids import MessageID, SessionID
from crush_trio.messages import (
    STOP,
    Binary,
    BinaryPart,
    Finish,
    FinishPart,
    FinishReason,
    Message,
    Part,
    Reasoning,
    ReasoningPart,
    Role,
    ShellCommand,
    ShellCommandPart,
    Text,
    TextPart,
    ToolCall,
    ToolCallPart,
    ToolResult,
    ToolResultPart,
)
from crush_trio.providers.base import ModelMessage
from crush_trio.providers.strict import complaint

_numbers = iter(range(10**9))


def message(role: Role, *parts: Part, name: str = "") -> Message:
    return Message(MessageID(name or f"m{next(_numbers)}"), SessionID("s"), role, parts)


def user(text: str, *parts: Part) -> Message:
    return message("user", TextPart(Text(text)), *parts, STOP)


def said(
    text: str = "",
    *calls: str,
    thought: str = "",
    signature: str = "",
    reason: FinishReason = "end_turn",
) -> Message:
    parts: list[Part] = []
    if thought:
        parts.append(ReasoningPart(Reasoning(thought, signature, finished_at=1)))
    if text:
        parts.append(TextPart(Text(text)))
    parts += [ToolCallPart(ToolCall(call, "look", "{}", finished=True)) for call in calls]
    return message("assistant", *parts, FinishPart(Finish(reason, 1)))


def result(call: str, content: str = "done", **fields: Any) -> Message:
    return message("tool", ToolResultPart(ToolResult(call, "look", content, **fields)), STOP)


def told(messages: list[ModelMessage]) -> list[str]:
    return [
        f"{m.role} {m.tool_call_id or ''} {m.text}".replace("  ", " ").strip() for m in messages
    ]


# --- calls and results -------------------------------------------------------------------------------


@pytest.mark.promise("R9")
def test_every_call_has_exactly_one_result_in_the_order_of_the_calls() -> None:
    """However they were stored: later, in another order, twice, or not at all."""
    stored = [
        user("go"),
        said("", "a", "b", "c"),
        result("c", "third"),
        result("a", "first"),
        result("a", "again"),
        result("unknown", "whose?"),
        user("on"),
    ]
    assert told(model_messages(stored, {})) == [
        "user go",
        "assistant",
        "tool a first",
        f"tool b {INTERRUPTED}",
        "tool c third",
        "user on",
    ]


class Counted(Sequence[Message]):
    """A conversation that counts how many of its messages are looked at."""

    def __init__(self, *messages: Message) -> None:
        self._messages = messages
        self.looked = 0

    def __len__(self) -> int:
        return len(self._messages)

    @overload
    def __getitem__(self, place: int) -> Message: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Message]: ...

    def __getitem__(self, place: int | slice) -> Message | Sequence[Message]:
        found = self._messages[place]
        self.looked += 1 if isinstance(found, Message) else len(found)
        return found


@pytest.mark.promise("C3")
def test_a_session_of_any_length_costs_each_message_a_bounded_number_of_looks() -> None:
    """A turn costs what is new: other sessions do not stand still while a long one is told."""
    step = [said("", "c"), result("c")]
    conversation = Counted(user("go"), *step * 500)
    told_to_model = model_messages(conversation, {})
    assert len(told_to_model) == len(conversation)
    assert conversation.looked <= 4 * len(conversation)


@pytest.mark.promise("R9")
def test_an_id_that_a_later_step_uses_again_has_its_own_result() -> None:
    """Some models number their calls anew in every answer."""
    stored = [
        user("go"),
        said("", "call_1"),
        result("call_1", "one"),
        said("", "call_1"),
        result("call_1", "two"),
    ]
    assert [m.text for m in model_messages(stored, {}) if m.role == "tool"] == ["one", "two"]


@pytest.mark.promise("R9")
@pytest.mark.parametrize(
    "silent",
    [said(), said(thought="Hm."), said("  \n"), message("assistant")],
    ids=["nothing", "only thought", "blanks", "unfinished"],
)
def test_an_answer_that_says_nothing_is_left_out(silent: Message) -> None:
    """Strict providers refuse it; so it is after a cancel before the first word, or while thinking."""
    conversation = model_messages([user("one"), silent, user("two")], {})
    assert told(conversation) == ["user one", "user two"]
    assert complaint(conversation) == ""


def test_reasoning_goes_with_what_was_said() -> None:
    """For models that want it back."""
    (_, answer) = model_messages([user("go"), said("Yes.", thought="Hm.")], {})
    assert (answer.text, answer.reasoning) == ("Yes.", "Hm.")


def test_a_signature_goes_with_its_reasoning() -> None:
    """Without it a vendor that signs refuses the reasoning (agent contract 1.6)."""
    (answer,) = model_messages([said("Yes.", thought="Hm.", signature="sig")], {})
    assert (answer.reasoning, answer.reasoning_signature) == ("Hm.", "sig")


# --- the user's side -----------------------------------------------------------------------------------


def test_text_files_and_shell_commands_are_part_of_what_a_user_said() -> None:
    """In the contract's form (agent contract 1.6), without the colours of a terminal."""
    stored = user(
        " look ",
        BinaryPart(Binary("a.txt", "text/plain", b"hi \xff")),
        BinaryPart(Binary("", "text/plain", None)),
        BinaryPart(Binary("p.png", "image/png", b"png")),
        ShellCommandPart(ShellCommand("ls", "\x1b[31mred\x1b[0m", 1)),
    )
    text = user_text(stored)
    assert text.startswith("look\n<system_info>")
    assert "<file path='a.txt'>\n\nhi \ufffd\n</file>" in text
    assert "<file>\n\n\n</file>" in text
    assert text.endswith("\n\n$ ls\nred\n(exit code 1)")
    assert "png" not in text


def test_pictures_go_to_models_that_take_them() -> None:
    """Others get the text; both conversions of a message are kept apart."""
    stored = [user("look", BinaryPart(Binary("/p/a.png", "image/png", b"png")))]
    memo: Memo = {}
    (blind,) = model_messages(stored, memo)
    (seeing,) = model_messages(stored, memo, images=True)
    assert (blind.files, seeing.files[0].name, seeing.files[0].data) == ((), "a.png", b"png")
    (again,) = model_messages(stored, memo, images=True)
    assert again is seeing


@pytest.mark.promise("R9")
def test_a_tools_picture_comes_behind_all_results_of_its_step() -> None:
    """Between two results a strict provider would refuse it; blind models get a text instead."""
    picture = base64.b64encode(b"png").decode()
    stored = [
        user("go"),
        said("", "a", "b"),
        result("a", "Loaded", data=picture, mime_type="image/png"),
        result("b"),
    ]
    seeing = model_messages(stored, {}, images=True)
    assert [m.role for m in seeing] == ["user", "assistant", "tool", "tool", "user"]
    assert seeing[-1].files[0].data == b"png"
    assert complaint(seeing) == ""
    blind = model_messages(stored, {})
    assert [m.role for m in blind] == ["user", "assistant", "tool", "tool"]
    assert "not supported" in blind[2].text
    broken = [*stored[:2], result("a", "x", data="no base64!", mime_type="image/png")]
    assert "could not be loaded" in model_messages(broken, {}, images=True)[2].text


def test_a_tools_picture_goes_inside_its_result_where_the_vendor_takes_it() -> None:
    """Anthropic does (agent contract 1.7); blind models get the text all the same."""
    picture = base64.b64encode(b"png").decode()
    stored = [
        user("go"),
        said("", "a"),
        result("a", "Loaded", data=picture, mime_type="image/png"),
    ]
    memo: Memo = {}
    (*_, beside) = model_messages(stored, memo, images=True)
    (*_, inside) = model_messages(stored, memo, images=True, inside=True)
    (*_, blind) = model_messages(stored, memo, inside=True)
    assert (beside.role, inside.role, blind.role) == ("user", "tool", "tool")
    assert (inside.text, inside.files[0].data) == ("Loaded", b"png")
    assert ("not supported" in blind.text, blind.files) == (True, ())


# --- summaries and memory ------------------------------------------------------------------------------


def test_a_summary_stands_for_all_before_it() -> None:
    """As a message of the user; if it is not there nothing is left out."""
    summary = message("assistant", TextPart(Text("So far.")), STOP, name="sum")
    stored = [user("old"), said("old answer"), summary, user("new")]
    assert told(model_messages(stored, {}, summary_id="sum")) == ["user So far.", "user new"]
    assert len(model_messages(stored, {}, summary_id="lost")) == 4


def test_a_finished_message_is_converted_once() -> None:
    """So a turn costs what is new; one that is being written is converted every time."""
    open_one = message("assistant", TextPart(Text("half")))
    stored, memo = [user("go"), said("done"), open_one], Memo()
    first, second = model_messages(stored, memo), model_messages(stored, memo)
    assert [a is b for a, b in zip(first, second, strict=True)] == [True, True, False]


# --- whatever is stored --------------------------------------------------------------------------------


CALLS = st.lists(st.sampled_from(["a", "b", "c"]), unique=True, max_size=3)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["", " ", "text"]),
        st.sampled_from(["", "thought"]),
        CALLS,
        st.lists(st.sampled_from(["a", "b", "c", "x"]), max_size=4),
        st.sampled_from([None, "user", " "]),
    ),
    max_size=5,
)


@pytest.mark.promise("R9")
@given(STEPS)
def test_whatever_is_stored_a_strict_provider_takes_it(
    steps: list[tuple[str, str, list[str], list[str], str | None]],
) -> None:
    """Also what another program left half done."""
    stored = [user("begin")]
    for text, thought, calls, results, prompt in steps:
        stored.append(said(text, *calls, thought=thought))
        stored += [result(call) for call in results]
        if prompt is not None:
            stored.append(user(prompt))
    stored.append(user("next"))
    assert complaint(model_messages(stored, {})) == ""
