"""``edit``: create a file, or replace or delete text in one (agent contract 2.8)."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import msgspec

from crush_trio.errors import BadRequestError
from crush_trio.tools.arguments import required
from crush_trio.tools.base import ToolAnswer, ToolContext, denied
from crush_trio.tools.builtin import Builtin
from crush_trio.tools.changes import Proposal, ask, change
from crush_trio.tools.edits import Edit, EditError
from crush_trio.tools.files import (
    Snapshot,
    absolute,
    check_unmodified,
    take_snapshot,
    work_on,
)
from crush_trio.tools.line_ends import apply_edit, shown

LOOSELY = "Note: the text was found only up to whitespace; check that the result is what you meant."
"""What a model is told when only the white space was different (agent contract 2.8)."""


COST = 8
"""Bytes read that looking for a text in a byte is worth: loosely it takes a third of a second a megabyte."""


class EditParams(msgspec.Struct, frozen=True):
    """Parameters of ``edit``."""

    file_path: Annotated[str, msgspec.Meta(description="Path of the file to change")]
    old_string: Annotated[
        str, msgspec.Meta(description="The text to replace; empty to create the file")
    ]
    new_string: Annotated[
        str, msgspec.Meta(description="The text to put there; empty to delete the old one")
    ]
    replace_all: Annotated[
        bool, msgspec.Meta(description="Replace every occurrence, not only one")
    ] = False


class EditFile(Builtin[EditParams]):
    """Changes a part of a file; asks first."""

    name = "edit"
    params = EditParams

    async def call(self, params: EditParams, context: ToolContext) -> ToolAnswer:
        """Ask, change the file, and answer with both texts for the client."""
        required(file_path=params.file_path)
        path = absolute(params.file_path, context.around.working_dir)
        if not params.old_string:
            before = await new_file(path)
            content, loosely, request = params.new_string, False, f"Create file {path}"
            message = f"File created: {path}"
        else:
            before = await known_file(path, context)
            wanted = Edit(params.old_string, params.new_string, params.replace_all)
            apply = partial(apply_edit, before.content, wanted)
            content, loosely = await work_on(COST * len(before.content), apply)
            if params.new_string:
                request = f"Replace content in file {path}"
                message = f"Content replaced in file: {path}"
            else:
                request = f"Delete content from file {path}"
                message = f"Content deleted from file: {path}"
        if before.exists and content == before.content:
            raise EditError(f"old_string and new_string are the same; no changes made: {path}")
        old, new = shown(before.content), shown(content)
        proposal = Proposal(self.name, request, before, content, old, new)
        metadata = await proposal.metadata()
        if not await ask(context, proposal):
            return denied(metadata)
        await change(context, proposal)
        return ToolAnswer(result(message, loosely=loosely), metadata=metadata)


async def new_file(path: str) -> Snapshot:
    """Return the snapshot of a file that is to be created.

    Raises:
        BadRequestError: it is there.
    """
    before = await take_snapshot(path)
    if before.exists:
        raise BadRequestError(
            f"file already exists: {path}; an empty old_string creates a file, give the text to "
            "replace, or use write to replace all of it"
        )
    return before


async def known_file(path: str, context: ToolContext) -> Snapshot:
    """Return the snapshot of an existing file that the session has read as it is.

    Raises:
        BadRequestError: it is missing, was never read, or was modified since.
    """
    before = await take_snapshot(path)
    if not before.exists:
        raise BadRequestError(f"file not found: {path}")
    await check_unmodified(context, path)
    return before


def result(message: str, *, loosely: bool) -> str:
    """Return what a model reads after a change."""
    lines = (message, LOOSELY) if loosely else (message,)
    return "\n".join(("<result>", *lines, "</result>", ""))
