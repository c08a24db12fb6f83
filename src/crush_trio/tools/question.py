"""``question``: ask the user, and wait for the answers (agent contract 2.27 and 7.5)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, cast

import msgspec

from crush_trio.ids import new_id
from crush_trio.questions import Responses
from crush_trio.tools.arguments import ArgumentsError
from crush_trio.tools.base import ToolAnswer, ToolContext
from crush_trio.tools.builtin import Builtin
from crush_trio.wire.questions import Choice, QuestionItem, QuestionResponse, QuestionType

CANCELLED = "User cancelled this question"
"""Content of the result when the user refuses to answer; clients recognise it (agent 2.27)."""

QUESTIONS = CHOICES = 5
"""Questions of a batch, and choices of a question, at most (agent contract 2.27)."""

QUESTION_BYTES, DESCRIPTION_BYTES, CHOICE_BYTES = 240, 600, 200
"""How long the texts of a question and of a choice may be (agent contract 2.27)."""

CONFIRM_TITLE = "Ready to go?"
CONFIRM_DESCRIPTION = "Review your answers above and confirm."
"""What the form of several questions ends with, if the model says nothing (agent contract 7.5)."""

WHOLE_QUESTION = "_question"
"""The key of a note on the question and not on one of its choices (agent contract 2.27)."""


class AskedChoice(msgspec.Struct, frozen=True):
    """One choice as a model gives it."""

    id: Annotated[str, msgspec.Meta(description="Short id, unique in the question")]
    label: Annotated[str, msgspec.Meta(description="What the user sees")]
    description: Annotated[str, msgspec.Meta(description="What choosing it means")] = ""


class AskedQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """One question as a model gives it."""

    label: Annotated[str, msgspec.Meta(description="A word or two for the tab of the form")] = ""
    type: Annotated[QuestionType, msgspec.Meta(description="How it is answered")]
    question: Annotated[str, msgspec.Meta(description="The question itself")]
    description: Annotated[str, msgspec.Meta(description="What the user should know to answer")]
    choices: Annotated[
        tuple[AskedChoice, ...], msgspec.Meta(description="What there is to choose from")
    ] = ()


class QuestionParams(msgspec.Struct, frozen=True):
    """Parameters of ``question``."""

    questions: Annotated[
        tuple[AskedQuestion, ...], msgspec.Meta(description="The questions, shown as one form")
    ]
    confirm_title: Annotated[
        str, msgspec.Meta(description="Title of the last page, where answers are confirmed")
    ] = ""
    confirm_description: Annotated[str, msgspec.Meta(description="Text of the last page")] = ""


class Question(Builtin[QuestionParams]):
    """Asks the user. Only for runs that somebody attends to."""

    name = "question"
    params = QuestionParams

    async def run(self, arguments: bytes | str, context: ToolContext) -> ToolAnswer:
        """As for every tool; also takes what models often write instead (agent contract 2.27)."""
        return await super().run(_straightened(arguments), context)

    async def call(self, params: QuestionParams, context: ToolContext) -> ToolAnswer:
        """Check the questions, ask them, and answer with what the user said."""
        _check(params.questions)
        items = tuple(map(_item, params.questions))
        several = len(items) > 1
        responses = await context.around.questions.ask(
            session_id=context.session_id,
            tool_call_id=context.tool_call_id,
            questions=items,
            confirm_title=params.confirm_title or (CONFIRM_TITLE if several else ""),
            confirm_description=params.confirm_description
            or (CONFIRM_DESCRIPTION if several else ""),
        )
        if responses is None:
            return ToolAnswer(CANCELLED, is_error=True, stop_turn=True)
        return ToolAnswer(told(items, responses))


def told(items: Sequence[QuestionItem], responses: Responses) -> str:
    """Return what a model is told of the answers: one block a question."""
    given = {response.request_id: response for response in responses}
    return "\n\n".join(
        "\n".join(_block(number, item, given.get(item.id, QuestionResponse())))
        for number, item in enumerate(items, 1)
    )


def _block(number: int, item: QuestionItem, response: QuestionResponse) -> Iterator[str]:
    yield f"Q{number}: {item.question}"
    yield from list(_answers(item, response)) or ["User skipped this question"]
    if response.notes:
        yield "\nNotes:"
        for about, note in response.notes.items():
            yield f"- {note}" if about == WHOLE_QUESTION else f"- [{about}]: {note}"


def _answers(item: QuestionItem, response: QuestionResponse) -> Iterator[str]:
    if item.type == "yes_no" and response.yes is not None:
        yield f"User answered: {'yes' if response.yes else 'no'}"
    if response.selected_ids:
        yield f"User selected: {msgspec.json.encode(response.selected_ids).decode()}"
    if response.fill_in_text:
        yield f"User provided: {response.fill_in_text}"


def _item(asked: AskedQuestion) -> QuestionItem:
    return QuestionItem(
        id=new_id(),
        type=asked.type,
        label=asked.label,
        question=asked.question,
        description=asked.description,
        choices=tuple(
            Choice(id=choice.id, label=choice.label, description=choice.description)
            for choice in asked.choices
        ),
    )


# --- what is asked ---------------------------------------------------------------------


def _check(questions: Sequence[AskedQuestion]) -> None:
    """Refuse questions that no form can show.

    Raises:
        ArgumentsError: one is wrong; the message names it and what to do.
    """
    if not 1 <= len(questions) <= QUESTIONS:
        raise ArgumentsError(f"ask 1 to {QUESTIONS} questions at once, not {len(questions)}")
    for number, question in enumerate(questions, 1):
        for problem in _problems(question):
            raise ArgumentsError(f"question {number} ({_shown(question.question)}): {problem}")


def _problems(question: AskedQuestion) -> Iterator[str]:
    yield from _length("question", question.question, QUESTION_BYTES)
    yield from _length("description", question.description, DESCRIPTION_BYTES)
    if question.type in {"single_choice", "multi_choice"}:
        yield from _choice_problems(question.choices)


def _choice_problems(choices: Sequence[AskedChoice]) -> Iterator[str]:
    if not 2 <= len(choices) <= CHOICES:
        yield f"give 2 to {CHOICES} choices, not {len(choices)}"
    ids = [choice.id for choice in choices]
    if not all(ids) or len(set(ids)) < len(ids):
        yield f"every choice needs an id of its own: {ids}"
    for choice in choices:
        yield from _length(f"label of choice {choice.id!r}", choice.label, CHOICE_BYTES)
        if choice.description:
            yield from _length(
                f"description of choice {choice.id!r}", choice.description, CHOICE_BYTES
            )


def _length(what: str, text: str, limit: int) -> Iterator[str]:
    size = len(text.encode("utf-8", "replace"))
    if not text.strip():
        yield f"the {what} is missing"
    elif size > limit:
        yield f"the {what} has {size} bytes, {limit} are allowed"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:39] + "…")


def _straightened(arguments: bytes | str) -> bytes | str:
    """Return arguments with ``questions`` as a list, ``choices`` by their name, and no nulls."""
    try:
        given: Any = json.loads(arguments or "{}")
        questions = given["questions"]
        if isinstance(questions, str):
            questions = json.loads(questions)
        fixed = [_named(question) for question in cast("Iterable[Any]", questions)]
        return json.dumps(given | {"questions": fixed})
    except (ValueError, TypeError, KeyError, RecursionError):
        return arguments  # the decoder says what is wrong


def _named(question: Any) -> Any:
    if not isinstance(question, dict):
        return question
    known = {
        name: value for name, value in cast("dict[str, Any]", question).items() if value is not None
    }
    if "options" in known:
        known.setdefault("choices", known.pop("options"))
    return known
