"""Questions to people and their answers on the wire (wire contract 3.17, R-33 and R-34)."""

from __future__ import annotations

from typing import Literal

import msgspec

QuestionType = Literal["yes_no", "single_choice", "multi_choice", "free_text"]


class Choice(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One of the answers that a question offers."""

    id: str
    label: str
    description: str = ""


class QuestionItem(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One question of a batch; ``choices`` only where something is to be chosen."""

    id: str
    type: QuestionType
    label: str = ""
    question: str
    description: str = ""
    choices: tuple[Choice, ...] = ()


class QuestionRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A batch of questions that a tool asks; clients show it as one form."""

    id: str
    session_id: str
    tool_call_id: str
    questions: tuple[QuestionItem, ...]
    confirm_title: str = ""
    confirm_description: str = ""


class QuestionResponse(msgspec.Struct, frozen=True):
    """The answer to one question; ``request_id`` is the question's id, whatever its name says."""

    request_id: str = ""
    selected_ids: tuple[str, ...] | None = ()
    fill_in_text: str = ""
    yes: bool | None = None
    notes: dict[str, str] | None = None


class QuestionAnswer(msgspec.Struct, frozen=True):
    """Body of ``POST .../questions/answer``. Crush's client leaves ``batch_request_id`` empty."""

    batch_request_id: str = ""
    responses: tuple[QuestionResponse, ...] | None = ()
