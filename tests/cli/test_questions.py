"""Questions at a terminal: what is shown, what is understood, and what becomes of the answers."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from crush_trio.cli.answering import Answerer
from crush_trio.cli.output import Output
from crush_trio.cli.questions import lines_of, response_to
from crush_trio.cli.terminal import Terminal
from crush_trio.client import open_client
from crush_trio.questions import Responses
from crush_trio.wire.questions import Choice, QuestionItem, QuestionResponse
from twin_kit import Twin, open_twin

CHOICES = (
    Choice(id="pg", label="PostgreSQL"),
    Choice(id="lite", label="SQLite", description="one file"),
)
ONE = QuestionItem(id="q1", type="single_choice", label="DB", question="Which?", choices=CHOICES)
MANY = QuestionItem(id="q2", type="multi_choice", question="Which?", choices=CHOICES)
SURE = QuestionItem(id="q3", type="yes_no", question="Sure?", description="No way back.")
NAME = QuestionItem(id="q4", type="free_text", question="Which name?")


def test_a_question_is_shown_with_what_can_be_typed() -> None:
    """Choices are numbered; what is not there is left out."""
    assert list(lines_of(ONE)) == [
        "\nDB: Which?",
        "  1. PostgreSQL",
        "  2. SQLite - one file",
        "(a number, or an answer of your own; Enter skips)",
    ]
    assert list(lines_of(SURE)) == ["\nSure?", "No way back.", "([y]es or [n]o; Enter skips)"]


@pytest.mark.parametrize(
    ("item", "typed", "response"),
    [
        (ONE, "2\n", QuestionResponse("q1", ("lite",))),
        (ONE, "MySQL\n", QuestionResponse("q1", fill_in_text="MySQL")),
        (ONE, "1 2\n", None),
        (ONE, "3\n", None),
        (ONE, "\n", QuestionResponse("q1")),
        (MANY, "2, 1\n", QuestionResponse("q2", ("lite", "pg"))),
        (MANY, "0\n", None),
        (SURE, "Yes\n", QuestionResponse("q3", yes=True)),
        (SURE, "n\n", QuestionResponse("q3", yes=False)),
        (SURE, "perhaps\n", None),
        (NAME, "Ada \n", QuestionResponse("q4", fill_in_text="Ada")),
        (NAME, "7\n", QuestionResponse("q4", fill_in_text="7")),
    ],
)
def test_what_is_typed_becomes_an_answer(
    item: QuestionItem, typed: str, response: QuestionResponse | None
) -> None:
    """Or is asked again, where it makes no sense."""
    assert response_to(item, typed) == response


@attrs.define(eq=False)
class Room:
    """A terminal with somebody at its other end, and a twin of the server that asks."""

    twin: Twin
    answerer: Answerer
    keyboard: int
    screen: io.StringIO
    answered: trio.Event = attrs.field(factory=trio.Event)
    answers: list[Responses | None] = attrs.field(factory=list["Responses | None"])

    async def ask(self, *items: QuestionItem) -> None:
        """Let the twin ask, and the answerer take it up."""
        self.twin.nursery.start_soon(self._ask, items)
        await wait_all_tasks_blocked()
        (batch,) = self.twin.questions.open_requests()
        self.answerer.take_questions(batch)
        self.answerer.take_questions(batch)  # as after a reconnect: it is asked once
        await wait_all_tasks_blocked()

    async def _ask(self, items: tuple[QuestionItem, ...]) -> None:
        self.answers.append(
            await self.twin.questions.ask(session_id="s", tool_call_id="c", questions=items)
        )
        self.answered.set()

    async def type(self, text: str) -> None:
        """Type, and wait for what comes of it; a terminal gives out a line at a time."""
        os.write(self.keyboard, text.encode())
        await self.answered.wait()


@contextmanager
def terminal() -> Generator[tuple[int, int]]:
    """A pseudo-terminal: its keyboard, and what a program reads from."""
    keyboard, reading = os.openpty()
    try:
        yield keyboard, reading
    finally:
        os.close(keyboard)
        os.close(reading)


@asynccontextmanager
async def open_room(tmp_path: Path) -> AsyncGenerator[Room]:
    screen = io.StringIO()
    with terminal() as (keyboard, reading), (tmp_path / "out").open("wb") as out:
        output = Output(out=out.fileno(), err=screen, progress=False)
        async with open_twin() as twin, open_client(connect=twin.connect) as client:
            async with client.open_workspace("/work", linger=True) as workspace:
                async with trio.open_nursery() as nursery:
                    answerer = Answerer(
                        workspace,
                        nursery,
                        output,
                        terminal=Terminal(output, reading),
                        allow_all=False,
                    )
                    with trio.fail_after(5):
                        await trio.lowlevel.checkpoint()
                        yield Room(twin, answerer, keyboard, screen)
                    nursery.cancel_scope.cancel("the test is over")


async def test_answers_go_to_whoever_asked(tmp_path: Path) -> None:
    """One question after the other; what makes no sense is asked again."""
    async with open_room(tmp_path) as room:
        await room.ask(SURE, NAME)
        await room.type("perhaps\ny\nAda\n")
        assert room.answers == [
            (QuestionResponse("q3", yes=True), QuestionResponse("q4", fill_in_text="Ada"))
        ]
        assert room.screen.getvalue().count("Sure?") == 2


async def test_the_end_of_the_input_refuses(tmp_path: Path) -> None:
    """Ctrl-D: nobody will answer, and the run must not wait for ever."""
    async with open_room(tmp_path) as room:
        await room.ask(SURE)
        await room.type("\x04")
        assert room.answers == [None]


@pytest.mark.promise("D1")
async def test_an_answer_from_elsewhere_ends_the_asking(tmp_path: Path) -> None:
    """The first answer wins, and the terminal says so (D1)."""
    async with open_room(tmp_path) as room:
        await room.ask(SURE)
        (batch,) = room.twin.questions.open_requests()
        room.twin.questions.answer((QuestionResponse("q3", yes=False),))
        room.answerer.questions_decided(batch.id)
        await wait_all_tasks_blocked()
        assert "decided elsewhere" in room.screen.getvalue()
        assert not [seen for seen in room.twin.seen if seen.segments[-2:-1] == ["questions"]]
