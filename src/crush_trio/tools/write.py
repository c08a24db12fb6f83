"""``write``: create a file or replace all of it (agent contract 2.7)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from crush_trio.tools.arguments import required
from crush_trio.tools.base import ToolAnswer, ToolContext, denied, error
from crush_trio.tools.builtin import Builtin
from crush_trio.tools.changes import Proposal, ask, change, diff
from crush_trio.tools.files import absolute, check_unmodified, take_snapshot


class WriteParams(msgspec.Struct, frozen=True):
    """Parameters of ``write``."""

    file_path: Annotated[str, msgspec.Meta(description="Path of the file to write")]
    content: Annotated[str, msgspec.Meta(description="Everything the file shall contain")]


class Write(Builtin[WriteParams]):
    """Writes whole files; asks first."""

    name = "write"
    params = WriteParams

    async def call(self, params: WriteParams, context: ToolContext) -> ToolAnswer:
        """Ask, write, and answer with a diff for the client. Directories are made after the yes."""
        required(file_path=params.file_path)
        working_dir = context.around.working_dir
        path = absolute(params.file_path, working_dir)
        before = await take_snapshot(path)
        if before.exists:
            await check_unmodified(context, path)
            if before.content == params.content:
                return error(f"file {path} already has this content; no changes made")
        changes = await diff(before, params.content, working_dir)
        metadata = {
            "diff": changes.text,
            "additions": changes.additions,
            "removals": changes.removals,
        }
        description = f"Create file {path}"
        proposal = Proposal(
            self.name, description, before, params.content, before.content, params.content
        )
        if not await ask(context, proposal):
            return denied(metadata)
        await change(context, proposal)
        content = f"<result>\nFile successfully written: {path}\n</result>"
        return ToolAnswer(content, metadata=metadata)
