"""Where configuration lives, and where a project ends (agent contract 3.1 and 3.10)."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import attrs
import pytest

from crush_trio.config.paths import (
    data_directory,
    find_project,
    global_config_dir,
    global_data_dir,
    home,
)


@pytest.mark.parametrize(
    ("env", "config", "data"),
    [
        ({}, "/h/.config/crush", "/h/.local/share/crush"),
        ({"XDG_CONFIG_HOME": "/c", "XDG_DATA_HOME": "/d"}, "/c/crush", "/d/crush"),
        ({"CRUSH_GLOBAL_CONFIG": "/gc", "CRUSH_GLOBAL_DATA": "/gd"}, "/gc", "/gd"),
        (
            {"XDG_CONFIG_HOME": "/c", "CRUSH_GLOBAL_CONFIG": "/gc", "CRUSH_GLOBAL_DATA": ""},
            "/gc",
            "/h/.local/share/crush",
        ),
    ],
)
def test_the_environment_names_the_global_directories(
    env: dict[str, str], config: str, data: str
) -> None:
    """The program's own variables go before XDG's, and those before the home directory."""
    env = {"HOME": "/h", **env}
    assert (global_config_dir(env), global_data_dir(env)) == (Path(config), Path(data))


def test_without_a_home_variable_the_password_database_is_asked() -> None:
    """Nothing is read from the process's own environment."""
    assert home({}) == Path(pwd.getpwuid(os.getuid()).pw_dir)


def test_a_project_outside_git_is_its_directory_alone(tmp_path: Path) -> None:
    """Without a work tree nothing above the directory counts."""
    project = find_project(tmp_path / "x" / ".." / "a")
    assert (project.directory, project.root) == (tmp_path / "a", tmp_path / "a")
    assert not project.in_git
    assert project.upwards == [tmp_path / "a"]
    assert project.owner == os.geteuid()


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_a_project_in_git_reaches_up_to_the_work_tree(tmp_path: Path, kind: str) -> None:
    """``.git`` marks the root, also where it is a file, as in linked work trees."""
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    git = tmp_path / ".git"
    git.mkdir() if kind == "directory" else git.write_text("gitdir: elsewhere")
    project = find_project(inner)
    assert project.in_git
    assert project.upwards == [inner, tmp_path / "a", tmp_path]


def test_the_data_directory_is_the_first_that_is_named(tmp_path: Path) -> None:
    """Argument, then option, both relative to the working directory, then ``.crush``."""
    project = find_project(tmp_path)
    assert data_directory(project) == tmp_path / ".crush"
    assert data_directory(project, option="../o") == tmp_path.parent / "o"
    assert data_directory(project, argument="a", option="o") == tmp_path / "a"
    assert data_directory(project, argument="/a/./b", option="o") == Path("/a/b")


def test_the_nearest_data_directory_up_to_the_root_is_used(tmp_path: Path) -> None:
    """Several directories of a project share the nearest ``.crush`` upwards, if it is a directory."""
    inner = tmp_path / "out" / "root" / "a" / "b"
    inner.mkdir(parents=True)
    root = tmp_path / "out" / "root"
    (root / ".git").mkdir()
    (tmp_path / "out" / ".crush").mkdir()
    (inner.parent / ".crush").write_text("not a directory")
    assert data_directory(find_project(inner)) == inner / ".crush"
    (root / ".crush").mkdir()
    assert data_directory(find_project(inner)) == root / ".crush"
    (inner / ".crush").mkdir()
    assert data_directory(find_project(inner)) == inner / ".crush"


def test_a_data_directory_of_another_user_is_not_used(tmp_path: Path) -> None:
    """Nobody can plant a data directory above a project."""
    (tmp_path / ".git").mkdir()
    (tmp_path / ".crush").mkdir()
    (tmp_path / "a").mkdir()
    project = attrs.evolve(find_project(tmp_path / "a"), owner=os.geteuid() + 1)
    assert data_directory(project) == tmp_path / "a" / ".crush"
