"""``ls``: show a directory as a tree (agent contract 2.12)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from crush_trio.tools.base import ToolAnswer, ToolContext, denied, error
from crush_trio.tools.builtin import Builtin
from crush_trio.tools.files import expanded, is_directory, is_inside
from crush_trio.tools.ignores import ignores_for
from crush_trio.tools.trees import Listing, list_tree

MAX_ITEMS = 1000
"""Entries of a tree if nothing else is configured (agent contract 2.12)."""

OUTSIDE_GIT = (2, 100)
"""Depth and entries outside of a git work tree, which may be anything (agent contract 2.12)."""


class LsParams(msgspec.Struct, frozen=True):
    """Parameters of ``ls``."""

    path: Annotated[str, msgspec.Meta(description="Directory; the workspace if not given")] = ""
    ignore: Annotated[tuple[str, ...], msgspec.Meta(description="Globs of names to leave out")] = ()
    depth: Annotated[int, msgspec.Meta(description="Levels to show")] = 0


class Ls(Builtin[LsParams]):
    """Lists directories; asks only outside of the workspace."""

    name = "ls"
    params = LsParams

    async def call(self, params: LsParams, context: ToolContext) -> ToolAnswer:
        """Answer with a tree."""
        around = context.around
        path = expanded(params.path or ".", around.working_dir, around.env)
        if not is_inside(path, around.working_dir):
            granted = await around.permissions.ask(
                session_id=context.session_id,
                tool_call_id=context.tool_call_id,
                tool_name=self.name,
                action="list",
                description=f"List directory outside working directory: {path}",
                params={
                    "path": params.path,
                    "ignore": list(params.ignore) or None,
                    "depth": params.depth,
                },
                path=path,
            )
            if not granted:
                return denied()
        if not is_directory(path):
            return error(f"path is not a directory, or does not exist: {path}")
        limits = around.limits.ls
        default_depth, default_items = (0, MAX_ITEMS) if _in_git(path) else OUTSIDE_GIT
        depth = params.depth or (default_depth if limits.max_depth is None else limits.max_depth)
        items = limits.max_items or default_items
        listing = await list_tree(
            path,
            ignores_for(path, around.env),
            patterns=params.ignore,
            depth=max(depth, 0),
            limit=items,
        )
        metadata = {"number_of_files": listing.count, "truncated": listing.truncated}
        return ToolAnswer(_content(listing, depth, items), metadata=metadata)


def _in_git(path: str) -> bool:
    """Whether a directory belongs to a git work tree."""
    return any((place / ".git").exists() for place in (Path(path), *Path(path).parents))


def _content(listing: Listing, depth: int, items: int) -> str:
    """Return what the model reads: a remark where something is left out, and the tree."""
    remark = ""
    if depth > 0:
        remark = (
            f"The tree is shown to depth {depth}; give a greater depth or a path to see more.\n"
        )
    elif listing.truncated:
        remark = (
            f"There are more than {items} files in the directory. The first {items} are shown; "
            "give a path to see others.\n"
        )
    return f"{remark}\n{listing.tree.draw()}"
