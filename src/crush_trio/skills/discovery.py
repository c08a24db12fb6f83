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
from crush_trio.skills.builtin import BUILTIN
from crush_trio.skills.skill import FILE_NAME, Skill, SkillError, read_skill
from crush_trio.wire.skills import SkillContent, SkillResult, SkillSource, SkillState

DEPTH = 6
"""Levels of directories that are looked through below a place for skills."""

RULES = """\
<skills_usage>
A description only says when a skill is of use. If one fits the task, read the file at its location
with `view` before you act, and follow it. Supporting files are in the same directory.
</skills_usage>"""

BUILTIN_TYPE = "    <type>builtin</type>\n"
"""What models are told beside the location of a skill that comes with the program."""


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
        skill = next((each for each in self.usable if each.id == skill_id), None)
        if skill is None:
            raise BadRequestError(f"skill not found: {skill_id}")
        try:
            content = skill.path.read_bytes()
        except OSError as error:
            raise BadRequestError(f'read skill "{skill_id}": {error}') from error
        builtin = skill.source == "system"
        result = SkillResult(skill.name, skill.description, skill.source, builtin=builtin)
        return SkillContent(content, result)

    @property
    def prompt(self) -> str:
        """What models are told of the skills; empty if there are none for them."""
        blocks = "".join(
            f"  <skill>\n    <name>{escape(skill.name)}</name>\n"
            f"    <description>{escape(skill.description)}</description>\n"
            f"    <location>{escape(skill.id)}</location>\n"
            f"{BUILTIN_TYPE if skill.source == 'system' else ''}  </skill>\n"
            for skill in self.usable
            if skill.for_models
        )
        return f"<available_skills>\n{blocks}</available_skills>\n\n{RULES}" if blocks else ""


def discover(
    directories: Iterable[str | Path],
    project: Path,
    *,
    disabled: Collection[str] = (),
    builtin: Iterable[Skill] = BUILTIN,
) -> Skills:
    """Return the program's own skills and those below some directories. Blocks if there are any.

    Of two with one name the later one counts.

    Args:
        directories: Where to look, in order; those that are missing are skipped.
        project: What is below it belongs to the project, everything else to the user.
        disabled: Names of skills to leave out.
        builtin: The program's own.
    """
    found = {skill.name.casefold(): skill for skill in builtin}
    states = {skill.id: SkillState(skill.name, skill.id, 0) for skill in found.values()}
    for path in dict.fromkeys(_files(directories)):
        source: SkillSource = "project" if path.is_relative_to(project) else "user"
        try:
            skill = read_skill(path, source)
        except SkillError as error:
            states[str(path)] = SkillState("", str(path), 1, str(error))
            continue
        states[str(path)] = SkillState(skill.name, str(path), 0)
        found[skill.name.casefold()] = skill
    usable = [skill for skill in found.values() if skill.name not in disabled]
    return Skills(
        tuple(sorted(usable, key=lambda skill: skill.id)),
        tuple(states[path] for path in sorted(states)),
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
