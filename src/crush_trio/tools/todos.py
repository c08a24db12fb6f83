"""``todos``: keep the session's list of what is to be done (agent contract 2.24)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from crush_trio.tools.arguments import ArgumentsError
from crush_trio.tools.base import ToolAnswer, ToolContext
from crush_trio.tools.builtin import Builtin
from crush_trio.wire.sessions import Todo

TOLD = "The todo list has been updated."
REMINDER = "Keep the list up to date as you go on with the work."


class GivenTodo(msgspec.Struct, frozen=True):
    """One entry as a model gives it."""

    content: Annotated[str, msgspec.Meta(description="What is to be done, as a command")]
    status: Annotated[
        Literal["pending", "in_progress", "completed"], msgspec.Meta(description="How far it is")
    ]
    active_form: Annotated[str, msgspec.Meta(description="What is shown while it is being done")]


class TodosParams(msgspec.Struct, frozen=True):
    """Parameters of ``todos``."""

    todos: Annotated[
        tuple[GivenTodo, ...],
        msgspec.Meta(description="The whole list, which replaces the old one"),
    ]


class Todos(Builtin[TodosParams]):
    """Replaces the session's list; clients see it in the session's event."""

    name = "todos"
    params = TodosParams

    async def call(self, params: TodosParams, context: ToolContext) -> ToolAnswer:
        """Store the list and answer with how far it is."""
        if not all(given.content.strip() for given in params.todos):
            raise ArgumentsError("every todo needs a content")
        todos = tuple(
            Todo(given.content, given.status, given.active_form) for given in params.todos
        )
        before = await context.around.store.set_todos(context.session_id, todos).wait()
        count = Counter(todo.status for todo in todos)
        status = (
            f"Status: {count['pending']} pending, {count['in_progress']} in progress, "
            f"{count['completed']} completed"
        )
        content = f"{TOLD}\n\n{status}\n{REMINDER}"
        return ToolAnswer(content, metadata=_metadata(before, todos))


def _metadata(before: Sequence[Todo], todos: Sequence[Todo]) -> dict[str, Any]:
    """Return what clients draw: the list, and what has changed in it (wire contract 6.11)."""
    was = {todo.content: todo.status for todo in before}
    completed = [
        todo.content
        for todo in todos
        if todo.status == "completed" and was.get(todo.content, "completed") != "completed"
    ]
    started = [
        todo.active_form or todo.content
        for todo in todos
        if todo.status == "in_progress" and was.get(todo.content) != "in_progress"
    ]
    found: dict[str, Any] = {"is_new": not before, "todos": msgspec.to_builtins(list(todos))}
    if completed:
        found["just_completed"] = completed
    if started:
        found["just_started"] = started[-1]
    done = sum(todo.status == "completed" for todo in todos)
    return found | {"completed": done, "total": len(todos)}
