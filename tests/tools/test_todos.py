"""``todos``: the session's list, and what clients are told of it (agent contract 2.24)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crush_trio.wire.sessions import Session, Todo
from tools_kit import open_toolbox


def todo(content: str, status: str = "pending", active: str = "") -> dict[str, str]:
    return {"content": content, "status": status, "active_form": active}


async def test_the_list_is_replaced_and_told(tmp_path: Path) -> None:
    """Counts for the model; what has changed for clients; the session's event has the list."""
    async with open_toolbox(tmp_path) as box:
        first = [todo("Run tests", "in_progress", "Running tests"), todo("Ship")]
        answer = await box.call("todos", todos=first)
        assert "Status: 1 pending, 1 in progress, 0 completed" in answer.content
        assert answer.metadata == {
            "is_new": True,
            "todos": first,
            "just_started": "Running tests",
            "completed": 0,
            "total": 2,
        }
        second = [
            todo("Run tests", "completed"),
            todo("Ship", "in_progress"),
            todo("New", "completed"),
        ]
        answer = await box.call("todos", todos=second)
        assert answer.metadata == {
            "is_new": False,
            "todos": second,
            "just_completed": ["Run tests"],
            "just_started": "Ship",
            "completed": 2,
            "total": 3,
        }
        told = [event.payload for event in box.events if isinstance(event.payload, Session)]
        assert told[-1].todos == tuple(Todo(**each) for each in second)
        stored = await box.store.session(box.context.session_id)
        assert stored is not None
        assert stored.todos == told[-1].todos


async def test_an_empty_list_clears(tmp_path: Path) -> None:
    """A session without todos says nothing of them (wire contract 3.8)."""
    async with open_toolbox(tmp_path) as box:
        await box.call("todos", todos=[todo("Ship")])
        answer = await box.call("todos", todos=[])
        assert answer.metadata == {"is_new": False, "todos": [], "completed": 0, "total": 0}
        assert b"todos" not in box.events[-1].frame


@pytest.mark.parametrize(
    ("todos", "problem"),
    [
        ([todo("Ship", "done")], "todos[0].status"),
        ([{"content": "Ship", "status": "pending"}], "todos[0].active_form is required"),
        ([todo(" ")], "every todo needs a content"),
        ("Ship", "todos"),
    ],
)
async def test_a_list_that_is_none_changes_nothing(
    tmp_path: Path, todos: Any, problem: str
) -> None:
    """An error that the model can read; the stored list stays (agent contract 2.24)."""
    async with open_toolbox(tmp_path) as box:
        await box.call("todos", todos=[todo("Ship")])
        events = len(box.events)
        answer = await box.call("todos", todos=todos)
        assert answer.is_error
        assert problem in answer.content
        assert len(box.events) == events
