"""The OpenMP library is found by the embedded model's process, and by nobody else."""

from __future__ import annotations

from pathlib import Path

from crush_trio.providers.local_openmp import (
    NAME,
    OPENMP,
    SEARCH_VARIABLE,
    link_openmp,
    openmp_directory,
    with_openmp,
)


def fetched(models: Path) -> Path:
    """Return a file as a pull leaves it in the cache."""
    file = models / OPENMP["x86_64"].name
    file.write_bytes(b"library")
    return file


def test_a_fetched_copy_gets_the_name_that_the_engine_asks_for(tmp_path: Path) -> None:
    """The linker looks for a name, and the wheel's own copy has another one."""
    link_openmp(fetched(tmp_path))
    link_openmp(fetched(tmp_path))  # again, as every pull does
    assert (openmp_directory(tmp_path) / NAME).read_bytes() == b"library"
    assert [path.name for path in openmp_directory(tmp_path).iterdir()] == [NAME]


def test_the_copy_is_looked_for_first_and_other_directories_stay(tmp_path: Path) -> None:
    """What the user has set up for the linker still counts, behind ours."""
    link_openmp(fetched(tmp_path))
    own = str(openmp_directory(tmp_path))
    assert with_openmp({}, tmp_path) == {SEARCH_VARIABLE: own}
    environ = {SEARCH_VARIABLE: "/opt/lib", "A": "1"}
    assert with_openmp(environ, tmp_path) == {SEARCH_VARIABLE: f"{own}:/opt/lib", "A": "1"}


def test_without_a_copy_the_environment_stays_as_it_is(tmp_path: Path) -> None:
    """A system that has the library is left alone."""
    assert with_openmp({"A": "1"}, tmp_path) == {"A": "1"}


def test_every_pin_names_a_wheel_for_every_python_and_one_member_of_it() -> None:
    """One wheel serves all versions of Python, so one hash a machine is enough."""
    for pin in OPENMP.values():
        assert "==" in pin.requirement
        assert pin.name.startswith("libgomp-")
        assert len(pin.sha256) == len(pin.wheel_sha256) == 64
