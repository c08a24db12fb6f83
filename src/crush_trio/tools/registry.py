"""Which tools a workspace's agent has. Above it is the agent; below it every built-in tool."""

from __future__ import annotations

from collections.abc import Collection

from crush_trio.tools.base import Tool
from crush_trio.tools.bash import Bash
from crush_trio.tools.edit import EditFile
from crush_trio.tools.glob import Glob
from crush_trio.tools.grep import Grep
from crush_trio.tools.job_kill import JobKill
from crush_trio.tools.job_output import JobOutput
from crush_trio.tools.ls import Ls
from crush_trio.tools.multiedit import MultiEdit
from crush_trio.tools.question import Question
from crush_trio.tools.todos import Todos
from crush_trio.tools.view import View
from crush_trio.tools.write import Write
from crush_trio.wire.config import Attribution


def builtin_tools(
    *,
    disabled: Collection[str] = (),
    attribution: Attribution | None = None,
    model_id: str = "",
) -> tuple[Tool, ...]:
    """Return the built-in tools, sorted by name.

    Args:
        disabled: Names of tools to leave out (``options.disabled_tools``).
        attribution: How commits name the agent (``options.attribution``).
        model_id: The model that commits name.
    """
    tools: list[Tool] = [
        Bash(attribution, model_id),
        EditFile(),
        Glob(),
        Grep(),
        JobKill(),
        JobOutput(),
        Ls(),
        MultiEdit(),
        Question(),
        Todos(),
        View(),
        Write(),
    ]
    return tuple(
        sorted((tool for tool in tools if tool.name not in disabled), key=lambda tool: tool.name)
    )
