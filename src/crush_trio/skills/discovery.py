"""Finding the skills of a workspace: once, when it is opened (agent contract 7.3).

What is found is a snapshot. A file that is no skill is told as such, and hides nothing.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from xml.sax.saxutils import escape

import attrs

from crush_trio.errors import BadRequestError
from crush_trio.skills.skill import FILE_NAME, Skill, SkillError, read_skill
from crush_trio.wire.skills import SkillContent, SkillResult, SkillSource, SkillState

DEPTH = 6
"""Levels of directories that are looked through below a place for skills."""

RULES = """\
<skills_usage>
A description only says when a skill is of use. If one fits the task, read the file at its location
with `view` before you act, and follow it. Supporting files are in the same directory.
</skills_usage>"""


@attrs.frozen
class Skills:
    """The skills of one workspace, and what was found in place of one."""

    usable: tuple[Skill, ...] = ()
    states: tuple[SkillState, ...] = ()

    def read(self, skill_id: str) -> SkillContent:
        """Return a skill with its content. Blocks.

        Raises:
            BadRequestError: there is no such skill, or its file cannot be read any more.
        """
        skill = next((each for each in self.usable if str(each.path) == skill_id), None)
        if skill is None:
            raise BadRequestError(f"skill not found: {skill_id}")
        try:
            content = skill.path.read_bytes()
        except OSError as error:
            raise BadRequestError(f'read skill "{skill_id}": {error}') from error
        result = SkillResult(skill.name, skill.description, skill.source, builtin=False)
        return SkillContent(content, result)

    @property
    def prompt(self) -> str:
        """What models are told of the skills; empty if there are none for them."""
        blocks = "".join(
            f"  <skill>\n    <name>{escape(skill.name)}</name>\n"
            f"    <description>{escape(skill.description)}</description>\n"
            f"    <location>{escape(str(skill.path))}</location>\n  </skill>\n"
            for skill in self.usable
            if skill.for_models
        )
        return f"<available_skills>\n{blocks}</available_skills>\n\n{RULES}" if blocks else ""


def discover(
    directories: Iterable[str | Path], project: Path, *, disabled: Collection[str] = ()
) -> Skills:
    """Return the skills below some directories; of two with one name the later one counts. Blocks.

    Args:
        directories: Where to look, in order; those that are missing are skipped.
        project: What is below it belongs to the project, everything else to the user.
        disabled: Names of skills to leave out.
    """
    found: dict[str, Skill] = {}
    states: dict[Path, SkillState] = {}
    for path in dict.fromkeys(_files(directories)):
        source: SkillSource = "project" if path.is_relative_to(project) else "user"
        try:
            skill = read_skill(path, source)
        except SkillError as error:
            states[path] = SkillState("", str(path), 1, str(error))
            continue
        states[path] = SkillState(skill.name, str(path), 0)
        found[skill.name.casefold()] = skill
    usable = [skill for skill in found.values() if skill.name not in disabled]
    return Skills(
        tuple(sorted(usable, key=lambda skill: str(skill.path))),
        tuple(states[path] for path in sorted(states, key=str)),
    )


def _files(directories: Iterable[str | Path]) -> Iterator[Path]:
    """Yield the files of skills, through links as well; each real directory is entered once a place."""
    for directory in directories:
        seen: set[str] = set()
        depth = len(Path(directory).parts) + DEPTH
        for place, names, files in os.walk(directory, followlinks=True):
            real = os.path.realpath(place)
            if real in seen or len(Path(place).parts) >= depth:
                names.clear()
            if real not in seen and FILE_NAME in files:
                yield Path(place) / FILE_NAME
            seen.add(real)
            names.sort()
