"""Titles: asked of one model after the other, cleaned, and never in anybody's way."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from core_kit import CHOSEN, Study, open_study
from crush_trio.agent.titles import (
    UNTITLED,
    TitleModel,
    clean_title,
    make_title,
    title_from_prompt,
)
from crush_trio.errors import ProviderError
from crush_trio.ids import SessionID
from crush_trio.providers.base import Usage
from crush_trio.providers.scripted import Answer, Fail, Finish, Report, Say, ScriptedModel
from crush_trio.wire.sessions import Session


@asynccontextmanager
async def open_desk() -> AsyncGenerator[Study]:
    with trio.fail_after(5):
        async with open_study() as study:
            yield study


async def titled(study: Study, *titles: Answer, prompt: str = "hello") -> Session:
    """Ask one model for each answer, in this order; return the session."""
    models = [TitleModel(CHOSEN, ScriptedModel(title=title), "prefix") for title in titles]
    await make_title(study.store, study.session_id, prompt, models)
    session = await study.store.session(study.session_id)
    assert session is not None
    return session


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        ("Fixing the\nbuild", "Fixing the build"),
        ("<think>Hm.</think> Fixing", "Fixing"),
        ("<think> Fixing", "Fixing"),
        ("  ", ""),
    ],
)
def test_an_answer_is_made_one_line_without_thoughts(answer: str, title: str) -> None:
    """Agent contract 1.13."""
    assert clean_title(answer) == title


@pytest.mark.parametrize(
    ("prompt", "title"),
    [
        ("fix\n  the build", "fix the build"),
        ("x" * 60, "x" * 49 + "…"),
        (" \n", UNTITLED),
    ],
)
def test_a_prompt_can_be_its_own_title(prompt: str, title: str) -> None:
    """On one line of at most 50 characters."""
    assert title_from_prompt(prompt) == title


async def test_the_first_model_that_answers_makes_the_title() -> None:
    """And what it used is added to the session's counters."""
    async with open_desk() as study:
        answer = [Say("Fixing"), Report(Usage(input=10, output=3, cache_creation=5))]
        session = await titled(study, Fail(ProviderError("down")), answer, "Too late")
        assert session.title == "Fixing"
        assert (session.prompt_tokens, session.completion_tokens) == (15, 3)


async def test_an_answer_that_is_cut_off_counts_as_none() -> None:
    """A reasoning model that thought too long; the next one is asked."""
    async with open_desk() as study:
        assert (await titled(study, [Say("Fix"), Finish("max_tokens")], "Whole")).title == "Whole"


async def test_when_no_model_answers_the_session_is_untitled() -> None:
    """And when one says nothing the prompt is the title."""
    async with open_desk() as study:
        down = Fail(ProviderError("down"))
        assert (await titled(study, down, down)).title == UNTITLED
        assert (await titled(study, " ", prompt="fix it")).title == "fix it"


@pytest.mark.promise("C2", "C3")
async def test_a_title_that_cannot_be_stored_is_nobodys_error() -> None:
    """A full disk, or a session that was deleted meanwhile."""
    async with open_desk() as study:
        model = TitleModel(CHOSEN, ScriptedModel())
        study.disk.full = True
        await make_title(study.store, study.session_id, "x", [model])
        study.disk.full = False
        await make_title(study.store, SessionID("gone"), "x", [model])
        session = await study.store.session(study.session_id)
        assert session is not None
        assert session.title == "New Session"


async def test_the_request_says_what_is_wanted() -> None:
    """A prefix of the provider, the instruction, the prompt, and little room (agent contract 1.13)."""
    async with open_desk() as study:
        model = ScriptedModel()
        thinking = attrs.evolve(
            CHOSEN, model=CHOSEN.model.__class__("m", default_max_tokens=500, can_reason=True)
        )
        await make_title(
            study.store, study.session_id, "fix it", [TitleModel(CHOSEN, model, "prefix")]
        )
        (request,) = model.title_requests
        assert [m.role for m in request.messages] == ["system", "system", "user"]
        assert request.messages[0].text == "prefix"
        assert request.messages[1].text.endswith("\n/no_think")
        assert "fix it" in request.messages[2].text
        assert (request.options.max_tokens, request.session_key) == (40, study.session_id)
        await make_title(study.store, study.session_id, "x", [TitleModel(thinking, model)])
        assert model.requests[-1].options.max_tokens == 500
