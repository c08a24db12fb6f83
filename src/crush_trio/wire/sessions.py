"""Sessions on the wire (wire contract 3.8 and 3.9)."""

from __future__ import annotations

from typing import Literal

import msgspec

TodoStatus = Literal["pending", "in_progress", "completed"]


class Todo(msgspec.Struct, frozen=True):
    """One entry of a session's todo list.

    A status that we do not know is kept: one such entry must not hide a whole list of sessions.
    """

    content: str = ""
    status: TodoStatus | str = "pending"
    active_form: str = ""


class Session(msgspec.Struct, frozen=True):
    """One stored conversation.

    ``is_busy`` and ``attached_clients`` are computed for REST answers and zero in events. Token
    counters are those of the latest step; ``cost`` is in dollars and adds up.
    """

    id: str = ""
    parent_session_id: str = ""
    title: str = ""
    message_count: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    summary_message_id: str = ""
    cost: float = 0
    todos: tuple[Todo, ...] | msgspec.UnsetType | None = msgspec.UNSET
    created_at: int = 0
    updated_at: int = 0
    is_busy: bool = False
    attached_clients: int = 0


class SaveSession(msgspec.Struct, frozen=True):
    """Body of ``POST .../sessions`` and ``PUT .../sessions/{sid}``: what a client decides.

    A whole session is sent; of a new one only the title counts (R-15, R-17).
    """

    id: str = ""
    title: str = ""
    cost: float = 0
    todos: tuple[Todo, ...] | msgspec.UnsetType | None = msgspec.UNSET


class CurrentSession(msgspec.Struct, frozen=True):
    """Body of ``POST .../current-session``; an empty id clears."""

    session_id: str = ""
