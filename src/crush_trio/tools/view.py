"""``view``: show lines of a text file, or a picture (agent contract 2.6)."""

from __future__ import annotations

import base64
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec

from crush_trio.errors import BadRequestError
from crush_trio.skills.builtin import builtin_skill
from crush_trio.skills.skill import SCHEME, Skill, SkillError, read_skill
from crush_trio.tools.arguments import required
from crush_trio.tools.base import ToolAnswer, ToolContext, denied
from crush_trio.tools.builtin import Builtin
from crush_trio.tools.files import absolute, is_inside, look_at, record_read, work_on
from crush_trio.tools.sections import read_section

DEFAULT_LIMIT = 200
"""Lines that are shown if the model asks for no number (agent contract 2.6)."""

MAX_BYTES = 204_800
"""Bytes of a section or a picture (agent contract 2.6)."""

UNLIMITED = 2**62
"""A limit that no file reaches: files of skills are shown whole."""

_PICTURES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".gif": "image/gif",
    ".webp": "image/webp",
}


class ViewParams(msgspec.Struct, frozen=True):
    """Parameters of ``view``."""

    file_path: Annotated[str, msgspec.Meta(description="Path of the file to read")]
    offset: Annotated[int, msgspec.Meta(description="Lines to skip, 0 for none")] = 0
    limit: Annotated[int, msgspec.Meta(description="Lines to show, 200 if not given")] = 0


class View(Builtin[ViewParams]):
    """Reads files; asks only outside of the workspace."""

    name = "view"
    params = ViewParams

    async def call(self, params: ViewParams, context: ToolContext) -> ToolAnswer:
        """Answer with numbered lines, or with a picture."""
        required(file_path=params.file_path)
        if params.file_path.startswith(SCHEME):
            return await _builtin(params)
        around = context.around
        path = absolute(params.file_path, around.working_dir)
        skill = any(is_inside(path, directory) for directory in around.skills_paths)
        unasked = skill or is_inside(path, around.working_dir)
        if not unasked and not await self._permitted(path, params, context):
            return denied()
        found = look_at(path)
        if found is None:
            raise BadRequestError(_not_found(path))
        if Path(path).suffix.lower() in _PICTURES:
            return await _picture(path, found.st_size, context)
        limit = params.limit if params.limit > 0 else UNLIMITED if skill else DEFAULT_LIMIT
        most = None if skill else MAX_BYTES
        read = partial(read_section, path, max(params.offset, 0), limit, most)
        section = await work_on(found.st_size, read)
        await record_read(context, path, found).wait()
        metadata = {"file_path": path, "content": section.text}
        if skill:
            metadata |= await work_on(found.st_size, partial(_skill, path))
        return ToolAnswer(f"<file>\n{section.numbered()}\n</file>\n", metadata=metadata)

    async def _permitted(self, path: str, params: ViewParams, context: ToolContext) -> bool:
        return await context.around.permissions.ask(
            session_id=context.session_id,
            tool_call_id=context.tool_call_id,
            tool_name=self.name,
            action="read",
            description=f"Read file outside working directory: {path}",
            params={"file_path": path, "offset": params.offset, "limit": params.limit},
            path=path,
        )


async def _builtin(params: ViewParams) -> ToolAnswer:
    """Answer with a skill that comes with the program; its location is no path."""
    skill = builtin_skill(params.file_path)
    if skill is None:
        raise BadRequestError(f"File not found: {params.file_path}")
    limit = params.limit if params.limit > 0 else UNLIMITED
    read = partial(read_section, str(skill.path), max(params.offset, 0), limit, None)
    section = await work_on(0, read)
    metadata = {"file_path": skill.id, "content": section.text, **_about(skill)}
    return ToolAnswer(f"<file>\n{section.numbered()}\n</file>\n", metadata=metadata)


def _skill(path: str) -> dict[str, str]:
    """Return what clients are told of a file that is a skill: they show that it was loaded. Blocks."""
    try:
        found = read_skill(Path(path), "user")
    except SkillError:
        return {}
    return _about(found)


def _about(skill: Skill) -> dict[str, str]:
    about = {"resource_name": skill.name, "resource_description": skill.description}
    return {"resource_type": "skill", **about}


async def _picture(path: str, size: int, context: ToolContext) -> ToolAnswer:
    if size > MAX_BYTES:
        raise BadRequestError(f"image of {size} bytes is too large, at most {MAX_BYTES}: {path}")
    if not context.supports_images:
        raise BadRequestError(f"model {context.model_name!r} cannot look at images: {path}")
    data = await work_on(size, Path(path).read_bytes)
    mime_type = _sniff(data) or _PICTURES[Path(path).suffix.lower()]
    return ToolAnswer("", data=base64.b64encode(data).decode(), mime_type=mime_type)


def _sniff(data: bytes) -> str:
    """Return the type of a picture by its first bytes, or nothing."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    return "image/webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else ""


def _not_found(path: str) -> str:
    """Say that a file is missing, and which names of its directory look like it."""
    text, name = f"File not found: {path}", Path(path).name.lower()
    directory = Path(path).parent
    names = sorted(entry.name for entry in directory.iterdir()) if directory.is_dir() else []
    similar = [n for n in names if n.lower() in name or name in n.lower()][:3]
    if not similar:
        return text
    return "\n".join(
        (text, "", "Did you mean one of these?", *(str(directory / n) for n in similar))
    )
