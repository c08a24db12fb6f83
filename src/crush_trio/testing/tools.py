"""A tool that reads like a script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import trio

from crush_trio.tools.base import ToolAnswer, ToolContext


@attrs.frozen
class ScriptedTool:
    """A tool that takes its time and then answers, or raises.

    Attributes:
        asks: Whether it needs a permission first.
        error: What it raises; nothing if empty.
    """

    name: str
    seconds: float = 0.0
    answer: str = "done"
    parallel: bool = False
    asks: bool = False
    error: str = ""
    description: str = "A tool."
    parameters: Mapping[str, Any] = attrs.field(factory=lambda: {"type": "object"})

    async def run(self, arguments: bytes | str, context: ToolContext) -> ToolAnswer:  # noqa: ARG002 -- the seam has them
        """Play the script."""
        if self.asks and not await self._permitted(context):
            return ToolAnswer("denied", is_error=True)
        await trio.sleep(self.seconds)
        if self.error:
            raise RuntimeError(self.error)
        return ToolAnswer(self.answer)

    async def _permitted(self, context: ToolContext) -> bool:
        return await context.around.permissions.ask(
            session_id=context.session_id,
            tool_call_id=context.tool_call_id,
            tool_name=self.name,
            action="do",
            description=f"Do {self.name}",
            params={},
            path=context.around.working_dir,
        )
