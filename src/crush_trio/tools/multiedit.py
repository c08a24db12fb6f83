"""``multiedit``: several replacements in one file, one after the other (agent contract 2.9)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import attrs
import msgspec

from crush_trio.tools.arguments import ArgumentsError, required
from crush_trio.tools.base import ToolAnswer, ToolContext, denied
from crush_trio.tools.builtin import Builtin
from crush_trio.tools.changes import Proposal, ask, change
from crush_trio.tools.edit import COST, known_file, new_file, result
from crush_trio.tools.edits import Edit, EditError
from crush_trio.tools.files import absolute, work_on
from crush_trio.tools.line_ends import apply_edit, shown


class OneEdit(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of the edits; metadata names those that failed in the same form."""

    old_string: Annotated[
        str, msgspec.Meta(description="The text to replace; empty only in the first, to create")
    ]
    new_string: Annotated[str, msgspec.Meta(description="The text to put there")]
    replace_all: Annotated[
        bool, msgspec.Meta(description="Replace every occurrence, not only one")
    ] = False

    @property
    def edit(self) -> Edit:
        """The replacement that is meant."""
        return Edit(self.old_string, self.new_string, self.replace_all)


class MultiEditParams(msgspec.Struct, frozen=True):
    """Parameters of ``multiedit``."""

    file_path: Annotated[str, msgspec.Meta(description="Path of the file to change")]
    edits: Annotated[
        tuple[OneEdit, ...], msgspec.Meta(description="The edits, in the order they are applied")
    ]


@attrs.frozen
class _Applied:
    """What came of a series of edits."""

    content: str
    total: int
    failed: tuple[dict[str, Any], ...]
    loosely: bool

    @property
    def done(self) -> int:
        return self.total - len(self.failed)

    def describe(self, path: str, *, created: bool) -> tuple[str, str]:
        """Return what the person is asked, and what the model is told afterwards."""
        count = f"{self.done} of {self.total}" if self.failed else f"{self.total}"
        asked = f" ({len(self.failed)} failed)" if self.failed else ""
        told = f" ({len(self.failed)} edit(s) failed)" if self.failed else ""
        if created:
            return (
                f"Create file {path} with {count} edits{asked}",
                f"File created with {count} edits: {path}{told}",
            )
        return (
            f"Apply {count} edits to file {path}{asked}",
            f"Applied {count} edits to file: {path}{told}",
        )

    @property
    def metadata(self) -> dict[str, Any]:
        applied: dict[str, Any] = {"edits_applied": self.done}
        return applied | ({"edits_failed": list(self.failed)} if self.failed else {})


class MultiEdit(Builtin[MultiEditParams]):
    """Changes several parts of a file at once; asks first."""

    name = "multiedit"
    params = MultiEditParams

    async def call(self, params: MultiEditParams, context: ToolContext) -> ToolAnswer:
        """Ask for all that can be applied, change the file, and say what could not."""
        required(file_path=params.file_path)
        path = absolute(params.file_path, context.around.working_dir)
        creates = _check(params.edits)
        before = await new_file(path) if creates else await known_file(path, context)
        start = params.edits[0].new_string if creates else before.content
        effort = COST * len(start) * len(params.edits)
        applied = await work_on(effort, partial(_apply, start, params.edits, skip=int(creates)))
        if not creates and applied.content == before.content:
            return _nothing(path, applied)
        asked, told = applied.describe(path, created=creates)
        old, new = shown(before.content), shown(applied.content)
        proposal = Proposal(self.name, asked, before, applied.content, old, new)
        metadata = await proposal.metadata() | applied.metadata
        if not await ask(context, proposal):
            return denied(metadata)
        await change(context, proposal)
        return ToolAnswer(result(told, loosely=applied.loosely), metadata=metadata)


def _check(edits: Sequence[OneEdit]) -> bool:
    """Return whether the edits create their file.

    Raises:
        ArgumentsError: there are none, or one that is not the first has no old text.
    """
    if not edits:
        raise ArgumentsError("edits is required: give at least one edit")
    for number, edit in enumerate(edits[1:], 2):
        if not edit.old_string:
            raise ArgumentsError(
                f"edit {number}: only the first edit may have an empty old_string, which creates "
                "the file"
            )
    return not edits[0].old_string


def _apply(start: str, edits: Sequence[OneEdit], *, skip: int) -> _Applied:
    """Apply edits one after the other; those that do not apply are left out and recorded."""
    content, loosely = start, False
    failed: list[dict[str, Any]] = []
    for index, one in enumerate(edits[skip:], skip + 1):
        try:
            content, only_loosely = _apply_one(content, one.edit)
        except EditError as error:
            failed.append({"index": index, "error": error.text, "edit": msgspec.to_builtins(one)})
        else:
            loosely = loosely or only_loosely
    return _Applied(content, len(edits), tuple(failed), loosely)


def _apply_one(content: str, edit: Edit) -> tuple[str, bool]:
    changed, loosely = apply_edit(content, edit)
    if changed == content:
        raise EditError("old_string and new_string are the same")
    return changed, loosely


def _nothing(path: str, applied: _Applied) -> ToolAnswer:
    """Return the error for edits that leave a file as it was."""
    if not applied.failed:
        return ToolAnswer(f"the edits leave identical content: {path}", is_error=True)
    metadata = {
        "additions": 0,
        "removals": 0,
        "edits_applied": 0,
        "edits_failed": [*applied.failed],
    }
    reasons = "\n".join(f"{one['index']}: {one['error']}" for one in applied.failed)
    count = f"{len(applied.failed)} of {applied.total}"
    return ToolAnswer(
        f"no changes made: {count} edits failed: {path}\n{reasons}",
        is_error=True,
        metadata=metadata,
    )
