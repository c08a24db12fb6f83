"""One skill: a directory with a ``SKILL.md``, which says in its head what it is for (agent 7.3)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs
import msgspec

from crush_trio.errors import BadRequestError
from crush_trio.wire.skills import SkillInfo, SkillSource

FILE_NAME = "SKILL.md"

SCHEME = "crush://skills/"
"""What the ids of skills begin with that come with the program (wire contract 3.15)."""

NAME = re.compile(r"[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*")
NAME_LENGTH, DESCRIPTION_LENGTH, COMPATIBILITY_LENGTH = 64, 1024, 500
"""What the head of a skill may hold (agent contract 7.3)."""

MAX_BYTES = 2**20
"""A file larger than this is no instruction."""

_HEAD = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)


class SkillError(BadRequestError):
    """A file is no skill; the message says what is wrong with it."""


class _Head(msgspec.Struct, frozen=True):
    name: str = ""
    description: str = ""
    compatibility: str | None = None
    user_invocable: bool = msgspec.field(name="user-invocable", default=False)
    disable_model_invocation: bool = msgspec.field(name="disable-model-invocation", default=False)


@attrs.frozen
class Skill:
    """A skill that can be used.

    Attributes:
        path: Its file.
        for_models: Whether models are told of it.
        user_invocable: Whether it is offered to users as a command.
    """

    name: str
    description: str
    path: Path
    source: SkillSource
    user_invocable: bool = False
    for_models: bool = True

    @property
    def id(self) -> str:
        """What it is asked for by: its file, but for one that comes with the program."""
        if self.source == "system":
            return f"{SCHEME}{self.name}/{FILE_NAME}"
        return str(self.path)

    @property
    def info(self) -> SkillInfo:
        """The skill as clients are told of it (wire contract 3.15)."""
        return SkillInfo(
            id=self.id,
            name=self.name,
            description=self.description,
            label=f"{self.source}:{self.path.parent.name}",
            source=self.source,
            user_invocable=self.user_invocable,
        )


def read_skill(path: Path, source: SkillSource) -> Skill:
    """Return the skill in a file. Blocks.

    Raises:
        SkillError: the file cannot be read, or is no skill.
    """
    head = _read_head(path)
    if not head.name:
        raise SkillError("name is required")
    if len(head.name) > NAME_LENGTH or NAME.fullmatch(head.name) is None:
        raise SkillError(
            f"name {head.name!r} must be letters and digits, with single hyphens between them, "
            f"and at most {NAME_LENGTH} characters long"
        )
    if head.name.casefold() != path.parent.name.casefold():
        raise SkillError(f"name {head.name!r} must be that of its directory, {path.parent.name!r}")
    if not head.description:
        raise SkillError("description is required")
    lengths = (
        ("description", head.description, DESCRIPTION_LENGTH),
        ("compatibility", head.compatibility or "", COMPATIBILITY_LENGTH),
    )
    for what, text, limit in lengths:
        if len(text) > limit:
            raise SkillError(f"{what} has {len(text)} characters, {limit} are allowed")
    return Skill(
        head.name,
        head.description,
        path,
        source,
        user_invocable=head.user_invocable,
        for_models=not head.disable_model_invocation,
    )


def _read_head(path: Path) -> _Head:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SkillError(f"the file is larger than {MAX_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SkillError(f"cannot be read: {error}") from error
    found = _HEAD.search(text)
    if found is None:
        raise SkillError("no YAML frontmatter found")
    return _parse_head(found[1])


def _parse_head(text: str) -> _Head:
    import yaml  # noqa: PLC0415 -- only where there are skills

    try:
        given: Any = yaml.safe_load(text)
        return msgspec.convert(given or {}, _Head)
    except (yaml.YAMLError, msgspec.ValidationError, RecursionError) as error:
        reason = " ".join(str(error).replace("`", "").split())
        raise SkillError(f"the frontmatter cannot be read: {reason}") from error
