"""The skills that come with the program (agent contract 7.3). Their texts lie beside this file.

What discovery tells of them is written down here once more, so that opening a workspace reads no
file and no YAML.
"""

from __future__ import annotations

from pathlib import Path

from crush_trio.skills.skill import FILE_NAME, Skill

_PLACE = Path(__file__).parent

_DESCRIPTIONS = {
    "crush-config": (
        "How crush.json works. For questions about providers, models, permissions, options, MCP "
        "and language servers, and for changes to them."
    ),
    "crush-hooks": (
        "How hooks are written down in crush.json. For users who want commands to check, change "
        "or stop tool calls."
    ),
    "jq": (
        "How to take JSON apart with jq. For filtering, counting, summing or reshaping JSON from "
        "files, commands and web services."
    ),
}

BUILTIN = tuple(
    Skill(name, description, _PLACE / name / FILE_NAME, "system")
    for name, description in _DESCRIPTIONS.items()
)
"""All of them."""


def builtin_skill(skill_id: str) -> Skill | None:
    """Return the skill with an id, if it comes with the program. Not a checkpoint."""
    return next((skill for skill in BUILTIN if skill.id == skill_id), None)
