"""Which skills a workspace has, and what is said of files that are none (agent contract 7.3)."""

from __future__ import annotations

from pathlib import Path

import pytest

from crush_trio.errors import BadRequestError
from crush_trio.skills import Skill, Skills, discover
from crush_trio.skills.builtin import BUILTIN
from crush_trio.skills.skill import read_skill


def write_skill(directory: Path, name: str, head: str | None = None, body: str = "Jump.\n") -> Path:
    """Write a skill and return its file."""
    path = directory / name / "SKILL.md"
    path.parent.mkdir(parents=True)
    head = f"name: {name}\ndescription: Does {name}.\n" if head is None else head
    path.write_text(f"---\n{head}---\n{body}")
    return path


def found(tmp_path: Path, *places: str, disabled: tuple[str, ...] = ()) -> Skills:
    directories = [tmp_path / place for place in places or ("project/.crush/skills",)]
    return discover(directories, tmp_path / "project", disabled=disabled, builtin=())


def test_a_skill_is_found_with_what_its_head_says(tmp_path: Path) -> None:
    """As clients are told of it; its id is its file (wire contract 3.15)."""
    head = "name: jump\ndescription: Jumps high.\nuser-invocable: true\nlicense: MIT\n"
    path = write_skill(tmp_path / "project/.crush/skills", "jump", head)
    skills = found(tmp_path)
    (info,) = [skill.info for skill in skills.usable]
    assert (info.id, info.name, info.description) == (str(path), "jump", "Jumps high.")
    assert (info.label, info.source, info.user_invocable) == ("project:jump", "project", True)
    read = skills.read(info.id)
    assert read.content == path.read_bytes()
    assert (read.result.name, read.result.builtin) == ("jump", False)
    for missing in ("jump", "", "/etc/passwd"):
        with pytest.raises(BadRequestError, match="skill not found"):
            skills.read(missing)


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        ("description: x\n", "name is required"),
        ("name: other\ndescription: x\n", "must be that of its directory"),
        ("name: a--b\ndescription: x\n", "letters and digits"),
        ("name: jump\n", "description is required"),
        (f"name: jump\ndescription: {'x' * 1025}\n", "1025 characters"),
        ("name: [jump\n", "cannot be read"),
        ("name: 5\ndescription: x\n", "cannot be read"),
        ("- a list\n", "cannot be read"),
    ],
)
def test_a_file_that_is_no_skill_says_why(tmp_path: Path, head: str, problem: str) -> None:
    """It is no skill and hides none (wire contract 3.2)."""
    broken = write_skill(tmp_path / "project/.crush/skills", "jump", head)
    write_skill(tmp_path / "project/.crush/skills", "walk")
    skills = found(tmp_path)
    assert [skill.name for skill in skills.usable] == ["walk"]
    state = skills.states[0]
    assert (state.name, state.path, state.state) == ("", str(broken), 1)
    assert problem in str(state.error)


def test_a_file_without_a_head_is_told_as_crush_tells_it(tmp_path: Path) -> None:
    """Recorded from Crush."""
    path = write_skill(tmp_path / "project/.crush/skills", "broken")
    path.write_text("no front matter\n")
    assert found(tmp_path).states[0].error == "no YAML frontmatter found"


def test_the_later_place_counts_and_names_can_be_disabled(tmp_path: Path) -> None:
    """The project's own stands before the user's; both are told of (agent contract 7.3)."""
    write_skill(tmp_path / "home/skills", "jump")
    write_skill(tmp_path / "home/skills", "walk")
    write_skill(tmp_path / "home/skills", "run")
    mine = write_skill(tmp_path / "project/.claude/skills", "jump")
    skills = found(tmp_path, "home/skills", "nowhere", "project/.claude/skills", disabled=("run",))
    assert [(skill.name, skill.source) for skill in skills.usable] == [
        ("walk", "user"),
        ("jump", "project"),
    ]
    assert skills.usable[1].path == mine
    assert len(skills.states) == 4


def test_links_are_followed_and_circles_end(tmp_path: Path) -> None:
    """Skills are often linked from elsewhere."""
    write_skill(tmp_path / "shared", "jump")
    place = tmp_path / "project/.crush/skills"
    place.mkdir(parents=True)
    (place / "linked").symlink_to(tmp_path / "shared")
    (tmp_path / "shared" / "circle").symlink_to(place)
    assert [skill.name for skill in found(tmp_path).usable] == ["jump"]


def test_models_are_told_what_there_is_and_where(tmp_path: Path) -> None:
    """Escaped; what is not for models is left out; nothing is said of nothing."""
    place = tmp_path / "project/.crush/skills"
    path = write_skill(place, "jump", "name: jump\ndescription: Jumps < 3 m & lands.\n")
    write_skill(place, "hidden", "name: hidden\ndescription: x\ndisable-model-invocation: true\n")
    prompt = found(tmp_path).prompt
    assert prompt.startswith(
        "<available_skills>\n  <skill>\n    <name>jump</name>\n"
        "    <description>Jumps &lt; 3 m &amp; lands.</description>\n"
        f"    <location>{path}</location>\n  </skill>\n</available_skills>\n"
    )
    assert "hidden" not in prompt
    assert Skills().prompt == ""


# --- those that come with the program --------------------------------------------------------------


@pytest.mark.parametrize("skill", BUILTIN, ids=lambda skill: skill.name)
def test_a_builtin_skill_is_what_is_said_of_it(skill: Skill) -> None:
    """Discovery reads no file of them; their texts are skills like any other (agent contract 7.3)."""
    written = read_skill(skill.path, "system")
    assert written == skill
    assert skill.info.id == f"crush://skills/{skill.name}/SKILL.md"
    assert (skill.info.label, skill.info.source) == (f"system:{skill.name}", "system")


def test_builtin_skills_come_first_and_can_be_replaced_and_disabled(tmp_path: Path) -> None:
    """A user's skill of the same name counts; models are told which are built in."""
    own = write_skill(tmp_path / "user", "jq")
    skills = discover([tmp_path / "user"], tmp_path / "project", disabled={"crush-hooks"})
    assert {skill.id for skill in skills.usable} == {
        "crush://skills/crush-config/SKILL.md",
        str(own),
    }
    assert [state.name for state in skills.states] == ["jq", "crush-config", "crush-hooks", "jq"]
    assert skills.prompt.count("<type>builtin</type>") == 1
    read = skills.read("crush://skills/crush-config/SKILL.md")
    assert b"# Configuration" in read.content
    assert read.result.builtin
