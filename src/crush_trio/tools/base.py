"""The seam between the agent loop and tools: what a tool is, what it gets, what it answers.

Above it is the agent; below it files, processes, the permission gate and the store. A tool turns
everything but cancellation into a result: a failed tool is something the model can read.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs

from crush_trio.ids import MessageID, SessionID
from crush_trio.permissions import Permissions
from crush_trio.questions import Questions
from crush_trio.settings import Settings
from crush_trio.store import Store
from crush_trio.tools.jobs import Jobs
from crush_trio.wire.config import ToolsConfig

DENIED = "User denied permission"
"""Content of a denied tool's result; clients recognise it (agent contract 2.1)."""


@attrs.frozen
class ToolAnswer:
    """What a tool answers; ``metadata`` is for clients, the rest for the model."""

    content: str
    is_error: bool = False
    metadata: Mapping[str, Any] | None = None
    data: str = ""
    mime_type: str = ""
    stop_turn: bool = False

    @property
    def metadata_text(self) -> str:
        """The metadata as stored: JSON text, or empty."""
        if self.metadata is None:
            return ""
        return json.dumps(self.metadata, ensure_ascii=False, separators=(",", ":"))


def error(content: str) -> ToolAnswer:
    """Return an error answer."""
    return ToolAnswer(content, is_error=True)


def denied(metadata: Mapping[str, Any] | None = None) -> ToolAnswer:
    """Return the answer of a tool that was not permitted: the turn stops after this step."""
    return ToolAnswer(DENIED, is_error=True, metadata=metadata, stop_turn=True)


@attrs.frozen
class Surroundings:
    """What all tool calls of a workspace share.

    Attributes:
        working_dir: The workspace's directory, absolute and resolved.
        env: The environment of sub-processes, before a tool adds its own.
        skills_paths: Directories that may be read unasked wherever they are, absolute.
        now: Unix seconds.
    """

    working_dir: str
    env: Mapping[str, str]
    permissions: Permissions
    questions: Questions
    jobs: Jobs
    store: Store
    settings: Settings = attrs.field(factory=Settings)
    limits: ToolsConfig = attrs.field(factory=ToolsConfig)
    skills_paths: tuple[str, ...] = ()
    now: Callable[[], float] = time.time


@attrs.frozen
class ToolContext:
    """One tool call's place: whose it is, and what it may use."""

    session_id: SessionID
    message_id: MessageID
    tool_call_id: str
    around: Surroundings
    supports_images: bool = False
    model_name: str = ""


class Tool(Protocol):
    """Something that a model may do."""

    @property
    def name(self) -> str:
        """The name that the model calls."""
        ...

    @property
    def description(self) -> str:
        """What the model is told."""
        ...

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The JSON schema object of the arguments."""
        ...

    @property
    def parallel(self) -> bool:
        """Whether calls of one step may run side by side (agent contract 1.9)."""
        ...

    async def run(self, arguments: bytes | str, context: ToolContext) -> ToolAnswer:
        """Decode ``arguments`` (JSON text), do the work and answer.

        Arguments that do not fit become an error answer. A cancel passes, and leaves no process
        behind but background jobs (R11).
        """
        ...
