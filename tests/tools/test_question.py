"""``question``: what may be asked, and what the model is told of the answers (agent contract 2.27)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from crush_trio.tools.base import ToolAnswer
from crush_trio.tools.question import told
from crush_trio.wire.questions import QuestionItem, QuestionRequest, QuestionResponse
from tools_kit import Toolbox, open_toolbox

CHOICES = [{"id": "pg", "label": "PostgreSQL"}, {"id": "lite", "label": "SQLite"}]
DATABASE = {
    "label": "DB",
    "type": "single_choice",
    "question": "Which database?",
    "description": "Pick one.",
    "choices": CHOICES,
}
SURE = {"type": "yes_no", "question": "Sure?", "description": "d"}


async def asked(box: Toolbox, arguments: str) -> tuple[QuestionRequest, ToolAnswer]:
    """Ask, answer with nothing, and return the batch and the tool's answer."""
    answers: list[ToolAnswer] = []

    async def ask() -> None:
        answers.append(await box.call_text("question", arguments))

    questions = box.context.around.questions
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            (batch,) = questions.open_requests()
            questions.answer(())
    return batch, answers[0]


async def test_a_batch_gets_ids_and_an_end(tmp_path: Path) -> None:
    """Ids of its own for each question, the model's ids for choices; two questions need confirming."""
    async with open_toolbox(tmp_path) as box:
        batch, answer = await asked(box, json.dumps({"questions": [DATABASE, SURE]}))
        first, second = batch.questions
        assert len({batch.id, first.id, second.id}) == 3
        assert [choice.id for choice in first.choices] == ["pg", "lite"]
        assert (batch.session_id, batch.tool_call_id) == (box.context.session_id, "call_1")
        assert batch.confirm_title == "Ready to go?"
        assert batch.confirm_description
        assert not answer.is_error
        assert answer.content.count("User skipped this question") == 2
        batch, _ = await asked(box, json.dumps({"questions": [SURE]}))
        assert (batch.confirm_title, batch.confirm_description) == ("", "")


async def test_what_models_write_instead_is_understood(tmp_path: Path) -> None:
    """The list as JSON text, ``options`` for ``choices``, null for what is left out."""
    question = {**DATABASE, "options": CHOICES, "choices": None}
    async with open_toolbox(tmp_path) as box:
        batch, _ = await asked(box, json.dumps({"questions": json.dumps([question])}))
        assert [choice.label for choice in batch.questions[0].choices] == ["PostgreSQL", "SQLite"]


async def test_a_refusal_stops_the_turn(tmp_path: Path) -> None:
    """With the text that clients know (agent contract 2.27)."""
    async with open_toolbox(tmp_path) as box:

        async def refuse() -> None:
            await wait_all_tasks_blocked()
            assert box.context.around.questions.refuse()

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(refuse)
                answer = await box.call("question", questions=[SURE])
        assert (answer.content, answer.is_error) == ("User cancelled this question", True)
        assert answer.stop_turn


@pytest.mark.parametrize(
    ("questions", "problem"),
    [
        ([], "ask 1 to 5 questions"),
        ([SURE] * 6, "not 6"),
        (
            [SURE, {**DATABASE, "choices": CHOICES[:1]}],
            "question 2 ('Which database?'): give 2 to 5",
        ),
        ([{**DATABASE, "choices": CHOICES * 3}], "give 2 to 5"),
        ([{**DATABASE, "choices": [CHOICES[0]] * 2}], "id of its own"),
        ([{**DATABASE, "choices": [{"id": "", "label": "x"}, CHOICES[0]]}], "id of its own"),
        ([{**SURE, "question": "é" * 121}], "the question has 242 bytes, 240 are allowed"),
        ([{**SURE, "description": "x" * 601}], "the description has 601 bytes"),
        ([{**SURE, "description": " "}], "the description is missing"),
        (
            [{**DATABASE, "choices": [{"id": "a", "label": "x" * 201}, CHOICES[0]]}],
            "label of choice",
        ),
        (
            [{**DATABASE, "choices": [{**CHOICES[0], "description": "x" * 201}, CHOICES[1]]}],
            "description of choice 'pg'",
        ),
        ([{**SURE, "type": "maybe"}], "questions[0].type"),
        ([{"type": "yes_no", "question": "Sure?"}], "questions[0].description is required"),
        ("no list", "questions"),
    ],
)
async def test_a_question_that_no_form_can_show_goes_back_to_the_model(
    tmp_path: Path, questions: Any, problem: str
) -> None:
    """An error that names the question and the limit; nobody is asked (agent contract 2.27)."""
    async with open_toolbox(tmp_path) as box:
        answer = await box.call("question", questions=questions)
        assert answer.is_error
        assert problem in answer.content
        assert not answer.stop_turn
        assert box.events[1:] == []  # the session's


def test_the_model_is_told_each_answer_in_its_block() -> None:
    """Selection, own words, yes and no, notes, and what was skipped (agent contract 2.27)."""
    items = [
        QuestionItem(id="1", type="single_choice", question="Which database?"),
        QuestionItem(id="2", type="yes_no", question="Add tests?"),
        QuestionItem(id="3", type="yes_no", question="Push?"),
        QuestionItem(id="4", type="free_text", question="Which name?"),
    ]
    responses = (
        QuestionResponse("2", yes=True),
        QuestionResponse(
            "1", ("pg", "a"), "with PostGIS", notes={"_question": "overall", "pg": "prefer 16"}
        ),
        QuestionResponse("3", yes=False),
        QuestionResponse("unknown", yes=True),
    )
    assert told(items, responses) == (
        'Q1: Which database?\nUser selected: ["pg","a"]\nUser provided: with PostGIS\n\n'
        "Notes:\n- overall\n- [pg]: prefer 16\n\n"
        "Q2: Add tests?\nUser answered: yes\n\n"
        "Q3: Push?\nUser answered: no\n\n"
        "Q4: Which name?\nUser skipped this question"
    )
