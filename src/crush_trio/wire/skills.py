"""Skills on the wire (wire contract 3.2, 3.15, R-57 and R-58)."""

from __future__ import annotations

from typing import Literal

import msgspec

SkillSource = Literal["system", "user", "project"]


class SkillState(msgspec.Struct, frozen=True):
    """One discovered skill file; ``state`` is 0 when fine and 1 on error."""

    name: str
    path: str
    state: int
    error: str | msgspec.UnsetType = msgspec.UNSET


class SkillInfo(msgspec.Struct, frozen=True):
    """A skill that can be used; ``id`` is the path of its file."""

    id: str
    name: str
    description: str
    label: str
    source: SkillSource
    user_invocable: bool


class ReadSkill(msgspec.Struct, frozen=True):
    """Body of ``POST .../skills/read``."""

    skill_id: str = ""


class SkillResult(msgspec.Struct, frozen=True):
    """What was read, beside its content."""

    name: str
    description: str
    source: SkillSource
    builtin: bool


class SkillContent(msgspec.Struct, frozen=True):
    """Answer of ``POST .../skills/read``; ``content`` is base64 on the wire."""

    content: bytes
    result: SkillResult
